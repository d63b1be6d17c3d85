//! Which pods may be evicted now: as many as their budgets allow, within the limits of requests to the API server.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::blocker::BudgetOutlook;
use crate::budget::BudgetView;
use crate::evict::{EvictionMethod, RemovalRequest};
use crate::limits::{DELETE_ANNOUNCEMENT, GRANT_TIMEOUT, MAX_REQUESTS, MAX_REQUESTS_PER_BUDGET};
use crate::pod::{Controller, Phase, PodName, PodView, Uid};
use crate::select::{Decision, Tier, holds_node};
use crate::settings::Stage;
use crate::state::{Attempt, PendingRequest, State, TrackedPod};

/// Whether the eviction of a pod may be requested now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GateDecision {
    /// Yes, under this budget (with its version) if there is one.
    Now(Option<(PodName, String)>),
    /// No; time alone changes that at this instant.
    At(DateTime<Utc>),
    /// No; an event will change that.
    OnEvent,
    /// No: a pod of an earlier tier is still there, or the earliest tier is not known yet.
    LaterTier,
    /// No: more than one budget selects the pod.
    TwoBudgets(Vec<PodName>),
}

impl State {
    /// Picks the pods to evict now and records their requests as pending.
    pub(crate) fn pick(&mut self, now: DateTime<Utc>) -> Vec<RemovalRequest> {
        let mut picked = Vec::new();
        while let Some((request, pending)) = self.next_request(now) {
            if let Some(pod) = self.pods.as_mut().and_then(|pods| pods.get_mut(&request.uid)) {
                pod.requested = true;
            }
            self.requests.insert(request.uid.clone(), pending);
            picked.push(request);
        }
        picked
    }

    fn next_request(&self, now: DateTime<Utc>) -> Option<(RemovalRequest, PendingRequest)> {
        if self.requests.len() >= MAX_REQUESTS {
            return None;
        }
        let in_flight = self.in_flight();
        self.pods
            .iter()
            .flatten()
            .find_map(|(uid, pod)| match self.gate_decision(now, uid, pod, &in_flight) {
                GateDecision::Now(budget) => {
                    let name = pod.view.name.clone();
                    let method = self.method(pod)?;
                    let request = RemovalRequest {
                        pod: name.clone(),
                        uid: uid.clone(),
                        node: self.settings.node.clone(),
                        grace: self.grace(now, pod, method),
                        method,
                        dry_run: false,
                    };
                    Some((request, PendingRequest { pod: name, budget }))
                }
                GateDecision::At(_) | GateDecision::OnEvent | GateDecision::LaterTier | GateDecision::TwoBudgets(_) => {
                    None
                }
            })
    }

    /// Whether a pod is evicted or deleted, or its responders are asked; `None` if none of these is allowed.
    ///
    /// A pod of a `StatefulSet` is never deleted while its node is not Ready: the node may be alive.
    pub(crate) fn method(&self, pod: &TrackedPod) -> Option<EvictionMethod> {
        match pod.decision {
            Decision::Evict => Some(self.eviction_of(pod)),
            Decision::Delete if pod.view.controller == Controller::StatefulSet && !self.node_is_ready() => {
                Some(self.eviction_of(pod))
            }
            Decision::Delete => Some(EvictionMethod::Delete),
            Decision::Skip(_) | Decision::Wait | Decision::Complete(_) | Decision::Block(_) | Decision::Unknown => None,
        }
    }

    fn eviction_of(&self, pod: &TrackedPod) -> EvictionMethod {
        if self.asks_responders(pod) {
            EvictionMethod::AskResponders
        } else {
            EvictionMethod::Evict
        }
    }

