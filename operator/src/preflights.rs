//! Whether the nodes that would go in next can be emptied at all: asked by dry runs, before they take a slot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::Client;
use lockkeeper_crds::RebootPolicy;
use lockkeeper_drain::{Cause, Settings, preflight};
use lockkeeper_observe::Seen;
use lockkeeper_planner as planner;
use lockkeeper_planner::Snapshot;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::chain;
use crate::drains::settings::of_policy;

/// Nodes asked at a time: each is a list of pods, one of budgets per namespace and a dry run per pod.
const AT_ONCE: usize = 2;
/// An answer that takes longer is worth saying that it is waited for.
const SOON: Duration = Duration::from_secs(3);
/// A node that could not be asked is asked again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// What was asked and answered.
pub struct Preflights {
    client: Client,
    namespace: String,
    running: BTreeMap<String, (Instant, JoinHandle<()>)>,
    known: Arc<Mutex<Known>>,
    news: mpsc::UnboundedSender<()>,
}

/// Answers by node.
type Known = BTreeMap<String, (Question, planner::Preflight)>;

/// What an answer belongs to: the answer for another node of that name or to other rules is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    node_uid: String,
    policy: String,
    generation: Option<i64>,
}

impl std::fmt::Debug for Preflights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preflights")
            .field("running", &self.running.keys())
            .finish_non_exhaustive()
    }
}

impl Drop for Preflights {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Preflights {
    /// Nobody was asked yet. Each answer sends on `news`. The client must not retry by itself.
    pub fn new(client: Client, namespace: String, news: mpsc::UnboundedSender<()>) -> Self {
        Self {
            client,
            namespace,
            running: BTreeMap::new(),
            known: Arc::default(),
            news,
        }
    }

    /// Puts what is known into the snapshot, and forgets what no longer counts.
    pub fn fill(&self, snapshot: &mut Snapshot, seen: &Seen) {
        let mut known = lock(&self.known);
        known.retain(|name, (question, _)| {
            let node = snapshot.nodes.get(name);
            node.and_then(|node| current(node, seen)).as_ref() == Some(question)
        });
        for (name, node) in &mut snapshot.nodes {
            let answer = known.get(name).map(|(_, answer)| answer.clone());
            node.preflight = answer.unwrap_or_default();
        }
    }

    /// Asks those that the plan names, a few at a time.
    pub fn tend(&mut self, wanted: &[String], snapshot: &Snapshot, seen: &Seen) {
        self.running.retain(|_, (_, task)| !task.is_finished());
        for name in wanted {
            if self.running.len() >= AT_ONCE {
                return;
            }
            let node = snapshot.nodes.get(name).filter(|_| !self.running.contains_key(name));
            let Some((question, policy)) = node.and_then(|node| {
                let question = current(node, seen)?;
                let policy = seen.policies.get(&question.policy)?;
                Some((question, policy))
            }) else {
                continue;
            };
            let task = self.ask(name, question, policy);
            self.running.insert(name.clone(), (Instant::now(), task));
        }
    }

    /// Until when an answer may be expected soon; none if nobody is asked, or for so long that it is worth saying.
    pub fn soon(&self, now: Instant) -> Option<Instant> {
        let asked = self.running.values().filter(|(_, task)| !task.is_finished());
        asked.map(|(asked, _)| *asked + SOON).filter(|soon| *soon > now).max()
    }

