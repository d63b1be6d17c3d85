//! The safety and liveness rules of ARCHITECTURE.md, stated once; tests, simulation and production call the same code.
//!
//! It is written independently of the planner on purpose: it judges a plan by what was observed, not by how the plan came
//! about. [`check`] covers S1 to S6 and is the last gate before anything is written. S8 is `check` on the state that any
//! prefix of a plan leaves behind. The other rules need more than one plan, or the end of a story; they are functions of
//! their own: S7 [`order_dependence`], S9 [`repeats`], L1 to L3 [`unexplained_waits`], L4 [`leftovers`].

mod count;
mod hooks;
mod live;
mod notice;
mod overrides;
mod own;
mod policy_checks;
mod starts;
mod violation;

use crate::Instant;
use crate::action::{Action, Change};
use crate::plan::Plan;
use crate::snapshot::{
    Drain, Holder, Lock, Node, OnTimeout, Operation, Order, OrderAction, Phase, Snapshot, StageKind, Taint,
};
use overrides::{refused_stage, unallowed};
use starts::Starts;
use violation::violation;

pub use violation::Violation;

pub use live::{leftovers, order_dependence, repeats, unexplained_waits};

/// Judges a plan; an empty list means that it is safe.
pub fn check(snapshot: &Snapshot, plan: &Plan, now: Instant) -> Vec<Violation> {
    let mut found = Vec::new();
    let nothing = Lock::default();
    let lock = snapshot.lock.as_ref().unwrap_or(&nothing);
    // A pass that starts no node reads no node here.
    let mut starts: Option<Starts> = None;
    let there = |name: &str| snapshot.nodes.get_key_value(name);
    for action in &plan.actions {
        if let Some((name, node)) = action.node().and_then(there)
            && node.view_gap.is_some()
        {
            let what = format!("{} for {name}, which cannot be decoded", action.name());
            found.push(violation("S2", what));
        }
        match action {
            Action::SetHolders { holders, .. } => {
                let starts = starts.get_or_insert_with(|| Starts::new(snapshot, now));
                starts.holders(&lock.holders, holders, plan, &mut found);
            }
            Action::Cordon { node, operation_id } => {
                if let Some((name, node)) = there(node) {
                    let starts = starts.get_or_insert_with(|| Starts::new(snapshot, now));
                    starts.cordon(name, node, &mut found);
                    marks(lock, name, node, operation_id, &mut found);
                }
            }
            Action::OrderReboot { node, order } => {
                if let Some((name, node)) = there(node) {
                    reboot(planned_holders(plan, lock), name, node, order, &mut found);
                }
            }
            Action::Uncordon { node, .. } => {
                if let Some((name, _)) = there(node).filter(|(_, node)| node.cordoned_for.is_none()) {
                    found.push(violation("S5", format!("{name} has no mark of ours to lift")));
                }
            }
            Action::AddTaint { node, taint } => {
                if let Some((name, node)) = there(node) {
                    taints(snapshot, name, node, *taint, &mut found);
                }
            }
            Action::SetSpec { order: Some(order), .. } if order.action == OrderAction::Reboot => {
                found.push(violation(
                    "S3",
                    format!("a reboot order {} without its check", order.id),
                ));
            }
            Action::WriteRecord { node, change } => {
                if let (Some((name, node)), Change::Set(Some(operation))) = (there(node), &change.operation) {
                    begins(snapshot, name, node, operation, now, &mut found);
                    stage_begins(snapshot, name, node, operation, now, &mut found);
                    found.extend(notice::recorded(name, node, operation));
                }
            }
            Action::GiveNotice { node, id, lasts } => {
                if let Some((name, node)) = there(node) {
                    found.extend(notice::given(name, node, id, *lasts));
                }
            }
            Action::EndNotice { node, id } => {
                if let Some((name, node)) = there(node) {
                    found.extend(notice::ended(name, node, id));
                }
            }
            Action::DeleteRecord { node } => {
                if let Some((name, _)) = there(node) {
                    found.push(violation("S5", format!("the record of {name} would be deleted")));
                }
            }
            Action::CreateLock
            | Action::CreateRecord { .. }
            | Action::SetSpec { .. }
            | Action::RemoveTaint { .. }
            | Action::BeginHandshake { .. }
            | Action::EndHandshake { .. }
            | Action::RemoveCommand { .. }
            | Action::RemoveRequest { .. }
            | Action::RemoveApproval { .. } => {}
        }
    }
    found
}

/// S1 and S5 right before the cordon.
fn marks(lock: &Lock, name: &str, node: &Node, operation: &str, found: &mut Vec<Violation>) {
    let holds = lock
        .holders
        .iter()
        .any(|h| h.node == name && h.node_uid == node.uid && h.operation_id == operation);
    if !holds {
        let what = format!("{name} would be cordoned without an entry in the lock");
        found.push(violation("S1", what));
    }
    if node.cordoned_for.is_some() {
        found.push(violation("S5", format!("{name} would be cordoned twice")));
    }
}

