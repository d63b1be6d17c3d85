//! Whether what ran on a rebooted node is ready again: probed for as long as the planner asks.

mod daemon_sets;
mod workloads;

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_drain::{DrainClients, Error};
use lockkeeper_kube_util::{WatchBackoff, error_chain};
use lockkeeper_planner::{BootId, Node, Operation, Snapshot};
use lockkeeper_snapshot::Filling;
use tokio::time::Instant;

use super::supervisor::{AnswerSender, Supervisor, WakeUp};

pub use self::daemon_sets::DaemonSetProbe;
pub use self::workloads::WorkloadProbe;

/// An answer "ready" is valid for so long: a node whose operation could not go on by then is probed again first.
const VALID_FOR: Duration = Duration::from_secs(10);

/// A first answer that takes longer than this is worth reporting that the node waits for it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);

/// What is probed on one node.
pub trait Probe: Clone + std::fmt::Debug + PartialEq + Send + 'static {
    /// What is found; the default is that it is not known.
    type Readiness: Clone + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static;

    /// What this operation asks about.
    fn of(operation: &Operation) -> Self;

    /// Puts what was found into the snapshot.
    fn fill(node: &mut Node, found: Self::Readiness);

    /// Whether nothing is missing.
    fn is_ready(found: &Self::Readiness) -> bool;

    /// Checks once.
    fn check(&mut self, clients: &DrainClients, node: &str) -> impl Future<Output = Self::Readiness> + Send;

    /// Waits until another check may find something else; by default only time tells.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The probes of one kind, by node.
pub struct Probes<P: Probe> {
    clients: DrainClients,
    tasks: Supervisor<String, Question<P>, P::Readiness>,
}

/// What an answer belongs to; one for another boot or another attempt does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question<P> {
    order: String,
    boot_id: BootId,
    probe: P,
}

impl<P: Probe> std::fmt::Debug for Probes<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl<P: Probe> Probes<P> {
    /// No probe runs yet.
    pub fn new(clients: DrainClients, wake_up: WakeUp) -> Self {
        Self {
            clients,
            tasks: Supervisor::new(wake_up),
        }
    }

    /// Puts the answers into the snapshot.
    pub fn fill(&self, filling: &mut Filling) {
        for (name, task) in self.tasks.iter() {
            if let Some(node) = filling.node(name)
                && question(node).as_ref() == Some(&task.question)
            {
                P::fill(node, task.answer().clone());
            }
        }
    }

    /// Probes the nodes that the plan names, and no others.
    pub fn reconcile(&mut self, wanted: &[String], snapshot: &Snapshot) {
        let wanted = wanted.iter().filter_map(|name| {
            let question = question(snapshot.nodes.get(name)?)?;
            Some((name, question))
        });
        let wanted: BTreeMap<&String, Question<P>> = wanted.collect();
        self.tasks.retain(|name| wanted.get(name).cloned());
        for (name, question) in wanted {
            if self.tasks.get(name).is_none() {
                let (clients, node, probe) = (self.clients.clone(), name.clone(), question.probe.clone());
                self.tasks
                    .start(name.clone(), question, P::Readiness::default(), |answer| {
                        run(clients, node, probe, answer)
                    });
            }
        }
    }

    /// When the first answers that are expected soon will have arrived.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let unanswered = self
            .tasks
            .iter()
            .filter(|(_, task)| *task.answer() == P::Readiness::default());
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

/// Probes a node until the task ends, when something changes and with a backoff while something is not ready.
async fn run<P: Probe>(clients: DrainClients, node: String, mut probe: P, answer: AnswerSender<P::Readiness>) {
    let mut backoff = WatchBackoff::for_operator();
    loop {
        let found = probe.check(&clients, &node).await;
        let is_ready = P::is_ready(&found);
        answer.send(found);
        if is_ready {
            tokio::time::sleep(VALID_FOR).await;
            answer.send(P::Readiness::default());
            backoff = WatchBackoff::for_operator();
        } else {
            tokio::select! {
                biased;
                () = probe.changed() => {}
                () = tokio::time::sleep(backoff.next().unwrap_or(VALID_FOR)) => {}
            }
        }
    }
}

/// What a probe of the node would have to answer now.
fn question<P: Probe>(node: &Node) -> Option<Question<P>> {
    let operation = node.record.as_ref()?.operation.as_ref()?;
    Some(Question {
        order: operation.order_id(),
        boot_id: node.boot_id.clone(),
        probe: P::of(operation),
    })
}

/// The error with its causes and its remedy.
fn with_remedy(error: &Error) -> String {
    let why = error_chain(error);
    error.remedy().map_or(why.clone(), |remedy| format!("{why}; {remedy}"))
}

#[cfg(test)]
mod tests;
