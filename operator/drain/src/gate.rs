//! Which pods are asked to leave now: as many as their budgets allow, and no more than the API server likes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::budget::BudgetView;
use crate::evict::{Ask, How};
use crate::limits::{ANNOUNCED_FOR, AT_ONCE, AT_ONCE_PER_BUDGET, GRANT_SEEN_WITHIN};
use crate::pod::{Controller, Phase, PodName, PodView, Uid};
use crate::select::{Decision, Tier, matters};
use crate::settings::Stage;
use crate::state::{Asked, Attempt, State, Tracked};

/// Whether a pod may be asked to leave now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes, and this budget (with its version) is going to be asked.
    Now(Option<(PodName, String)>),
    /// No; time alone changes that at this instant.
    At(DateTime<Utc>),
    /// No; an event will.
    Event,
    /// No: a pod of an earlier tier is still there, or the earliest one is not known yet.
    Later,
    /// No: more than one budget selects it.
    TwoBudgets(Vec<PodName>),
}

impl State {
    /// Picks the pods to ask now and remembers that they are asked.
    pub(crate) fn pick(&mut self, now: DateTime<Utc>) -> Vec<Ask> {
        let mut picked = Vec::new();
        while let Some((ask, asked)) = self.next_ask(now) {
            self.asked.insert(ask.uid.clone(), asked);
            picked.push(ask);
        }
        picked
    }

    fn next_ask(&self, now: DateTime<Utc>) -> Option<(Ask, Asked)> {
        if self.asked.len() >= AT_ONCE {
            return None;
        }
        let load = self.load();
        self.pods
            .iter()
            .flatten()
            .find_map(|(uid, pod)| match self.turn(now, uid, pod, &load) {
                Turn::Now(budget) => {
                    let name = pod.view.name.clone();
                    let how = self.how(pod)?;
                    let ask = Ask {
                        pod: name.clone(),
                        uid: uid.clone(),
                        grace: self.grace(now, pod, how),
                        how,
                        dry_run: false,
                    };
                    Some((ask, Asked { pod: name, budget }))
                }
                Turn::At(_) | Turn::Event | Turn::Later | Turn::TwoBudgets(_) => None,
            })
    }

    /// How a pod is asked to leave; not at all unless it is one that may be.
    ///
    /// A pod of a `StatefulSet` is never deleted while its node may be alive without saying so.
    pub(crate) fn how(&self, pod: &Tracked) -> Option<How> {
        match pod.decision {
            Decision::Evict => Some(How::Evict),
            Decision::Delete if pod.view.controller == Controller::StatefulSet && !self.node_is_ready() => {
                Some(How::Evict)
            }
            Decision::Delete => Some(How::Delete),
            Decision::Skip(_) | Decision::Wait | Decision::Complete(_) | Decision::Block(_) | Decision::Unknown => None,
        }
    }

