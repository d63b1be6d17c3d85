//! One pass: what to do now, why everybody else waits, and when to look again.

use std::collections::BTreeMap;

use crate::Instant;
use crate::action::Action;
use crate::capacity::{Facts, PolicyFacts, SETTING_UP};
use crate::command::obey;
use crate::gate;
use crate::grant::grant;
use crate::inside::step;
use crate::repair::repair;
use crate::snapshot::{Holder, Lock, Node, PolicyState, Record, Settings, Snapshot};
use crate::waiting::Waiting;
use crate::windows::Opening;

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, in this order; any prefix is safe.
    pub actions: Vec<Action>,
    /// Why each node that is not idle waits.
    pub waiting: BTreeMap<String, Waiting>,
    /// When time alone may change the answer.
    pub recheck_at: Option<Instant>,
    /// How many nodes may be inside over all policies, for those who watch.
    pub cluster_limit: usize,
    /// Nodes that would go in if they were known to be drainable: to be asked now.
    pub preflight: Vec<String>,
    /// What the status of each policy must remember.
    pub policies: BTreeMap<String, PolicyState>,
    /// Whether each policy's nodes may start by its windows, for those who watch.
    pub windows: BTreeMap<String, bool>,
}

/// Decides what to do next. Equal snapshots give equal plans, whatever order they were built in.
pub fn plan(snapshot: &Snapshot, now: Instant) -> Plan {
    let mut plan = Plan::default();
    if let Some(what) = snapshot.unseen.first() {
        let everybody = snapshot.nodes.keys();
        plan.waiting = everybody
            .map(|name| (name.clone(), Waiting::ViewIncomplete { what: what.clone() }))
            .collect();
        return plan;
    }
    let facts = Facts::new(snapshot, now);
    plan.cluster_limit = facts.cluster_limit;
    let open = |policy: &PolicyFacts| matches!(policy.opening, Ok(Opening::Open { .. }));
    plan.windows = facts
        .policies
        .iter()
        .map(|(name, policy)| ((*name).to_owned(), open(policy)))
        .collect();
    let Some(lock) = &snapshot.lock else {
        plan.actions.push(Action::CreateLock);
        return plan;
    };
    let settings = snapshot
        .policies
        .values()
        .next()
        .map_or_else(Settings::default, |policy| policy.settings.clone());
    let mut repaired = repair(snapshot, lock, &settings, now);
    let grants = grant(&facts, &repaired.holders, &mut plan);
    for grant in &grants {
        repaired.because.push(format!("{} goes in", grant.holder.node));
        repaired.holders.push(grant.holder.clone());
    }
    if repaired.holders != lock.holders {
        let because = repaired.because.join(", ");
        plan.actions.push(Action::SetHolders {
            holders: repaired.holders.clone(),
            because,
        });
    }
    plan.actions.append(&mut repaired.actions);
    plan.actions.extend(grants.into_iter().flat_map(|grant| grant.actions));
    records(&facts, lock, &mut plan);
    plan.recheck_at = recheck(&facts, &plan);
    plan
}

/// Steps of the nodes that are inside, and what the other records need.
fn records(facts: &Facts, lock: &Lock, plan: &mut Plan) {
    let inside: BTreeMap<&str, usize> = lock
        .holders
        .iter()
        .enumerate()
        .map(|(place, holder)| (holder.node.as_str(), place))
        .collect();
    for (name, node) in &facts.snapshot.nodes {
        let Some(record) = &node.record else {
            let policy = gate::policy_of(node, facts).ok().map(|(policy, _)| policy.to_owned());
            plan.actions.push(Action::CreateRecord {
                node: name.clone(),
                uid: node.uid.clone(),
                policy,
            });
            continue;
        };
        match (&record.operation, inside.get(name.as_str())) {
            (Some(operation), Some(place)) if operation.id == lock.holders[*place].operation_id => {
                let ahead: Vec<&Holder> = lock.holders[..*place].iter().collect();
                let step = step(name, node, record, facts, &ahead);
                plan.actions.extend(step.action);
                if let Some(waiting) = step.waiting {
                    plan.waiting.insert(name.clone(), waiting);
                }
                plan.recheck_at = earliest(plan.recheck_at, step.recheck);
            }
            // Its entry is put back by `repair` first; nothing is touched without one.
            (Some(_), _) => {}
            (None, _) => idle(name, node, record, facts, plan),
        }
    }
}

/// What an idle node's record needs: an answer to a stray command, the right policy name, no order.
fn idle(name: &str, node: &Node, record: &Record, facts: &Facts, plan: &mut Plan) {
    if plan.actions.iter().any(|action| action.node() == Some(name)) {
        return;
    }
    if let Some(action) = obey(name, node, record, facts.now) {
        plan.actions.push(action);
    }
    let policy = gate::policy_of(node, facts).ok().map(|(policy, _)| policy.to_owned());
    let undecided = !facts.snapshot.undecodable.is_empty();
    if record.order.is_some() || (record.policy != policy && !undecided) {
        plan.actions.push(Action::SetSpec {
            node: name.to_owned(),
            policy,
            order: None,
        });
    }
}

/// The first instant after now at which time alone changes something.
fn recheck(facts: &Facts, plan: &Plan) -> Option<Instant> {
    let mut at = plan.recheck_at;
    for policy in facts.policies.values() {
        at = match &policy.opening {
            Ok(Opening::Open { closes }) => earliest(at, *closes),
            Ok(Opening::Closed { opens }) => earliest(at, *opens),
            Ok(Opening::Excluded { until, .. }) => earliest(at, *until),
            Err(_) => at,
        };
    }
    for waiting in plan.waiting.values() {
        // What is over and still holds does not end by looking again at once.
        at = earliest(at, waiting.until().filter(|until| *until > facts.now));
    }
    for node in facts.snapshot.nodes.values() {
        let missing = node
            .record
            .as_ref()
            .and_then(|record| record.host.as_ref())
            .and(gate::agent_missing(node));
        let set_up = (!node.ready.ready).then_some(node.created + SETTING_UP);
        let hold = node.hold.as_ref().and_then(|hold| hold.until);
        for time in [missing, set_up, hold] {
            at = earliest(at, time.filter(|time| *time > facts.now));
        }
    }
    at
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
