//! The progress of a drain: counts, blockers, and the next time at which something changes without an event.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::blocker::Blocker;
use crate::cause::{MAX_CAUSES, MAX_PODS, group_by_cause};
use crate::completion::Completion;
use crate::detach::DetachState;
use crate::eviction_gate::{GateDecision, InFlight};
use crate::limits::STUCK_DELAY;
use crate::pod::Uid;
use crate::progress::{PodLine, PodState, Progress, WaitingTier};
use crate::select::{Decision, Tier, holds_node, keeps_running};
use crate::state::{Attempt, State, TrackedPod};

impl State {
    /// The progress of the drain.
    pub(crate) fn progress(&self, now: DateTime<Utc>) -> Progress {
        if self.pods.is_none() && self.api_failure(now).is_none() {
            return Progress::Starting;
        }
        let remaining = self.remaining().unwrap_or_default();
        let to_move = self.to_move();
        let in_flight = self.in_flight();
        let pods = self.pod_lines(now, &in_flight);
        let mut blockers: Vec<Blocker> = pods.iter().flat_map(|line| line.blockers.clone()).collect();
        blockers.extend(self.drain_blockers(now));
        let mut waiting_on = group_by_cause(blockers);
        waiting_on.truncate(MAX_CAUSES);
        Progress::Running {
            to_move,
            moved: to_move.saturating_sub(remaining),
            remaining,
            with_empty_dir: self.with_empty_dir(),
            waiting_tiers: waiting_tiers(&pods),
            evicting: self.is_evicting(now),
            grace_ends: self.grace_ends(now),
            returning: self.returning_owners(),
            waiting_on,
            pods,
        }
    }

    /// The end: how many pods left, how many stay and run, and what is still attached.
    pub(crate) fn done(&self, now: DateTime<Utc>) -> Progress {
        let pods = self.pods.iter().flatten();
        let stayed = pods.filter(|(_, pod)| keeps_running(&pod.decision)).count();
        Progress::Done {
            moved: self.to_move(),
            stayed,
            with_empty_dir: self.with_empty_dir(),
            still_attached: match self.detach_state(now) {
                DetachState::TimedOut(names) | DetachState::Attached(names, _) => names,
                DetachState::Detached | DetachState::Unknown => Vec::new(),
            },
            returning: self.returning_owners(),
        }
    }

    /// How many pods have had to leave. Those that return to the node do not leave it.
    fn to_move(&self) -> usize {
        let returns = |owner: &String| self.settings.returning.contains(owner);
        let pods = self.pods_to_move.values();
        pods.filter(|pod| !pod.owner.as_ref().is_some_and(returns)).count()
    }

    /// Whether evictions may be asked for: the pods are listed, the node is cordoned, the load balancers have had their time,
    /// and the API server answers.
    fn is_evicting(&self, now: DateTime<Utc>) -> bool {
        let may_evict = self.settings.evict_from.is_none_or(|from| from <= now);
        let answers = self.failure_shown_until().is_none_or(|until| until <= now);
        self.pods.is_some() && self.is_cordoned() && may_evict && answers
    }

    /// When the last pod ends its own grace period, if all pods that hold the node are shutting down within theirs.
    fn grace_ends(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let holding = self.pods.iter().flatten().filter(|(_, pod)| holds_node(&pod.decision));
        let ends = holding.map(|(_, pod)| match (&pod.decision, pod.view.shutdown, &pod.attempt) {
            (_, Some(shutdown), _) => (now < shutdown.until + STUCK_DELAY).then_some(shutdown.until),
            // The watch is about to show its shutdown.
            (Decision::Evict | Decision::Delete, None, Attempt::Granted { at, .. }) => {
                let grace = self.settings.grace_period_seconds.unwrap_or(pod.view.grace);
                TimeDelta::try_seconds(grace).and_then(|grace| at.checked_add_signed(grace))
            }
            (_, None, _) => None,
        });
        let ends: Option<Vec<DateTime<Utc>>> = ends.collect();
        ends?.into_iter().max()
    }

    fn with_empty_dir(&self) -> usize {
        self.pods_to_move.values().filter(|pod| pod.empty_dir).count()
    }

