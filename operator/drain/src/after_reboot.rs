//! The pods of a rebooted node that cannot move, followed until they are Ready again: one list and one watch, however long
//! that takes.

use std::collections::BTreeMap;
use std::fmt;

use futures::stream::{BoxStream, StreamExt};
use kube::Client;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event};
use lockkeeper_kube_util::{Guarded, GuardedApi, WatchBackoff};
use tokio::time::timeout;

use crate::daemon_pod::DaemonPod;
use crate::error::Error;
use crate::fresh_reads::pods_on;
use crate::limits::READ_TIMEOUT;
use crate::ready_workloads::{ReadyWorkloads, unready_of};

/// The pods of a node as a watch shows them, from a fresh list on.
pub struct PodsAfterReboot {
    /// For reads beside the watch.
    requests: Client,
    node: String,
    events: BoxStream<'static, watcher::Result<Event<Guarded<DaemonPod>>>>,
    /// A list that is not complete yet.
    listing: Option<BTreeMap<String, DaemonPod>>,
    /// By uid; `None` before the first list.
    pods: Option<BTreeMap<String, DaemonPod>>,
}

impl fmt::Debug for PodsAfterReboot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PodsAfterReboot")
    }
}

impl PodsAfterReboot {
    /// Nothing is requested yet. Neither client may retry by itself, and `watches` must have no read timeout.
    pub fn new(requests: &Client, watches: &Client, node: &str) -> Self {
        let api: GuardedApi<DaemonPod> = GuardedApi::all(watches.clone());
        let events = api.watch(Config::default().fields(&pods_on(node)));
        Self {
            requests: requests.clone(),
            node: node.to_owned(),
            events: events.backoff(WatchBackoff::for_operator()).boxed(),
            listing: None,
            pods: None,
        }
    }

    /// Waits until the pods have changed, or have been listed. A failed watch starts again when this is called again.
    pub async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let Some(event) = self.events.next().await else {
                return Err(Error::WatchEnded);
            };
            match event {
                Ok(event) => {
                    if self.apply(event) {
                        return Ok(());
                    }
                }
                // Such a watch lists again by itself.
                Err(watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion) => {}
                Err(
                    watcher::Error::InitialListFailed(source)
                    | watcher::Error::WatchStartFailed(source)
                    | watcher::Error::WatchFailed(source),
                ) => {
                    return Err(Error::Read {
                        what: self.what(),
                        source: Box::new(source),
                    });
                }
            }
        }
    }

    /// The message about the first of these that is not Ready on the node; `None` if all are. Waits for the first list.
    pub async fn find_unready(&mut self, ready_before: &ReadyWorkloads) -> Result<Option<String>, Error> {
        if self.pods.is_none() {
            let listed = timeout(READ_TIMEOUT, self.changed()).await;
            listed.map_err(|_| Error::ReadTimeout {
                what: self.what(),
                seconds: READ_TIMEOUT.as_secs(),
            })??;
        }
        let pods = self.pods.iter().flatten().map(|(_, pod)| pod.clone()).collect();
        unready_of(&self.requests, &self.node, pods, ready_before).await
    }

    /// Applies an event; whether the pods are known and have changed.
    fn apply(&mut self, event: Event<Guarded<DaemonPod>>) -> bool {
        let keyed = |pod: Guarded<DaemonPod>| {
            let pod = DaemonPod::from(pod);
            (pod.metadata.uid.clone().unwrap_or_default(), pod)
        };
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(pod) => self.listing.get_or_insert_default().extend([keyed(pod)]),
            Event::InitDone => self.pods = self.listing.take(),
            Event::Apply(pod) => self.pods.get_or_insert_default().extend([keyed(pod)]),
            Event::Delete(pod) => {
                let (uid, _) = keyed(pod);
                self.pods.get_or_insert_default().remove(&uid);
            }
        }
        self.listing.is_none() && self.pods.is_some()
    }

    fn what(&self) -> String {
        format!("the pods of node {}", self.node)
    }
}
