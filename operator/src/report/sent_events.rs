//! Events about nodes that were sent although the status does not say the same yet: each is sent once.
//!
//! A status may be written some passes later, or be refused again and again. Losing this in a restart repeats an Event.

use std::collections::BTreeMap;

use lockkeeper_crds::NodeRebootStatus;
use lockkeeper_planner::{Node, WaitReason};
use lockkeeper_reasons::{ReasonName, ViewGap};

use crate::status::node::wait_message;

/// By name of the node.
#[derive(Debug, Default)]
pub(super) struct SentEvents(BTreeMap<String, Sent>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    is_required: bool,
    waiting: Option<(ReasonName, Option<String>)>,
}

impl SentEvents {
    /// Forgets nodes that are gone, and those whose status says everything.
    pub(super) fn retain(&mut self, nodes: &BTreeMap<String, Node>) {
        self.0
            .retain(|name, sent| *sent != Sent::default() && nodes.contains_key(name));
    }

    /// Whether the Event that a node requires a reboot is to be sent: it does, and neither its condition nor an Event said so.
    pub(super) fn is_new_requirement(&mut self, name: &str, is_required: bool, is_said: bool) -> bool {
        if is_said || !is_required {
            self.0
                .get_mut(name)
                .into_iter()
                .for_each(|sent| sent.is_required = false);
            return false;
        }
        let sent = self.0.entry(name.to_owned()).or_default();
        !std::mem::replace(&mut sent.is_required, true)
    }

    /// Whether the Event that a node waits is to be sent: neither its status nor an Event said so.
    pub(super) fn is_new_wait(&mut self, name: &str, waiting: Option<&WaitReason>, status: &NodeRebootStatus) -> bool {
        let Some(waiting) = waiting.filter(|waiting| !is_momentary(waiting) && !says(status, waiting)) else {
            self.0.get_mut(name).into_iter().for_each(|sent| sent.waiting = None);
            return false;
        };
        let unsaid = Some(identity(waiting));
        let sent = self.0.entry(name.to_owned()).or_default();
        let is_new = sent.waiting != unsaid;
        sent.waiting = unsaid;
        is_new
    }
}

/// Whether the wait is a part of each reboot right after the operator's start, and over within seconds: no Event.
fn is_momentary(waiting: &WaitReason) -> bool {
    matches!(waiting, WaitReason::ViewIncomplete(ViewGap::SchedulersUnaware { .. }))
}

/// What makes a wait reason a new one; what is not known may be another thing under the same reason.
fn identity(waiting: &WaitReason) -> (ReasonName, Option<String>) {
    let name = waiting.name();
    let message = (name == ReasonName::ViewIncomplete).then(|| wait_message(waiting));
    (name, message)
}

/// Whether the status has this wait reason.
fn says(status: &NodeRebootStatus, waiting: &WaitReason) -> bool {
    let (name, message) = identity(waiting);
    status
        .waiting
        .as_ref()
        .is_some_and(|said| said.reason == name.as_str() && message.is_none_or(|message| said.message == message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(waiting: &WaitReason) -> NodeRebootStatus {
        let status = json!({"waiting": {
            "reason": waiting.name().as_str(), "message": wait_message(waiting), "sinceTime": "2026-11-24T22:10:00Z",
        }});
        serde_json::from_value(status).unwrap()
    }

    fn unseen(what: &str) -> WaitReason {
        WaitReason::ViewIncomplete(ViewGap::PreflightFailed { error: what.to_owned() })
    }

    fn blocked(what: &str) -> WaitReason {
        WaitReason::EvictionBlocked {
            message: what.to_owned(),
        }
    }

    #[test]
    fn a_wait_reason_is_reported_when_it_begins_and_when_the_gap_in_the_view_changes() {
        let is_new = |waiting: &WaitReason, status: &NodeRebootStatus| {
            SentEvents::default().is_new_wait("w-01", Some(waiting), status)
        };
        assert!(is_new(&unseen("a"), &NodeRebootStatus::default()));
        assert!(!is_new(&unseen("a"), &published(&unseen("a"))));
        assert!(is_new(&unseen("a (refused)"), &published(&unseen("a"))));
        let long = "a".repeat(5000);
        assert!(!is_new(&unseen(&long), &published(&unseen(&long))));
        assert!(is_new(&blocked("x"), &published(&unseen("x"))));
        assert!(!is_new(&blocked("2 of 3 ready"), &published(&blocked("1 of 3 ready"))));
        let seconds = ViewGap::SchedulersUnaware {
            until: "2026-11-24T22:10:10Z".parse().unwrap(),
        };
        let momentary = WaitReason::ViewIncomplete(seconds);
        assert!(!is_new(&momentary, &NodeRebootStatus::default()));
    }

    #[test]
    fn an_event_is_sent_once_although_its_status_is_written_later() {
        let mut sent = SentEvents::default();
        let (old, new) = (NodeRebootStatus::default(), published(&blocked("x")));
        assert!(sent.is_new_wait("w-01", Some(&blocked("x")), &old));
        assert!(
            !sent.is_new_wait("w-01", Some(&blocked("y")), &old),
            "the status is not written yet"
        );
        assert!(sent.is_new_wait("w-01", Some(&unseen("a")), &old), "another reason");
        assert!(!sent.is_new_wait("w-01", Some(&blocked("x")), &new));
        assert!(!sent.is_new_wait("w-01", None, &new));
        assert!(sent.is_new_wait("w-01", Some(&blocked("x")), &old), "it waits again");

        assert!(sent.is_new_requirement("w-01", true, false));
        assert!(
            !sent.is_new_requirement("w-01", true, false),
            "the condition is not written yet"
        );
        assert!(!sent.is_new_requirement("w-01", true, true));
        assert!(!sent.is_new_requirement("w-01", false, true));
        assert!(
            sent.is_new_requirement("w-01", true, false),
            "a reboot is required again"
        );
    }
}