/// S5: a taint is set only on a node that we have cordoned, or where a policy requires it.
fn taints(snapshot: &Snapshot, name: &str, node: &Node, taint: Taint, found: &mut Vec<Violation>) {
    let operation = node.operation();
    let asked = match taint {
        Taint::Rebooting => operation.is_some_and(|operation| {
            operation.phase == Phase::Draining
                && operation.settings.daemon_sets_last
                && node.cordoned_for.as_ref() == Some(&operation.id)
        }),
        Taint::RebootPending => node.policies.iter().any(|policy| {
            let policy = snapshot.policies.get(policy);
            policy.is_some_and(|policy| policy.settings.prefer_updated_nodes)
        }),
    };
    if !asked {
        let what = format!("{name} would be tainted ({taint:?}) without a policy that asks for it");
        found.push(violation("S5", what));
    }
}

/// S2: an operation records as overridden only what its policy overrides for the node when it begins, and no more later.
fn begins(
    snapshot: &Snapshot,
    name: &str,
    node: &Node,
    operation: &Operation,
    now: Instant,
    found: &mut Vec<Violation>,
) {
    let before = node.operation().filter(|before| before.id == operation.id);
    let refused = match before {
        Some(before) => (before.overridden != operation.overridden).then(|| "after its begin".to_owned()),
        None => unallowed(snapshot.policies.get(&operation.policy), node, operation, now)
            .map(|kind| format!("with {}, which its policy does not allow", kind.as_str())),
    };
    if let Some(refused) = refused {
        let what = format!("guards of {name} would be overridden {refused}");
        found.push(violation("S2", what));
    }
}

/// S3: a stage of a drain begins only if the policy asks for it, in a window, and after evictions were asked for, whatever
/// time has passed.
fn stage_begins(
    snapshot: &Snapshot,
    name: &str,
    node: &Node,
    operation: &Operation,
    now: Instant,
    found: &mut Vec<Violation>,
) {
    let before = node.operation().and_then(|operation| operation.stage);
    let asked_for = node.drain_details.evicting_for;
    if before.is_none()
        && let Some(why) = refused_stage(snapshot.policies.get(&operation.policy), node, operation, now)
    {
        found.push(violation(
            "S3",
            format!("a stage of the drain of {name} would begin {why}"),
        ));
    }
    if operation.stage.is_some() && before.is_none() && !node.has_spent_drain_time(operation.settings.drain_timeout) {
        let seconds = asked_for.num_seconds();
        let what = format!("a stage of the drain of {name} would begin after {seconds} s of evictions");
        found.push(violation("S3", what));
    }
}

/// The lock's entries once its own write is made.
fn planned_holders<'a>(plan: &'a Plan, lock: &'a Lock) -> &'a [Holder] {
    let planned = plan.actions.iter().find_map(|action| match action {
        Action::SetHolders { holders, .. } => Some(holders.as_slice()),
        _ => None,
    });
    planned.unwrap_or(&lock.holders)
}

/// S3 and S4 right before the reboot order. The entry says that the reboot is ordered: it keeps the slot if the Node is
/// deleted meanwhile.
fn reboot(holders: &[Holder], name: &str, node: &Node, order: &Order, found: &mut Vec<Violation>) {
    let operation = node.operation();
    let Some(operation) = operation.filter(|operation| operation.order_id() == order.id) else {
        let what = format!("order {} for {name} is of no operation", order.id);
        found.push(violation("S4", what));
        return;
    };
    let entry = |holder: &&Holder| holder.node == name && holder.operation_id == operation.id;
    let entry = holders.iter().find(entry);
    let holds = entry.is_some_and(|holder| holder.reboot.is_some());
    let cordoned = node.unschedulable && node.cordoned_for.as_ref() == Some(&operation.id);
    let drained = matches!(node.drain, Drain::Done { .. })
        || operation.phase == Phase::Rebooting
        || (operation.is_in(StageKind::Reboot) && operation.settings.on_timeout == OnTimeout::Reboot);
    if !(holds && cordoned && drained) {
        let what = format!("{name} would be rebooted (entry {holds}, cordoned {cordoned}, drained {drained})");
        found.push(violation("S3", what));
    }
    found.extend(notice::outstanding(name, operation));
    if let Some(hook) = hooks::outstanding(operation) {
        let what = format!("{name} would be rebooted before hook {hook} has ended");
        found.push(violation("S3", what));
    }
    let ordered = matches!(operation.phase, Phase::Draining | Phase::Rebooting) && operation.pending_outcome.is_none();
    if !ordered || !is_of_boot(order, operation, node) {
        found.push(violation("S4", format!("{name} would be rebooted a second time")));
    }
}

/// Whether the order is for the boot before the reboot, and the node has not left it.
fn is_of_boot(order: &Order, operation: &Operation, node: &Node) -> bool {
    let (ordered, before) = (order.soft_reboots, operation.soft_reboots_before);
    let soft_rebooted = before.is_some_and(|before| node.soft_reboots().is_some_and(|now| now != before));
    let same = order.boot_id == operation.boot_id_before && ordered == before;
    same && node.boot_id == operation.boot_id_before && !soft_rebooted
}
