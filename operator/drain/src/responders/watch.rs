//! The watches on the requests and evictions of one namespace.

use futures::stream::{BoxStream, StreamExt};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_kube_util::{WatchBackoff, label_value};

use super::object::ObservedEviction;
use crate::watches::failure;

/// A change of the requests or evictions of a namespace.
#[derive(Debug)]
pub(crate) struct ResponderEvent {
    pub(crate) namespace: String,
    pub(crate) kind: Kind,
    pub(crate) change: Change,
}

/// Which objects have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our `EvictionRequest`s for pods of the node.
    Requests,
    /// All `Eviction`s: a controller names and labels them as it likes.
    Evictions,
}

/// What has changed. An object that cannot be decoded counts as none.
#[derive(Debug)]
pub(crate) enum Change {
    /// A list starts; it is complete with [`Change::ListComplete`].
    ListStarts,
    /// An object of that list.
    Listed(String, Option<ObservedEviction>),
    /// All objects have been listed.
    ListComplete,
    /// A new or changed object.
    Applied(String, Option<ObservedEviction>),
    /// An object is gone.
    Deleted(String),
    /// The watch failed; it restarts by itself.
    Failed(String),
}

/// Watches our requests for pods of this node, and the evictions, of one namespace.
pub(crate) fn watches(client: &Client, namespace: &str, node: &str) -> [BoxStream<'static, ResponderEvent>; 2] {
    let ours = format!(
        "{}={},{}={}",
        names::PART_OF_LABEL,
        names::PART_OF,
        names::JOB_NODE,
        label_value(node)
    );
    [
        objects(client, namespace, Kind::Requests, Config::default().labels(&ours)),
        objects(client, namespace, Kind::Evictions, Config::default()),
    ]
}

fn objects(client: &Client, namespace: &str, kind: Kind, config: Config) -> BoxStream<'static, ResponderEvent> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
    let namespace = namespace.to_owned();
    watcher(api, config)
        .backoff(WatchBackoff::for_operator())
        .map(move |event| {
            let change = match event {
                Ok(Event::Init) => Change::ListStarts,
                Ok(Event::InitApply(object)) => Change::Listed(object.name_any(), observed(&object)),
                Ok(Event::InitDone) => Change::ListComplete,
                Ok(Event::Apply(object)) => Change::Applied(object.name_any(), observed(&object)),
                Ok(Event::Delete(object)) => Change::Deleted(object.name_any()),
                Err(error) => {
                    let what = format!("the {} of namespace {namespace}", kind.resource().plural);
                    Change::Failed(failure(&what, &error))
                }
            };
            ResponderEvent {
                namespace: namespace.clone(),
                kind,
                change,
            }
        })
        .boxed()
}

fn observed(object: &DynamicObject) -> Option<ObservedEviction> {
    ObservedEviction::decode(&object.data)
}

impl Kind {
    pub(super) fn resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::Requests => ("EvictionRequest", "evictionrequests"),
            Self::Evictions => ("Eviction", "evictions"),
        };
        let kind = GroupVersionKind::gvk("lifecycle.k8s.io", "v1alpha1", kind);
        ApiResource::from_gvk_with_plural(&kind, plural)
    }
}
