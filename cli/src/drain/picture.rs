//! What a drain would meet, as a table and for programs.

use lockkeeper_drain::{Blocker, Cause, Decision, Numbers, PodLine, PodName, PodPreflight, PodState, Preflight, Stays};
use serde::Serialize;

use crate::moment::Moment;
use crate::reasons::Needs;
use crate::screen::Line;

/// One node of `drain --dry-run -o json` and `report -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeAhead {
    pub(crate) node: String,
    /// None where the defaults count.
    pub(crate) policy: Option<String>,
    pub(crate) pods: Vec<PodAhead>,
    pub(crate) blockers: Vec<Why>,
    /// Why the node could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodAhead {
    namespace: String,
    name: String,
    decision: &'static str,
    /// The decision in words, with what it comes from.
    detail: String,
    order: i32,
    critical: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    blockers: Vec<Why>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    namespace: String,
    name: String,
    disruptions_allowed: i32,
    current_healthy: i32,
    desired_healthy: i32,
    expected_pods: i32,
}

/// A reason as status, Events and metrics name it, with its words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why {
    reason: &'static str,
    message: String,
    /// The first pods it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
    /// How many pods it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

/// One pod of `drain -o json`.
#[derive(Debug, Serialize)]
pub(crate) struct PodNow {
    namespace: String,
    name: String,
    state: &'static str,
    order: i32,
    critical: bool,
    why: Vec<Why>,
}

impl NodeAhead {
    pub(crate) fn new(node: &str, policy: Option<String>, found: &Preflight) -> Self {
        Self {
            node: node.to_owned(),
            policy,
            pods: found.pods.iter().map(PodAhead::from).collect(),
            blockers: found.blockers.iter().map(Why::from).collect(),
            error: None,
        }
    }

    pub(crate) fn failed(node: &str, policy: Option<String>, error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::new(node, policy, &Preflight::default())
        }
    }
}

impl From<&PodPreflight> for PodAhead {
    fn from(line: &PodPreflight) -> Self {
        Self {
            namespace: line.pod.namespace.clone(),
            name: line.pod.name.clone(),
            decision: name(&line.decision),
            detail: word(&line.decision),
            order: line.tier.order,
            critical: line.tier.critical,
            budget: line.budget.as_ref().map(|(name, numbers)| Budget::new(name, *numbers)),
            blockers: line.blockers.iter().map(Why::from).collect(),
        }
    }
}

impl Budget {
    fn new(name: &PodName, numbers: Numbers) -> Self {
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            disruptions_allowed: numbers.allowed,
            current_healthy: numbers.healthy,
            desired_healthy: numbers.desired,
            expected_pods: numbers.total,
        }
    }
}

impl From<&Cause> for Why {
    fn from(cause: &Cause) -> Self {
        Self {
            reason: cause.reason().as_str(),
            message: cause.to_string(),
            pods: cause.pods.iter().map(ToString::to_string).collect(),
            count: (cause.count > 0).then_some(cause.count),
        }
    }
}

impl From<&Blocker> for Why {
    fn from(blocker: &Blocker) -> Self {
        Self {
            reason: blocker.reason().as_str(),
            message: blocker.to_string(),
            pods: Vec::new(),
            count: None,
        }
    }
}

impl From<&PodLine> for PodNow {
    fn from(line: &PodLine) -> Self {
        Self {
            namespace: line.pod.namespace.clone(),
            name: line.pod.name.clone(),
            state: match line.state {
                PodState::Stays(_) => "Stays",
                PodState::Later => "Later",
                PodState::Waiting => "Waiting",
                PodState::Asked => "Asked",
                PodState::Leaving => "Leaving",
                PodState::Gone => "Gone",
            },
            order: line.tier.order,
            critical: line.tier.critical,
            why: line.why.iter().map(Why::from).collect(),
        }
    }
}

