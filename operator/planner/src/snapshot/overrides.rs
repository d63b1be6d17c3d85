//! The deadline of a policy and its urgent override, parsed, and what of them an operation has recorded.

use chrono::TimeDelta;

use super::node::Node;
use super::policy::Policy;
use crate::Instant;
use crate::recorded::{MAX_CLOCK_DIFFERENCE, is_ahead, unless_ahead};
use crate::windows::Window;

/// Until when a required reboot must be done, and what is overridden for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDeadline {
    /// How long a node may require a reboot; after that it is overdue.
    pub max_pending: TimeDelta,
    /// What is overridden, in the order of `after`.
    pub ladder: Vec<Rung>,
}

/// One override, and after how long it applies to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// How long the node has required a reboot then.
    pub after: TimeDelta,
    /// What is overridden.
    pub kind: Override,
    /// The further window, for [`Override::ExtraWindow`].
    pub window: Option<Window>,
}

/// What a deadline or an urgent override overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Override {
    /// The node may start in a further window too.
    ExtraWindow,
    /// The node may start outside of the windows; exclusions still apply.
    IgnoreWindows,
    /// The checks before the start are not made; those after the reboot are.
    IgnoreChecks,
    /// A drain that times out goes on with the deletion of the remaining pods.
    DeletePods,
}

impl Override {
    /// Every override.
    pub const ALL: [Self; 4] = [
        Self::ExtraWindow,
        Self::IgnoreWindows,
        Self::IgnoreChecks,
        Self::DeletePods,
    ];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExtraWindow => "ExtraWindow",
            Self::IgnoreWindows => "IgnoreWindows",
            Self::IgnoreChecks => "IgnoreChecks",
            Self::DeletePods => "DeletePods",
        }
    }
}

/// Overrides for all nodes of a policy at once, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urgent {
    /// Why, as the administrator wrote it.
    pub reason: String,
    /// Its first instant.
    pub from: Instant,
    /// The first instant after it.
    pub until: Instant,
    /// The rollout for which it applies; `None` for each.
    pub rollout: Option<String>,
    /// What is overridden.
    pub overrides: Vec<Override>,
}

/// What had been overridden for an operation when it was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// What was overridden, sorted.
    pub overrides: Vec<Override>,
    /// The time of the last rung that the node had reached, if any.
    pub after: Option<TimeDelta>,
    /// The reason of the urgent override, if one applied.
    pub urgent: Option<String>,
}

impl Overridden {
    /// Whether this was overridden.
    pub fn has(&self, kind: Override) -> bool {
        self.overrides.contains(&kind)
    }
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
