//! What a drain decides for a pod.

use lockkeeper_drain::{Decision, PodPreflight, Preflight, StayReason};

/// How many pods have to leave, and how many stay and keep running.
pub(crate) fn counts(found: &Preflight) -> (usize, usize) {
    let leaving = found.pods.iter().filter(|line| leaves(&line.decision)).count();
    let is_finished = |line: &&PodPreflight| line.decision == Decision::Skip(StayReason::Finished);
    (
        leaving,
        found.pods.len() - leaving - found.pods.iter().filter(is_finished).count(),
    )
}

pub(super) fn leaves(decision: &Decision) -> bool {
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

/// The name of the decision in JSON.
pub(super) fn decision_name(decision: &Decision) -> &'static str {
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

/// The decision with its cause.
pub(super) fn decision_text(decision: &Decision) -> String {
    match decision {
        Decision::Skip(StayReason::Mirror) => "stays: a static pod of the kubelet".to_owned(),
        Decision::Skip(StayReason::DaemonSet) => "stays: belongs to a DaemonSet".to_owned(),
        Decision::Skip(StayReason::Own) => "stays: belongs to Lockkeeper".to_owned(),
        Decision::Skip(StayReason::Finished) => "stays: finished".to_owned(),
        Decision::Skip(StayReason::Returns) => "stays: returns to this node".to_owned(),
        Decision::Skip(StayReason::Rule(rule)) => format!("stays: rule {rule}"),
        Decision::Evict => "evict".to_owned(),
        Decision::Delete => "delete".to_owned(),
        Decision::Wait => "terminating".to_owned(),
        Decision::Complete(rule) => format!("waits for completion: rule {rule}"),
        Decision::Block(_) => "blocks".to_owned(),
        Decision::Unknown => "depends on its namespace".to_owned(),
    }
}
