//! Guards broken on purpose, to see that the simulator notices: in the executor, or by doctoring what the planner is
//! handed and what it answers. Nothing of this is in `src`; what judges a mutant is the truth, without `check`.

use lockkeeper_planner::*;

use super::execute::Guard;
use super::world::World;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One guard less.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])* $name),* }

        impl Mutant {
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

mutants! {
    /// The lock is written whatever its version.
    NoCompareAndSwap,
    /// Records are written whatever their version.
    NoRecordVersion,
    /// The cordon is applied to whatever Node has that name now.
    NoNodeVersion,
    /// The lock is not read again before a cordon, a reboot order, or the begin of an operation.
    NoFreshLock,
    /// The Node is not read again before the reboot order.
    NoFreshNode,
    /// The reboot is ordered whoever has put the node on hold meanwhile.
    NoFreshHold,
    /// The record is not read again before a cordon or an uncordon, or before a holder is restored.
    NoFreshOperation,
    /// Node and record are not read again before a holder is removed.
    NoReleaseCheck,
    /// The Node is not read again before an operation is removed or reconstructed, or its holder is removed.
    NoFreshCordon,
    /// The policies are not read again before a cordon, nor before the name of a node's policy changes.
    NoFreshPolicies,
    /// The cordoned Nodes are not listed again before a cordon.
    NoUnknownCordons,
    /// An uncordon takes away everybody's cordon.
    RemovesAnyCordon,
    /// The reboot is ordered before the node is drained, and pods are not listed again before it.
    OrdersUndrained,
    /// One node more than the limits is admitted.
    IgnoresLimits,
    /// A lost lock is taken for "no node in progress".
    LostLockIsEmpty,
    /// A node whose Node is deleted while it reboots loses its slot.
    DeletedNodeReleasesSlot,
    /// A failed node releases its slot without a command of a person.
    FailedNodeReleasesSlot,
    /// What waits on time is not looked at again.
    NeverWakes,
    /// What waits on time is looked at an hour later.
    WakesTooLate,
    /// Marks are not lifted.
    KeepsCordon,
    /// The order stays after the end.
    KeepsOrder,
    /// A node whose agent refused the reboot is uncordoned at once.
    BelievesRefusals,
    /// The time that has passed since the cordon counts as spent on evictions.
    CountsPassedTime,
    /// A time-out is judged right after an outage.
    JudgesAtOnce,
    /// A reboot is ordered right after an outage.
    OrdersAtOnce,
    /// A node that failed because time ran out waits for a person.
    NeverLate,
    /// A success that lies ahead of now closes the breaker.
    BelievesAnyTime,
    /// An operator does not notice that the versions of the API server went back.
    StaysBlind,
    /// An operator leads although its clock is behind that of the API server by days.
    LeadsWithAnyClock,
    /// A back-off lasts until the time that a wrong clock has recorded.
    WaitsForAnyTime,
    /// The reboots of a node in a day are not counted.
    CountsNoReboots,
    /// Nodes start outside the windows.
    IgnoresWindows,
    /// The nodes of the control plane are as good as any.
    IgnoresControlPlane,
    /// A person's command is left standing.
    KeepsCommand,
    /// An agent obeys orders that are meant for another boot.
    AcceptsAnyBoot,
    /// An agent obeys orders that have expired.
    ObeysLateOrders,
    /// An operation takes the id of the one before it.
    ReusesIds,
    /// Only the first of the lock's list is cordoned, whoever that is.
    CordonsInListOrder,
    /// What was written is written again.
    WritesAgain,
    /// Our taints are not taken away.
    KeepsTaint,
    /// No node waits for the canary.
    IgnoresCanary,
    /// The operator's own node is as good as any.
    IgnoresOwnNode,
    /// Failures stop no node.
    IgnoresBreaker,
    /// A node starts however little is left of the window.
    IgnoresFit,
    /// A node starts whoever holds it.
    IgnoresHold,
    /// A node starts although an agent is not confined.
    IgnoresConfinement,
    /// A node of whose operation nothing tells is taken for one that stays up, whatever its agent says, or has not said yet.
    AssumesNoReboot,
    /// A node is uncordoned whether its `DaemonSet` is ready again or not.
    IgnoresDaemons,
    /// A node gives its slot away whether the workload that it evicted is ready again or not.
    IgnoresWorkloads,
    /// A node starts, and succeeds, whatever the checks of its policy find.
    IgnoresChecks,
    /// What the checks find after the reboot was there before.
    KnowsEveryFinding,
    /// Any hook counts as ended well as soon as it has begun.
    BelievesAnyHook,
    /// What a hook has set on a Node is not removed.
    KeepsHandshake,
    /// Any notice counts as given long before.
    BelievesAnyNotice,
    /// The notice stays on the Node after the operation has ended.
    KeepsNotice,
    /// A node starts, and succeeds, whatever the Jobs of its checks do.
    IgnoresJobs,
    /// What Jobs did for an earlier operation counts for this one.
    ConfusesJobs,
    /// What the pod of a `DaemonSet` said before the reboot counts.
    CountsAnOldReport,
    /// Nodes reach each rung of the deadline when they reach the one before it.
    ReachesRungsEarly,
    /// An urgent override never ends.
    StaysUrgent,
}

impl Mutant {
    /// Whether it breaks a rule that `check` alone holds; the others are judged by the truth, without it.
    pub fn is_judged_by_check(self) -> bool {
        matches!(
            self,
            Self::IgnoresOwnNode
                | Self::IgnoresBreaker
                | Self::IgnoresFit
                | Self::IgnoresHold
                | Self::IgnoresConfinement
        )
    }
}

/// The executor's guards that it breaks.
pub fn without(mutant: Option<Mutant>) -> &'static [Guard] {
    match mutant {
        Some(Mutant::NoCompareAndSwap) => &[Guard::LockVersion],
        Some(Mutant::NoRecordVersion) => &[Guard::RecordVersion],
        Some(Mutant::NoNodeVersion) => &[Guard::NodeVersion],
        Some(Mutant::NoFreshLock) => &[Guard::HoldsSlot, Guard::NoNewHolder],
        Some(Mutant::NoFreshNode) => &[Guard::ReadyForReboot],
        Some(Mutant::NoFreshHold) => &[Guard::NotHeld],
        Some(Mutant::OrdersUndrained) => &[Guard::Drained],
        Some(Mutant::NoFreshOperation) => &[Guard::OperationUnchanged, Guard::OperationInProgress],
        Some(Mutant::NoReleaseCheck | Mutant::FailedNodeReleasesSlot) => &[Guard::Released],
        Some(Mutant::NoFreshCordon) => &[Guard::Cordoned, Guard::Uncordoned, Guard::Released],
        Some(Mutant::NoFreshPolicies) => &[Guard::PoliciesUnchanged],
        Some(Mutant::NoUnknownCordons) => &[Guard::NoUnknownCordon],
        Some(Mutant::RemovesAnyCordon) => &[Guard::OwnCordonOnly],
        _ => &[],
    }
}

