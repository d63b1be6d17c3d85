//! Which pods are asked to leave now: as many as their budgets allow, and no more than the API server likes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::budget::BudgetView;
use crate::evict::Ask;
use crate::pod::{Phase, PodName, Uid};
use crate::select::Decision;
use crate::state::{Asked, Attempt, GRANT_SEEN_WITHIN, State, Tracked};

/// Requests under way at once: beyond this a real API server answered no faster.
pub(crate) const AT_ONCE: usize = 16;
/// Requests under way at once under one budget: each has to write it, and each conflict costs the server 500 ms.
pub(crate) const AT_ONCE_PER_BUDGET: usize = 8;

/// Whether a pod may be asked to leave now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes, and this budget (with its version) is going to be asked.
    Now(Option<(PodName, String)>),
    /// No; time alone changes that at this instant.
    At(DateTime<Utc>),
    /// No; an event will.
    Event,
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
                    let ask = Ask {
                        pod: name.clone(),
                        uid: uid.clone(),
                        grace: self.grace(pod),
                        dry_run: false,
                    };
                    Some((ask, Asked { pod: name, budget }))
                }
                Turn::At(_) | Turn::Event | Turn::TwoBudgets(_) => None,
            })
    }

    /// A grace of zero removes the object without the kubelet having stopped anything: never.
    pub(crate) fn grace(&self, pod: &Tracked) -> Option<i64> {
        match self.settings.grace_period_seconds {
            Some(seconds) => Some(seconds.max(1)),
            None => pod.view.no_grace.then_some(1),
        }
    }

    /// Whether a pod may be asked now, and if not, what it waits for.
    pub(crate) fn turn(&self, now: DateTime<Utc>, uid: &Uid, pod: &Tracked, load: &Load) -> Turn {
        match pod.decision {
            Decision::Evict => {}
            Decision::Skip(_) | Decision::Wait | Decision::Block(_) => return Turn::Event,
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
        if !self
            .budgets
            .get(&pod.view.name.namespace)
            .is_some_and(|budgets| budgets.known)
        {
            return Turn::Event;
        }
        let budgets: Vec<&BudgetView> = self.budgets_of(&pod.view).collect();
        match budgets.as_slice() {
            [budget] if budget.guards(&pod.view) => self.through_gate(now, budget, load),
            [] | [_] => Turn::Now(None),
            several if pod.view.phase == Phase::Running => {
                Turn::TwoBudgets(several.iter().map(|budget| budget.name.clone()).collect())
            }
            _ => Turn::Now(None),
        }
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
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Requests without an answer.
    asked: usize,
    /// Requests and grants that the budget's numbers do not show yet.
    unseen: usize,
}
