//! After the uncordon: the workloads whose pods were evicted.

use lockkeeper_drain::{DrainClients, Workload, WorkloadState, workload_states};
use lockkeeper_planner::{EvictedWorkload, Node, Operation, WorkloadReadiness};

use super::{Probe, with_remedy};

/// So many workloads are read at once, after each was read once: while these are not ready, the others do not matter.
const MAX_READS: usize = 16;

/// The workloads that count for a node, and what is known of them.
#[derive(Clone, Debug)]
pub struct WorkloadProbe {
    counted: Vec<Workload>,
    /// Those that are not known to be ready, each with what was found.
    missing: Option<Vec<(Workload, Missing)>>,
}

/// Why a workload counts as not ready.
#[derive(Clone, Debug)]
enum Missing {
    Replicas { ready: i32, desired: i32 },
    Unreadable(String),
}

/// What is asked; what has been found meanwhile is no part of it.
impl PartialEq for WorkloadProbe {
    fn eq(&self, other: &Self) -> bool {
        self.counted == other.counted
    }
}

impl Probe for WorkloadProbe {
    type Readiness = WorkloadReadiness;

    fn of(operation: &Operation) -> Self {
        Self {
            counted: operation.workloads.iter().map(counted).collect(),
            missing: None,
        }
    }

    fn fill(node: &mut Node, found: WorkloadReadiness) {
        node.workloads = found;
    }

    fn is_ready(found: &WorkloadReadiness) -> bool {
        *found == WorkloadReadiness::Ready
    }

    async fn check(&mut self, clients: &DrainClients, node: &str) -> WorkloadReadiness {
        let (read, unread) = match self.missing.take() {
            None => (self.counted.clone(), Vec::new()),
            Some(mut missing) => {
                let unread = missing.split_off(missing.len().min(MAX_READS));
                (missing.into_iter().map(|(workload, _)| workload).collect(), unread)
            }
        };
        let states = workload_states(&clients.requests, &read).await;
        let found = read.into_iter().zip(states);
        let still = found.filter_map(|(workload, state)| Some((workload, missing(node, state)?)));
        let missing: Vec<(Workload, Missing)> = still.chain(unread).collect();
        if missing.is_empty() {
            return WorkloadReadiness::Ready;
        }
        let readiness = not_ready(&missing);
        self.missing = Some(missing);
        readiness
    }
}

fn counted(from: &EvictedWorkload) -> Workload {
    Workload {
        owner: from.owner.clone(),
        deployment: from.deployment.clone(),
        replicas: from.replicas,
    }
}

fn missing(node: &str, state: WorkloadState) -> Option<Missing> {
    match state {
        WorkloadState::Ready => None,
        WorkloadState::NotReady { ready, desired } => Some(Missing::Replicas { ready, desired }),
        WorkloadState::Unreadable(error) => {
            let why = with_remedy(&error);
            tracing::warn!(node, "checking the workloads that were evicted: {why}; retried");
            Some(Missing::Unreadable(why))
        }
    }
}

/// Each workload with its replicas, and the first error.
fn not_ready(missing: &[(Workload, Missing)]) -> WorkloadReadiness {
    let mut failure = None;
    let workloads = missing.iter().map(|(workload, missing)| {
        let name = workload.shown_name();
        match missing {
            Missing::Replicas { ready, desired } => format!("{name} ({ready} of {desired} ready)"),
            Missing::Unreadable(why) => {
                failure.get_or_insert_with(|| why.clone());
                format!("{name} (not known)")
            }
        }
    });
    WorkloadReadiness::NotReady {
        workloads: workloads.collect(),
        failure,
    }
}

#[cfg(test)]
mod tests;
