//! The two watches of a drain: the node's pods, and the budgets of each namespace involved.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client};

use crate::budget::{BudgetView, SlimBudget};
use crate::pod::{PodName, PodView, SlimPod, Uid};

/// What a watch says.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Collected until [`Seen::PodsListed`].
    PodListing(Option<PodView>),
    /// All pods have been listed.
    PodsListed,
    /// A pod, new or changed.
    Pod(PodView),
    /// A pod that is gone.
    PodGone(Uid),
    /// The pod watch failed and goes on by itself.
    PodsFailed(String),
    /// Collected until [`Seen::BudgetsListed`].
    BudgetListing(String, Option<BudgetView>),
    /// All budgets of the namespace have been listed.
    BudgetsListed(String),
    /// A budget, new or changed.
    Budget(BudgetView),
    /// A budget that is gone.
    BudgetGone(PodName),
    /// The budget watch of the namespace failed and goes on by itself.
    BudgetsFailed(String, String),
}

/// Watches the pods of one node.
pub(crate) fn pods(client: &Client, node: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimPod> = Api::all(client.clone());
    watcher(api, Config::default().fields(&on_node(node)))
        .backoff(Pauses::default())
        .map(|event| match event {
            Ok(Event::Init) => Seen::PodListing(None),
            Ok(Event::InitApply(pod)) => Seen::PodListing(Some(pod.into())),
            Ok(Event::InitDone) => Seen::PodsListed,
            Ok(Event::Apply(pod)) => Seen::Pod(pod.into()),
            Ok(Event::Delete(pod)) => Seen::PodGone(PodView::from(pod).uid),
            Err(error) => Seen::PodsFailed(format!("watching the node's pods: {}", words(&error))),
        })
        .boxed()
}

/// Watches the budgets of one namespace.
pub(crate) fn budgets(client: &Client, namespace: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimBudget> = Api::namespaced(client.clone(), namespace);
    let namespace = namespace.to_owned();
    watcher(api, Config::default())
        .backoff(Pauses::default())
        .map(move |event| match event {
            Ok(Event::Init) => Seen::BudgetListing(namespace.clone(), None),
            Ok(Event::InitApply(budget)) => Seen::BudgetListing(namespace.clone(), Some(budget.into())),
            Ok(Event::InitDone) => Seen::BudgetsListed(namespace.clone()),
            Ok(Event::Apply(budget)) => Seen::Budget(budget.into()),
            Ok(Event::Delete(budget)) => Seen::BudgetGone(BudgetView::from(budget).name),
            Err(error) => {
                let message = format!("watching the budgets of namespace {namespace}: {}", words(&error));
                Seen::BudgetsFailed(namespace.clone(), message)
            }
        })
        .boxed()
}

/// The field selector that the API server has an index for.
pub(crate) fn on_node(node: &str) -> String {
    format!("spec.nodeName={node}")
}

fn words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => crate::evict::words(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// Pauses after a failed watch: kube's own go up to 30 s, by which a drain would outlast a short outage.
#[derive(Debug, Default)]
struct Pauses {
    failures: u32,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        const FIRST: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(5);
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
