//! What is overridden for a node now: by the rungs of its policy's deadline that it has reached, and the urgent override.
//!
//! Windows, the checks before a start, and the time-out of the drain ask here. Nothing else does: limits, exclusions, holds,
//! approvals, the control plane, the breaker and the proof of a reboot are never overridden
//! (`docs/decisions/0047-a-deadline-overrides-four-guards.md`).

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::Instant;
use crate::recorded::{MAX_CLOCK_DIFFERENCE, is_ahead, unless_ahead};
use crate::snapshot::{Node, Overridden, Override, PendingDeadline, Policy, Rung, Urgent};
use crate::windows::{Opening, Schedule};

/// What is overridden for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrides<'a> {
    /// The rungs that it has reached: the first ones of the ladder.
    pub rungs: &'a [Rung],
    /// The urgent override, if one applies.
    pub urgent: Option<&'a Urgent>,
}

/// The windows of a policy as overrides leave them.
#[derive(Debug)]
pub(crate) struct Relaxed {
    pub(crate) schedule: Schedule,
    pub(crate) opening: Opening,
}

impl<'a> Overrides<'a> {
    /// What is overridden for this node under this policy.
    pub fn of(policy: &'a Policy, node: &Node, now: Instant) -> Self {
        let ladder = ladder(policy);
        let since = if ladder.is_empty() {
            None
        } else {
            node.pending_since(now)
        };
        let reached = since.map_or(0, |since| {
            ladder.iter().take_while(|rung| since + rung.after <= now).count()
        });
        Self {
            rungs: &ladder[..reached],
            urgent: policy.urgent_at(now),
        }
    }

    /// Whether this applies.
    pub fn has(self, kind: Override) -> bool {
        self.all().any(|one| one == kind)
    }

    fn all(self) -> impl Iterator<Item = Override> {
        let urgent = self.urgent.into_iter().flat_map(|urgent| &urgent.overrides);
        self.rungs.iter().map(|rung| rung.kind).chain(urgent.copied())
    }

    /// What an operation that begins now records of it.
    pub(crate) fn record(self) -> Option<Overridden> {
        let mut overrides: Vec<Override> = self.all().collect();
        overrides.sort_unstable();
        overrides.dedup();
        (!overrides.is_empty()).then(|| Overridden {
            overrides,
            after: self.rungs.last().map(|rung| rung.after),
            urgent: self.urgent.map(|urgent| urgent.reason.clone()),
        })
    }

    /// The windows that remain of these; `None` if all of them do, and no others.
    fn relax(self, base: &Schedule) -> Option<Schedule> {
        // Without windows nodes may always start, and a further window must not end that.
        if base.windows.is_empty() {
            return None;
        }
        let exclusions = base.exclusions.clone();
        if self.has(Override::IgnoreWindows) {
            let windows = Vec::new();
            return Some(Schedule { windows, exclusions });
        }
        let further: Vec<_> = self.rungs.iter().filter_map(|rung| rung.window.clone()).collect();
        let windows = || base.windows.iter().cloned().chain(further.iter().cloned()).collect();
        (!further.is_empty()).then(|| Schedule {
            windows: windows(),
            exclusions,
        })
    }
}

fn ladder(policy: &Policy) -> &[Rung] {
    policy.deadline.as_ref().map_or(&[], |deadline| &deadline.ladder)
}

/// The windows of a policy by the number of rungs that a node has reached, wherever that makes a difference: a number that is
/// not in here has the windows of the largest one below it, or else those of the policy.
pub(crate) fn relaxed(policy: &Policy, now: Instant) -> BTreeMap<usize, Relaxed> {
    let (ladder, urgent) = (ladder(policy), policy.urgent_at(now));
    let Some(base) = policy
        .schedule
        .as_ref()
        .ok()
        .filter(|_| !ladder.is_empty() || urgent.is_some())
    else {
        return BTreeMap::new();
    };
    let differs = |reached: &usize| match reached.checked_sub(1).and_then(|last| ladder.get(last)) {
        Some(rung) => match rung.kind {
            Override::ExtraWindow | Override::IgnoreWindows => true,
            Override::IgnoreChecks | Override::DeletePods => false,
        },
        None => true,
    };
    let levels = (0..=ladder.len()).filter(differs);
    let relaxed = levels.filter_map(|reached| {
        let rungs = &ladder[..reached];
        let schedule = Overrides { rungs, urgent }.relax(base)?;
        let opening = schedule.opening(now);
        Some((reached, Relaxed { schedule, opening }))
    });
    relaxed.collect()
}