    /// Whether the node is known to be cordoned; otherwise evicted pods could be scheduled to it again.
    pub(crate) fn is_cordoned(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.cordoned)
    }

    fn node_is_ready(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.not_ready.is_none())
    }

    /// The grace period to send, never 0: that would remove the object before the kubelet has stopped the containers.
    fn grace(&self, now: DateTime<Utc>, pod: &TrackedPod, method: EvictionMethod) -> Option<i64> {
        let configured = self.settings.grace_period_seconds;
        let own = (pod.view.grace < 1).then_some(1);
        let grace = configured.map(|seconds| seconds.max(1)).or(own);
        let rest_of_stage = match (method, &self.settings.stage) {
            (EvictionMethod::Delete, Stage::Delete(deletion)) => {
                deletion.until.map(|until| (until - now).num_seconds().max(1))
            }
            (EvictionMethod::Evict | EvictionMethod::AskResponders, _) | (EvictionMethod::Delete, Stage::Evict) => None,
        };
        match rest_of_stage {
            Some(rest) if rest < grace.unwrap_or(pod.view.grace) => Some(rest),
            Some(_) | None => grace,
        }
    }

    /// Whether the eviction of a pod may be requested now, and what it waits for otherwise.
    pub(crate) fn gate_decision(
        &self,
        now: DateTime<Utc>,
        uid: &Uid,
        pod: &TrackedPod,
        in_flight: &InFlight,
    ) -> GateDecision {
        let Some(method) = self.method(pod) else {
            return GateDecision::OnEvent;
        };
        if !self.is_cordoned() {
            return GateDecision::OnEvent;
        }
        if in_flight.tier_unknown || in_flight.first_tier.is_some_and(|first| first < pod.tier) {
            return GateDecision::LaterTier;
        }
        if let Some(from) = self.settings.evict_from.filter(|from| *from > now) {
            return GateDecision::At(from);
        }
        if self.requests.contains_key(uid) {
            return GateDecision::OnEvent;
        }
        let not_before = match &pod.attempt {
            Attempt::Asked { at } if method == EvictionMethod::AskResponders => {
                let due = self.responders_due(uid, pod, *at);
                return due.map_or(GateDecision::OnEvent, GateDecision::At);
            }
            Attempt::Open | Attempt::Asked { .. } => None,
            Attempt::Granted { at, .. } => Some(*at + GRANT_TIMEOUT),
            Attempt::Later { at, .. } => Some(*at),
        };
        if let Some(at) = not_before.filter(|at| *at > now) {
            return GateDecision::At(at);
        }
        match method {
            EvictionMethod::Delete => self.check_announcement(now),
            EvictionMethod::AskResponders => GateDecision::Now(None),
            EvictionMethod::Evict => self.check_budgets(now, pod, in_flight),
        }
    }

    /// Deletions start a moment after their stage, once its Event has been sent.
    fn check_announcement(&self, now: DateTime<Utc>) -> GateDecision {
        match &self.settings.stage {
            Stage::Delete(deletion) if now < deletion.since + DELETE_ANNOUNCEMENT => {
                GateDecision::At(deletion.since + DELETE_ANNOUNCEMENT)
            }
            Stage::Delete(_) | Stage::Evict => GateDecision::Now(None),
        }
    }

    fn check_budgets(&self, now: DateTime<Utc>, pod: &TrackedPod, in_flight: &InFlight) -> GateDecision {
        let budgets = self.budgets.get(&pod.view.name.namespace);
        if !budgets.is_some_and(|budgets| budgets.known) {
            return GateDecision::OnEvent;
        }
        if let Some(budgets) = self.conflicting_budgets(&pod.view) {
            return GateDecision::TwoBudgets(budgets);
        }
        let guard = self.budgets_of(&pod.view).find(|budget| budget.guards(&pod.view));
        match guard {
            Some(budget) if self.outlook(&pod.view, budget) == BudgetOutlook::AfterCordon => {
                self.check_tried_budget(now, pod, budget, in_flight)
            }
            Some(budget) => self.check_budget(now, budget, in_flight),
            None => GateDecision::Now(None),
        }
    }

    /// The budgets that select a running pod, if they are more than one: the API server does not evict such a pod.
    pub(crate) fn conflicting_budgets(&self, pod: &PodView) -> Option<Vec<PodName>> {
        let budgets: Vec<&BudgetView> = self.budgets_of(pod).collect();
        let conflict = pod.phase == Phase::Running && budgets.len() > 1;
        conflict.then(|| budgets.iter().map(|budget| budget.name.clone()).collect())
    }

    /// A budget gets as many requests as it allows, without those in flight; an exhausted one gets a single probe at a
    /// time, at long intervals.
    fn check_budget(&self, now: DateTime<Utc>, budget: &BudgetView, in_flight: &InFlight) -> GateDecision {
        let usage = in_flight.budgets.get(&budget.name).copied().unwrap_or_default();
        let gate = self.gates.get(&budget.name);
        let pass = || GateDecision::Now(Some((budget.name.clone(), budget.version.clone())));
        if usage.pending >= MAX_REQUESTS_PER_BUDGET {
            return GateDecision::OnEvent;
        }
        let refused = gate.is_some_and(|gate| gate.refused_version.as_ref() == Some(&budget.version));
        let allowed = usize::try_from(budget.numbers.allowed).unwrap_or_default();
        if allowed > usage.uncounted && !refused {
            return pass();
        }
        if usage.pending + usage.uncounted > 0 {
            return GateDecision::OnEvent;
        }
        match gate.and_then(|gate| gate.probe_at) {
            Some(at) if at > now => GateDecision::At(at),
            Some(_) | None => pass(),
        }
    }

    /// A budget that is tried gets a request for each pod once the others have left, and one more after each of its changes.
    fn check_tried_budget(
        &self,
        now: DateTime<Utc>,
        pod: &TrackedPod,
        budget: &BudgetView,
        in_flight: &InFlight,
    ) -> GateDecision {
        if self.others_remain() {
            return GateDecision::OnEvent;
        }
        let pending = in_flight.budgets.get(&budget.name).copied().unwrap_or_default().pending;
        let gate = self.gates.get(&budget.name);
        let changed = gate.is_some_and(|gate| {
            gate.refused_version
                .as_ref()
                .is_some_and(|known| *known != budget.version)
        });
        let first = !pod.requested && pending < MAX_REQUESTS_PER_BUDGET;
        if first || (changed && pending == 0) {
            return GateDecision::Now(Some((budget.name.clone(), budget.version.clone())));
        }
        self.check_budget(now, budget, in_flight)
    }

    /// The requests and granted evictions in flight, by budget, and the first tier that still has a pod.
    pub(crate) fn in_flight(&self) -> InFlight {
        let mut in_flight = InFlight::default();
        for request in self.requests.values() {
            if let Some((budget, _)) = &request.budget {
                let usage = in_flight.budgets.entry(budget.clone()).or_default();
                usage.pending += 1;
                usage.uncounted += usize::from(!self.is_counted(budget, &request.pod));
            }
        }
        for pod in self.pods.iter().flatten().map(|(_, pod)| pod) {
            in_flight.tier_unknown |= pod.decision == Decision::Unknown;
            if holds_node(&pod.decision) {
                in_flight.first_tier = Some(in_flight.first_tier.map_or(pod.tier, |first| first.min(pod.tier)));
            }
            if let Attempt::Granted {
                budget: Some(budget), ..
            } = &pod.attempt
                && pod.view.shutdown.is_none()
                && !self.is_counted(budget, &pod.view.name)
            {
                in_flight.budgets.entry(budget.clone()).or_default().uncounted += 1;
            }
        }
        in_flight
    }

    /// Whether the budget, as the watch shows it, already counts the pod as disrupted.
    fn is_counted(&self, budget: &PodName, pod: &PodName) -> bool {
        let known = self
            .budgets
            .get(&budget.namespace)
            .and_then(|budgets| budgets.all.get(&budget.name));
        known.is_some_and(|budget| budget.disrupted.contains(&pod.name))
    }
}

/// Requests and granted evictions in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    budgets: BTreeMap<PodName, BudgetUsage>,
    /// The earliest tier that still has a pod.
    first_tier: Option<Tier>,
    /// Whether the tier of some pod is not known.
    tier_unknown: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct BudgetUsage {
    /// Requests without an answer.
    pending: usize,
    /// Requests and grants that the budget's numbers do not include yet.
    uncounted: usize,
}