    /// Whether the node is known to be cordoned: from any other, pods come back as fast as they leave.
    pub(crate) fn cordoned(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.cordoned)
    }

    fn node_is_ready(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.not_ready.is_none())
    }

    /// A grace of zero removes the object without the kubelet having stopped anything: never.
    pub(crate) fn grace(&self, now: DateTime<Utc>, pod: &Tracked, how: How) -> Option<i64> {
        let ordered = self.settings.grace_period_seconds;
        let own = (pod.view.grace < 1).then_some(1);
        let grace = ordered.map(|seconds| seconds.max(1)).or(own);
        let left = match (how, &self.settings.stage) {
            (How::Delete, Stage::Delete(deletion)) => deletion.until.map(|until| (until - now).num_seconds().max(1)),
            (How::Evict, _) | (How::Delete, Stage::Evict) => None,
        };
        match left {
            Some(left) if left < grace.unwrap_or(pod.view.grace) => Some(left),
            Some(_) | None => grace,
        }
    }

    /// Whether a pod may be asked now, and if not, what it waits for.
    pub(crate) fn turn(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Turn {
        let Some(how) = self.how(pod) else { return Turn::Event };
        if !self.cordoned() {
            return Turn::Event;
        }
        if load.unknown || load.first.is_some_and(|first| first < pod.tier) {
            return Turn::Later;
        }
        if let Some(from) = self.settings.evict_from.filter(|from| *from > now) {
            return Turn::At(from);
        }
        if self.asked.contains_key(uid) {
            return Turn::Event;
        }
        let not_before = match &pod.attempt {
            Attempt::Open => None,
            Attempt::Granted { at, .. } => Some(*at + GRANT_SEEN_WITHIN),
            Attempt::Later { at, .. } => Some(*at),
        };
        if let Some(at) = not_before.filter(|at| *at > now) {
            return Turn::At(at);
        }
        if how == How::Delete {
            return match &self.settings.stage {
                Stage::Delete(deletion) if now < deletion.since + ANNOUNCED_FOR => {
                    Turn::At(deletion.since + ANNOUNCED_FOR)
                }
                Stage::Delete(_) | Stage::Evict => Turn::Now(None),
            };
        }
        if !self
            .budgets
            .get(&pod.view.name.namespace)
            .is_some_and(|budgets| budgets.known)
        {
            return Turn::Event;
        }
        if let Some(budgets) = self.clash(&pod.view) {
            return Turn::TwoBudgets(budgets);
        }
        let guard = self.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        match guard {
            Some(budget) => self.through_gate(now, budget, load),
            None => Turn::Now(None),
        }
    }

    /// The budgets that select a running pod, if they are more than the API server can ask.
    pub(crate) fn clash(&self, pod: &PodView) -> Option<Vec<PodName>> {
        let budgets: Vec<&BudgetView> = self.budgets_of(pod).collect();
        let clash = pod.phase == Phase::Running && budgets.len() > 1;
        clash.then(|| budgets.iter().map(|budget| budget.name.clone()).collect())
    }

    /// Within what the budget allows, less what is under way; else one probe at a time, slowly.
    fn through_gate(&self, now: DateTime<Utc>, budget: &BudgetView, load: &Load) -> Turn {
        let used = load.budgets.get(&budget.name).copied().unwrap_or_default();
        let gate = self.gates.get(&budget.name);
        let pass = || Turn::Now(Some((budget.name.clone(), budget.version.clone())));
        if used.asked >= AT_ONCE_PER_BUDGET {
            return Turn::Event;
        }
        let same_version = gate.is_some_and(|gate| gate.refused.as_ref() == Some(&budget.version));
        let allowed = usize::try_from(budget.numbers.allowed).unwrap_or_default();
        if allowed > used.unseen && !same_version {
            return pass();
        }
        if used.asked + used.unseen > 0 {
            return Turn::Event;
        }
        match gate.and_then(|gate| gate.probe_at) {
            Some(at) if at > now => Turn::At(at),
            Some(_) | None => pass(),
        }
    }

    /// What is under way, by budget.
    pub(crate) fn load(&self) -> Load {
        let mut load = Load::default();
        for asked in self.asked.values() {
            if let Some((budget, _)) = &asked.budget {
                let used = load.budgets.entry(budget.clone()).or_default();
                used.asked += 1;
                used.unseen += usize::from(!self.shows(budget, &asked.pod));
            }
        }
        for pod in self.pods.iter().flatten().map(|(_, pod)| pod) {
            load.unknown |= pod.decision == Decision::Unknown;
            if matters(&pod.decision) {
                load.first = Some(load.first.map_or(pod.tier, |first| first.min(pod.tier)));
            }
            if let Attempt::Granted {
                budget: Some(budget), ..
            } = &pod.attempt
                && pod.view.shutdown.is_none()
                && !self.shows(budget, &pod.view.name)
            {
                load.budgets.entry(budget.clone()).or_default().unseen += 1;
            }
        }
        load
    }

    /// Whether the budget as we see it already counts the pod as disrupted.
    fn shows(&self, budget: &PodName, pod: &PodName) -> bool {
        let known = self
            .budgets
            .get(&budget.namespace)
            .and_then(|budgets| budgets.all.get(&budget.name));
        known.is_some_and(|budget| budget.disrupted.contains(&pod.name))
    }
}

/// What is under way, by budget.
#[derive(Debug, Default)]
pub(crate) struct Load {
    budgets: BTreeMap<PodName, Used>,
    /// The earliest tier that still has a pod here.
    first: Option<Tier>,
    /// Whether there is a pod whose tier is not known.
    unknown: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Requests without an answer.
    asked: usize,
    /// Requests and grants that the budget's numbers do not show yet.
    unseen: usize,
}