pub fn plan(mutant: Option<Mutant>, snapshot: &Snapshot, now: Instant) -> Plan {
    let Some(mutant) = mutant else {
        return lockkeeper_planner::plan(snapshot, now);
    };
    let mut seen = snapshot.clone();
    let doctored = doctor(mutant, &mut seen, now);
    let mut plan = lockkeeper_planner::plan(if doctored { &seen } else { snapshot }, now);
    answer(mutant, snapshot, &mut plan);
    plan
}

/// What the planner is made to believe.
fn doctor(mutant: Mutant, seen: &mut Snapshot, now: Instant) -> bool {
    match mutant {
        Mutant::OrdersUndrained => {
            for node in seen.nodes.values_mut().filter(|node| node.cordoned_for.is_some()) {
                node.drain = Drain::Done { moved: 0 };
            }
        }
        Mutant::IgnoresLimits => {
            for policy in seen.policies.values_mut() {
                policy.max_in_progress = Limit::Count(policy.max_in_progress.of(seen.nodes.len()) + 1);
                policy.max_unavailable = Limit::Count(policy.max_unavailable.of(seen.nodes.len()) + 1);
            }
            seen.lock.iter_mut().for_each(|lock| lock.max_in_progress = None);
        }
        Mutant::LostLockIsEmpty => {
            let holders = seen.lock.as_ref().map(|lock| lock.holders.clone()).unwrap_or_default();
            for (name, node) in &mut seen.nodes {
                if !holders.iter().any(|holder| &holder.node == name) {
                    node.cordoned_for = None;
                    node.record.iter_mut().for_each(|record| record.operation = None);
                }
            }
        }
        Mutant::DeletedNodeReleasesSlot => {
            let holders = seen.lock.iter_mut().flat_map(|lock| &mut lock.holders);
            for holder in holders.filter(|holder| !seen.nodes.contains_key(&holder.node)) {
                holder.reboot = None;
            }
        }
        Mutant::CountsPassedTime => {
            let long = chrono::TimeDelta::days(1);
            nodes(seen).for_each(|node| node.drain_details.evicting_for = long);
        }
        Mutant::JudgesAtOnce => seen.watched_for = OBSERVATION_GRACE,
        Mutant::OrdersAtOnce => seen.watched_for = seen.watched_for.max(SCHEDULER_GRACE),
        Mutant::NeverLate => operations(seen).for_each(|operation| {
            operation
                .failure
                .iter_mut()
                .for_each(|failure| failure.timed_out = false);
        }),
        Mutant::BelievesAnyTime => last_reboots(seen).for_each(|last| {
            last.started = last.started.min(now);
        }),
        Mutant::WaitsForAnyTime => {
            for node in seen.nodes.values_mut().filter(|node| node.operation().is_none()) {
                let deferred = node.record.as_ref().and_then(|record| record.deferred.as_ref());
                if let Some(until) = deferred.map(|deferred| deferred.until).filter(|until| *until > now) {
                    node.hold = Some(Hold {
                        reason: "deferred".to_owned(),
                        until: Some(until),
                        invalid_until: None,
                    });
                }
            }
        }
        Mutant::CountsNoReboots => last_reboots(seen).for_each(|last| last.series = None),
        Mutant::BelievesRefusals => seen.nodes.values_mut().for_each(stays_up_after_refusal),
        Mutant::IgnoresWindows => {
            seen.policies
                .values_mut()
                .for_each(|policy| policy.schedule = Ok(Schedule::default()));
        }
        Mutant::IgnoresControlPlane => seen.nodes.values_mut().for_each(|node| node.control_plane = false),
        Mutant::ReusesIds => {
            let records = seen.nodes.values_mut().filter_map(|node| node.record.as_mut());
            for record in records.filter(|record| record.operation.is_none()) {
                record.finished = None;
                record.host.iter_mut().for_each(|host| host.answer = None);
            }
        }
        Mutant::IgnoresCanary => seen.policies.values_mut().for_each(|policy| policy.canary = None),
        Mutant::IgnoresOwnNode => seen.own_node = None,
        Mutant::IgnoresBreaker => seen
            .policies
            .values_mut()
            .for_each(|policy| policy.breaker.max_failed = usize::MAX),
        Mutant::IgnoresFit => {
            let nothing = chrono::TimeDelta::zero();
            let policies = seen.policies.values_mut();
            policies.for_each(|policy| policy.duration_estimate.cordoned = nothing);
        }
        Mutant::AssumesNoReboot => seen.nodes.values_mut().for_each(stays_up),
        Mutant::IgnoresDaemons => seen
            .nodes
            .values_mut()
            .for_each(|node| node.daemon_sets = DaemonSetReadiness::Ready),
        Mutant::IgnoresWorkloads => nodes(seen).for_each(|node| node.workloads = WorkloadReadiness::Ready),
        Mutant::IgnoresChecks => seen.policies.values_mut().for_each(|policy| policy.checks = None),
        Mutant::KnowsEveryFinding => know_every_finding(seen),
        Mutant::BelievesAnyHook => nodes(seen).for_each(believe_hook),
        Mutant::BelievesAnyNotice => nodes(seen).for_each(believe_notice),
        Mutant::IgnoresJobs => super::jobs::ignore(seen),
        Mutant::ConfusesJobs => super::jobs::confuse(seen),
        Mutant::ReachesRungsEarly => seen.policies.values_mut().for_each(reach_rungs_early),
        Mutant::StaysUrgent => seen.policies.values_mut().for_each(stay_urgent),
        Mutant::IgnoresConfinement => seen.accepts_unconfined_agents = true,
        Mutant::IgnoresHold => seen.nodes.values_mut().for_each(|node| node.hold = None),
        _ => return false,
    }
    true
}

