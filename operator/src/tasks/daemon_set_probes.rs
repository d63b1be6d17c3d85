//! Whether the `DaemonSet`s and static pods of rebooted nodes are ready again: probed for as long as the planner asks.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use lockkeeper_drain::{PodName, ReadyWorkload, ReadyWorkloads, find_unready};
use lockkeeper_kube_util::{WatchBackoff, error_chain};
use lockkeeper_planner::{BootId, CountedWorkload, DaemonSetReadiness, Node, Snapshot};
use tokio::time::Instant;

use super::supervisor::{AnswerSender, Supervisor, WakeUp};

/// An answer `Ready` is valid for so long: a node that could not be uncordoned by then is probed again first.
const VALID_FOR: Duration = Duration::from_secs(10);

/// A first answer that takes longer than this is worth reporting that the node waits for it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);

/// The probes, by node.
pub struct DaemonSetProbes {
    client: Client,
    tasks: Supervisor<String, Question, DaemonSetReadiness>,
}

/// What an answer belongs to; one for another boot or another attempt does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    order: String,
    boot_id: BootId,
    daemon_sets: Vec<CountedWorkload>,
    static_pods: Vec<CountedWorkload>,
}

impl std::fmt::Debug for DaemonSetProbes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonSetProbes")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl DaemonSetProbes {
    /// No probe runs yet. The client must not retry by itself.
    pub fn new(client: Client, wake_up: WakeUp) -> Self {
        Self {
            client,
            tasks: Supervisor::new(wake_up),
        }
    }

    /// Puts the answers into the snapshot.
    pub fn fill(&self, snapshot: &mut Snapshot) {
        for (name, task) in self.tasks.iter() {
            if let Some(node) = snapshot.nodes.get_mut(name)
                && question(node).as_ref() == Some(&task.question)
            {
                node.daemon_sets = task.answer().clone();
            }
        }
    }

    /// Probes the nodes that the plan names, and no others.
    pub fn reconcile(&mut self, wanted: &[String], snapshot: &Snapshot) {
        let wanted = wanted.iter().filter_map(|name| {
            let question = question(snapshot.nodes.get(name)?)?;
            Some((name, question))
        });
        let wanted: BTreeMap<&String, Question> = wanted.collect();
        self.tasks.retain(|name| wanted.get(name).cloned());
        for (name, question) in wanted {
            if self.tasks.get(name).is_none() {
                let (client, node) = (self.client.clone(), name.clone());
                let counted = ReadyWorkloads {
                    daemon_sets: question.daemon_sets.iter().map(counted).collect(),
                    static_pods: question.static_pods.iter().map(counted).collect(),
                };
                self.tasks
                    .start(name.clone(), question, DaemonSetReadiness::Unknown, |answer| {
                        probe(client, node, counted, answer)
                    });
            }
        }
    }

    /// When the first answers that are expected soon will have arrived.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let unanswered = self
            .tasks
            .iter()
            .filter(|(_, task)| *task.answer() == DaemonSetReadiness::Unknown);
        unanswered
            .map(|(_, task)| task.started + EXPECTED_WITHIN)
            .filter(|expected| *expected > now)
            .max()
    }

    /// Ends all probes: another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
    }
}

/// Probes a node until the task ends, with a backoff while it is not ready.
async fn probe(client: Client, node: String, counted: ReadyWorkloads, answer: AnswerSender<DaemonSetReadiness>) {
    let mut backoff = WatchBackoff::for_operator();
    loop {
        let found = readiness(&node, find_unready(&client, &node, &counted).await);
        let is_ready = found == DaemonSetReadiness::Ready;
        answer.send(found);
        if is_ready {
            tokio::time::sleep(VALID_FOR).await;
            answer.send(DaemonSetReadiness::Unknown);
            backoff = WatchBackoff::for_operator();
        } else {
            tokio::time::sleep(backoff.next().unwrap_or(VALID_FOR)).await;
        }
    }
}

/// What a probe of the node would have to answer now.
fn question(node: &Node) -> Option<Question> {
    let operation = node.record.as_ref()?.operation.as_ref()?;
    Some(Question {
        order: operation.order_id(),
        boot_id: node.boot_id.clone(),
        daemon_sets: operation.daemon_sets.clone(),
        static_pods: operation.static_pods.clone(),
    })
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
            let mut why = error_chain(&error);
            if let Some(remedy) = error.remedy() {
                why = format!("{why}; {remedy}");
            }
            tracing::warn!(node, "checking its DaemonSets and static pods: {why}; retried");
            let what = format!("its DaemonSets and static pods could not be checked: {why}");
            DaemonSetReadiness::NotReady { what }
        }
    }
}

#[cfg(test)]
mod tests;
