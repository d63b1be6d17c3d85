//! One pass: what to do now, why each node waits, and when to plan again.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_reasons::{ViewGap, WaitReason};

use crate::Instant;
use crate::action::Action;
use crate::admission::{Admitted, admit};
use crate::assessment::{Assessment, PolicyAssessment};
use crate::context::Context;
use crate::housekeeping::housekeeping;
use crate::lifecycle::advance;
use crate::names::PolicyName;
use crate::recorded::correct_holder;
use crate::recovery::{Recovery, recover};
use crate::snapshot::{CheckJobs, Holder, HookJob, OrderedReboot, PolicyState, Snapshot};
use crate::windows::InsufficientWindowTime;

/// Why each node is not rebooted now, by its name.
pub type WaitReasons = BTreeMap<String, WaitReason>;

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, in this order; any prefix is safe.
    pub actions: Vec<Action>,
    /// Why each node that requires a reboot, or is in progress, waits.
    pub wait_reasons: WaitReasons,
    /// When time alone may change the plan.
    pub recheck_at: Option<Instant>,
    /// How many nodes may be in progress over all policies.
    pub cluster_limit: usize,
    /// Nodes that would be admitted if their pods were known to be evictable: to be checked now.
    pub preflight: Vec<String>,
    /// The policies whose checks are to be evaluated now, and the nodes that those about a node are evaluated for.
    pub checks: BTreeMap<PolicyName, BTreeSet<String>>,
    /// For what the Jobs of these checks are to run, by node; for the other nodes none run.
    pub check_jobs: BTreeMap<String, CheckJobs>,
    /// Nodes with a new boot whose `DaemonSet`s count now: to be checked until they are ready.
    pub daemon_set_probes: Vec<String>,
    /// Nodes that are uncordoned after a reboot and whose evicted workloads count now: to be checked until they are ready.
    pub workload_probes: Vec<String>,
    /// The Jobs of the hooks in progress, by node: to be created, and observed until they have ended.
    pub hook_jobs: BTreeMap<String, HookJob>,
    /// What the status of each policy must remember.
    pub policies: BTreeMap<PolicyName, PolicyState>,
    /// Policies whose schedule leaves too little time; only estimated in a pass that has nothing else to do.
    pub insufficient_window_time: BTreeMap<PolicyName, InsufficientWindowTime>,
    /// Whether each policy's schedule is open.
    pub windows: BTreeMap<PolicyName, bool>,
}

/// Decides what to do next. Equal snapshots give equal plans, in whatever order they were built.
pub fn plan(snapshot: &Snapshot, now: Instant) -> Plan {
    if let Some(gap) = snapshot.unlisted.iter().min() {
        return nothing_is_known(snapshot, gap);
    }
    let context = Context::observe(snapshot, now);
    let assessment = Assessment::new(&context);
    let mut plan = publish(&assessment);
    let Some(lock) = &snapshot.lock else {
        plan.actions.push(Action::CreateLock);
        plan.wait_reasons = await_lock(&context);
        return plan;
    };
    let recovery = recover(&context, lock);
    let admissions = admit(&assessment, &recovery);
    let progress = advance(&assessment, &recovery);

    plan.actions
        .extend(set_holders(&recovery, &admissions.admitted, &progress.reboots, now));
    plan.actions.extend(recovery.actions.iter().cloned());
    plan.actions
        .extend(admissions.admitted.into_iter().flat_map(|one| one.actions));
    plan.actions.extend(progress.actions);
    let housekeeping = housekeeping(&assessment, &plan.actions);
    plan.actions.extend(housekeeping);

    plan.wait_reasons = admissions.wait_reasons;
    plan.wait_reasons.extend(progress.wait_reasons);
    add_undecodable(&mut plan.wait_reasons, &context);
    add_refused_writes(&mut plan.wait_reasons, &context);
    plan.preflight = admissions.preflight;
    plan.checks = admissions.checks;
    for (policy, node) in progress.checks {
        plan.checks.entry(policy).or_default().insert(node);
    }
    plan.check_jobs = progress.check_jobs;
    plan.daemon_set_probes = progress.daemon_set_probes;
    plan.workload_probes = progress.workload_probes;
    plan.hook_jobs = progress.hook_jobs;
    if plan.actions.is_empty() {
        plan.insufficient_window_time = insufficient_window_time(&assessment);
    }
    plan.recheck_at = recheck_at(&assessment, progress.recheck_at, &plan.wait_reasons);
    plan
}

