//! The canary of a rollout: its first nodes, which must finish and stay healthy before others start.

use crate::Instant;
use crate::context::PolicyContext;
use crate::recorded::unless_ahead;
use crate::snapshot::Rollout;

/// How far the canary is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CanaryState {
    /// There is none, or it has stayed healthy long enough.
    Passed,
    /// So many nodes may be in progress as canaries.
    Open(usize),
    /// All canary nodes have finished; the others wait.
    Soaking {
        /// The canary nodes.
        names: Vec<String>,
        /// Until when, if they stay healthy; `None` while one of them is not healthy.
        until: Option<Instant>,
    },
}

impl CanaryState {
    /// When the canary passes by time alone, if all its nodes stay healthy.
    pub(crate) fn passes_at(&self) -> Option<Instant> {
        match self {
            Self::Soaking { until, .. } => *until,
            Self::Passed | Self::Open(_) => None,
        }
    }
}

/// The canary as the context shows it.
pub(crate) fn evaluate(context: &PolicyContext, rollout: Option<&Rollout>, now: Instant) -> CanaryState {
    let passed = rollout.is_some_and(|rollout| rollout.has_passed_canary(now));
    let Some(canary) = context.policy.canary.filter(|canary| canary.nodes > 0 && !passed) else {
        return CanaryState::Passed;
    };
    let rebooted = context.rebooted.len();
    if rebooted < canary.nodes {
        return CanaryState::Open(canary.nodes - rebooted);
    }
    CanaryState::Soaking {
        names: context.rebooted.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        until: soaked_at(context, now).filter(|until| *until > now),
    }
}

/// When all canary nodes will have stayed healthy long enough; `None` while one is not healthy or not finished.
pub(super) fn soaked_at(context: &PolicyContext, now: Instant) -> Option<Instant> {
    let canary = context.policy.canary?;
    if canary.nodes == 0 || context.rebooted.len() < canary.nodes {
        return None;
    }
    let mut latest = None;
    for (_, node, finished) in &context.rebooted {
        if !node.ready.ready {
            return None;
        }
        let finished = unless_ahead(*finished, now);
        let ready = unless_ahead(node.ready.since, now);
        latest = latest.max(Some(finished.max(ready)?));
    }
    latest.map(|since| since + canary.soak)
}
