//! What each waiting reason asks of a reader: patience, or a hand.
//!
//! The words of a reason come from the operator; only who acts, and what can be done, is told here.

use serde::Serialize;

/// Who the next step is up to; colour follows this and nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Needs {
    /// Nobody: it is done, or under way.
    Nothing,
    /// Time: it goes on by itself.
    Time,
    /// A person, or it stays like this.
    Person,
    /// A person, and something is broken.
    Repair,
}

/// Who must act on a node that waits for `reason`; a reason of a newer version is taken for one that passes by itself.
pub(crate) fn needs(reason: &str) -> Needs {
    match reason {
        "Failed" | "BreakerOpen" => Needs::Repair,
        "PolicyConflict" | "NoPolicy" | "Suspended" | "Held" | "AwaitingApproval" | "AgentMissing"
        | "AgentIncapable" | "AgentNotAnswering" | "Inhibited" | "GateClosed" | "TooManyUnavailable" | "Uncordoned"
        | "MarksRefused" | "Released" | "StillRequired" | "PreflightBlocked" | "EvictionBlocked" | "PodStuck"
        | "WorkloadsNotBack" => Needs::Person,
        _ => Needs::Time,
    }
}

/// What a person can do about a node that waits for `reason`, if there is anything.
pub(crate) fn advice(reason: &str, node: &str, policy: &str) -> Option<String> {
    Some(match reason {
        "ViewIncomplete" => {
            "if this lasts, read the operator's log: kubectl -n lockkeeper-system logs deploy/lockkeeper-operator"
                .to_owned()
        }
        "PolicyConflict" => "narrow the nodeSelector of one of the policies: kubectl get rbp".to_owned(),
        "NoPolicy" => "make a policy whose nodeSelector matches this node, or leave it alone".to_owned(),
        "Suspended" => {
            format!("resume it: kubectl patch rbp {policy} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'")
        }
        "Held" => format!("let it go: kubectl annotate node {node} lockkeeper.dev/hold- lockkeeper.dev/hold-until-"),
        "AgentMissing" | "AgentNotAnswering" => format!(
            "look at its agent: kubectl -n lockkeeper-system get pods -o wide --field-selector spec.nodeName={node}"
        ),
        "Inhibited" => format!("end that program on {node}, or let it finish"),
        "TooManyUnavailable" => "bring those nodes back, or raise disruption.maxUnavailable".to_owned(),
        "NoFreeSlot" => "nothing, or raise disruption.maxInProgress".to_owned(),
        "MarksRefused" => "ask that manager to let the field go".to_owned(),
        "Released" | "StillRequired" => format!(
            "have it rebooted once more: kubectl annotate node {node} lockkeeper.dev/reboot-requested='again, please'"
        ),
        "AwaitingApproval" => format!("approve it: kubectl annotate node {node} lockkeeper.dev/approved='<why>'"),
        "BreakerOpen" => "look at the failed nodes, then retry or release them: kubectl lockkeeper status".to_owned(),
        "PreflightBlocked" => {
            "repair the workload, raise its budget, or say in drain.rules what is to be done".to_owned()
        }
        "EvictionBlocked" => {
            format!("repair the workload or raise its budget, or put the node back: kubectl lockkeeper cancel {node}")
        }
        "PodStuck" => "look at that pod: its finalizers, its volumes, its node".to_owned(),
        "NodeNotReady" => format!("look at it if it lasts: kubectl describe node {node}"),
        "Failed" => {
            format!("look at the node, then: kubectl lockkeeper retry {node}, or: kubectl lockkeeper release {node}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_end_has_advice() {
        for reason in [
            "Suspended",
            "Held",
            "AwaitingApproval",
            "AgentMissing",
            "BreakerOpen",
            "PreflightBlocked",
            "EvictionBlocked",
            "Failed",
            "Released",
        ] {
            assert!(needs(reason) >= Needs::Person, "{reason}");
            assert!(advice(reason, "w-01", "workers").is_some(), "{reason}");
        }
    }

    #[test]
    fn a_reason_of_a_newer_version_raises_no_alarm() {
        assert_eq!(needs("SomethingNew"), Needs::Time);
    }
}
