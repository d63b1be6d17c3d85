//! Which Lease is held and as whom, and what an object of it says.

use std::hash::{BuildHasher, RandomState};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use lockkeeper_kube_util::{Clock, WatchBackoff};

use super::step::Pace;
use crate::cache::SharedCache;
use crate::health::Component;
use crate::leadership::Leadership;
use crate::server_clock::ServerClock;

/// The Lease to hold, and as whom.
#[derive(Clone)]
pub struct LeaseConfig {
    /// Reads and writes; must not retry by itself.
    pub client: Client,
    /// Watches.
    pub watch: Client,
    /// How often it is renewed.
    pub pace: Pace,
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who we are; different in each process, even of one pod: see [`identity`].
    pub identity: String,
    /// What the times in the Lease are taken from; people read them, no elector trusts them.
    pub clock: Clock,
    /// Extended by each renewal: what writes heeds it.
    pub leadership: Leadership,
    /// The clock of the API server, as the client's answers show it, and how much ours may differ from it.
    pub server_clock: ServerClock,
    /// Not ready while our clock differs too much.
    pub health: Component,
    /// Told when the versions of the Lease go back.
    pub cache: SharedCache,
}

impl std::fmt::Debug for LeaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease {}/{} as {}", self.namespace, self.name, self.identity)
    }
}

/// Who this process is: the pod's name, or another one, and a number that its next start does not have.
pub fn identity(name: &str) -> String {
    format!("{name}_{:016x}", RandomState::new().hash_one(name))
}

/// The events of a watch on the Lease.
pub(super) type Changes = BoxStream<'static, watcher::Result<Event<LeaseObject>>>;

/// Watches the Lease.
pub(super) fn lease_changes(lease: &LeaseConfig) -> Changes {
    let api = Api::namespaced(lease.watch.clone(), &lease.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", lease.name));
    watcher(api, config).backoff(WatchBackoff::for_operator()).boxed()
}

/// The version of a Lease.
pub(super) fn version(object: &LeaseObject) -> Option<u64> {
    object.metadata.resource_version.as_ref()?.parse().ok()
}

/// A 404 for a create is about the namespace, and looking again would not help.
pub(super) fn is_missing_namespace(status: &kube::core::Status) -> bool {
    status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces")
}