/// The hook in progress has ended, by whatever it waits for.
fn believe_hook(node: &mut Node) {
    node.handshake
        .iter_mut()
        .for_each(|handshake| handshake.answered = true);
    let id = node
        .operation()
        .and_then(|operation| Some(operation.hook_id(operation.hook.as_ref()?)));
    node.hook_job = id.map(|id| JobReport {
        id,
        state: JobState::Succeeded,
    });
}

fn believe_notice(node: &mut Node) {
    if let NoticeCondition::Ours(notice) = &mut node.notice {
        notice.given -= chrono::TimeDelta::hours(1);
    }
}

fn nodes(seen: &mut Snapshot) -> impl Iterator<Item = &mut Node> {
    seen.nodes.values_mut()
}

fn stay_urgent(policy: &mut Policy) {
    if let Some(urgent) = &mut policy.urgent {
        urgent.until = Instant::MAX_UTC;
    }
}

fn reach_rungs_early(policy: &mut Policy) {
    let mut before = chrono::TimeDelta::zero();
    for rung in policy.deadline.iter_mut().flat_map(|deadline| &mut deadline.ladder) {
        before = std::mem::replace(&mut rung.after, before);
    }
}

fn know_every_finding(seen: &mut Snapshot) {
    let checks = seen.policies.values_mut().filter_map(|policy| policy.checks.as_mut());
    for round in checks.filter_map(|checks| checks.round.as_mut()) {
        let after = round
            .cluster
            .iter_mut()
            .filter(|result| result.stage == CheckStage::After);
        after.for_each(|result| result.verdict = CheckVerdict::Passing);
    }
}

