//! The two watches of a drain: the node's pods, and the budgets of each namespace involved.

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client};

use crate::budget::{BudgetView, SlimBudget};
use crate::node::{NodeView, SlimNode};
use crate::pod::{PodName, PodView, SlimPod, Uid};
use crate::volumes::SlimAttachment;
use lockkeeper_kube_util::WatchBackoff;

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
    /// The node is being listed.
    NodeListing,
    /// The node, new or changed.
    Node(NodeView),
    /// The node has been listed.
    NodeListed,
    /// The node is gone.
    NodeGone,
    /// All attachments of the node's volumes are being listed.
    AttachmentListing,
    /// An attachment to the node and its volume, new or changed.
    Attachment(String, String),
    /// All attachments have been listed.
    AttachmentsListed,
    /// An attachment is gone.
    AttachmentGone(String),
    /// Something that says nothing about the node.
    Nothing,
    /// Another watch failed and goes on by itself.
    Failed(String),
}

/// Watches the pods of one node.
pub(crate) fn pods(client: &Client, node: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimPod> = Api::all(client.clone());
    watcher(api, Config::default().fields(&on_node(node)))
        .backoff(WatchBackoff::for_operator())
        .map(|event| match event {
            Ok(Event::Init) => Seen::PodListing(None),
            Ok(Event::InitApply(pod)) => Seen::PodListing(Some(pod.into())),
            Ok(Event::InitDone) => Seen::PodsListed,
            Ok(Event::Apply(pod)) => Seen::Pod(pod.into()),
            Ok(Event::Delete(pod)) => Seen::PodGone(PodView::from(pod).uid),
            Err(error) => Seen::Failed(format!("watching the node's pods: {}", words(&error))),
        })
        .boxed()
}

/// Watches the budgets of one namespace.
pub(crate) fn budgets(client: &Client, namespace: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimBudget> = Api::namespaced(client.clone(), namespace);
    let namespace = namespace.to_owned();
    watcher(api, Config::default())
        .backoff(WatchBackoff::for_operator())
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

/// Watches the node itself.
pub(crate) fn node(client: &Client, node: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimNode> = Api::all(client.clone());
    watcher(api, Config::default().fields(&format!("metadata.name={node}")))
        .backoff(WatchBackoff::for_operator())
        .map(|event| match event {
            Ok(Event::Init) => Seen::NodeListing,
            Ok(Event::InitApply(node) | Event::Apply(node)) => Seen::Node(node.into()),
            Ok(Event::InitDone) => Seen::NodeListed,
            Ok(Event::Delete(_)) => Seen::NodeGone,
            Err(error) => Seen::Failed(format!("watching the node: {}", words(&error))),
        })
        .boxed()
}

/// Watches the attachments of the node's volumes; the API server cannot select them by node.
pub(crate) fn attachments(client: &Client, node: &str) -> BoxStream<'static, Seen> {
    let api: Api<SlimAttachment> = Api::all(client.clone());
    let node = node.to_owned();
    let seen = move |attachment: SlimAttachment| match attachment.to(&node) {
        Some((name, volume)) => Seen::Attachment(name, volume),
        None => Seen::Nothing,
    };
    watcher(api, Config::default())
        .backoff(WatchBackoff::for_operator())
        .map(move |event| match event {
            Ok(Event::Init) => Seen::AttachmentListing,
            Ok(Event::InitApply(attachment) | Event::Apply(attachment)) => seen(attachment),
            Ok(Event::InitDone) => Seen::AttachmentsListed,
            Ok(Event::Delete(attachment)) => Seen::AttachmentGone(attachment.metadata.name.unwrap_or_default()),
            Err(error) => Seen::Failed(format!("watching volume attachments: {}", words(&error))),
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
