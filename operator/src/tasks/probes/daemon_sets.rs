//! Before the uncordon: the `DaemonSet`s and static pods that were ready on the node.

use lockkeeper_drain::{DrainClients, PodName, PodsAfterReboot, ReadyWorkload, ReadyWorkloads};
use lockkeeper_planner::{CountedWorkload, DaemonSetReadiness, Node, Operation};

use super::{Probe, with_remedy};

/// The `DaemonSet`s and static pods that count on a node, and the node's pods while one of them is not ready.
#[derive(Debug)]
pub struct DaemonSetProbe {
    counted: ReadyWorkloads,
    pods: Option<PodsAfterReboot>,
}

/// What is asked; how it is found out is no part of it.
impl PartialEq for DaemonSetProbe {
    fn eq(&self, other: &Self) -> bool {
        self.counted == other.counted
    }
}

impl Clone for DaemonSetProbe {
    fn clone(&self) -> Self {
        Self {
            counted: self.counted.clone(),
            pods: None,
        }
    }
}

impl Probe for DaemonSetProbe {
    type Readiness = DaemonSetReadiness;

    fn of(operation: &Operation) -> Self {
        let counted = ReadyWorkloads {
            daemon_sets: operation.daemon_sets.iter().map(counted).collect(),
            static_pods: operation.static_pods.iter().map(counted).collect(),
        };
        Self { counted, pods: None }
    }

    fn fill(node: &mut Node, found: DaemonSetReadiness) {
        node.daemon_sets = found;
    }

    fn is_ready(found: &DaemonSetReadiness) -> bool {
        *found == DaemonSetReadiness::Ready
    }

    async fn check(&mut self, clients: &DrainClients, node: &str) -> DaemonSetReadiness {
        let new = || PodsAfterReboot::new(&clients.requests, &clients.watches, node);
        let pods = self.pods.get_or_insert_with(new);
        let found = readiness(node, pods.find_unready(&self.counted).await);
        if Self::is_ready(&found) {
            // The next check begins with a fresh list.
            self.pods = None;
        }
        found
    }

    /// A failure of the watch is waited for like anything else: it starts again, and the next check says so.
    async fn changed(&mut self) {
        match &mut self.pods {
            Some(pods) => drop(pods.changed().await),
            None => std::future::pending().await,
        }
    }
}

fn counted(from: &CountedWorkload) -> ReadyWorkload {
    let (namespace, name) = from.name.split_once('/').unwrap_or(("", &from.name));
    ReadyWorkload {
        name: PodName::new(namespace, name),
        since: from.since,
    }
}

/// What was found; an error counts as not ready.
fn readiness(node: &str, found: Result<Option<String>, lockkeeper_drain::Error>) -> DaemonSetReadiness {
    match found {
        Ok(None) => DaemonSetReadiness::Ready,
        Ok(Some(what)) => DaemonSetReadiness::NotReady { what },
        Err(error) => {
            let why = with_remedy(&error);
            tracing::warn!(node, "checking its DaemonSets and static pods: {why}; retried");
            let what = format!("its DaemonSets and static pods could not be checked: {why}");
            DaemonSetReadiness::NotReady { what }
        }
    }
}
