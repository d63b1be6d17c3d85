//! One pass: what to do now, why everybody else waits, and when to look again.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::action::Action;
use crate::breaker;
use crate::capacity::{Facts, Seen};
use crate::command::obey;
use crate::fit;
use crate::grant::{Answers, Grant, Words, grant};
use crate::inside::step;
use crate::names::PolicyName;
use crate::repair::{Entry, Repaired, in_order, repair};
use crate::room::Room;
use crate::sanity::{self, InsufficientWindowTime};
use crate::snapshot::{Holder, PolicyState, Settings, Snapshot};
use crate::taints::taints;
use crate::whole::Whole;
use crate::windows::Opening;
use lockkeeper_reasons::WaitReason;

/// Why each node is not rebooted now, by its name.
pub type WaitReasons = BTreeMap<String, WaitReason>;

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, in this order; any prefix is safe.
    pub actions: Vec<Action>,
    /// Why each node that is not idle waits.
    pub wait_reasons: WaitReasons,
    /// When time alone may change the answer.
    pub recheck_at: Option<Instant>,
    /// How many nodes may be inside over all policies, for those who watch.
    pub cluster_limit: usize,
    /// Nodes that would go in if they were known to be drainable: to be asked now.
    pub preflight: Vec<String>,
    /// Nodes that are back with a new boot and whose `DaemonSet`s count now: to be looked at until they are ready.
    pub daemon_set_probes: Vec<String>,
    /// What the status of each policy must remember.
    pub policies: BTreeMap<PolicyName, PolicyState>,
    /// Policies whose schedule leaves too little time; only looked for in a pass that has nothing else to do.
    pub insufficient_window_time: BTreeMap<PolicyName, InsufficientWindowTime>,
    /// Whether each policy's nodes may start by its windows, for those who watch.
    pub windows: BTreeMap<PolicyName, bool>,
}

/// Decides what to do next. Equal snapshots give equal plans, whatever order they were built in.
pub fn plan(snapshot: &Snapshot, now: Instant) -> Plan {
    let mut plan = Plan::default();
    if let Some(what) = snapshot.unlisted.iter().min() {
        let everybody = snapshot.nodes.keys();
        plan.wait_reasons = everybody
            .map(|name| (name.clone(), WaitReason::ViewIncomplete(what.clone())))
            .collect();
        return plan;
    }
    let mut facts = Facts::new(snapshot, now);
    let mut wanting = std::mem::take(&mut facts.wanting);
    plan.cluster_limit = facts.cluster_limit;
    for policy in &facts.policies {
        let open = matches!(policy.opening, Ok(Opening::Open { .. }));
        plan.windows.insert(policy.name.to_owned(), open);
        plan.policies.insert(policy.name.to_owned(), policy.state.clone());
    }
    let Some(lock) = &snapshot.lock else {
        plan.actions.push(Action::CreateLock);
        return plan;
    };
    let settings = snapshot
        .policies
        .values()
        .next()
        .map_or_else(Settings::default, |policy| policy.settings.clone());
    let known = in_order(lock, &facts);
    let repaired = repair(&facts, &known, &settings);
    let Answers {
        grants,
        mut words,
        preflight,
    } = grant(&facts, &mut wanting, &repaired);
    plan.preflight = preflight;
    let (came, actions) = apart(grants);
    if let Some(action) = set_holders(&repaired, came) {
        plan.actions.push(action);
    }
    plan.actions.extend(repaired.actions.iter().cloned());
    plan.actions.extend(actions);
    steps(&facts, &known, &repaired, &mut words, &mut plan);
    plan.wait_reasons = words.all();
    tidy(&facts, &mut plan);
    taints(&facts, &mut plan);
    if plan.actions.is_empty() {
        let judged = facts.policies.iter();
        let judged = judged.filter_map(|policy| Some((policy.name.to_owned(), sanity::judge(policy, now)?)));
        plan.insufficient_window_time.extend(judged);
    }
    plan.recheck_at = recheck(&facts, &plan);
    plan
}

/// Those that come, whether each has its entry already, and what is written for them.
fn apart(grants: Vec<Grant>) -> (Vec<(Holder, bool)>, Vec<Action>) {
    let mut actions = Vec::with_capacity(grants.len() * 2);
    let came = grants.into_iter().map(|grant| {
        actions.extend(grant.actions);
        (grant.holder, grant.again)
    });
    (came.collect(), actions)
}

