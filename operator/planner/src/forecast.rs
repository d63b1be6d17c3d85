//! When each node will start and end if nothing blocks: the same `plan`, run against a virtual future.
//!
//! Every operation takes as long as the policy's operations took ([`crate::DurationEstimate::whole`]), none fails and no person
//! acts. Windows, limits, canaries, paces, back-offs and whatever else `plan` obeys are obeyed, because it is `plan`
//! that decides. The same snapshot and instant give the same forecast.

mod future;
mod late;

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::Instant;
use crate::names::PolicyName;
use crate::plan::plan;
use crate::snapshot::Snapshot;
use lockkeeper_reasons::WaitReason;

use crate::plan::WaitReasons;
use future::Future;

pub use late::LateNode;

/// How far a forecast looks, and how much it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// No event later than this after now is looked at.
    pub length: TimeDelta,
    /// So many looks at a node are taken, then the rest is extrapolated; a look takes some 50 ns.
    pub max_visits: usize,
}

impl Default for Horizon {
    /// A year, and about half a second.
    fn default() -> Self {
        Self {
            length: TimeDelta::days(366),
            max_visits: 8_000_000,
        }
    }
}

/// A forecast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// When each node that is in progress, or will be, starts and ends.
    pub nodes: BTreeMap<String, Span>,
    /// When the last node of each policy ends; absent if none is in progress or to come.
    pub policies: BTreeMap<String, Instant>,
    /// When the last node of all ends.
    pub end: Option<Instant>,
    /// Nodes that need a reboot and do not get one in this future, and why: a person must act, or it is too far away.
    pub never: BTreeMap<String, WaitReason>,
    /// The future was cut: `nodes` has only the first of them, and the ends are extrapolated from their pace.
    pub cut: bool,
}

/// The time of a node's operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it starts, or started.
    pub start: Instant,
    /// When it is free again.
    pub end: Instant,
}

/// Looks into the future.
pub fn forecast(snapshot: &Snapshot, now: Instant, horizon: Horizon) -> Forecast {
    let mut future = Future::new(snapshot, now);
    let mut looks = 0;
    let mut at = now;
    loop {
        let plan = plan(&future.snapshot, at);
        looks += future.snapshot.nodes.len().max(1);
        let again = future.carry_out(&plan, at);
        if looks > horizon.max_visits {
            return extrapolate(future, &plan.wait_reasons, now, at);
        }
        if again {
            continue;
        }
        let opens = plan
            .wait_reasons
            .values()
            .filter_map(WaitReason::until)
            .filter(|until| *until > at)
            .min();
        let next = future.next_end().into_iter().chain(opens).min();
        let Some(next) = next.filter(|next| *next - now <= horizon.length) else {
            return sum_up(future, &plan.wait_reasons);
        };
        at = next;
        future.complete(at);
    }
}

fn sum_up(future: Future, waiting: &WaitReasons) -> Forecast {
    let mut policies: BTreeMap<String, Instant> = BTreeMap::new();
    for (policy, end) in future.ends() {
        let latest = policies.entry(policy.to_owned()).or_insert(end);
        *latest = end.max(*latest);
    }
    let left = waiting.iter().filter(|(name, _)| !future.spans.contains_key(*name));
    let left = left.map(|(name, why)| (name.to_owned(), why.clone()));
    let mut never: BTreeMap<String, WaitReason> = left.collect();
    never.extend(future.blocked);
    Forecast {
        end: policies.values().max().copied(),
        nodes: future.spans,
        policies,
        never,
        cut: false,
    }
}

/// What is left goes on at the pace so far.
fn extrapolate(future: Future, waiting: &WaitReasons, now: Instant, at: Instant) -> Forecast {
    let mut left: BTreeMap<PolicyName, i32> = BTreeMap::new();
    let mut done: BTreeMap<PolicyName, i32> = BTreeMap::new();
    let policy_of = |name: &str| future.snapshot.nodes.get(name)?.policies.first().cloned();
    for name in waiting.keys().filter(|name| !future.spans.contains_key(*name)) {
        *left.entry(policy_of(name).unwrap_or_default()).or_default() += 1;
    }
    for name in future.spans.keys() {
        *done.entry(policy_of(name).unwrap_or_default()).or_default() += 1;
    }
    let mut forecast = Forecast {
        cut: true,
        ..sum_up(future, &WaitReasons::default())
    };
    for (policy, end) in &mut forecast.policies {
        let (left, done) = (
            left.get(policy.as_str()).copied().unwrap_or(0),
            done.get(policy.as_str()).copied().unwrap_or(0).max(1),
        );
        let more = (at - now).checked_mul(left).map_or(TimeDelta::zero(), |all| all / done);
        *end = end.checked_add_signed(more).unwrap_or(*end);
    }
    forecast.end = forecast.policies.values().max().copied();
    forecast
}
