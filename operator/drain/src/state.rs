//! What is known about the node's pods and their budgets, and how each event changes it.
//!
//! This has no clock and no I/O: the caller passes the time and sends the requests that the eviction gate picks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::blocker::Blocker;
use crate::budget::BudgetView;
use crate::limits::{FAILURE_SHOWN_FOR, SAME_FAILURE};
use crate::node::NodeView;
use crate::pod::{PodName, PodView, Uid};
use crate::responders::NamespaceResponders;
use crate::returns::Returns;
use crate::rule::Namespaces;
use crate::select::{Decision, EvictionBar, StayReason, Tier, Verdict, decide, holds_node};
use crate::settings::Settings;
use crate::volumes::VolumeState;

/// Everything that a running drain knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    /// Pods on the node, as the watch shows them; `None` before the first list.
    pub(crate) pods: Option<BTreeMap<Uid, TrackedPod>>,
    /// Every pod that has had to leave.
    pub(crate) pods_to_move: BTreeMap<Uid, PodToMove>,
    /// The node; `None` before the first list.
    pub(crate) node: Option<NodeView>,
    /// Since when the node has been observed cordoned without interruption, by the local clock: clocks of other
    /// machines may be wrong.
    pub(crate) cordoned_since: Option<DateTime<Utc>>,
    /// Volumes that may still be attached to it.
    pub(crate) volumes: VolumeState,
    /// Whether the drain started soon enough after the cordon to see every pod that had to leave.
    pub(crate) saw_every_pod: bool,
    /// Labels of namespaces, if a rule depends on them.
    pub(crate) namespaces: Namespaces,
    /// Budgets by namespace.
    pub(crate) budgets: BTreeMap<String, Budgets>,
    /// What the answers showed about each budget.
    pub(crate) gates: BTreeMap<PodName, EvictionGate>,
    /// Requests without an answer.
    pub(crate) requests: BTreeMap<Uid, PendingRequest>,
    /// What responders do, by namespace.
    pub(crate) responders: BTreeMap<String, NamespaceResponders>,
    /// Pods that came back after they had left.
    pub(crate) returns: Returns,
    /// The last failure of the API server.
    pub(crate) failure: Option<ApiFailure>,
}

/// One pod, and the state of its eviction.
#[derive(Debug)]
pub(crate) struct TrackedPod {
    pub(crate) view: PodView,
    pub(crate) decision: Decision,
    pub(crate) tier: Tier,
    pub(crate) attempt: Attempt,
    /// Consecutive failures that do not concern the pod.
    pub(crate) failures: u32,
    /// Whether its eviction has been requested.
    pub(crate) requested: bool,
    /// Whether its responders are asked no more: they have ended without its eviction, or do not answer.
    pub(crate) responders_ended: bool,
}

/// What is remembered of a pod that had to leave.
#[derive(Clone, Debug)]
pub(crate) struct PodToMove {
    pub(crate) name: PodName,
    pub(crate) tier: Tier,
    pub(crate) empty_dir: bool,
    /// Whether it uses volume claims.
    pub(crate) claims: bool,
    /// Its controlling owner.
    pub(crate) owner: Option<String>,
}

/// The state of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Not requested yet, or the budget's gate decides when.
    Open,
    /// Its responders were asked; the watches will show what they do.
    Asked { at: DateTime<Utc> },
    /// Granted; the watch will show the shutdown.
    Granted { at: DateTime<Utc>, budget: Option<PodName> },
    /// Refused; requested again later.
    Later {
        at: DateTime<Utc>,
        blocker: Option<Blocker>,
        /// Whether a change of a budget in the namespace ends the delay.
        retry_on_budget_change: bool,
    },
}

/// The budgets of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// Whether they have been listed, or cannot be; then only the API server's answers show them.
    pub(crate) known: bool,
    pub(crate) all: BTreeMap<String, BudgetView>,
}

/// What the answers showed about a budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct EvictionGate {
    /// The version of the budget at its last refusal.
    pub(crate) refused_version: Option<String>,
    /// When a probe may be sent although the budget looks exhausted; `None` before the first answer.
    pub(crate) probe_at: Option<DateTime<Utc>>,
    /// The API server's message.
    pub(crate) message: String,
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequest {
    pub(crate) pod: PodName,
    /// The budget that guards the pod, with its version at the time of the request.
    pub(crate) budget: Option<(PodName, String)>,
}

