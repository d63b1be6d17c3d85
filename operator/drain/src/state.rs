//! What is known about the node's pods and their budgets, and what each event does to it.
//!
//! No clock and no I/O: the caller passes the time and carries out what [`crate::gate`] picks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::blocker::Blocker;
use crate::budget::BudgetView;
use crate::limits::TROUBLE_SHOWN_FOR;
use crate::node::NodeView;
use crate::pod::{PodName, PodView, Uid};
use crate::rule::Namespaces;
use crate::select::{Decision, Tier, Verdict, decide, matters};
use crate::settings::Settings;
use crate::volumes::Volumes;

/// All that a running drain knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    /// Pods on the node, as the watch shows them; none before the first list.
    pub(crate) pods: Option<BTreeMap<Uid, Tracked>>,
    /// Every pod that ever had to leave.
    pub(crate) seen: BTreeMap<Uid, Mover>,
    /// The node; none before it has been seen.
    pub(crate) node: Option<NodeView>,
    /// Since when it has been seen cordoned without a break, by our own clock: another machine's may be wrong.
    pub(crate) cordoned_since: Option<DateTime<Utc>>,
    /// What may still be attached to it.
    pub(crate) volumes: Volumes,
    /// Whether every pod that had to leave has been seen.
    pub(crate) from_the_start: bool,
    /// Labels of namespaces, where a rule asks for them.
    pub(crate) namespaces: Namespaces,
    /// Budgets by namespace.
    pub(crate) budgets: BTreeMap<String, Budgets>,
    /// What is known of a budget from its refusals.
    pub(crate) gates: BTreeMap<PodName, Gate>,
    /// Requests without an answer so far.
    pub(crate) asked: BTreeMap<Uid, Asked>,
    /// What the API server last failed at.
    pub(crate) trouble: Option<Trouble>,
}

/// One pod and what came of asking it to leave.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) view: PodView,
    pub(crate) decision: Decision,
    pub(crate) tier: Tier,
    pub(crate) attempt: Attempt,
    /// Failures in a row that say nothing about the pod.
    pub(crate) failures: u32,
}

/// What is remembered of a pod that had to leave.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) name: PodName,
    pub(crate) tier: Tier,
    pub(crate) empty_dir: bool,
    /// Whether it uses volumes that may be attached.
    pub(crate) claims: bool,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Not asked yet, or its budget's gate says when.
    Open,
    /// Granted; the watch will show it.
    Granted { at: DateTime<Utc>, budget: Option<PodName> },
    /// Refused; asked again later.
    Later {
        at: DateTime<Utc>,
        why: Option<Blocker>,
        budget_wakes: bool,
    },
}

/// The budgets of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// Whether they have been listed, or could not be: then the API server's refusals have to do.
    pub(crate) known: bool,
    pub(crate) all: BTreeMap<String, BudgetView>,
}

/// What is known of a budget from the answers it caused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// The version it had when it last refused.
    pub(crate) refused: Option<String>,
    /// When it is asked again although it looks closed; none before the first answer.
    pub(crate) probe_at: Option<DateTime<Utc>>,
    /// The API server's words.
    pub(crate) message: String,
}

/// A request that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) pod: PodName,
    /// The budget that guards the pod, with its version at that time.
    pub(crate) budget: Option<(PodName, String)>,
}