/// Nothing is done before each kind was listed once.
fn nothing_is_known(snapshot: &Snapshot, gap: &ViewGap) -> Plan {
    let nodes = snapshot.nodes.keys();
    Plan {
        wait_reasons: nodes
            .map(|name| (name.clone(), WaitReason::ViewIncomplete(gap.clone())))
            .collect(),
        ..Plan::default()
    }
}

/// A node of which something cannot be decoded waits for that, whether or not it is in progress.
fn add_undecodable(wait_reasons: &mut WaitReasons, context: &Context) {
    let undecodable = context.undecodable.iter();
    wait_reasons.extend(undecodable.map(|(name, gap)| {
        let reason = WaitReason::ViewIncomplete((*gap).clone());
        ((*name).to_owned(), reason)
    }));
}

/// Without the lock no node starts; if its creation is refused, the nodes wait for that.
fn await_lock(context: &Context) -> WaitReasons {
    let refused = |message: &String| WaitReason::WriteRefused {
        message: message.clone(),
    };
    let waiting = context.requiring.iter().filter_map(|one| {
        let refusal = context.snapshot.refused_lock_write.as_ref()?;
        Some((one.name.to_owned(), refused(refusal)))
    });
    waiting.collect()
}

/// A node whose writes are refused waits for that, if it waits for nothing else.
fn add_refused_writes(wait_reasons: &mut WaitReasons, context: &Context) {
    for (name, message) in &context.refused_writes {
        let refused = || WaitReason::WriteRefused {
            message: (*message).to_owned(),
        };
        wait_reasons.entry((*name).to_owned()).or_insert_with(refused);
    }
}

/// What the status of each policy shows.
fn publish(assessment: &Assessment) -> Plan {
    let policies = assessment.policies.values();
    Plan {
        cluster_limit: assessment.context.cluster_limit,
        policies: policies
            .clone()
            .map(|policy| (policy.context.name.clone(), policy.state()))
            .collect(),
        windows: policies
            .map(|policy| (policy.context.name.clone(), policy.context.is_open()))
            .collect(),
        ..Plan::default()
    }
}

/// The lock as it must be, if it differs.
fn set_holders(
    recovery: &Recovery,
    admitted: &[Admitted],
    reboots: &BTreeMap<String, OrderedReboot>,
    now: Instant,
) -> Option<Action> {
    let (reused, new): (Vec<&Admitted>, Vec<&Admitted>) = admitted.iter().partition(|one| one.reuses_entry);
    let reused: BTreeSet<&Holder> = reused.into_iter().map(|one| &one.holder).collect();
    let freed = recovery.unstarted.iter().filter(|holder| !reused.contains(**holder));
    let freed = freed.map(|holder| format!("{} is free", holder.node));
    let added = new.into_iter().map(|one| format!("{} starts", one.holder.node));
    let rebooted = reboots.keys().map(|node| format!("{node} reboots"));
    let because = recovery.because.iter().cloned();
    let ahead = recovery
        .entries()
        .filter(|entry| correct_holder(entry.holder, now).is_some());
    let ahead: Vec<String> = ahead
        .map(|entry| format!("{} had times ahead of the clock", entry.holder.node))
        .collect();
    let because: Vec<String> = because.chain(freed).chain(added).chain(rebooted).chain(ahead).collect();
    if because.is_empty() {
        return None;
    }
    let kept = recovery.entries().map(|entry| {
        let holder = correct_holder(entry.holder, now).unwrap_or_else(|| entry.holder.clone());
        let reboot = reboots.get(&holder.node).cloned();
        Holder {
            reboot: reboot.or(holder.reboot),
            ..holder
        }
    });
    Some(Action::SetHolders {
        holders: kept.chain(admitted.iter().map(|one| one.holder.clone())).collect(),
        because: because.join(", "),
    })
}

fn insufficient_window_time(assessment: &Assessment) -> BTreeMap<PolicyName, InsufficientWindowTime> {
    let policies = assessment.policies.values();
    let insufficient = policies.filter_map(|policy| {
        let why = policy.insufficient_window_time(assessment.context.now)?;
        Some((policy.context.name.clone(), why))
    });
    insufficient.collect()
}

/// The first instant after now at which time alone may change the plan.
fn recheck_at(assessment: &Assessment, time_out: Option<Instant>, wait_reasons: &WaitReasons) -> Option<Instant> {
    let policies = assessment.policies.values().flat_map(PolicyAssessment::changes_at);
    let waits = wait_reasons.values().filter_map(WaitReason::until);
    // A time that has passed and still holds does not end by planning again at once.
    let later = policies.chain(waits).filter(|time| *time > assessment.context.now);
    later.chain(time_out).chain(assessment.context.next_change).min()
}
