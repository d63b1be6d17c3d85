//! What the drain says about itself: counts, blockers, and when time alone will change them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::blocker::Blocker;
use crate::gate::{Load, Turn};
use crate::pod::Uid;
use crate::progress::{MAX_SHOWN, Progress};
use crate::select::{Bars, Decision, Stays};
use crate::state::{Attempt, State, Tracked, matters};

/// A kubelet kills at the end of the grace and reports a moment later; what is there after this is stuck.
const STUCK_AFTER: TimeDelta = TimeDelta::seconds(10);
/// Pods were seen to land on a node up to 2.0 s after its cordon.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(3);

/// Whether a fresh list may be asked whether the node is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// Pods are left.
    No,
    /// The cordon is too young: not before this.
    From(DateTime<Utc>),
    /// Yes.
    Ask,
}

impl State {
    /// How far the drain is.
    pub(crate) fn progress(&self, now: DateTime<Utc>) -> Progress {
        let Some(left) = self.left() else {
            return match self.trouble(now) {
                None => Progress::Starting,
                Some(_) => Progress::Running {
                    to_move: 0,
                    moved: 0,
                    left: 0,
                    waiting_on: self.blockers(now),
                },
            };
        };
        let to_move = self.seen.len();
        Progress::Running {
            to_move,
            moved: to_move - left,
            left,
            waiting_on: self.blockers(now),
        }
    }

    /// The end: what left, and what stays and runs.
    pub(crate) fn done(&self) -> Progress {
        let stays = |pod: &&Tracked| match pod.decision {
            Decision::Skip(Stays::Mirror | Stays::DaemonSet | Stays::Own) => true,
            Decision::Skip(Stays::Finished) | Decision::Evict | Decision::Wait | Decision::Block(_) => false,
        };
        let stayed = self.pods.iter().flatten().map(|(_, pod)| pod).filter(stays).count();
        Progress::Done {
            moved: self.seen.len(),
            stayed,
        }
    }

    /// Whether a fresh list may be asked whether the node is empty.
    pub(crate) fn emptiness(&self, now: DateTime<Utc>) -> Emptiness {
        let settled = self.settings.cordoned_at + SETTLED_AFTER;
        match self.left() {
            None | Some(1..) => Emptiness::No,
            Some(0) if now < settled => Emptiness::From(settled),
            Some(0) => Emptiness::Ask,
        }
    }

    /// The next instant at which something changes without an event.
    pub(crate) fn wake_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let load = self.load();
        let pods = self.pods.iter().flatten();
        let turns = pods
            .clone()
            .filter_map(|(uid, pod)| match self.turn(now, uid, pod, &load) {
                Turn::At(at) => Some(at),
                Turn::Now(_) | Turn::Event | Turn::TwoBudgets(_) => None,
            });
        let stuck = pods.filter_map(|(_, pod)| Some(pod.view.shutdown?.until + STUCK_AFTER));
        let settled = match self.emptiness(now) {
            Emptiness::From(at) => Some(at),
            Emptiness::No | Emptiness::Ask => None,
        };
        turns
            .chain(stuck)
            .chain(settled)
            .chain(self.trouble_ends())
            .filter(|at| *at > now)
            .min()
    }

    /// How many pods hold the node; none before the first list.
    fn left(&self) -> Option<usize> {
        let pods = self.pods.as_ref()?;
        Some(pods.values().filter(|pod| matters(pod.decision)).count())
    }

    /// Why pods are left: the worst first, no more than are read.
    fn blockers(&self, now: DateTime<Utc>) -> Vec<Blocker> {
        let load = self.load();
        let pods = self.pods.iter().flatten();
        let mut all: BTreeSet<Blocker> = pods
            .filter_map(|(uid, pod)| self.blocker(now, uid, pod, &load))
            .collect();
        all.extend(self.trouble(now).map(|message| Blocker::ApiUnavailable {
            message: message.to_owned(),
        }));
        all.into_iter().take(MAX_SHOWN).collect()
    }

    fn blocker(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Option<Blocker> {
        match pod.decision {
            Decision::Skip(_) => None,
            Decision::Block(Bars::Unmanaged) => Some(Blocker::Unmanaged {
                pod: pod.view.name.clone(),
            }),
            Decision::Wait => shutting_down(now, pod),
            Decision::Evict => match &pod.attempt {
                Attempt::Granted { .. } => None,
                Attempt::Later { why, .. } => why.clone(),
                Attempt::Open => self.held_by_budget(now, uid, pod, load),
            },
        }
    }

    /// The budget that a pod waits for, once it has refused.
    fn held_by_budget(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Option<Blocker> {
        let name = pod.view.name.clone();
        if let Turn::TwoBudgets(budgets) = self.turn(now, uid, pod, load) {
            return Some(Blocker::TwoBudgets { pod: name, budgets });
        }
        let budget = self.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view))?;
        let gate = self.gates.get(&budget.name)?;
        if budget.numbers.allowed > 0 && gate.refused.as_ref() != Some(&budget.version) {
            return None;
        }
        // The API server's words repeat the numbers, unless these say that there is room.
        let words = if budget.numbers.allowed > 0 {
            gate.message.as_str()
        } else {
            ""
        };
        Some(budget.blocks(name, words))
    }
}

fn shutting_down(now: DateTime<Utc>, pod: &Tracked) -> Option<Blocker> {
    let shutdown = pod.view.shutdown?;
    let name = pod.view.name.clone();
    if now < shutdown.until + STUCK_AFTER {
        return Some(Blocker::Terminating {
            pod: name,
            until: shutdown.until,
            grace: shutdown.grace,
        });
    }
    let cause = if pod.view.finalizers.is_empty() {
        "the node's kubelet has not reported it stopped".to_owned()
    } else {
        format!("held by finalizer {}", pod.view.finalizers.join(", "))
    };
    Some(Blocker::Stuck {
        pod: name,
        since: shutdown.until,
        cause,
    })
}