/// What the API server failed at.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The last time.
    at: DateTime<Utc>,
    /// In its words.
    message: String,
    /// How often, without anything that worked and without a longer rest between.
    times: u32,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            pods: None,
            seen: BTreeMap::new(),
            node: None,
            cordoned_since: None,
            volumes: Volumes::default(),
            from_the_start: false,
            namespaces: Namespaces::new(),
            budgets: BTreeMap::new(),
            gates: BTreeMap::new(),
            asked: BTreeMap::new(),
            trouble: None,
        }
    }

    /// The watch listed the node's pods anew.
    pub(crate) fn pods_listed(&mut self, pods: Vec<PodView>) {
        let mut before = self.pods.take().unwrap_or_default();
        let mut now = BTreeMap::new();
        for view in pods {
            let uid = view.uid.clone();
            let tracked = self.tracked(view, before.remove(&uid));
            now.insert(uid, tracked);
        }
        self.pods = Some(now);
    }

    /// The watch shows one pod, new or changed.
    pub(crate) fn pod_applied(&mut self, view: PodView) {
        let mut pods = self.pods.take().unwrap_or_default();
        let uid = view.uid.clone();
        let tracked = self.tracked(view, pods.remove(&uid));
        pods.insert(uid, tracked);
        self.pods = Some(pods);
    }

    /// The watch shows that one pod is gone.
    pub(crate) fn pod_deleted(&mut self, uid: &Uid) {
        if let Some(pods) = &mut self.pods {
            pods.remove(uid);
        }
    }

    /// The watch listed a namespace's budgets anew.
    pub(crate) fn budgets_listed(&mut self, namespace: &str, budgets: Vec<BudgetView>) {
        let all = budgets
            .into_iter()
            .map(|budget| (budget.name.name.clone(), budget))
            .collect();
        self.budgets.insert(namespace.to_owned(), Budgets { known: true, all });
        self.wake(namespace);
    }

    /// The watch shows one budget, new or changed.
    pub(crate) fn budget_applied(&mut self, budget: BudgetView) {
        let namespace = budget.name.namespace.clone();
        self.budgets
            .entry(namespace.clone())
            .or_default()
            .all
            .insert(budget.name.name.clone(), budget);
        self.wake(&namespace);
    }

    /// The watch shows that one budget is gone.
    pub(crate) fn budget_deleted(&mut self, name: &PodName) {
        if let Some(budgets) = self.budgets.get_mut(&name.namespace) {
            budgets.all.remove(&name.name);
        }
        self.wake(&name.namespace);
    }

    /// A namespace's budgets cannot be seen: the API server asks them all the same.
    pub(crate) fn budgets_unseen(&mut self, namespace: &str) {
        self.budgets.entry(namespace.to_owned()).or_default().known = true;
    }

    /// The namespaces whose budgets matter.
    pub(crate) fn namespaces_asked(&self) -> BTreeSet<String> {
        self.namespaces_of(|decision| matches!(decision, Decision::Evict | Decision::Delete))
    }

    /// The namespaces whose labels have to be known.
    pub(crate) fn namespaces_unknown(&self) -> BTreeSet<String> {
        self.namespaces_of(|decision| *decision == Decision::Unknown)
    }

    fn namespaces_of(&self, which: impl Fn(&Decision) -> bool) -> BTreeSet<String> {
        let pods = self.pods.iter().flatten().map(|(_, pod)| pod);
        pods.filter(|pod| which(&pod.decision))
            .map(|pod| pod.view.name.namespace.clone())
            .collect()
    }

    /// A namespace's labels are known: its pods are decided about anew.
    pub(crate) fn namespace_seen(&mut self, namespace: String, labels: BTreeMap<String, String>) {
        self.namespaces.insert(namespace, labels);
        let views = self.pods.iter().flatten().map(|(_, pod)| pod.view.clone()).collect();
        self.pods_listed(views);
    }

    /// Something that must work did not.
    pub(crate) fn failed(&mut self, now: DateTime<Utc>, message: String) {
        let before = self
            .trouble
            .take()
            .filter(|trouble| now < trouble.at + TROUBLE_SHOWN_FOR);
        self.trouble = Some(Trouble {
            at: now,
            message,
            times: before.map_or(1, |trouble| trouble.times.saturating_add(1)),
        });
    }

    /// What the API server fails at; once alone is no news, as any watch may end that way.
    pub(crate) fn trouble(&self, now: DateTime<Utc>) -> Option<&str> {
        let trouble = self.trouble.as_ref()?;
        (trouble.times > 1 && now < trouble.at + TROUBLE_SHOWN_FOR).then_some(trouble.message.as_str())
    }

    /// When the last failure is no longer news.
    pub(crate) fn trouble_ends(&self) -> Option<DateTime<Utc>> {
        self.trouble.as_ref().map(|trouble| trouble.at + TROUBLE_SHOWN_FOR)
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

    /// Pods refused by a budget that was not known are asked again once budgets change.
    fn wake(&mut self, namespace: &str) {
        for pod in self.pods.iter_mut().flatten().map(|(_, pod)| pod) {
            let waits = matches!(pod.attempt, Attempt::Later { budget_wakes: true, .. });
            if waits && pod.view.name.namespace == namespace {
                pod.attempt = Attempt::Open;
            }
        }
    }

    fn tracked(&mut self, view: PodView, before: Option<Tracked>) -> Tracked {
        let Verdict { decision, tier } = decide(&view, &self.namespaces, &self.settings);
        if matters(&decision) && decision != Decision::Unknown {
            let mover = Mover {
                name: view.name.clone(),
                tier,
                empty_dir: view.empty_dir,
                claims: !view.claims.is_empty(),
            };
            self.seen.insert(view.uid.clone(), mover);
        }
        let (attempt, failures) = before.map_or((Attempt::Open, 0), |pod| (pod.attempt, pod.failures));
        Tracked {
            view,
            decision,
            tier,
            attempt,
            failures,
        }
    }
}