/// How many pods have to leave, and how many stay and run.
pub(crate) fn counts(found: &Preflight) -> (usize, usize) {
    let leave = found.pods.iter().filter(|line| leaves(&line.decision)).count();
    let finished = |line: &&PodPreflight| line.decision == Decision::Skip(Stays::Finished);
    (
        leave,
        found.pods.len() - leave - found.pods.iter().filter(finished).count(),
    )
}

/// `23 pods to move, 4 stay`.
pub(crate) fn counted((leave, stay): (usize, usize)) -> String {
    let pods = if leave == 1 { "pod" } else { "pods" };
    match stay {
        0 => format!("{leave} {pods} to move"),
        1 => format!("{leave} {pods} to move, 1 stays"),
        _ => format!("{leave} {pods} to move, {stay} stay"),
    }
}

/// The answer for one node, then each pod with what would become of it.
pub(crate) fn table(node: &str, by: &str, found: &Preflight, moment: &Moment) -> Vec<Line> {
    let mut lines = Vec::new();
    if found.blockers.is_empty() {
        let counts = counted(counts(found));
        lines.push(Line::plain(format!("{node} can be emptied, by {by}: {counts}")));
    } else {
        lines.push(Line::new(format!("{node} cannot be emptied, by {by}:"), Needs::Person));
        let causes = found.blockers.iter().map(|cause| moment.localise(&cause.to_string()));
        lines.extend(causes.map(|cause| Line::new(format!("  {cause}"), Needs::Person)));
    }
    let head = ["POD", "DECISION", "ORDER", "BUDGET"].map(str::to_owned);
    let rows: Vec<[String; 4]> = found.pods.iter().map(row).collect();
    let widths: [usize; 3] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let text = |row: &[String; 4]| {
        let [pod, decision, order, budget] = row;
        let [a, b, c] = widths;
        format!("  {pod:a$}  {decision:b$}  {order:c$}  {budget}")
            .trim_end()
            .to_owned()
    };
    if !rows.is_empty() {
        lines.push(Line::plain(text(&head)));
    }
    for (row, line) in rows.iter().zip(&found.pods) {
        let needs = if line.blockers.is_empty() {
            Needs::Nothing
        } else {
            Needs::Person
        };
        lines.push(Line::new(text(row), needs));
    }
    lines
}

fn row(line: &PodPreflight) -> [String; 4] {
    let budget = line.budget.as_ref().map(|(name, numbers)| {
        let Numbers {
            allowed,
            healthy,
            desired,
            total,
        } = numbers;
        format!("{name} allows {allowed} ({healthy} of {total} ready, {desired} needed)")
    });
    [
        line.pod.to_string(),
        word(&line.decision),
        order(line),
        budget.unwrap_or_default(),
    ]
}

fn order(line: &PodPreflight) -> String {
    if leaves(&line.decision) {
        line.tier.to_string().trim_start_matches("order ").to_owned()
    } else {
        String::new()
    }
}

fn leaves(decision: &Decision) -> bool {
    match decision {
        Decision::Skip(_) => false,
        Decision::Evict
        | Decision::Delete
        | Decision::Wait
        | Decision::Complete(_)
        | Decision::Block(_)
        | Decision::Unknown => true,
    }
}

/// For programs.
fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Skip(_) => "Stays",
        Decision::Evict => "Evict",
        Decision::Delete => "Delete",
        Decision::Wait => "Leaving",
        Decision::Complete(_) => "WaitCompleted",
        Decision::Block(_) => "Block",
        Decision::Unknown => "Unknown",
    }
}