    /// The next time at which something changes without an event.
    pub(crate) fn wake_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let in_flight = self.in_flight();
        let pods = self.pods.iter().flatten();
        let retries = pods
            .clone()
            .filter_map(|(uid, pod)| match self.gate_decision(now, uid, pod, &in_flight) {
                GateDecision::At(at) => Some(at),
                GateDecision::Now(_)
                | GateDecision::OnEvent
                | GateDecision::LaterTier
                | GateDecision::TwoBudgets(_) => None,
            });
        let stuck = pods.filter_map(|(_, pod)| Some(pod.view.shutdown?.until + STUCK_DELAY));
        let complete = match self.completion(now) {
            Completion::NotBefore(at) => Some(at),
            Completion::Incomplete | Completion::Verify => None,
        };
        retries
            .chain(stuck)
            .chain(complete)
            .chain(self.settings.evict_from)
            .chain(self.failure_shown_until())
            .chain(self.opt_out_ends())
            .filter(|at| *at > now)
            .min()
    }

    /// A line for each pod that is or was on the node, by tier and name.
    fn pod_lines(&self, now: DateTime<Utc>, in_flight: &InFlight) -> Vec<PodLine> {
        let present = self.pods.iter().flatten();
        let mut lines: Vec<PodLine> = present
            .map(|(uid, pod)| PodLine {
                pod: pod.view.name.clone(),
                tier: pod.tier,
                state: self.pod_state(now, uid, pod, in_flight),
                blockers: self.pod_blockers(now, uid, pod, in_flight),
            })
            .collect();
        let gone = |uid: &Uid| self.pods.as_ref().is_some_and(|pods| !pods.contains_key(uid));
        lines.extend(
            self.pods_to_move
                .iter()
                .filter(|(uid, _)| gone(uid))
                .map(|(_, pod)| PodLine {
                    pod: pod.name.clone(),
                    tier: pod.tier,
                    state: PodState::Gone,
                    blockers: Vec::new(),
                }),
        );
        lines.sort_by(|a, b| (a.tier, &a.pod).cmp(&(b.tier, &b.pod)));
        lines
    }

    fn pod_state(&self, now: DateTime<Utc>, uid: &Uid, pod: &TrackedPod, in_flight: &InFlight) -> PodState {
        match &pod.decision {
            Decision::Skip(reason) => PodState::Stays(*reason),
            Decision::Wait => PodState::Leaving,
            Decision::Complete(_) | Decision::Block(_) | Decision::Unknown => PodState::Waiting,
            Decision::Evict | Decision::Delete => match (&pod.attempt, self.gate_decision(now, uid, pod, in_flight)) {
                (_, GateDecision::LaterTier) => PodState::Later,
                (Attempt::Granted { .. }, _) => PodState::Leaving,
                (Attempt::Open | Attempt::Asked { .. } | Attempt::Later { .. }, _)
                    if self.requests.contains_key(uid) =>
                {
                    PodState::Asked
                }
                (Attempt::Open | Attempt::Asked { .. } | Attempt::Later { .. }, _) => PodState::Waiting,
            },
        }
    }

    /// What blocks or delays the whole drain.
    fn drain_blockers(&self, now: DateTime<Utc>) -> Vec<Blocker> {
        let failure = self.api_failure(now).map(|message| Blocker::ApiUnavailable {
            message: message.to_owned(),
        });
        let delay = self
            .settings
            .evict_from
            .filter(|from| *from > now && self.remaining() > Some(0));
        let delay = delay.map(|from| Blocker::LoadBalancerDelay { from });
        let uncordoned = self.node.as_ref().filter(|node| !node.cordoned);
        let uncordoned = uncordoned.map(|_| Blocker::Uncordoned {
            node: self.settings.node.clone(),
        });
        let all = [failure, delay, uncordoned, self.attached_volumes(now)];
        all.into_iter().flatten().collect()
    }

    /// The volumes that the drain waits for, once all pods have left.
    fn attached_volumes(&self, now: DateTime<Utc>) -> Option<Blocker> {
        if self.remaining() != Some(0) {
            return None;
        }
        match self.detach_state(now) {
            DetachState::Attached(names, until) => Some(Blocker::VolumesAttached {
                count: names.len(),
                names: names.into_iter().take(MAX_PODS).collect(),
                until,
            }),
            DetachState::Detached | DetachState::Unknown | DetachState::TimedOut(_) => None,
        }
    }

    fn pod_blockers(&self, now: DateTime<Utc>, uid: &Uid, pod: &TrackedPod, in_flight: &InFlight) -> Vec<Blocker> {
        let name = pod.view.name.clone();
        match &pod.decision {
            Decision::Skip(_) | Decision::Unknown => Vec::new(),
            Decision::Block(bars) => bars.iter().map(|bar| bar.blocker(&pod.view)).collect(),
            Decision::Complete(rule) => vec![Blocker::MayComplete { pod: name, rule: *rule }],
            Decision::Wait => self.shutdown_blocker(now, pod).into_iter().collect(),
            Decision::Evict | Decision::Delete => match &pod.attempt {
                Attempt::Granted { .. } => Vec::new(),
                Attempt::Asked { at } => vec![self.responder_blocker(uid, name, *at)],
                Attempt::Later { blocker, .. } => blocker.clone().into_iter().collect(),
                Attempt::Open => self.budget_blocker(now, uid, pod, in_flight).into_iter().collect(),
            },
        }
    }

    /// The budget that a pod waits for, once the budget has refused.
    fn budget_blocker(&self, now: DateTime<Utc>, uid: &Uid, pod: &TrackedPod, in_flight: &InFlight) -> Option<Blocker> {
        let name = pod.view.name.clone();
        match self.gate_decision(now, uid, pod, in_flight) {
            GateDecision::TwoBudgets(budgets) => return Some(Blocker::TwoBudgets { pod: name, budgets }),
            GateDecision::LaterTier => return None,
            GateDecision::Now(_) | GateDecision::At(_) | GateDecision::OnEvent => {}
        }
        let budget = self.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view))?;
        let gate = self.gates.get(&budget.name)?;
        if budget.numbers.allowed > 0 && gate.refused_version.as_ref() != Some(&budget.version) {
            return None;
        }
        // The API server's message repeats the numbers, unless these allow a disruption.
        let message = if budget.numbers.allowed > 0 {
            gate.message.as_str()
        } else {
            ""
        };
        Some(budget.blocker(name, self.outlook(&pod.view, budget), message))
    }

    fn shutdown_blocker(&self, now: DateTime<Utc>, pod: &TrackedPod) -> Option<Blocker> {
        let shutdown = pod.view.shutdown?;
        let terminating = Blocker::Terminating {
            pod: pod.view.name.clone(),
            until: shutdown.until,
            grace: shutdown.grace,
        };
        Some(self.stuck_blocker(now, pod).unwrap_or(terminating))
    }

    /// What keeps a pod that still exists after its grace period; `None` if it is not over.
    pub(crate) fn stuck_blocker(&self, now: DateTime<Utc>, pod: &TrackedPod) -> Option<Blocker> {
        let shutdown = pod
            .view
            .shutdown
            .filter(|shutdown| now >= shutdown.until + STUCK_DELAY)?;
        let not_ready = self.node.as_ref().and_then(|node| node.not_ready.as_ref());
        let cause = match not_ready {
            _ if !pod.view.finalizers.is_empty() => format!("held by finalizer {}", pod.view.finalizers.join(", ")),
            Some(why) => format!("node {} is not Ready: {why}", self.settings.node),
            None => "the kubelet has not confirmed the shutdown".to_owned(),
        };
        Some(Blocker::Stuck {
            pod: pod.view.name.clone(),
            since: shutdown.until,
            cause,
        })
    }
}

/// How many pods of each tier wait for an earlier one.
fn waiting_tiers(lines: &[PodLine]) -> Vec<WaitingTier> {
    let mut counts: BTreeMap<Tier, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.state == PodState::Later) {
        *counts.entry(line.tier).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(tier, pods)| WaitingTier { tier, pods })
        .collect()
}
