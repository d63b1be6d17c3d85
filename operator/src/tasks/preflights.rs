//! Whether the nodes that would go in next can be emptied at all: asked by dry runs, before they take a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::Client;
use lockkeeper_crds::RebootPolicy;
use lockkeeper_drain::{DryRunCache, OwnPods, Settings, preflight_with_cache};
use lockkeeper_kube_util::error_chain;
use lockkeeper_planner as planner;
use lockkeeper_planner::{Snapshot, WaitReason};
use lockkeeper_snapshot::ObservedObjects;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::report::notified_pods::NotifiedPods;
use crate::tasks::drains::DrainEvent;

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
    running: BTreeMap<String, Asked>,
    known: Arc<Mutex<Known>>,
    notified: BTreeMap<String, NotifiedPods>,
    news: mpsc::UnboundedSender<()>,
}

/// A node that is being asked, or could not be and rests.
struct Asked {
    at: Instant,
    rests: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// DryRunCache by node.
type Known = BTreeMap<String, Answer>;

/// What a node was last found to be.
#[derive(Clone)]
struct Answer {
    question: Question,
    verdict: planner::Preflight,
    /// The pods that block.
    blocked: BTreeSet<String>,
    /// What was asked of its pods: most of it need not be asked again. Kept only while it is asked again and again.
    dry_runs: DryRunCache,
}

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
            notified: BTreeMap::new(),
            news,
        }
    }

    /// Puts what is known into the snapshot, and forgets what no longer counts.
    pub fn fill(&mut self, snapshot: &mut Snapshot, seen: &ObservedObjects) {
        let mut known = lock(&self.known);
        known.retain(|name, answer| {
            let node = snapshot.nodes.get(name);
            node.and_then(|node| current(node, seen)).as_ref() == Some(&answer.question)
        });
        // An answer to other rules is forgotten, but not what was said of it.
        let clear = |answer: &Answer| matches!(answer.verdict, planner::Preflight::Clear { .. });
        self.notified
            .retain(|name, _| snapshot.nodes.contains_key(name) && !known.get(name).is_some_and(clear));
        for (name, node) in &mut snapshot.nodes {
            let verdict = known.get(name).map(|answer| answer.verdict.clone());
            node.preflight = verdict.unwrap_or_default();
        }
    }

    /// What is to be told of each node now: pods that block and that nobody was told about.
    pub fn news(&mut self) -> Vec<(String, DrainEvent)> {
        let known = lock(&self.known);
        let mut all = Vec::new();
        for (name, answer) in known.iter().filter(|(_, answer)| is_blocked(answer)) {
            let news = self
                .notified
                .entry(name.clone())
                .or_default()
                .needs_event(&answer.blocked);
            if let (true, Some(waiting)) = (news, waiting(&answer.verdict)) {
                all.push((
                    name.clone(),
                    DrainEvent::Blocked(waiting.name().as_str(), waiting.to_string()),
                ));
            }
        }
        all
    }

    /// Asks those that the plan names, a few at a time.
    pub fn tend(&mut self, wanted: &[String], snapshot: &Snapshot, seen: &ObservedObjects) {
        self.running.retain(|_, asked| !asked.task.is_finished());
        for name in wanted {
            let busy = self
                .running
                .values()
                .filter(|asked| !asked.rests.load(Ordering::Relaxed));
            if busy.count() >= AT_ONCE {
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
            let asked = self.ask(name, question, policy);
            self.running.insert(name.clone(), asked);
        }
    }

    /// Until when an answer may be expected soon; none if nobody is asked, or for so long that it is worth saying.
    pub fn soon(&self, now: Instant) -> Option<Instant> {
        let busy = self.running.values().filter(|asked| {
            let rests = asked.rests.load(Ordering::Relaxed);
            !rests && !asked.task.is_finished()
        });
        busy.map(|asked| asked.at + SOON).filter(|soon| *soon > now).max()
    }

    /// Asks nobody any more and forgets all: we lead no more.
    pub fn stop(&mut self) {
        for asked in std::mem::take(&mut self.running).into_values() {
            asked.task.abort();
        }
        self.notified.clear();
        lock(&self.known).clear();
    }

    fn ask(&self, name: &str, question: Question, policy: &RebootPolicy) -> Asked {
        let at = Utc::now();
        let own = OwnPods::in_namespace(&self.namespace);
        let settings = Settings::of_policy(name, &policy.spec.drain, own, at);
        let (client, known, news, name) = (
            self.client.clone(),
            self.known.clone(),
            self.news.clone(),
            name.to_owned(),
        );
        let before = lock(&known).get(&name).map(|answer| answer.dry_runs.clone());
        let mut dry_runs = before.unwrap_or_default();
        let rests = Arc::new(AtomicBool::new(false));
        let failed = rests.clone();
        let task = tokio::spawn(async move {
            let found = match settings {
                Ok(settings) => preflight_with_cache(&client, &settings, &mut dry_runs).await,
                Err(error) => Err(error),
            };
            let failure = found.is_err();
            let (verdict, blocked) = match found {
                Ok(found) => (verdict(&found, at), blocked(&found)),
                Err(error) => (unknown(&name, &error), BTreeSet::new()),
            };
            if matches!(verdict, planner::Preflight::Clear { .. }) {
                dry_runs = DryRunCache::default();
            }
            let answer = Answer {
                question,
                verdict,
                blocked,
                dry_runs,
            };
            lock(&known).insert(name, answer);
            if failure {
                failed.store(true, Ordering::Relaxed);
                let _ = news.send(());
                tokio::time::sleep(AGAIN).await;
            }
            let _ = news.send(());
        });
        Asked {
            at: Instant::now(),
            rests,
            task,
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What would be asked of the node now, if it is under exactly one policy.
fn current(node: &planner::Node, seen: &ObservedObjects) -> Option<Question> {
    let [policy] = &*node.policies else {
        return None;
    };
    Some(Question {
        node_uid: node.uid.clone(),
        policy: policy.to_string(),
        generation: seen.policies.get(policy.as_str())?.metadata.generation,
    })
}

/// Nobody could say: what went wrong, in words that stay the same while it does.
fn unknown(node: &str, error: &lockkeeper_drain::Error) -> planner::Preflight {
    let mut why = error_chain(error);
    if let Some(remedy) = error.remedy() {
        why = format!("{why}; {remedy}");
    }
    tracing::warn!(node, "whether its pods can leave: {why}; asked again in 10 s");
    planner::Preflight::Failed { why }
}

/// The pods that keep the node from being emptied.
fn blocked(found: &lockkeeper_drain::Preflight) -> BTreeSet<String> {
    let pods = found.pods.iter().filter(|pod| !pod.blockers.is_empty());
    pods.map(|pod| pod.pod.to_string()).collect()
}

fn is_blocked(answer: &Answer) -> bool {
    !answer.blocked.is_empty()
}

/// The reason to wait that a blocked node is given.
fn waiting(verdict: &planner::Preflight) -> Option<WaitReason> {
    match verdict {
        planner::Preflight::Blocked { pod, why, at } => Some(WaitReason::PreflightBlocked {
            pod: pod.clone(),
            why: why.clone(),
            until: *at,
        }),
        planner::Preflight::Clear { .. } | planner::Preflight::Failed { .. } | planner::Preflight::Unknown => None,
    }
}

/// The verdict of a preflight: the pod that blocks first, and all causes.
fn verdict(found: &lockkeeper_drain::Preflight, at: DateTime<Utc>) -> planner::Preflight {
    match found.block() {
        None => planner::Preflight::Clear { at },
        Some(block) => planner::Preflight::Blocked {
            pod: block.pod.map(|pod| pod.to_string()).unwrap_or_default(),
            why: block.message,
            at,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockkeeper_drain::{Blocker, PodName, Preflight, group_by_cause};

    fn message(pods: &[&str]) -> String {
        let rule = |name: &&str| Blocker::Rule {
            pod: PodName::new("shop", *name),
            rule: 2,
        };
        let found = Preflight {
            pods: Vec::new(),
            blockers: group_by_cause(pods.iter().map(rule).collect()),
        };
        let reason = waiting(&verdict(&found, DateTime::default()));
        reason.map(|reason| reason.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_node_without_blockers_is_clear() {
        let at = DateTime::default();
        assert_eq!(verdict(&Preflight::default(), at), planner::Preflight::Clear { at });
    }

    #[test]
    fn the_message_about_a_blocked_node_names_each_pod_once() {
        assert_eq!(
            message(&["db-0"]),
            "cannot be drained: pod shop/db-0: the policy's drain.rules[2] blocks the eviction"
        );
        assert_eq!(
            message(&["db-0", "db-1"]),
            "cannot be drained: pods shop/db-0, shop/db-1: the policy's drain.rules[2] blocks the eviction"
        );
    }
}
