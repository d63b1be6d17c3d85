//! Plain lines: one for each change that a reader wants to know of.

use std::collections::BTreeMap;

use lockkeeper_crds::{NodeState, Outcome};

use crate::explain::numbers;
use crate::moment::Moment;
use crate::objects::Objects;
use crate::reasons::Needs;
use crate::screen::Line;
use crate::status::{told, trouble_line, window};
use crate::view::{NodeView, PolicyView, View};

/// What was told last of each node and policy.
pub(super) struct Ledger {
    nodes: BTreeMap<String, Told>,
    policies: BTreeMap<String, (String, Option<String>)>,
    notice: bool,
}

/// A change of any of these makes a line.
#[derive(PartialEq, Eq)]
struct Told {
    state: NodeState,
    reason: Option<String>,
    /// Only of nodes inside: the words of those that wait change with each turn of the queue.
    message: Option<String>,
}

impl Told {
    fn of(node: &NodeView) -> Self {
        let waits = matches!(node.state, NodeState::Pending | NodeState::UpToDate);
        Self {
            state: node.state,
            reason: node.reason.clone(),
            message: (!waits).then(|| node.message.clone()),
        }
    }
}

impl Ledger {
    /// What the first screen told.
    pub(super) fn new(view: &View) -> Self {
        Self {
            nodes: view.nodes().map(|node| (node.name.clone(), Told::of(node))).collect(),
            policies: view
                .policies
                .iter()
                .map(|policy| (policy.name.clone(), of_policy(policy)))
                .collect(),
            notice: false,
        }
    }

    /// The lines for what is new.
    pub(super) fn changes(
        &mut self,
        objects: &Objects,
        view: &View,
        notice: Option<String>,
        moment: &Moment,
    ) -> Vec<Line> {
        let clock = moment.clock();
        let mut lines = Vec::new();
        for policy in &view.policies {
            let now = of_policy(policy);
            if self.policies.get(&policy.name) != Some(&now) {
                lines.push(Line::plain(format!(
                    "{clock} policy {} {}",
                    policy.name,
                    window(policy, moment)
                )));
                let trouble = trouble_line(policy, moment);
                lines.extend(
                    trouble.map(|line| Line::new(format!("{clock} policy {}{}", policy.name, line.text), line.needs)),
                );
                self.policies.insert(policy.name.clone(), now);
            }
        }
        let width = view.nodes().map(|node| node.name.len()).max().unwrap_or(0);
        for node in view.nodes() {
            let now = Told::of(node);
            if self.nodes.get(&node.name) != Some(&now) {
                let message = done(objects, node).unwrap_or_else(|| told(node, moment));
                let (name, state) = (&node.name, node.state.as_str());
                lines.push(Line::new(
                    format!("{clock} {name:width$} {state:<10} {message}"),
                    node.needs,
                ));
                self.nodes.insert(node.name.clone(), now);
            }
        }
        let gone = self
            .nodes
            .extract_if(.., |name, _| !view.nodes().any(|node| &node.name == name));
        lines.extend(gone.map(|(name, _)| Line::plain(format!("{clock} {name:width$} gone"))));
        if notice.is_some() != self.notice {
            self.notice = notice.is_some();
            lines.extend(notice.map(|text| Line::new(format!("{clock} {text}"), Needs::Person)));
        }
        lines
    }
}

fn of_policy(policy: &PolicyView) -> (String, Option<String>) {
    (
        format!("{:?} {}", policy.window, policy.suspended),
        policy.trouble.clone(),
    )
}

/// What a node that is up to date has behind it.
fn done(objects: &Objects, node: &NodeView) -> Option<String> {
    if node.state != NodeState::UpToDate {
        return None;
    }
    let status = objects.reboots.get(&node.name)?.status.as_ref()?;
    let record = status.history.first().or(status.last_reboot.as_ref())?;
    (record.outcome == Outcome::Succeeded).then(|| format!("rebooted: {}", numbers(record)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::{moment, objects, policy, reboot};
    use crate::view::view;

    const NOW: &str = "2026-11-24T22:08:00Z";

    fn cluster(nodes: &[(&str, Value)]) -> Objects {
        let nodes = nodes.iter().map(|(name, status)| reboot(name, status.clone()));
        objects(vec![policy("workers", json!({}), json!({}))], nodes.collect())
    }

    fn waits(message: &str) -> Value {
        json!({"state": "Pending", "waiting": {"reason": "NoFreeSlot", "message": message, "sinceTime": NOW}})
    }

    /// What is told when the first cluster becomes the second.
    fn check(before: &Objects, after: &Objects, expected: &Expect) {
        let mut ledger = Ledger::new(&view(before, None).unwrap());
        let after_view = view(after, None).unwrap();
        let lines = ledger.changes(after, &after_view, None, &moment(NOW));
        let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        expected.assert_eq(&text.join("\n"));
        assert_eq!(ledger.changes(after, &after_view, None, &moment(NOW)), [], "told once");
    }

    #[test]
    fn a_new_phase_is_a_line_and_a_turn_of_the_queue_is_none() {
        check(
            &cluster(&[
                ("n-1", waits("0 before")),
                ("n-2", waits("1 before")),
                ("n-3", waits("2 before")),
            ]),
            &cluster(&[
                ("n-1", json!({"state": "Preparing"})),
                ("n-2", waits("0 before")),
                ("n-3", waits("1 before")),
            ]),
            &expect!["22:08:00 n-1 Preparing  its agent is being asked"],
        );
    }

    #[test]
    fn a_reboot_that_is_done_tells_its_numbers() {
        let record = json!({"operationID": "7f3c", "outcome": "Succeeded", "startedTime": NOW, "endedTime": NOW,
            "drainedSeconds": 11, "downSeconds": 43, "bootIDBefore": "826de3c9-a", "bootIDAfter": "29156efd-b"});
        check(
            &cluster(&[("n-1", json!({"state": "Verifying"}))]),
            &cluster(&[("n-1", json!({"state": "UpToDate", "history": [record]}))]),
            &expect!["22:08:00 n-1 UpToDate   rebooted: drained 11 s, down 43 s, boot 826de3c9 -> 29156efd"],
        );
    }

    #[test]
    fn a_node_that_is_gone_and_a_suspended_policy_are_told() {
        let mut after = cluster(&[]);
        after.policies.get_mut("workers").unwrap().spec.suspend = true;
        check(
            &cluster(&[("n-1", waits("0 before"))]),
            &after,
            &expect![[r#"
            22:08:00 policy workers suspended, any time
            22:08:00 n-1 gone"#]],
        );
    }
}
