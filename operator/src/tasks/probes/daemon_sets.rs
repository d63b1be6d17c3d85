//! Before the uncordon: the `DaemonSet`s and static pods that were ready on the node.

use kube::Client;
use lockkeeper_drain::{PodName, ReadyWorkload, ReadyWorkloads, find_unready};
use lockkeeper_planner::{CountedWorkload, DaemonSetReadiness, Node, Operation};

use super::{Probe, with_remedy};

/// The `DaemonSet`s and static pods that count on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSetProbe(ReadyWorkloads);

impl Probe for DaemonSetProbe {
    type Readiness = DaemonSetReadiness;

    fn of(operation: &Operation) -> Self {
        Self(ReadyWorkloads {
            daemon_sets: operation.daemon_sets.iter().map(counted).collect(),
            static_pods: operation.static_pods.iter().map(counted).collect(),
        })
    }

    fn fill(node: &mut Node, found: DaemonSetReadiness) {
        node.daemon_sets = found;
    }

    fn is_ready(found: &DaemonSetReadiness) -> bool {
        *found == DaemonSetReadiness::Ready
    }

    async fn check(&mut self, client: &Client, node: &str) -> DaemonSetReadiness {
        readiness(node, find_unready(client, node, &self.0).await)
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
