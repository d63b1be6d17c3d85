//! The safety rules of design section 10, stated once; tests, simulation and production all call [`check`].
//!
//! It is written apart from the planner on purpose: it judges the plan by what was seen, not by how it came about.

use std::collections::BTreeMap;

use crate::Instant;
use crate::action::Action;
use crate::capacity::why_down;
use crate::operation::Phase;
use crate::plan::Plan;
use crate::snapshot::{Drain, Holder, Lock, Node, Order, OrderAction, Snapshot};

/// A rule that a plan would break; production writes nothing of such a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name in the design: `S1` to `S6`.
    pub rule: &'static str,
    /// What would break it.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Judges a plan; an empty list means that it is safe.
pub fn check(snapshot: &Snapshot, plan: &Plan, now: Instant) -> Vec<Violation> {
    let mut found = Vec::new();
    let nothing = Lock::default();
    let lock = snapshot.lock.as_ref().unwrap_or(&nothing);
    for action in &plan.actions {
        let node = action
            .node()
            .and_then(|name| snapshot.nodes.get(name).map(|node| (name, node)));
        match (action, node) {
            (Action::SetHolders { holders, .. }, _) => new_holders(snapshot, lock, holders, now, &mut found),
            (Action::ApplyMarks { operation_id, .. }, Some((name, node))) => {
                marks(snapshot, lock, name, node, operation_id, now, &mut found);
            }
            (Action::OrderReboot { order, .. }, Some((name, node))) => reboot(lock, name, node, order, &mut found),
            (Action::LiftMarks { .. }, Some((name, node))) if node.mark.is_none() => {
                found.push(Violation {
                    rule: "S5",
                    what: format!("{name} has no mark of ours to lift"),
                });
            }
            (Action::SetSpec { order: Some(order), .. }, _) if order.action == OrderAction::Reboot => {
                found.push(Violation {
                    rule: "S3",
                    what: format!("a reboot order {} without its check", order.id),
                });
            }
            (
                Action::CreateLock
                | Action::CreateRecord { .. }
                | Action::WriteRecord { .. }
                | Action::SetSpec { .. }
                | Action::OrderReboot { .. }
                | Action::ApplyMarks { .. }
                | Action::LiftMarks { .. }
                | Action::RemoveCommand { .. }
                | Action::RemoveRequest { .. }
                | Action::RemoveApproval { .. },
                _,
            ) => {}
        }
    }
    found
}

/// S1, S2, S6 for the nodes that go in.
fn new_holders(snapshot: &Snapshot, lock: &Lock, holders: &[Holder], now: Instant, found: &mut Vec<Violation>) {
    let inside_before = |holder: &&Holder| {
        lock.holders.iter().any(|known| known.node == holder.node)
            || snapshot
                .nodes
                .get(&holder.node)
                .is_some_and(|node| node.record.as_ref().is_some_and(|record| record.operation.is_some()))
    };
    let added: Vec<&Holder> = holders.iter().filter(|holder| !inside_before(holder)).collect();
    for holder in &added {
        starts(snapshot, &holder.node, now, found);
        let (of_policy, limit) = (
            holders.iter().filter(|other| other.policy == holder.policy).count(),
            &holder.policy,
        );
        let allowed = policy_limit(snapshot, limit);
        if of_policy > allowed {
            found.push(Violation {
                rule: "S1",
                what: format!("{of_policy} inside under {limit}, {allowed} allowed"),
            });
        }
        let cluster = cluster_limit(snapshot);
        if holders.len() > cluster {
            let what = format!("{} inside over all policies, {cluster} allowed", holders.len());
            found.push(Violation { rule: "S1", what });
        }
        unavailable(snapshot, holders, holder, now, found);
    }
    if let Some(own) = added
        .iter()
        .find(|holder| snapshot.own_node.as_ref() == Some(&holder.node))
    {
        let earlier = added
            .iter()
            .any(|holder| holder.node != own.node && holder.policy == own.policy);
        if earlier && holders.last().map(|last| &last.node) != Some(&own.node) {
            found.push(Violation {
                rule: "S6",
                what: format!("{} runs the operator and is not last", own.node),
            });
        }
    }
}

