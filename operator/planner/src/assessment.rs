//! What the pass concludes from its context, for each policy: breaker, rollout, canary, and whether the window is too
//! short. The steps that follow read these conclusions and draw no others about a policy as a whole.

pub(crate) mod breaker;
pub(crate) mod canary;
mod rollout;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_reasons::WaitReason;

use crate::Instant;
use crate::context::{Context, NodeRef, PolicyContext};
use crate::history::is_set_aside;
use crate::names::PolicyName;
use crate::snapshot::{Breaker, Node, Policy, PolicyState, Rollout};
use crate::windows::schedule_capacity::{self, InsufficientWindowTime, PendingReboots};
use crate::windows::{Opening, window_fit};
use canary::CanaryState;

/// The context of a pass and what is concluded from it.
#[derive(Debug)]
pub(crate) struct Assessment<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) policies: BTreeMap<&'a PolicyName, PolicyAssessment<'a>>,
}

/// What is concluded about one policy.
#[derive(Debug)]
pub(crate) struct PolicyAssessment<'a> {
    pub(crate) context: &'a PolicyContext<'a>,
    /// How many of its nodes require a reboot and are not set aside.
    pub(crate) pending: usize,
    pub(crate) breaker: Breaker,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) canary: CanaryState,
    /// Why a reboot does not fit into the open window, if it does not.
    pub(crate) too_late: Option<WaitReason>,
}

impl<'a> Assessment<'a> {
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        let mut pending = count_pending(context);
        let policies = context.policies.values().map(|policy| {
            let pending = pending.remove(policy.name).unwrap_or(0);
            (policy.name, PolicyAssessment::new(policy, pending, context.now))
        });
        Self {
            context,
            policies: policies.collect(),
        }
    }

    /// The policy that selects this node, if exactly one does.
    pub(crate) fn single_policy(&self, node: &Node) -> Option<&PolicyAssessment<'a>> {
        match node.policies.as_slice() {
            [name] => self.policies.get(name),
            _ => None,
        }
    }

    /// The policy that selects this node, or why there is not exactly one.
    pub(crate) fn policy_of(&self, node: &Node) -> Result<&PolicyAssessment<'a>, WaitReason> {
        if node.policies.len() > 1 {
            let mut policies: Vec<String> = node.policies.iter().map(ToString::to_string).collect();
            policies.sort_unstable();
            return Err(WaitReason::PolicyConflict { policies });
        }
        self.single_policy(node).ok_or(WaitReason::NoPolicy)
    }
}

/// Counts each policy's nodes that require a reboot, in progress or not, and are not set aside.
fn count_pending<'a>(context: &Context<'a>) -> BTreeMap<&'a PolicyName, usize> {
    let mut pending: BTreeMap<&PolicyName, usize> = BTreeMap::new();
    let now = context.now;
    let set_aside = |one: &NodeRef| {
        let held = one.policy.is_some() && one.node.hold_at(now).is_some();
        held || is_set_aside(one.node, one.record, now)
    };
    let requiring = context.requiring.iter().filter(|one| !set_aside(one));
    for one in context.in_progress.iter().chain(requiring) {
        let single = one.policy.into_iter();
        let several = one.node.policies.iter().filter(|_| one.policy.is_none());
        for policy in single.chain(several) {
            *pending.entry(policy).or_default() += 1;
        }
    }
    pending
}

impl<'a> PolicyAssessment<'a> {
    fn new(context: &'a PolicyContext<'a>, pending: usize, now: Instant) -> Self {
        let rollout = rollout::evaluate(context, pending, now);
        let policy = context.policy;
        let too_late = match (&policy.schedule, &context.opening) {
            (Ok(schedule), Ok(Opening::Open { closes: Some(closes) })) => {
                window_fit::too_late(schedule, usual_time(policy), *closes, now)
            }
            _ => None,
        };
        Self {
            context,
            pending,
            breaker: breaker::evaluate(context, now),
            canary: canary::evaluate(context, rollout.as_ref(), now),
            rollout,
            too_late,
        }
    }

    /// Why this node does not fit the open window: no reboot does, or one of its pods may take long to shut down. Its
    /// windows may be others than those of the policy.
    pub(crate) fn too_late_for(&self, node: &Node, now: Instant) -> Option<WaitReason> {
        let policy = self.context.policy;
        let needs = window_fit::needed_time(policy, node.drain_details.longest_grace);
        let relaxed = self.context.relaxed_for(node, now);
        if relaxed.is_none() && (self.too_late.is_some() || needs <= usual_time(policy)) {
            return self.too_late.clone();
        }
        let (schedule, opening) = match relaxed {
            Some(relaxed) => (&relaxed.schedule, &relaxed.opening),
            None => (policy.schedule.as_ref().ok()?, self.context.opening.as_ref().ok()?),
        };
        match opening {
            Opening::Open { closes: Some(closes) } => window_fit::too_late(schedule, needs, *closes, now),
            Opening::Open { closes: None } | Opening::Closed { .. } | Opening::Excluded { .. } => None,
        }
    }

    /// What the policy's status must remember.
    pub(crate) fn state(&self) -> PolicyState {
        PolicyState {
            rollout: self.rollout.clone(),
            breaker: self.breaker.clone(),
        }
    }

    /// Whether the schedule leaves enough time for the pending nodes; a suspended policy has no estimate.
    pub(crate) fn insufficient_window_time(&self, now: Instant) -> Option<InsufficientWindowTime> {
        let policy = self.context.policy;
        let schedule = policy.schedule.as_ref().ok().filter(|_| !policy.suspend)?;
        let reboots = PendingReboots {
            pending: self.pending,
            at_once: self.context.limit.min(self.context.max_unavailable),
            each: policy.duration_estimate.total.max(TimeDelta::seconds(1))
                + policy.settings.notice.unwrap_or_default(),
            pace: policy.pace,
        };
        schedule_capacity::estimate(schedule, reboots, now)
    }

    /// The instants at which time alone may change what this policy allows.
    pub(crate) fn changes_at(&self) -> impl Iterator<Item = Instant> {
        let needs = usual_time(self.context.policy);
        let relaxed = self.context.relaxed.values().map(|relaxed| &relaxed.opening);
        let openings = self.context.opening.as_ref().ok().into_iter().chain(relaxed);
        let schedule = openings.flat_map(move |opening| match opening {
            Opening::Open { closes } => [*closes, closes.map(|closes| window_fit::too_late_from(needs, closes))],
            Opening::Closed { opens } => [*opens, None],
            Opening::Excluded { until, .. } => [*until, None],
        });
        let probes = breaker::probes_at(&self.breaker, self.context.policy);
        let canary = self.canary.passes_at();
        // The success of a probe that lies ahead of now counts from then on.
        let probe = self.context.last_reboot;
        let changes = schedule.flatten().chain(probes).chain(canary);
        changes.chain(probe).chain(self.context.credible_at)
    }
}

/// How long a reboot takes whose pods shut down as fast as usual.
fn usual_time(policy: &Policy) -> TimeDelta {
    window_fit::needed_time(policy, TimeDelta::zero())
}
