//! The watches of a drain: the node, its pods, the budgets of each namespace involved, and volume attachments.

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use lockkeeper_kube_util::{Guarded, GuardedApi, WatchBackoff, error_chain};

use crate::budget::{BudgetView, SlimBudget, name_of};
use crate::fresh_reads::pods_on;
use crate::node::{NodeView, SlimNode};
use crate::pod::{PodName, PodView, SlimPod, Uid};
use crate::responders::{self, ResponderEvent};
use crate::volumes::{AttachmentRest, SlimAttachment, on_node};

/// An event of one of the watches.
#[derive(Debug)]
pub(crate) enum WatchEvent {
    /// A list of pods starts, or contains this pod; it is complete with [`WatchEvent::PodsListed`].
    PodListing(Option<PodView>),
    /// All pods have been listed.
    PodsListed,
    /// A new or changed pod.
    Pod(PodView),
    /// A pod is gone.
    PodGone(Uid),
    /// A list of budgets starts, or contains this budget; it is complete with [`WatchEvent::BudgetsListed`].
    BudgetListing(String, Option<BudgetView>),
    /// All budgets of the namespace have been listed.
    BudgetsListed(String),
    /// A new or changed budget.
    Budget(BudgetView),
    /// A budget is gone.
    BudgetGone(PodName),
    /// The watch on the budgets of the namespace failed; it restarts by itself.
    BudgetsFailed(String, String),
    /// A list of the node starts.
    NodeListing,
    /// The new or changed node.
    Node(NodeView),
    /// The node has been listed.
    NodeListed,
    /// The node is gone.
    NodeGone,
    /// A list of attachments starts.
    AttachmentListing,
    /// A new or changed attachment to the node, and its volume.
    Attachment(String, String),
    /// All attachments have been listed.
    AttachmentsListed,
    /// An attachment is gone.
    AttachmentGone(String),
    /// A request to responders, or what they do, has changed.
    Responders(ResponderEvent),
    /// An event that does not concern the node.
    Unrelated,
    /// Another watch failed; it restarts by itself.
    Failed(String),
}

/// Watches the pods of one node.
pub(crate) fn pods(client: &Client, node: &str) -> BoxStream<'static, WatchEvent> {
    let api: GuardedApi<SlimPod> = GuardedApi::all(client.clone());
    api.watch(Config::default().fields(&pods_on(node)))
        .backoff(WatchBackoff::for_operator())
        .map(|event| match event {
            Ok(Event::Init) => WatchEvent::PodListing(None),
            Ok(Event::InitApply(pod)) => WatchEvent::PodListing(Some(pod.into())),
            Ok(Event::InitDone) => WatchEvent::PodsListed,
            Ok(Event::Apply(pod)) => WatchEvent::Pod(pod.into()),
            Ok(Event::Delete(pod)) => WatchEvent::PodGone(PodView::from(pod).uid),
            Err(error) => WatchEvent::Failed(failure("the node's pods", &error)),
        })
        .boxed()
}

/// Watches the budgets of one namespace. One that cannot be decoded is left out: the API server still enforces it.
pub(crate) fn budgets(client: &Client, namespace: &str) -> BoxStream<'static, WatchEvent> {
    let api: GuardedApi<SlimBudget> = GuardedApi::namespaced(client.clone(), namespace);
    let namespace = namespace.to_owned();
    api.watch(Config::default())
        .backoff(WatchBackoff::for_operator())
        .map(move |event| match event {
            Ok(Event::Init) => WatchEvent::BudgetListing(namespace.clone(), None),
            Ok(Event::InitApply(budget)) => match budget.0 {
                Ok(budget) => WatchEvent::BudgetListing(namespace.clone(), Some(budget.into())),
                Err(_) => WatchEvent::Unrelated,
            },
            Ok(Event::InitDone) => WatchEvent::BudgetsListed(namespace.clone()),
            Ok(Event::Apply(Guarded(Ok(budget)))) => WatchEvent::Budget(budget.into()),
            Ok(Event::Apply(budget) | Event::Delete(budget)) => WatchEvent::BudgetGone(name_of(budget.meta())),
            Err(error) => {
                let message = failure(&format!("the disruption budgets of namespace {namespace}"), &error);
                WatchEvent::BudgetsFailed(namespace.clone(), message)
            }
        })
        .boxed()
}

/// Watches the node itself.
pub(crate) fn node(client: &Client, node: &str) -> BoxStream<'static, WatchEvent> {
    let api: Api<SlimNode> = Api::all(client.clone());
    watcher(api, Config::default().fields(&format!("metadata.name={node}")))
        .backoff(WatchBackoff::for_operator())
        .map(|event| match event {
            Ok(Event::Init) => WatchEvent::NodeListing,
            Ok(Event::InitApply(node) | Event::Apply(node)) => WatchEvent::Node(node.into()),
            Ok(Event::InitDone) => WatchEvent::NodeListed,
            Ok(Event::Delete(_)) => WatchEvent::NodeGone,
            Err(error) => WatchEvent::Failed(failure("the node", &error)),
        })
        .boxed()
}

/// Watches all volume attachments; the API server cannot select them by node.
pub(crate) fn attachments(client: &Client, node: &str) -> BoxStream<'static, WatchEvent> {
    let api: GuardedApi<SlimAttachment, AttachmentRest> = GuardedApi::all(client.clone());
    let node = node.to_owned();
    let applied = move |attachment| match on_node(attachment, &node) {
        Some((name, volume)) => WatchEvent::Attachment(name, volume),
        None => WatchEvent::Unrelated,
    };
    api.watch(Config::default())
        .backoff(WatchBackoff::for_operator())
        .map(move |event| match event {
            Ok(Event::Init) => WatchEvent::AttachmentListing,
            Ok(Event::InitApply(attachment) | Event::Apply(attachment)) => applied(attachment),
            Ok(Event::InitDone) => WatchEvent::AttachmentsListed,
            Ok(Event::Delete(attachment)) => WatchEvent::AttachmentGone(attachment.name_any()),
            Err(error) => WatchEvent::Failed(failure("volume attachments", &error)),
        })
        .boxed()
}

/// Watches what the responders of pods in a namespace do.
pub(crate) fn responders(client: &Client, namespace: &str, node: &str) -> [BoxStream<'static, WatchEvent>; 2] {
    responders::watches(client, namespace, node).map(|events| events.map(WatchEvent::Responders).boxed())
}

pub(crate) fn failure(what: &str, error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error_chain(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => error.to_string(),
    };
    format!("the watch on {what} is failing: {cause}")
}