/// S1: no node that is up is added while `maxUnavailable` is reached.
fn unavailable(snapshot: &Snapshot, holders: &[Holder], added: &Holder, now: Instant, found: &mut Vec<Violation>) {
    let (Some(node), Some(policy)) = (snapshot.nodes.get(&added.node), snapshot.policies.get(&added.policy)) else {
        return;
    };
    if why_down(node, now).is_some() {
        return;
    }
    let selected: Vec<(&String, &Node)> = snapshot
        .nodes
        .iter()
        .filter(|(_, node)| node.policies.contains(&added.policy))
        .collect();
    let limit = policy.max_unavailable.of(selected.len());
    let down = selected
        .iter()
        .filter(|(name, node)| holders.iter().any(|holder| holder.node == **name) || why_down(node, now).is_some())
        .count();
    if down > limit {
        let what = format!(
            "{down} of {} would be down with {}, {limit} allowed",
            added.policy, added.node
        );
        found.push(Violation { rule: "S1", what });
    }
}

/// S2: nothing starts while it may not.
fn starts(snapshot: &Snapshot, name: &str, now: Instant, found: &mut Vec<Violation>) {
    let mut no = |what: String| found.push(Violation { rule: "S2", what });
    if !snapshot.unseen.is_empty() || !snapshot.undecodable.is_empty() {
        no(format!("{name} would start although not everything was seen"));
    }
    let Some(node) = snapshot.nodes.get(name) else {
        return no(format!("{name} is not there"));
    };
    let [policy] = node.policies.as_slice() else {
        return no(format!("{name} is not under exactly one policy"));
    };
    let Some(policy) = snapshot.policies.get(policy) else {
        return no(format!("policy {policy} is not there"));
    };
    let open = policy.schedule.as_ref().is_ok_and(|schedule| schedule.is_open(now));
    if policy.suspend || !open || node.hold.as_ref().is_some_and(|hold| hold.holds(now)) {
        no(format!("{name} would start while suspended, held or outside a window"));
    }
}

/// S1 to S3 right before the cordon.
fn marks(
    snapshot: &Snapshot,
    lock: &Lock,
    name: &str,
    node: &Node,
    operation: &str,
    now: Instant,
    found: &mut Vec<Violation>,
) {
    starts(snapshot, name, now, found);
    let holds = lock
        .holders
        .iter()
        .any(|h| h.node == name && h.node_uid == node.uid && h.operation_id == operation);
    if !holds {
        found.push(Violation {
            rule: "S1",
            what: format!("{name} would be cordoned without an entry in the lock"),
        });
    }
    if node.mark.is_some() {
        found.push(Violation {
            rule: "S5",
            what: format!("{name} would be cordoned twice"),
        });
    }
}

/// S3 and S4 right before the reboot order.
fn reboot(lock: &Lock, name: &str, node: &Node, order: &Order, found: &mut Vec<Violation>) {
    let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
    let Some(operation) = operation.filter(|operation| operation.order_id() == order.id) else {
        found.push(Violation {
            rule: "S4",
            what: format!("order {} for {name} is of no operation", order.id),
        });
        return;
    };
    let holds = lock
        .holders
        .iter()
        .any(|holder| holder.node == name && holder.operation_id == operation.id);
    let cordoned = node.unschedulable && node.mark.as_ref() == Some(&operation.id);
    let drained = matches!(node.drain, Drain::Done { .. }) || operation.phase == Phase::Rebooting;
    if !(holds && cordoned && drained) {
        let what = format!("{name} would be rebooted (entry {holds}, cordoned {cordoned}, drained {drained})");
        found.push(Violation { rule: "S3", what });
    }
    let ordered = matches!(operation.phase, Phase::Draining | Phase::Rebooting) && operation.ending.is_none();
    if !ordered || order.boot_id != operation.boot_id_before || node.boot_id != operation.boot_id_before {
        found.push(Violation {
            rule: "S4",
            what: format!("{name} would be rebooted a second time"),
        });
    }
}

fn policy_limit(snapshot: &Snapshot, policy: &str) -> usize {
    let total = snapshot
        .nodes
        .values()
        .filter(|node| node.policies.iter().any(|name| name == policy))
        .count();
    snapshot
        .policies
        .get(policy)
        .map_or(0, |policy| policy.max_in_progress.of(total))
}

fn cluster_limit(snapshot: &Snapshot) -> usize {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for policy in snapshot.nodes.values().flat_map(|node| &node.policies) {
        *totals.entry(policy).or_default() += 1;
    }
    let limits = snapshot.policies.iter().map(|(name, policy)| {
        policy
            .max_in_progress
            .of(totals.get(name.as_str()).copied().unwrap_or(0))
    });
    let cap = snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
    cap.map_or_else(|| limits.max().unwrap_or(0), |cap| cap.of(snapshot.nodes.len()))
}
