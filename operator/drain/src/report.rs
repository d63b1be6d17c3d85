//! What the drain says about itself: counts, blockers, and when time alone will change them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::blocker::Blocker;
use crate::cause::{MAX_CAUSES, MAX_PODS, group};
use crate::gate::{Load, Turn};
use crate::limits::{SETTLED_AFTER, STUCK_AFTER};
use crate::pod::{PodName, Uid};
use crate::progress::{Later, PodLine, PodState, Progress};
use crate::select::{Bar, Decision, Tier, matters, runs_on};
use crate::state::{Attempt, State, Tracked};
use crate::volumes::Detach;

/// Whether a fresh list may be asked whether the node is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// Pods are left.
    No,
    /// The cordon is too young, or volumes are waited for: not before this.
    From(DateTime<Utc>),
    /// Yes.
    Ask,
}

impl State {
    /// How far the drain is.
    pub(crate) fn progress(&self, now: DateTime<Utc>) -> Progress {
        if self.pods.is_none() && self.trouble(now).is_none() {
            return Progress::Starting;
        }
        let left = self.left().unwrap_or_default();
        let to_move = self.seen.len();
        let load = self.load();
        let pods = self.lines(now, &load);
        let mut blockers: Vec<Blocker> = pods.iter().flat_map(|line| line.why.clone()).collect();
        blockers.extend(self.other_blockers(now));
        let mut waiting_on = group(blockers);
        waiting_on.truncate(MAX_CAUSES);
        Progress::Running {
            to_move,
            moved: to_move.saturating_sub(left),
            left,
            with_empty_dir: self.with_empty_dir(),
            later: later(&pods),
            waiting_on,
            pods,
        }
    }

    /// The end: what left, what stays and runs, and what is still attached.
    pub(crate) fn done(&self, now: DateTime<Utc>) -> Progress {
        let pods = self.pods.iter().flatten();
        let stayed = pods.filter(|(_, pod)| runs_on(&pod.decision)).count();
        Progress::Done {
            moved: self.seen.len(),
            stayed,
            with_empty_dir: self.with_empty_dir(),
            still_attached: match self.detach(now) {
                Detach::Over(names) | Detach::Wait(names, _) => names,
                Detach::Clear | Detach::Look => Vec::new(),
            },
        }
    }

    fn with_empty_dir(&self) -> usize {
        self.seen.values().filter(|mover| mover.empty_dir).count()
    }

