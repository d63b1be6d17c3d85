//! A rollout, from the first node that needs a reboot until none does, and its canary.

use std::sync::Arc;

use crate::Instant;
use crate::capacity::PolicyFacts;
use crate::snapshot::Rollout;
use lockkeeper_reasons::WaitReason;

/// What the canary says to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Canaries {
    /// There is none, or it stayed healthy.
    Passed,
    /// So many more may go in as canaries.
    More(usize),
    /// All have their place; the others wait, until then if nothing happens.
    Wait(Arc<[String]>, Option<Instant>),
}

impl Canaries {
    /// What keeps a node out that would be no canary; `inside` are those of its policy that go before it.
    pub(crate) fn word(&self, inside: &[&str]) -> Result<(), WaitReason> {
        match self {
            Self::Passed => Ok(()),
            Self::More(more) if inside.len() < *more => Ok(()),
            Self::More(_) => Err(WaitReason::CanarySoaking {
                names: inside.iter().map(|name| (*name).to_owned()).collect(),
                until: None,
            }),
            Self::Wait(names, until) => Err(WaitReason::CanarySoaking {
                names: names.clone(),
                until: *until,
            }),
        }
    }

    /// When the canary has passed by time alone, if all of it stays healthy.
    pub(crate) fn passes_at(&self) -> Option<Instant> {
        match self {
            Self::Wait(_, until) => *until,
            Self::Passed | Self::More(_) => None,
        }
    }
}

/// The rollout under way, if any: it has begun with the first operation, or with the first node that asked.
pub(crate) fn judge(policy: &PolicyFacts, now: Instant) -> Option<Rollout> {
    if policy.pending == 0 {
        return None;
    }
    let mut rollout = policy.policy.state.rollout.clone().unwrap_or_else(|| {
        let began = policy.operations.iter().map(|(_, operation)| operation.started).min();
        let started = began.map_or(now, |began| began.min(now));
        Rollout {
            id: id(policy.name, started),
            started,
            canary_passed: None,
        }
    });
    if rollout.canary_passed.is_none() {
        rollout.canary_passed = healthy_since_long(policy).filter(|passed| *passed <= now);
    }
    Some(rollout)
}

/// What the canary says to the nodes that would go in now.
pub(crate) fn canaries(policy: &PolicyFacts, now: Instant) -> Canaries {
    let passed = policy
        .state
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.canary_passed.is_some());
    let Some(canary) = policy.policy.canary.filter(|canary| canary.nodes > 0 && !passed) else {
        return Canaries::Passed;
    };
    let done = policy.done.len();
    if done < canary.nodes {
        return Canaries::More(canary.nodes - done);
    }
    let names = policy.done.iter().map(|(name, ..)| (*name).to_owned()).collect();
    Canaries::Wait(names, healthy_since_long(policy).filter(|until| *until > now))
}

/// When all canaries will have stayed healthy for long enough; absent while one is not healthy, or not done.
fn healthy_since_long(policy: &PolicyFacts) -> Option<Instant> {
    let canary = policy
        .policy
        .canary
        .filter(|canary| canary.nodes > 0 && policy.done.len() >= canary.nodes)?;
    let mut latest = None;
    for (_, node, back) in &policy.done {
        if !node.ready.ready {
            return None;
        }
        latest = latest.max(Some(*back)).max(Some(node.ready.since));
    }
    latest.map(|since| since + canary.soak)
}

/// The id of a rollout: eight hex digits of policy and start (FNV-1a).
fn id(policy: &str, started: Instant) -> String {
    let seconds = started.timestamp().to_le_bytes();
    let hash = policy
        .bytes()
        .chain(seconds)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}
