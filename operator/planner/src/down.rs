//! What counts as a node that is down, whoever asks: limits, and the check of a plan.

use chrono::TimeDelta;

use crate::Instant;
use crate::snapshot::Node;

/// A node that was never Ready is not counted as down while it is younger than this: it is still being set up.
pub(crate) const SETTING_UP: TimeDelta = TimeDelta::minutes(10);
/// The Ready condition is written with the Node; a change later than this after its making was a real one.
const FIRST_CONDITION: TimeDelta = TimeDelta::seconds(60);

/// Why a node that we do not hold is down, if it is.
pub(crate) fn why_down(node: &Node, now: Instant) -> Option<&'static str> {
    if let Some(taint) = &node.deletion_taint {
        return Some(if taint.starts_with("karpenter") {
            "Karpenter disrupts it"
        } else {
            "the autoscaler deletes it"
        });
    }
    if node.ready.ready {
        return None;
    }
    let never_ready = node.ready.since - node.created < FIRST_CONDITION;
    let setting_up = never_ready && now - node.created < SETTING_UP;
    (!setting_up).then_some("NotReady")
}