    /// Whether a fresh list may be asked whether the node is empty.
    pub(crate) fn emptiness(&self, now: DateTime<Utc>) -> Emptiness {
        let (Some(0), Some(since)) = (self.left(), self.cordoned_since) else {
            return Emptiness::No;
        };
        let settled = since + SETTLED_AFTER;
        let from = match self.detach(now) {
            Detach::Look => return Emptiness::No,
            Detach::Wait(_, until) => until.max(settled),
            Detach::Clear | Detach::Over(_) => settled,
        };
        if now < from {
            Emptiness::From(from)
        } else {
            Emptiness::Ask
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
                Turn::Now(_) | Turn::Event | Turn::Later | Turn::TwoBudgets(_) => None,
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
    pub(crate) fn left(&self) -> Option<usize> {
        let pods = self.pods.as_ref()?;
        Some(pods.values().filter(|pod| matters(&pod.decision)).count())
    }

    /// A line for each pod that is or was here, by tier and name.
    fn lines(&self, now: DateTime<Utc>, load: &Load) -> Vec<PodLine> {
        let here = self.pods.iter().flatten();
        let mut lines: Vec<PodLine> = here
            .map(|(uid, pod)| PodLine {
                pod: pod.view.name.clone(),
                tier: pod.tier,
                state: self.state_of(now, uid, pod, load),
                why: self.blockers(now, uid, pod, load),
            })
            .collect();
        let gone = |uid: &Uid| self.pods.as_ref().is_some_and(|pods| !pods.contains_key(uid));
        lines.extend(self.seen.iter().filter(|(uid, _)| gone(uid)).map(|(_, mover)| PodLine {
            pod: mover.name.clone(),
            tier: mover.tier,
            state: PodState::Gone,
            why: Vec::new(),
        }));
        lines.sort_by(|a, b| (a.tier, &a.pod).cmp(&(b.tier, &b.pod)));
        lines
    }

    fn state_of(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> PodState {
        match &pod.decision {
            Decision::Skip(stays) => PodState::Stays(*stays),
            Decision::Wait => PodState::Leaving,
            Decision::Complete(_) | Decision::Block(_) | Decision::Unknown => PodState::Waiting,
            Decision::Evict | Decision::Delete => match (&pod.attempt, self.turn(now, uid, pod, load)) {
                (_, Turn::Later) => PodState::Later,
                (Attempt::Granted { .. }, _) => PodState::Leaving,
                _ if self.asked.contains_key(uid) => PodState::Asked,
                (Attempt::Open | Attempt::Later { .. }, _) => PodState::Waiting,
            },
        }
    }

    /// What holds up the drain beside single pods.
    fn other_blockers(&self, now: DateTime<Utc>) -> Vec<Blocker> {
        let trouble = self.trouble(now).map(|message| Blocker::ApiUnavailable {
            message: message.to_owned(),
        });
        let delayed = self
            .settings
            .evict_from
            .filter(|from| *from > now && self.left() > Some(0));
        let delayed = delayed.map(|from| Blocker::Delayed { from });
        let uncordoned = self.node.as_ref().filter(|node| !node.cordoned);
        let uncordoned = uncordoned.map(|_| Blocker::Uncordoned {
            node: self.settings.node.clone(),
        });
        let volumes = match (self.left(), self.detach(now)) {
            (Some(0), Detach::Wait(names, until)) => Some(Blocker::Volumes {
                count: names.len(),
                names: names.into_iter().take(MAX_PODS).collect(),
                until,
            }),
            _ => None,
        };
        let all = [trouble, delayed, uncordoned, volumes];
        all.into_iter().flatten().collect()
    }

    fn blockers(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Vec<Blocker> {
        let name = pod.view.name.clone();
        match &pod.decision {
            Decision::Skip(_) | Decision::Unknown => Vec::new(),
            Decision::Block(bars) => bars.iter().map(|bar| barred(*bar, name.clone())).collect(),
            Decision::Complete(rule) => vec![Blocker::Running { pod: name, rule: *rule }],
            Decision::Wait => self.shutting_down(now, pod).into_iter().collect(),
            Decision::Evict | Decision::Delete => match &pod.attempt {
                Attempt::Granted { .. } => Vec::new(),
                Attempt::Later { why, .. } => why.clone().into_iter().collect(),
                Attempt::Open => self.held_by_budget(now, uid, pod, load).into_iter().collect(),
            },
        }
    }

    /// The budget that a pod waits for, once it has refused.
    fn held_by_budget(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Option<Blocker> {
        let name = pod.view.name.clone();
        match self.turn(now, uid, pod, load) {
            Turn::TwoBudgets(budgets) => return Some(Blocker::TwoBudgets { pod: name, budgets }),
            Turn::Later => return None,
            Turn::Now(_) | Turn::At(_) | Turn::Event => {}
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

    fn shutting_down(&self, now: DateTime<Utc>, pod: &Tracked) -> Option<Blocker> {
        let shutdown = pod.view.shutdown?;
        let name = pod.view.name.clone();
        if now < shutdown.until + STUCK_AFTER {
            return Some(Blocker::Terminating {
                pod: name,
                until: shutdown.until,
                grace: shutdown.grace,
            });
        }
        let not_ready = self.node.as_ref().and_then(|node| node.not_ready.as_ref());
        let cause = match not_ready {
            _ if !pod.view.finalizers.is_empty() => format!("held by finalizer {}", pod.view.finalizers.join(", ")),
            Some(why) => format!("node {} is not Ready: {why}", self.settings.node),
            None => "the node's kubelet has not reported it stopped".to_owned(),
        };
        Some(Blocker::Stuck {
            pod: name,
            since: shutdown.until,
            cause,
        })
    }
}

/// What a bar is in words.
pub(crate) fn barred(bar: Bar, pod: PodName) -> Blocker {
    match bar {
        Bar::Unmanaged => Blocker::Unmanaged { pod },
        Bar::EmptyDir => Blocker::EmptyDir { pod },
        Bar::OptedOut(annotation) => Blocker::OptedOut {
            pod,
            annotation: annotation.to_owned(),
        },
        Bar::Rule(rule) => Blocker::Rule { pod, rule },
    }
}

/// How many pods of each tier have to wait for their turn.
fn later(lines: &[PodLine]) -> Vec<Later> {
    let mut counts: BTreeMap<Tier, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.state == PodState::Later) {
        *counts.entry(line.tier).or_default() += 1;
    }
    counts.into_iter().map(|(tier, pods)| Later { tier, pods }).collect()
}