fn stays_up(node: &mut Node) {
    let boot_id = node.boot_id.clone();
    let Some(record) = node.record.as_mut().filter(|_| node.cordoned_for.is_some()) else {
        return;
    };
    let recorded = |operation: &Operation| !operation.is_reconstructed();
    if !record.operation.as_deref().is_some_and(recorded) {
        record.host = Some(lockkeeper_planner::Host {
            boot_id,
            ..lockkeeper_planner::Host::default()
        });
    }
}

fn operations(seen: &mut Snapshot) -> impl Iterator<Item = &mut Operation> {
    let records = seen.nodes.values_mut().filter_map(|node| node.record.as_mut());
    records.filter_map(|record| record.operation.as_deref_mut())
}

fn last_reboots(seen: &mut Snapshot) -> impl Iterator<Item = &mut LastReboot> {
    let records = seen.nodes.values_mut().filter_map(|node| node.record.as_mut());
    records.filter_map(|record| record.last_reboot.as_mut())
}

/// The refusal is old, and the kubelet has reported a moment ago.
fn stays_up_after_refusal(node: &mut Node) {
    node.ready.heartbeat = Instant::MAX_UTC;
    let operation = node.record.as_mut().and_then(|record| record.operation.as_mut());
    if let Some(operation) = operation {
        operation.refused = operation.refused.map(|refused| refused - chrono::TimeDelta::hours(1));
    }
}

/// What is made of the planner's answer.
fn answer(mutant: Mutant, seen: &Snapshot, plan: &mut Plan) {
    let failed = |name: &str| {
        let record = seen.nodes.get(name).and_then(|node| node.record.as_ref());
        let operation = record.and_then(|record| record.operation.as_ref());
        operation.is_some_and(|operation| operation.phase == Phase::Failed)
    };
    match mutant {
        Mutant::FailedNodeReleasesSlot => {
            let lock = seen.lock.as_ref();
            let holders: Vec<Holder> = lock.map(|lock| lock.holders.clone()).unwrap_or_default();
            if holders.iter().any(|holder| failed(&holder.node)) {
                let holders = holders.into_iter().filter(|holder| !failed(&holder.node)).collect();
                let because = "a failed node gives its slot away".to_owned();
                plan.actions.insert(0, Action::SetHolders { holders, because });
            }
        }
        Mutant::NeverWakes => plan.recheck_at = None,
        Mutant::WakesTooLate => {
            let later = |at: Instant| at + chrono::TimeDelta::hours(1);
            plan.recheck_at = plan.recheck_at.map(later);
        }
        Mutant::KeepsCordon => plan.actions.retain(|action| !matches!(action, Action::Uncordon { .. })),
        Mutant::KeepsOrder => {
            plan.actions
                .retain(|action| !matches!(action, Action::SetSpec { order: None, .. }));
        }
        Mutant::CordonsInListOrder => {
            let first = seen.lock.as_ref().and_then(|lock| lock.holders.first());
            let first = first.map(|holder| holder.node.clone());
            plan.actions.retain(|action| match action {
                Action::Cordon { node, .. } => Some(node) == first.as_ref(),
                _ => true,
            });
        }
        Mutant::WritesAgain => {
            let known = seen
                .nodes
                .iter()
                .find_map(|(name, node)| Some((name, node.record.as_ref()?)));
            plan.actions.extend(known.map(|(name, record)| Action::SetSpec {
                node: name.clone(),
                policy: record.policy.clone(),
                order: record.order.clone(),
            }));
        }
        Mutant::KeepsTaint => plan
            .actions
            .retain(|action| !matches!(action, Action::RemoveTaint { .. })),
        Mutant::KeepsHandshake => plan
            .actions
            .retain(|action| !matches!(action, Action::EndHandshake { .. })),
        Mutant::KeepsNotice => plan
            .actions
            .retain(|action| !matches!(action, Action::EndNotice { .. })),
        Mutant::KeepsCommand => plan
            .actions
            .retain(|action| !matches!(action, Action::RemoveCommand { .. })),
        _ => {}
    }
}

impl World {
    pub fn counts_an_old_report(&self) -> bool {
        self.mutant == Some(Mutant::CountsAnOldReport)
    }

    pub fn stays_blind(&self) -> bool {
        self.mutant == Some(Mutant::StaysBlind)
    }

    pub fn leads_with_any_clock(&self) -> bool {
        self.mutant == Some(Mutant::LeadsWithAnyClock)
    }

    pub fn accepts_any_boot(&self) -> bool {
        self.mutant == Some(Mutant::AcceptsAnyBoot)
    }

    pub fn obeys_late_orders(&self) -> bool {
        self.mutant == Some(Mutant::ObeysLateOrders)
    }
}
