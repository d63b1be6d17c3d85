//! The deadline of a policy and its urgent override, parsed, and what of them an operation has recorded.

use chrono::TimeDelta;

use crate::Instant;
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