/// A failure of the API server.
#[derive(Clone, Debug)]
pub(crate) struct ApiFailure {
    /// When it last occurred.
    at: DateTime<Utc>,
    /// The error.
    message: String,
    /// How often in a row, without a success or a longer pause in between. Failures of one moment count as one: when a
    /// connection breaks, all watches that share it end.
    count: u32,
    /// When the last of them was counted.
    counted_at: DateTime<Utc>,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            pods: None,
            pods_to_move: BTreeMap::new(),
            node: None,
            cordoned_since: None,
            volumes: VolumeState::default(),
            saw_every_pod: false,
            namespaces: Namespaces::new(),
            budgets: BTreeMap::new(),
            gates: BTreeMap::new(),
            requests: BTreeMap::new(),
            responders: BTreeMap::new(),
            returns: Returns::default(),
            failure: None,
        }
    }

    /// The watch has listed the node's pods.
    pub(crate) fn pods_listed(&mut self, now: DateTime<Utc>, pods: Vec<PodView>) {
        let mut before = self.pods.take().unwrap_or_default();
        let listed: BTreeSet<Uid> = pods.iter().map(|view| view.uid.clone()).collect();
        for (_, pod) in before.iter().filter(|(uid, _)| !listed.contains(uid)) {
            self.note_departure(pod);
        }
        let (mut present, mut stay) = (BTreeMap::new(), false);
        for view in pods {
            let uid = view.uid.clone();
            let (tracked, stays) = self.tracked(now, view, before.remove(&uid));
            present.insert(uid, tracked);
            stay |= stays;
        }
        self.pods = Some(present);
        if stay {
            self.decide_again(now);
        }
    }

    /// The watch shows a new or changed pod.
    pub(crate) fn pod_applied(&mut self, now: DateTime<Utc>, view: PodView) {
        let mut pods = self.pods.take().unwrap_or_default();
        let uid = view.uid.clone();
        let (tracked, stays) = self.tracked(now, view, pods.remove(&uid));
        pods.insert(uid, tracked);
        self.pods = Some(pods);
        if stays {
            self.decide_again(now);
        }
    }

    /// The watch shows that a pod is gone.
    pub(crate) fn pod_deleted(&mut self, uid: &Uid) {
        let pod = self.pods.as_mut().and_then(|pods| pods.remove(uid));
        if let Some(pod) = pod {
            self.note_departure(&pod);
        }
    }

    /// The watch has listed the budgets of a namespace.
    pub(crate) fn budgets_listed(&mut self, namespace: &str, budgets: Vec<BudgetView>) {
        let all = budgets
            .into_iter()
            .map(|budget| (budget.name.name.clone(), budget))
            .collect();
        self.budgets.insert(namespace.to_owned(), Budgets { known: true, all });
        self.retry_after_budget_change(namespace);
    }

    /// The watch shows a new or changed budget.
    pub(crate) fn budget_applied(&mut self, budget: BudgetView) {
        let namespace = budget.name.namespace.clone();
        self.budgets
            .entry(namespace.clone())
            .or_default()
            .all
            .insert(budget.name.name.clone(), budget);
        self.retry_after_budget_change(&namespace);
    }

    /// The watch shows that a budget is gone.
    pub(crate) fn budget_deleted(&mut self, name: &PodName) {
        if let Some(budgets) = self.budgets.get_mut(&name.namespace) {
            budgets.all.remove(&name.name);
        }
        self.retry_after_budget_change(&name.namespace);
    }

    /// The budgets of a namespace cannot be listed; the API server still enforces them.
    pub(crate) fn budgets_unavailable(&mut self, namespace: &str) {
        self.budgets.entry(namespace.to_owned()).or_default().known = true;
    }

    /// How many pods hold the node; `None` before the first list.
    pub(crate) fn remaining(&self) -> Option<usize> {
        let pods = self.pods.as_ref()?;
        Some(pods.values().filter(|pod| holds_node(&pod.decision)).count())
    }

    /// The namespaces with pods to evict, whose budgets must be watched.
    pub(crate) fn namespaces_with_evictions(&self) -> BTreeSet<String> {
        self.namespaces_of(|decision| matches!(decision, Decision::Evict | Decision::Delete))
    }

    /// The namespaces whose labels must be read.
    pub(crate) fn namespaces_unknown(&self) -> BTreeSet<String> {
        self.namespaces_of(|decision| *decision == Decision::Unknown)
    }

    fn namespaces_of(&self, which: impl Fn(&Decision) -> bool) -> BTreeSet<String> {
        let pods = self.pods.iter().flatten().map(|(_, pod)| pod);
        pods.filter(|pod| which(&pod.decision))
            .map(|pod| pod.view.name.namespace.clone())
            .collect()
    }

    /// The labels of a namespace are known: its pods are decided again.
    pub(crate) fn namespace_read(&mut self, now: DateTime<Utc>, namespace: String, labels: BTreeMap<String, String>) {
        self.namespaces.insert(namespace, labels);
        self.decide_again(now);
    }

    /// Decides about each known pod anew if the opt-out of one has ended.
    pub(crate) fn end_opt_outs(&mut self, now: DateTime<Utc>) {
        let ended = self.opt_out_ends().any(|until| until <= now);
        if ended {
            self.decide_again(now);
        }
    }

    /// When the opt-outs end that block pods now.
    pub(crate) fn opt_out_ends(&self) -> impl Iterator<Item = DateTime<Utc>> {
        let pods = self.pods.iter().flatten();
        let blocked = pods.filter(|(_, pod)| match &pod.decision {
            Decision::Block(bars) => bars.iter().any(|bar| matches!(bar, EvictionBar::OptedOut(_))),
            Decision::Skip(StayReason::DaemonSet) => true,
            Decision::Skip(_)
            | Decision::Evict
            | Decision::Delete
            | Decision::Wait
            | Decision::Complete(_)
            | Decision::Unknown => false,
        });
        blocked.filter_map(|(_, pod)| pod.view.opt_out?.until)
    }

    /// Decides about each known pod anew.
    pub(crate) fn decide_again(&mut self, now: DateTime<Utc>) {
        let views = self.pods.iter().flatten().map(|(_, pod)| pod.view.clone()).collect();
        self.pods_listed(now, views);
    }

    /// A request or watch failed.
    pub(crate) fn record_failure(&mut self, now: DateTime<Utc>, message: String) {
        let before = self
            .failure
            .take()
            .filter(|failure| now < failure.at + FAILURE_SHOWN_FOR);
        let (count, counted_at) = match before {
            Some(before) if now < before.counted_at + SAME_FAILURE => (before.count, before.counted_at),
            Some(before) => (before.count.saturating_add(1), now),
            None => (1, now),
        };
        self.failure = Some(ApiFailure {
            at: now,
            message,
            count,
            counted_at,
        });
    }

    /// The failure of the API server, if it is worth showing: a single one is not, as any watch may end that way.
    pub(crate) fn api_failure(&self, now: DateTime<Utc>) -> Option<&str> {
        let failure = self.failure.as_ref()?;
        (failure.count > 1 && now < failure.at + FAILURE_SHOWN_FOR).then_some(failure.message.as_str())
    }

    /// Until when the last failure is shown.
    pub(crate) fn failure_shown_until(&self) -> Option<DateTime<Utc>> {
        self.failure.as_ref().map(|failure| failure.at + FAILURE_SHOWN_FOR)
    }

    /// The budgets that select a pod.
    pub(crate) fn budgets_of<'a>(&'a self, pod: &'a PodView) -> impl Iterator<Item = &'a BudgetView> {
        let budgets = self
            .budgets
            .get(&pod.name.namespace)
            .into_iter()
            .flat_map(|budgets| budgets.all.values());
        budgets.filter(move |budget| budget.selects(pod))
    }

    /// Pods refused by a budget that was not known are requested again once budgets change.
    fn retry_after_budget_change(&mut self, namespace: &str) {
        for pod in self.pods.iter_mut().flatten().map(|(_, pod)| pod) {
            let waits_for_budget = matches!(
                pod.attempt,
                Attempt::Later {
                    retry_on_budget_change: true,
                    ..
                }
            );
            if waits_for_budget && pod.view.name.namespace == namespace {
                pod.attempt = Attempt::Open;
            }
        }
    }

    /// The pod as it is tracked from now on, and whether the decision about others of its owner has changed.
    fn tracked(&mut self, now: DateTime<Utc>, view: PodView, before: Option<TrackedPod>) -> (TrackedPod, bool) {
        let Verdict { decision, tier } = decide(&view, &self.namespaces, &self.settings, now);
        let to_move = holds_node(&decision) && decision != Decision::Unknown;
        let stays = to_move && before.is_none() && self.note_arrival(now, &view);
        // A controller replaces a pod as soon as that is shutting down, long before it is gone.
        if let Some(before) = before.as_ref().filter(|_| view.shutdown.is_some()) {
            self.note_departure(before);
        }
        if to_move {
            let pod = PodToMove {
                name: view.name.clone(),
                tier,
                empty_dir: view.empty_dir,
                claims: !view.claims.is_empty(),
                owner: view.owner.clone(),
            };
            self.pods_to_move.insert(view.uid.clone(), pod);
        }
        let new = TrackedPod {
            view,
            decision,
            tier,
            attempt: Attempt::Open,
            failures: 0,
            requested: false,
            responders_ended: false,
        };
        let pod = match before {
            None => new,
            Some(before) => TrackedPod {
                view: new.view,
                decision: new.decision,
                tier: new.tier,
                ..before
            },
        };
        (pod, stays)
    }
}