    /// Asks nobody any more and forgets all: we lead no more.
    pub fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.running).into_values() {
            task.abort();
        }
        lock(&self.known).clear();
    }

    fn ask(&self, name: &str, question: Question, policy: &RebootPolicy) -> JoinHandle<()> {
        let at = Utc::now();
        let settings = of_policy(name, &policy.spec.drain, &self.namespace, at);
        let (client, known, news, name) = (
            self.client.clone(),
            self.known.clone(),
            self.news.clone(),
            name.to_owned(),
        );
        tokio::spawn(async move {
            let answer = match settings {
                Ok(settings) => answer(&client, &settings, at).await,
                Err(error) => Err(chain(&error)),
            };
            match answer {
                Ok(answer) => drop(lock(&known).insert(name, (question, answer))),
                Err(trouble) => {
                    tracing::warn!(
                        node = name,
                        "whether its pods can leave: {trouble}; asked again in 10 s"
                    );
                    tokio::time::sleep(AGAIN).await;
                }
            }
            let _ = news.send(());
        })
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What would be asked of the node now, if it is under exactly one policy.
fn current(node: &planner::Node, seen: &Seen) -> Option<Question> {
    let [policy] = node.policies.as_slice() else {
        return None;
    };
    Some(Question {
        node_uid: node.uid.clone(),
        policy: policy.clone(),
        generation: seen.policies.get(policy)?.metadata.generation,
    })
}

async fn answer(client: &Client, settings: &Settings, at: DateTime<Utc>) -> Result<planner::Preflight, String> {
    let found = preflight(client, settings).await.map_err(|error| chain(&error))?;
    Ok(verdict(&found.blockers, at))
}

/// The pod that blocks first, and all causes in words.
fn verdict(blockers: &[Cause], at: DateTime<Utc>) -> planner::Preflight {
    let Some(first) = blockers.first() else {
        return planner::Preflight::Clear { at };
    };
    let words: Vec<String> = blockers.iter().map(ToString::to_string).collect();
    let words = words.join("; ");
    let Some(pod) = first.pods.first().map(ToString::to_string) else {
        let pod = "its pods".to_owned();
        return planner::Preflight::Blocked { pod, why: words, at };
    };
    // A line about one pod names it; one about more stays as it is.
    let why = words.strip_prefix(&format!("pod {pod}")).unwrap_or(&words);
    let why = why.trim_start_matches([':', ' ']).to_owned();
    planner::Preflight::Blocked { pod, why, at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockkeeper_drain::{Blocker, PodName};

    fn cause(blocker: Blocker, pods: &[&str]) -> Cause {
        let name = |name: &&str| PodName {
            namespace: "shop".to_owned(),
            name: (*name).to_owned(),
        };
        Cause {
            blocker,
            pods: pods.iter().map(name).collect(),
            count: pods.len(),
        }
    }

    fn blocked(causes: &[Cause]) -> (String, String) {
        match verdict(causes, DateTime::default()) {
            planner::Preflight::Blocked { pod, why, .. } => (pod, why),
            planner::Preflight::Clear { .. } | planner::Preflight::Unknown => (String::new(), String::new()),
        }
    }

    #[test]
    fn a_node_that_nothing_blocks_is_clear() {
        let at = DateTime::default();
        assert_eq!(verdict(&[], at), planner::Preflight::Clear { at });
    }

    #[test]
    fn the_words_name_each_pod_once() {
        let rule = |pods: &[&str]| {
            let pod = PodName {
                namespace: "shop".to_owned(),
                name: pods[0].to_owned(),
            };
            cause(Blocker::Rule { pod, rule: 2 }, pods)
        };
        let (pod, why) = blocked(&[rule(&["db-0"])]);
        assert_eq!(
            (pod.as_str(), why.as_str()),
            ("shop/db-0", "the policy's drain.rules[2] says Block")
        );
        let (pod, why) = blocked(&[rule(&["db-0", "db-1"])]);
        assert_eq!(pod, "shop/db-0");
        assert_eq!(why, "pods shop/db-0, shop/db-1: the policy's drain.rules[2] says Block");
    }

    #[test]
    fn a_cause_about_no_pod_is_said_too() {
        let message = "no route".to_owned();
        let (pod, why) = blocked(&[cause(Blocker::ApiUnavailable { message }, &[])]);
        assert_eq!(
            (pod.as_str(), why.as_str()),
            ("its pods", "the API server cannot be asked: no route")
        );
    }
}
