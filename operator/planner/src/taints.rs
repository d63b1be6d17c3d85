//! The taint on nodes that are still to come, and one of ours that was left behind; derived from what is seen, each pass.

use crate::action::Action;
use crate::capacity::{Facts, Seen};
use crate::gate;
use crate::plan::Plan;
use crate::snapshot::{Node, Record, Taint};
use lockkeeper_reasons::WaitReason;

/// So many at a time: a fleet that begins to wait at once must not keep those that are inside from their next step.
const AT_ONCE: usize = 16;

/// Adds what our taints need, beside what is done for the nodes that are inside.
pub(crate) fn taints(facts: &Facts, plan: &mut Plan) {
    // A policy that cannot be decoded is not gone.
    if !facts.snapshot.view_gaps.is_empty() {
        return;
    }
    let changes = facts.tainted.iter().filter_map(|Seen { name, node, record, .. }| {
        if record.operation.is_none() && node.taints.rebooting {
            return Some(Action::RemoveTaint {
                node: (*name).to_owned(),
                taint: Taint::Rebooting,
            });
        }
        let (wanted, taint) = (is_to_come(node, record, facts), Taint::RebootPending);
        match (node.taints.reboot_pending, wanted) {
            (false, true) => Some(Action::AddTaint {
                node: (*name).to_owned(),
                taint,
            }),
            (true, false) => Some(Action::RemoveTaint {
                node: (*name).to_owned(),
                taint,
            }),
            (false, false) | (true, true) => None,
        }
    });
    plan.actions.extend(changes.take(AT_ONCE));
}

/// Whether pods should rather go elsewhere: the node will be rebooted, now or later, and its policy asks for this.
fn is_to_come(node: &Node, record: &Record, facts: &Facts) -> bool {
    let Ok(policy) = gate::policy_of(node, facts) else {
        return false;
    };
    let asked = policy.policy.settings.prefer_updated_nodes && !policy.policy.suspend;
    if !(asked && gate::wants_reboot(node)) {
        return false;
    }
    match gate::past(node, record, facts.now) {
        Err(WaitReason::Released { .. } | WaitReason::StillRequired { .. }) => false,
        Ok(()) | Err(_) => true,
    }
}
