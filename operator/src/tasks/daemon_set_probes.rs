//! Whether the `DaemonSet`s of nodes that are back are ready again: looked at for as long as the planner asks.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use lockkeeper_drain::{PodName, ReadyDaemonSet, find_unready_daemon_set};
use lockkeeper_kube_util::{WatchBackoff, error_chain};
use lockkeeper_planner::{BootId, CountedDaemonSet, DaemonSetReadiness, Node, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// An answer is good for so long: marks that could not be lifted by then are lifted after another look only.
const FRESH: Duration = Duration::from_secs(10);

/// A first answer that takes longer is worth saying that it is waited for.
const SOON: Duration = Duration::from_secs(3);

/// The looks that are under way.
pub struct DaemonSetProbes {
    client: Client,
    running: BTreeMap<String, Look>,
    news: mpsc::UnboundedSender<()>,
}

struct Look {
    begun: Instant,
    question: Question,
    found: watch::Receiver<DaemonSetReadiness>,
    abort: AbortHandle,
}

/// What an answer belongs to: one for another boot or another try is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    order: String,
    boot_id: BootId,
    counted: Vec<CountedDaemonSet>,
}

impl std::fmt::Debug for DaemonSetProbes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looks")
            .field("running", &self.running.keys())
            .finish_non_exhaustive()
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl DaemonSetProbes {
    /// Nobody is looked at yet. Each answer that is another one sends on `news`. The client must not retry by itself.
    pub fn new(client: Client, news: mpsc::UnboundedSender<()>) -> Self {
        Self {
            client,
            running: BTreeMap::new(),
            news,
        }
    }

    /// Puts into the snapshot what was found.
    pub fn fill(&self, snapshot: &mut Snapshot) {
        for (name, look) in &self.running {
            if let Some(node) = snapshot.nodes.get_mut(name)
                && question(node).as_ref() == Some(&look.question)
            {
                node.daemon_sets = look.found.borrow().clone();
            }
        }
    }

    /// Looks at those that the plan names, and at nobody else.
    pub fn tend(&mut self, wanted: &[String], snapshot: &Snapshot) {
        let wanted = wanted.iter().filter_map(|name| {
            let question = question(snapshot.nodes.get(name)?)?;
            Some((name, question))
        });
        let wanted: BTreeMap<&String, Question> = wanted.collect();
        self.running
            .retain(|name, look| wanted.get(name) == Some(&look.question));
        for (name, question) in wanted {
            if !self.running.contains_key(name) {
                let look = self.look(name, question);
                self.running.insert(name.clone(), look);
            }
        }
    }

    /// Until when a first answer may be expected soon; none if none is, or for so long that it is worth saying.
    pub fn soon(&self, now: Instant) -> Option<Instant> {
        let looks = self.running.values();
        let unanswered = looks.filter(|look| *look.found.borrow() == DaemonSetReadiness::Unknown);
        unanswered
            .map(|look| look.begun + SOON)
            .filter(|soon| *soon > now)
            .max()
    }

    /// Looks at nobody any more: we lead no more.
    pub fn stop(&mut self) {
        self.running.clear();
    }

    fn look(&self, name: &str, question: Question) -> Look {
        let (client, news, node) = (self.client.clone(), self.news.clone(), name.to_owned());
        let (say, found) = watch::channel(DaemonSetReadiness::Unknown);
        let counted: Vec<ReadyDaemonSet> = question.counted.iter().map(counted).collect();
        let tell = move |now: DaemonSetReadiness| {
            let another = |before: &mut DaemonSetReadiness| std::mem::replace(before, now.clone()) != now;
            if say.send_if_modified(another) {
                let _ = news.send(());
            }
        };
        let run = async move {
            let mut pauses = WatchBackoff::for_operator();
            loop {
                let found = answer(&node, find_unready_daemon_set(&client, &node, &counted).await);
                let ready = found == DaemonSetReadiness::Ready;
                tell(found);
                if ready {
                    tokio::time::sleep(FRESH).await;
                    tell(DaemonSetReadiness::Unknown);
                    pauses = WatchBackoff::for_operator();
                } else {
                    tokio::time::sleep(pauses.next().unwrap_or(FRESH)).await;
                }
            }
        };
        Look {
            begun: Instant::now(),
            question,
            found,
            abort: tokio::spawn(run).abort_handle(),
        }
    }
}

/// What would be asked of the node now.
fn question(node: &Node) -> Option<Question> {
    let operation = node.record.as_ref()?.operation.as_ref()?;
    Some(Question {
        order: operation.order_id(),
        boot_id: node.boot_id.clone(),
        counted: operation.daemon_sets.clone(),
    })
}

fn counted(from: &CountedDaemonSet) -> ReadyDaemonSet {
    let (namespace, name) = from.name.split_once('/').unwrap_or(("", &from.name));
    ReadyDaemonSet {
        name: PodName::new(namespace, name),
        since: from.since,
    }
}

/// No answer is no yes.
fn answer(node: &str, found: Result<Option<String>, lockkeeper_drain::Error>) -> DaemonSetReadiness {
    match found {
        Ok(None) => DaemonSetReadiness::Ready,
        Ok(Some(what)) => DaemonSetReadiness::NotReady { what },
        Err(error) => {
            let mut why = error_chain(&error);
            if let Some(remedy) = error.remedy() {
                why = format!("{why}; {remedy}");
            }
            tracing::warn!(node, "whether its DaemonSets are ready: {why}; looked at again");
            let what = format!("its DaemonSets could not be looked at: {why}");
            DaemonSetReadiness::NotReady { what }
        }
    }
}

#[cfg(test)]
mod tests;