/// The lock as it must be, if it is not.
fn set_holders(repaired: &Repaired, came: Vec<(Holder, bool)>) -> Option<Action> {
    let again: BTreeSet<&Holder> = came
        .iter()
        .filter(|(_, again)| *again)
        .map(|(holder, _)| holder)
        .collect();
    let freed = repaired.unused.iter().filter(|holder| !again.contains(**holder));
    let mut because = repaired.because.join(", ");
    let mut say = |name: &str, what: &str| {
        let comma = if because.is_empty() { "" } else { ", " };
        because.extend([comma, name, what]);
    };
    for holder in freed {
        say(&holder.node, " is free");
    }
    for (holder, _) in came.iter().filter(|(_, again)| !again) {
        say(&holder.node, " goes in");
    }
    if because.is_empty() {
        return None;
    }
    let inside = repaired.entries().map(|entry| entry.holder.clone());
    Some(Action::SetHolders {
        holders: inside.chain(came.into_iter().map(|(holder, _)| holder)).collect(),
        because,
    })
}

/// Steps of the nodes that are inside, in the order in which they went in.
///
/// Those whose entry is only given back in this pass take no step yet, but they have their place already: nobody is
/// cordoned in it.
fn steps<'a>(
    facts: &'a Facts<'a>,
    known: &[Entry<'a>],
    repaired: &'a Repaired<'a>,
    words: &mut Words<'a>,
    plan: &mut Plan,
) {
    if known.is_empty() {
        return;
    }
    let mut room = Room::new(facts);
    for entry in repaired.entries().skip(repaired.kept.len()) {
        room.add(entry);
    }
    for (name, node) in &repaired.astray {
        room.add_astray(name, node);
    }
    let whole = Whole::new(facts, known, repaired);
    // Who is cordoned counts before who is not yet, whoever came first: an entry that was given back, or a limit that
    // shrank, must not let one more be cordoned.
    let cordoned = |entry: &&Entry| entry.node.is_some_and(|node| node.cordoned_for.is_some());
    let others = known.iter().filter(|entry| !cordoned(entry));
    for entry in known.iter().filter(cordoned).chain(others).copied() {
        let seen = entry.inside.map(|place| &facts.inside[place]);
        // Without its entry nothing is touched; `repair` puts it back first.
        let known = |seen: &&Seen| {
            let operation = seen.record.operation.as_ref();
            operation.is_some_and(|operation| operation.id == entry.holder.operation_id)
        };
        if let Some(seen) = seen.filter(known) {
            let step = step(seen.name, seen.node, seen.record, facts, &mut room, &whole);
            plan.actions.extend(step.action);
            if step.daemons {
                plan.daemon_set_probes.push(seen.name.to_owned());
            }
            if let Some(waiting) = step.waiting {
                words.add(seen, waiting);
            }
            plan.recheck_at = earliest(plan.recheck_at, step.recheck);
        }
        room.add(entry);
    }
}

/// What idle nodes need: a record, an answer to a stray command, the right policy name, no order.
fn tidy(facts: &Facts, plan: &mut Plan) {
    if facts.untidy.is_empty() {
        return;
    }
    let undecided = !facts.snapshot.view_gaps.is_empty();
    let busy: BTreeSet<&str> = plan.actions.iter().filter_map(Action::node).collect();
    let mut actions = Vec::new();
    for (name, node) in &facts.untidy {
        let policy = facts.named(node).cloned();
        let node_name = (*name).to_owned();
        let Some(record) = &node.record else {
            actions.push(Action::CreateRecord {
                node: node_name,
                uid: node.uid.clone(),
                policy,
            });
            continue;
        };
        if busy.contains(name) {
            continue;
        }
        actions.extend(obey(name, node, record, facts.now));
        if record.order.is_some() || (record.policy != policy && !undecided) {
            actions.push(Action::SetSpec {
                node: node_name,
                policy,
                order: None,
            });
        }
    }
    plan.actions.append(&mut actions);
}

/// The first instant after now at which time alone changes something.
fn recheck(facts: &Facts, plan: &Plan) -> Option<Instant> {
    let mut at = earliest(plan.recheck_at, facts.recheck);
    // What is over and still holds does not end by looking again at once.
    let mut soon = |time: Option<Instant>| at = earliest(at, time.filter(|time| *time > facts.now));
    for policy in &facts.policies {
        // Also while everybody waits for something else: the status says these three.
        let needs = policy.policy.duration_estimate.cordoned;
        match &policy.opening {
            Ok(Opening::Open { closes }) => {
                soon(*closes);
                soon(closes.map(|closes| fit::too_late_from(needs, closes)));
            }
            Ok(Opening::Closed { opens }) => soon(*opens),
            Ok(Opening::Excluded { until, .. }) => soon(*until),
            Err(_) => {}
        }
        breaker::probes_at(policy).for_each(|time| soon(Some(time)));
        soon(policy.canary.passes_at());
    }
    plan.wait_reasons.values().for_each(|waiting| soon(waiting.until()));
    at
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