/// When a node that is closed out until `opens` may start, if a rung that it has not reached yet opens a window before.
pub(crate) fn opens_by_rung(
    policy: &Policy,
    relaxed: &BTreeMap<usize, Relaxed>,
    node: &Node,
    opens: Option<Instant>,
    now: Instant,
) -> Option<Instant> {
    let (ladder, reached) = (ladder(policy), Overrides::of(policy, node, now).rungs.len());
    let Some(since) = node.pending_since(now) else {
        return opens;
    };
    let later = relaxed.range(reached + 1..);
    later.fold(opens, |opens, (reached, relaxed)| {
        let at = since + ladder[reached - 1].after;
        if opens.is_some_and(|opens| opens <= at) {
            return opens;
        }
        let first = match relaxed.schedule.opening(at) {
            Opening::Open { .. } => Some(at),
            Opening::Closed { opens } | Opening::Excluded { opens, .. } => opens,
        };
        first.into_iter().chain(opens).min()
    })
}

/// For how long before a node reaches a rung that is announced.
pub const RUNG_NOTICE: TimeDelta = TimeDelta::days(1);

/// The times at which the deadline changes something for a node that requires a reboot since then.
pub(crate) fn changes_of(deadline: &PendingDeadline, since: Instant) -> impl Iterator<Item = Instant> {
    let rungs = deadline.ladder.iter().map(move |rung| since + rung.after);
    let announced = rungs.clone().map(|at| at - RUNG_NOTICE);
    rungs.chain(announced).chain([since + deadline.max_pending])
}

impl Node {
    /// Since when its host requires a reboot, as far as that can be believed: not before the Node was created or the last
    /// reboot by Lockkeeper began, and by the operator's observation if the host's clock is ahead. `None` if it requires none,
    /// or if that is not known; a person's request has no deadline.
    pub fn pending_since(&self, now: Instant) -> Option<Instant> {
        let host = self.trusted_host().filter(|host| host.required)?;
        let credible = |time: Option<Instant>| time.and_then(|time| unless_ahead(time, now));
        let record = self.record.as_ref()?;
        let since = credible(host.required_since).or_else(|| credible(record.required_observed))?;
        let rebooted = credible(record.last_reboot.as_ref().map(|last| last.started));
        let earliest = credible(Some(self.created)).max(rebooted);
        Some(earliest.map_or(since, |earliest| since.max(earliest)))
    }

    /// When the next of the times counts that [`Self::pending_since`] leaves out because they lie ahead of now.
    pub(crate) fn pending_credible_at(&self, now: Instant) -> Option<Instant> {
        let record = self.record.as_ref();
        let times = [
            Some(self.created),
            record.and_then(|record| record.host.as_ref()?.required_since),
            record.and_then(|record| record.required_observed),
            record.and_then(|record| Some(record.last_reboot.as_ref()?.started)),
        ];
        let ahead = times.into_iter().flatten().filter(|time| is_ahead(*time, now));
        ahead.map(|time| time - MAX_CLOCK_DIFFERENCE).min()
    }
}

impl Policy {
    /// The urgent override that applies now.
    pub fn urgent_at(&self, now: Instant) -> Option<&Urgent> {
        let rollout = self.state.rollout.as_ref();
        let meant = |urgent: &&Urgent| {
            let named = urgent.rollout.as_ref();
            named.is_none_or(|id| rollout.is_some_and(|rollout| rollout.id == *id))
        };
        let urgent = self.urgent.as_ref().filter(meant)?;
        (urgent.from <= now && now < urgent.until).then_some(urgent)
    }

    /// When this node is overdue, if it requires a reboot and the policy has a deadline.
    pub fn overdue_at(&self, node: &Node, now: Instant) -> Option<Instant> {
        Some(node.pending_since(now)? + self.deadline.as_ref()?.max_pending)
    }
}
