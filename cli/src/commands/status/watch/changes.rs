//! Plain lines: one for each change of a node or policy.

use std::collections::BTreeMap;

use lockkeeper_crds::{NodeState, Outcome};

use crate::clock::DisplayClock;
use crate::cluster::objects::Objects;
use crate::render::{Line, measurements, message, not_ready, window};
use crate::view::{ActionRequired, NodeView, PolicyView, Reason, View};

/// What was printed last for each node and policy.
pub(super) struct ReportedChanges {
    nodes: BTreeMap<String, ReportedNode>,
    policies: BTreeMap<String, (String, Option<String>)>,
    has_notice: bool,
}

/// A change of any of these prints a line.
#[derive(PartialEq, Eq)]
struct ReportedNode {
    state: NodeState,
    reason: Option<Reason>,
    /// Only of nodes in progress: the message of a node in the queue changes whenever a node starts.
    message: Option<String>,
}

impl ReportedNode {
    fn new(node: &NodeView) -> Self {
        let is_idle = matches!(
            node.state,
            NodeState::Pending | NodeState::UpToDate | NodeState::Unknown
        );
        Self {
            state: node.state,
            reason: node.reason.clone(),
            message: (!is_idle).then(|| node.message.clone()),
        }
    }
}

impl ReportedChanges {
    /// The first screen has printed the whole view.
    pub(super) fn new(view: &View) -> Self {
        let nodes = view.nodes();
        let policies = view.policies.iter();
        Self {
            nodes: nodes.map(|node| (node.name.clone(), ReportedNode::new(node))).collect(),
            policies: policies
                .map(|policy| (policy.name.clone(), reported_policy(policy)))
                .collect(),
            has_notice: false,
        }
    }

    /// Returns the lines for what is new.
    pub(super) fn update(
        &mut self,
        objects: &Objects,
        view: &View,
        notice: Option<String>,
        clock: &DisplayClock,
    ) -> Vec<Line> {
        let now = clock.time_of_day();
        let mut lines = Vec::new();
        for policy in &view.policies {
            let fresh = reported_policy(policy);
            if self.policies.get(&policy.name) != Some(&fresh) {
                let name = &policy.name;
                lines.push(Line::plain(format!("{now} policy {name} {}", window(policy, clock))));
                let not_ready = not_ready(policy, clock);
                lines.extend(
                    not_ready.map(|line| Line::new(format!("{now} policy {name}{}", line.text), line.action_required)),
                );
                self.policies.insert(name.clone(), fresh);
            }
        }
        let width = view.nodes().map(|node| node.name.len()).max().unwrap_or(0);
        for node in view.nodes() {
            let fresh = ReportedNode::new(node);
            if self.nodes.get(&node.name) != Some(&fresh) {
                let message = last_reboot(objects, node).unwrap_or_else(|| message(node, clock));
                let (name, state) = (&node.name, node.state.as_str());
                lines.push(Line::new(
                    format!("{now} {name:width$} {state:<10} {message}"),
                    node.action_required,
                ));
                self.nodes.insert(node.name.clone(), fresh);
            }
        }
        let deleted = self
            .nodes
            .extract_if(.., |name, _| !view.nodes().any(|node| &node.name == name));
        lines.extend(deleted.map(|(name, _)| Line::plain(format!("{now} {name:width$} deleted"))));
        if notice.is_some() != self.has_notice {
            self.has_notice = notice.is_some();
            lines.extend(notice.map(|text| Line::new(format!("{now} {text}"), ActionRequired::Manual)));
        }
        lines
    }
}

fn reported_policy(policy: &PolicyView) -> (String, Option<String>) {
    (
        format!("{:?} {}", policy.window, policy.suspended),
        policy.not_ready.clone(),
    )
}

/// The measurements of the last reboot of a node that is up to date.
fn last_reboot(objects: &Objects, node: &NodeView) -> Option<String> {
    if node.state != NodeState::UpToDate {
        return None;
    }
    let status = objects.reboots.get(&node.name)?.status.as_ref()?;
    let entry = status.history.first().or(status.last_reboot.as_deref())?;
    (entry.outcome == Outcome::Succeeded).then(|| format!("rebooted: {}", measurements(entry)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::{clock, objects, policy, reboot};
    use crate::view::view;

    const NOW: &str = "2026-11-24T22:08:00Z";

    fn cluster(nodes: &[(&str, Value)]) -> Objects {
        let nodes = nodes.iter().map(|(name, status)| reboot(name, status.clone()));
        objects(vec![policy("workers", json!({}), json!({}))], nodes.collect())
    }

    fn waits(message: &str) -> Value {
        json!({"state": "Pending", "waiting": {"reason": "NoFreeSlot", "message": message, "sinceTime": NOW}})
    }

    /// The lines that are printed when the first cluster becomes the second.
    fn check(before: &Objects, after: &Objects, expected: &Expect) {
        let mut reported = ReportedChanges::new(&view(before, None).unwrap());
        let after_view = view(after, None).unwrap();
        let lines = reported.update(after, &after_view, None, &clock(NOW));
        let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        expected.assert_eq(&text.join("\n"));
        assert_eq!(
            reported.update(after, &after_view, None, &clock(NOW)),
            [],
            "a change is printed once"
        );
    }

    #[test]
    fn a_new_phase_is_printed_and_a_new_place_in_the_queue_is_not() {
        check(
            &cluster(&[
                ("n-1", waits("0 ahead")),
                ("n-2", waits("1 ahead")),
                ("n-3", waits("2 ahead")),
            ]),
            &cluster(&[
                ("n-1", json!({"state": "Preparing"})),
                ("n-2", waits("0 ahead")),
                ("n-3", waits("1 ahead")),
            ]),
            &expect!["22:08:00 n-1 Preparing  waiting for the node agent to respond"],
        );
    }

    #[test]
    fn a_finished_reboot_is_printed_with_its_measurements() {
        let record = json!({"operationID": "7f3c", "outcome": "Succeeded", "startedTime": NOW, "endedTime": NOW,
            "drainedSeconds": 11, "downSeconds": 43, "bootIDBefore": "826de3c9-a", "bootIDAfter": "29156efd-b"});
        check(
            &cluster(&[("n-1", json!({"state": "Verifying"}))]),
            &cluster(&[("n-1", json!({"state": "UpToDate", "history": [record]}))]),
            &expect!["22:08:00 n-1 UpToDate   rebooted: drained 11 s, down 43 s, boot 826de3c9 -> 29156efd"],
        );
    }

    #[test]
    fn a_deleted_node_and_a_suspended_policy_are_printed() {
        let mut after = cluster(&[]);
        after.policies.get_mut("workers").unwrap().spec.suspend = true;
        check(
            &cluster(&[("n-1", waits("0 ahead"))]),
            &after,
            &expect![[r#"
            22:08:00 policy workers suspended, any time
            22:08:00 n-1 deleted"#]],
        );
    }
}
