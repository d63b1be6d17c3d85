//! Whether the next nodes in the queue can be drained at all: found by dry runs before they take a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use lockkeeper_crds::RebootPolicy;
use lockkeeper_drain::{DryRunCache, OwnPods, Settings, preflight_with_cache};
use lockkeeper_kube_util::{Clock, error_chain};
use lockkeeper_planner as planner;
use lockkeeper_planner::{Snapshot, WaitReason};
use lockkeeper_snapshot::{Filling, ObservedObjects};
use tokio::time::Instant;

use super::supervisor::{AnswerSender, Supervisor, Task, WakeUp};
use crate::drain_settings::DrainOptions;
use crate::report::event::Event;
use crate::report::notified_pods::NotifiedPods;

/// How many nodes are checked at a time: each takes a list of pods, one of budgets per namespace and a dry run per pod.
const MAX_CONCURRENT: usize = 2;
/// An answer that takes longer than this is worth reporting that the node waits for it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);
/// A node that could not be checked is checked again after this.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The preflights, by node. The answer of one that has finished stays until its question changes.
pub struct Preflights {
    client: Client,
    namespace: String,
    clock: Clock,
    eviction_requests: bool,
    tasks: Supervisor<String, Question, Answer>,
    /// Which blocked pods Events have named.
    notified: BTreeMap<String, NotifiedPods>,
}

/// What the last preflight of a node found.
#[derive(Clone, Default)]
struct Answer {
    verdict: planner::Preflight,
    /// The pods that block.
    blocked: BTreeSet<String>,
    /// Whether only a trial shows that it can be drained.
    doubtful: bool,
    /// The longest grace period of its pods.
    longest_grace: TimeDelta,
    /// The answers of the dry runs: most of them need not be repeated. Kept only while the node is checked again and again.
    dry_runs: DryRunCache,
    /// The check failed and pauses before the next one.
    pauses: bool,
}

/// What an answer belongs to; one for another node of that name, or for other rules, does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    node_uid: String,
    policy: String,
    generation: Option<i64>,
}

impl std::fmt::Debug for Preflights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = self.tasks.iter().map(|(node, _)| node);
        f.debug_list().entries(nodes).finish()
    }
}

impl Preflights {
    /// No preflight runs yet. The client must not retry by itself.
    pub fn new(client: Client, options: &DrainOptions, wake_up: WakeUp) -> Self {
        Self {
            client,
            namespace: options.namespace.clone(),
            clock: options.clock,
            eviction_requests: options.eviction_requests,
            tasks: Supervisor::new(wake_up),
            notified: BTreeMap::new(),
        }
    }

    /// Puts the answers into the snapshot, and forgets those whose question has changed.
    pub fn fill(&mut self, filling: &mut Filling, observed: &ObservedObjects) {
        self.tasks.retain(|name| question(filling.nodes().get(name)?, observed));
        // The answer for other rules is forgotten, but not which pods an Event has named.
        let is_clear =
            |task: &Task<Question, Answer>| matches!(task.answer().verdict, planner::Preflight::Clear { .. });
        self.notified
            .retain(|name, _| filling.nodes().contains_key(name) && !self.tasks.get(name).is_some_and(is_clear));
        for (name, task) in self.tasks.iter() {
            if let Some(node) = filling.node(name) {
                let answer = task.answer();
                node.preflight = answer.verdict.clone();
                node.drain_details.doubtful = answer.doubtful;
                node.drain_details.longest_grace = answer.longest_grace;
            }
        }
    }

    /// The Events that are due: pods that block and that none has named yet.
    pub fn take_events(&mut self) -> Vec<(String, Event)> {
        let mut all = Vec::new();
        for (name, task) in self.tasks.iter() {
            let answer = task.answer();
            if answer.blocked.is_empty() {
                continue;
            }
            let is_due = self
                .notified
                .entry(name.clone())
                .or_default()
                .needs_event(&answer.blocked);
            if let (true, Some(waiting)) = (is_due, wait_reason(&answer.verdict)) {
                all.push((name.clone(), Event::pods_blocked(waiting.name(), &waiting.to_string())));
            }
        }
        all
    }

    /// Checks the nodes that the plan names, a few at a time.
    pub fn reconcile(&mut self, wanted: &[String], snapshot: &Snapshot, observed: &ObservedObjects) {
        for name in wanted {
            if self.tasks.iter().filter(|(_, task)| is_busy(task)).count() >= MAX_CONCURRENT {
                return;
            }
            let is_running = self.tasks.get(name).is_some_and(|task| !task.is_finished());
            let node = snapshot.nodes.get(name).filter(|_| !is_running);
            let Some(question) = node.and_then(|node| question(node, observed)) else {
                continue;
            };
            if let Some(policy) = observed.policies.get(&question.policy) {
                self.start(name, question, policy);
            }
        }
    }

