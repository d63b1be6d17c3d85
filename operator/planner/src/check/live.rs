//! The rules that need more than one plan, or look at the end of a story.

use std::cmp::Ordering;

use super::violation::{Violation, violation};
use crate::Instant;
use crate::action::Action;
use crate::plan::Plan;
use crate::snapshot::Snapshot;

/// S7: plans of the same snapshot, built in whatever order, are the same.
pub fn order_dependence(one: &Plan, other: &Plan) -> Option<Violation> {
    let what = || {
        if one.actions != other.actions {
            return format!("the same snapshot gives {:?} and {:?}", one.actions, other.actions);
        }
        let mut waits = one.wait_reasons.iter().zip(other.wait_reasons.iter());
        let differs = waits.find(|(one, other)| one != other);
        format!("the same snapshot gives other words, times or states, first {differs:?}")
    };
    (one != other).then(|| violation("S7", what()))
}

/// S9: `next` is the plan made once all of `done` is carried out and nothing else has happened.
pub fn repeats(done: &Plan, next: &Plan) -> Vec<Violation> {
    let again = next.actions.iter().filter(|action| done.actions.contains(action));
    again
        .map(|action| violation("S9", format!("{action:?} once more")))
        .collect()
}

/// L1 to L3: everybody who needs a reboot gets on or is told why not, everybody whom we cordoned is in hand, and
/// whoever waits on time is looked at again when it is over.
pub fn unexplained_waits(snapshot: &Snapshot, plan: &Plan, now: Instant) -> Vec<Violation> {
    let mut found = Vec::new();
    let starts = |name: &str| {
        plan.actions.iter().any(|action| match action {
            Action::SetHolders { holders, .. } => holders.iter().any(|holder| holder.node == name),
            Action::CreateLock => true,
            other => other.node() == Some(name),
        })
    };
    // Both are by name.
    let mut waiting = plan.wait_reasons.iter().peekable();
    for (name, node) in &snapshot.nodes {
        let in_progress = node.record.as_ref().is_some_and(|record| record.operation.is_some());
        let mut told = || loop {
            match waiting.peek().map(|(other, _)| (*other).cmp(name)) {
                Some(Ordering::Less) => waiting.next(),
                Some(Ordering::Equal) => break waiting.next().is_some(),
                Some(Ordering::Greater) | None => break false,
            };
        };
        if !in_progress && node.requires_reboot() && !told() && !starts(name) {
            found.push(violation(
                "L1",
                format!("{name} requires a reboot, but no reason is given why it waits"),
            ));
        }
        // A node that is down, or about to be, stays cordoned until it is back; then it is uncordoned.
        if in_progress || node.cordoned_for.is_none() || node.keeps_orphaned_cordon() || !snapshot.unlisted.is_empty() {
            continue;
        }
        let mut holders = snapshot.lock.iter().flat_map(|lock| &lock.holders);
        if !holders.any(|holder| holder.node == *name) && !starts(name) {
            found.push(violation(
                "L2",
                format!("{name} is cordoned by us, but no operation or cleanup is planned for it"),
            ));
        }
    }
    for (name, waiting) in &plan.wait_reasons {
        let Some(until) = waiting.until().filter(|until| *until > now) else {
            continue;
        };
        if plan.recheck_at.is_none_or(|at| at > until) {
            found.push(violation(
                "L3",
                format!("{name} waits until {until} and is not looked at then"),
            ));
        }
    }
    found
}

/// L4: what a rollout has left behind, compared with the cluster before it; boot ids aside, nothing.
pub fn leftovers(before: &Snapshot, after: &Snapshot) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut differs = |name: &str, what: &str| found.push(violation("L4", format!("{name}: {what}")));
    for holder in after.lock.iter().flat_map(|lock| &lock.holders) {
        differs(&holder.node, "still in the lock");
    }
    for (name, node) in &after.nodes {
        if node.cordoned_for.is_some() {
            differs(name, "still marked");
        }
        if node.taints.rebooting || node.taints.reboot_pending && !node.requires_reboot() {
            differs(name, "still has a taint of ours");
        }
        if node.handshake.is_some() {
            differs(name, "still has the keys of a hook");
        }
        if node.notice.ours().is_some() {
            differs(name, "still has a notice of ours");
        }
        if let Some(record) = &node.record {
            if record.operation.is_some() {
                differs(name, "still has an operation");
            }
            if record.order.is_some() {
                differs(name, "still has an order");
            }
            if record.command.is_some() {
                differs(name, "still has a command");
            }
        }
        if let Some(was) = before.nodes.get(name).filter(|was| was.uid == node.uid)
            && was.unschedulable != node.unschedulable
        {
            differs(
                name,
                if node.unschedulable {
                    "stayed cordoned"
                } else {
                    "its cordon was taken away"
                },
            );
        }
    }
    found
}