fn word(decision: &Decision) -> String {
    match decision {
        Decision::Skip(Stays::Mirror) => "stays: of the kubelet".to_owned(),
        Decision::Skip(Stays::DaemonSet) => "stays: of a DaemonSet".to_owned(),
        Decision::Skip(Stays::Own) => "stays: of Lockkeeper".to_owned(),
        Decision::Skip(Stays::Finished) => "stays: finished".to_owned(),
        Decision::Skip(Stays::Rule(rule)) => format!("stays: rule {rule}"),
        Decision::Evict => "evict".to_owned(),
        Decision::Delete => "delete".to_owned(),
        Decision::Wait => "leaving".to_owned(),
        Decision::Complete(rule) => format!("may complete: rule {rule}"),
        Decision::Block(_) => "blocks".to_owned(),
        Decision::Unknown => "depends on its namespace".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Bar, Tier, group};

    use super::*;
    use crate::fixture::moment;

    fn pod(name: &str, decision: Decision) -> PodPreflight {
        PodPreflight {
            pod: PodName::new("shop", name),
            decision,
            tier: Tier::default(),
            budget: None,
            blockers: Vec::new(),
        }
    }

    fn text(found: &Preflight) -> String {
        let lines = table("w-02", "policy workers", found, &moment("2026-11-24T22:00:00Z"));
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn a_dry_run_says_what_becomes_of_each_pod() {
        let numbers = Numbers {
            allowed: 1,
            healthy: 3,
            desired: 2,
            total: 3,
        };
        let mut db = pod("db-0", Decision::Evict);
        db.budget = Some((PodName::new("shop", "db"), numbers));
        db.tier.critical = true;
        let found = Preflight {
            pods: vec![
                pod("web-0", Decision::Evict),
                db,
                pod("agent", Decision::Skip(Stays::DaemonSet)),
            ],
            blockers: vec![],
        };
        expect_test::expect![[r#"
            w-02 can be emptied, by policy workers: 2 pods to move, 1 stays
              POD         DECISION               ORDER        BUDGET
              shop/web-0  evict                  0
              shop/db-0   evict                  0, critical  shop/db allows 1 (3 of 3 ready, 2 needed)
              shop/agent  stays: of a DaemonSet
        "#]]
        .assert_eq(&text(&found));
    }

    #[test]
    fn what_blocks_is_said_first() {
        let mut pet = pod("pet", Decision::Block(vec![Bar::Unmanaged]));
        pet.blockers = vec![Blocker::Unmanaged { pod: pet.pod.clone() }];
        let blockers = group(pet.blockers.clone());
        let found = Preflight {
            pods: vec![pet, pod("old", Decision::Skip(Stays::Finished))],
            blockers,
        };
        assert_eq!(counts(&found), (1, 0));
        expect_test::expect![[r#"
            w-02 cannot be emptied, by policy workers:
              pod shop/pet: no controller would create it again (the policy's drain.unmanagedPods is Block)
              POD       DECISION         ORDER  BUDGET
              shop/pet  blocks           0
              shop/old  stays: finished
        "#]]
        .assert_eq(&text(&found));
        let json = NodeAhead::new("w-02", None, &found);
        expect_test::expect![[r#"
            {
              "node": "w-02",
              "policy": null,
              "pods": [
                {
                  "namespace": "shop",
                  "name": "pet",
                  "decision": "Block",
                  "detail": "blocks",
                  "order": 0,
                  "critical": false,
                  "blockers": [
                    {
                      "reason": "EvictionBlocked",
                      "message": "pod shop/pet: no controller would create it again (the policy's drain.unmanagedPods is Block)"
                    }
                  ]
                },
                {
                  "namespace": "shop",
                  "name": "old",
                  "decision": "Stays",
                  "detail": "stays: finished",
                  "order": 0,
                  "critical": false,
                  "blockers": []
                }
              ],
              "blockers": [
                {
                  "reason": "EvictionBlocked",
                  "message": "pod shop/pet: no controller would create it again (the policy's drain.unmanagedPods is Block)",
                  "pods": [
                    "shop/pet"
                  ],
                  "count": 1
                }
              ]
            }"#]].assert_eq(&serde_json::to_string_pretty(&json).unwrap());
    }
}