    /// When the answers that are expected soon will have arrived.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let busy = self.tasks.iter().filter(|(_, task)| is_busy(task));
        busy.map(|(_, task)| task.started + EXPECTED_WITHIN)
            .filter(|expected| *expected > now)
            .max()
    }

    /// Ends all preflights and forgets all answers: another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
        self.notified.clear();
    }

    /// The last answer counts until there is a new one.
    fn start(&mut self, name: &str, question: Question, policy: &RebootPolicy) {
        let (clock, now) = (self.clock, self.clock.now());
        let own = OwnPods::in_namespace(&self.namespace);
        let settings = Settings::of_policy(name, &policy.spec.drain, own, now);
        let eviction_requests = self.eviction_requests;
        let settings = settings.map(|settings| Settings {
            clock,
            eviction_requests,
            ..settings
        });
        let last = self.tasks.get(name).map(|task| task.answer().clone());
        let initial = Answer {
            pauses: false,
            ..last.unwrap_or_default()
        };
        let (client, node, dry_runs) = (self.client.clone(), name.to_owned(), initial.dry_runs.clone());
        self.tasks
            .start(name.to_owned(), question, initial, |answer| async move {
                let settings = match settings {
                    Ok(settings) => settings,
                    Err(error) => return pause(failed(&node, &error), &answer).await,
                };
                check(&client, &node, &settings, dry_runs, now, answer).await;
            });
    }
}

/// Checks a node once.
async fn check(
    client: &Client,
    node: &str,
    settings: &Settings,
    mut dry_runs: DryRunCache,
    now: DateTime<Utc>,
    answer: AnswerSender<Answer>,
) {
    match preflight_with_cache(client, settings, &mut dry_runs).await {
        Ok(found) => {
            let verdict = verdict(&found, now);
            if matches!(verdict, planner::Preflight::Clear { .. }) {
                dry_runs = DryRunCache::default();
            }
            let blocked = blocked(&found);
            let doubtful = !found.doubts().is_empty();
            let longest_grace = TimeDelta::try_seconds(found.longest_grace()).unwrap_or_default();
            answer.modify(|answer| {
                *answer = Answer {
                    verdict,
                    blocked,
                    doubtful,
                    longest_grace,
                    dry_runs,
                    pauses: false,
                }
            });
        }
        Err(error) => {
            answer.modify(|answer| answer.dry_runs = dry_runs);
            pause(failed(node, &error), &answer).await;
        }
    }
}

/// Answers that the check failed, and wakes the loop for the next one after a while.
async fn pause(verdict: planner::Preflight, answer: &AnswerSender<Answer>) {
    answer.modify(|answer| {
        answer.verdict = verdict;
        answer.blocked.clear();
        answer.pauses = true;
    });
    tokio::time::sleep(RETRY_DELAY).await;
    answer.wake_up();
}

/// Whether a node is being checked now.
fn is_busy(task: &Task<Question, Answer>) -> bool {
    !task.is_finished() && !task.answer().pauses
}

/// What a preflight of the node would have to answer now, if exactly one policy selects it.
fn question(node: &planner::Node, observed: &ObservedObjects) -> Option<Question> {
    let [policy] = &*node.policies else {
        return None;
    };
    Some(Question {
        node_uid: node.uid.clone(),
        policy: policy.to_string(),
        generation: observed.policies.get(policy.as_str())?.metadata.generation,
    })
}

/// The check failed: the error and its remedy, in a text that stays the same while it lasts.
fn failed(node: &str, error: &lockkeeper_drain::Error) -> planner::Preflight {
    let mut why = error_chain(error);
    if let Some(remedy) = error.remedy() {
        why = format!("{why}; {remedy}");
    }
    tracing::warn!(node, "checking whether its pods can be evicted: {why}; retried in 10 s");
    planner::Preflight::Failed { why }
}

/// The pods that keep the node from being drained.
fn blocked(found: &lockkeeper_drain::Preflight) -> BTreeSet<String> {
    let pods = found.pods.iter().filter(|pod| !pod.blockers.is_empty());
    pods.map(|pod| pod.pod.to_string()).collect()
}

/// The wait reason of a blocked node.
fn wait_reason(verdict: &planner::Preflight) -> Option<WaitReason> {
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
        let reason = wait_reason(&verdict(&found, DateTime::default()));
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
