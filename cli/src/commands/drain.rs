//! `drain`: the operator's drain engine, for nodes that people work on themselves.
//!
//! First it checks whether the operator holds a node and which pods could never be evicted. Then it cordons all nodes
//! (`cordon`) before the first eviction, so that no pod moves twice, and drains them one after another (`node_run`).
//! Whatever ends a drain early uncordons the nodes that this run has cordoned.

pub(crate) mod cordon;
pub(crate) mod decision;
mod follow;
pub(crate) mod json;
pub(crate) mod messages;
mod node_run;
pub(crate) mod ownership;
pub(crate) mod policy;
pub(crate) mod render;
pub(crate) mod result;
mod stop;

use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_drain::{Preflight, preflight, quick_preflight};
use lockkeeper_kube_util::error_chain;
use serde::Serialize;

use self::cordon::CordonedNode;
use self::decision::counts;
use self::json::{CauseJson, NodePreflight};
use self::node_run::TimeLimit;
use self::policy::{DrainPolicies, DrainPolicy};
use self::render::table;
use self::result::{NodeResult, Outcome};
use self::stop::Stop;
use crate::args::DrainArgs;
use crate::clock::DisplayClock;
use crate::cluster::{Cluster, find};
use crate::failure::{Exit, Failure};
use crate::render::{Line, terminal};

/// Drains, shows what a drain would do, or uncordons, depending on the options.
pub(crate) async fn run(cluster: &Cluster, args: &DrainArgs) -> Result<(), Failure> {
    let mut nodes = args.nodes.clone();
    nodes.sort();
    nodes.dedup();
    if args.cancel {
        return cancel(cluster, &nodes).await;
    }
    let lock = find::lock(cluster).await?;
    for node in &nodes {
        ownership::check(&cordon::find(cluster, node).await?, lock.as_ref())?;
    }
    let policies = DrainPolicies::of_nodes(cluster, &args.policy, &nodes).await?;
    if args.dry_run {
        return dry_run(cluster, args, &nodes, &policies).await;
    }
    let stop = Stop::listen()?;
    let planned = plan(cluster, &nodes, &policies).await?;
    let mut run = Run {
        cluster,
        args,
        stop,
        nodes: planned.len(),
        results: Vec::new(),
    };
    if planned.iter().any(|node| !node.found.blockers.is_empty()) {
        run.report_blocked(&planned);
    } else {
        run.drain(&planned).await;
    }
    run.end()
}

/// Shows what would happen, with a dry-run eviction for each pod.
async fn dry_run(
    cluster: &Cluster,
    args: &DrainArgs,
    nodes: &[String],
    policies: &DrainPolicies,
) -> Result<(), Failure> {
    let (mut all, mut lines, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
    for node in nodes {
        let policy = policies.of(node)?;
        let settings = policy.settings(node, Utc::now())?;
        let found = preflight(&cluster.client, &settings).await;
        let found = found.map_err(|error| Failure::error(format!("check node {node}: {}", error_chain(&error))))?;
        lines.extend(table(node, &policy.source(), &found, &DisplayClock::now()));
        if !found.blockers.is_empty() {
            blocked.push(node.as_str());
        }
        all.push(NodePreflight::new(node, policy.name, &found));
    }
    match args.output {
        Some(_) => terminal::print_json(&All { nodes: all }),
        None => terminal::print(&lines),
    }
    if blocked.is_empty() {
        return Ok(());
    }
    Err(Failure::blocked(format!("blocked: {}", blocked.join(", "))))
}

/// What `-o json` prints.
#[derive(Serialize)]
struct All<T> {
    nodes: Vec<T>,
}

/// A node, the policy for its pods, and what a quick preflight found.
struct PlannedNode {
    name: String,
    policy: DrainPolicy,
    found: Preflight,
}

async fn plan(cluster: &Cluster, nodes: &[String], policies: &DrainPolicies) -> Result<Vec<PlannedNode>, Failure> {
    let mut planned = Vec::new();
    for node in nodes {
        let policy = policies.of(node)?;
        let settings = policy.settings(node, Utc::now())?;
        let found = quick_preflight(&cluster.client, &settings).await;
        let found = found.map_err(|error| Failure::error(format!("check node {node}: {}", error_chain(&error))))?;
        planned.push(PlannedNode {
            name: node.clone(),
            policy,
            found,
        });
    }
    Ok(planned)
}

/// A cordoned node, and since when.
struct ReadyNode<'a> {
    planned: &'a PlannedNode,
    cordoned: CordonedNode,
    at: DateTime<Utc>,
}

struct Run<'a> {
    cluster: &'a Cluster,
    args: &'a DrainArgs,
    stop: Stop,
    /// How many nodes are to be drained.
    nodes: usize,
    results: Vec<NodeResult>,
}

impl Run<'_> {
    /// Changes nothing, as one of the nodes cannot be drained.
    fn report_blocked(&mut self, planned: &[PlannedNode]) {
        let clock = DisplayClock::now();
        for node in planned {
            let name = &node.name;
            let causes = node.found.blockers.iter();
            let causes: Vec<String> = causes.map(|cause| clock.localize(&cause.to_string())).collect();
            let (outcome, message) = if causes.is_empty() {
                (Outcome::NotStarted, messages::unchanged(name))
            } else {
                (
                    Outcome::Blocked,
                    messages::blocked(name, &node.policy.source(), &causes),
                )
            };
            let mut result = NodeResult::unchanged(name, node.policy.name.clone(), outcome, message);
            result.blockers = node.found.blockers.iter().map(CauseJson::from).collect();
            self.add(node, result);
        }
    }

    /// Cordons all nodes, then drains one after another.
    async fn drain(&mut self, planned: &[PlannedNode]) {
        let ready = self.cordon(planned).await;
        // The pods of the others would move to a node that could not be cordoned, so nothing is evicted.
        let mut go = ready.len() == planned.len() && !self.stop.is_requested();
        for node in &ready {
            let name = &node.planned.name;
            let mut result = if go {
                self.drain_node(node).await
            } else {
                NodeResult::unchanged(name, None, Outcome::NotStarted, messages::not_started(name))
            };
            go &= result.result != Outcome::Stopped;
            if result.result != Outcome::Drained {
                result.message += &self.uncordon(&node.cordoned).await;
            }
            self.add(node.planned, result);
        }
    }

    async fn cordon<'n>(&mut self, planned: &'n [PlannedNode]) -> Vec<ReadyNode<'n>> {
        let mut ready = Vec::new();
        for node in planned {
            if self.stop.is_requested() {
                break;
            }
            match cordon::cordon(self.cluster, &node.name).await {
                Ok(cordoned) => {
                    ready.push(ReadyNode {
                        planned: node,
                        cordoned,
                        at: Utc::now(),
                    });
                    let counts = counts(&node.found);
                    self.print(&messages::cordoned(&node.name, &node.policy.source(), counts));
                }
                Err(failure) => {
                    let outcome = match failure.exit {
                        Exit::Refused => Outcome::Refused,
                        Exit::Error | Exit::Usage | Exit::TimedOut | Exit::Blocked => Outcome::Failed,
                    };
                    self.add(node, NodeResult::unchanged(&node.name, None, outcome, failure.message));
                }
            }
        }
        ready
    }

    async fn drain_node(&mut self, node: &ReadyNode<'_>) -> NodeResult {
        let PlannedNode { name, policy, .. } = node.planned;
        let settings = match policy.settings(name, node.at) {
            Ok(settings) => settings,
            Err(failure) => return NodeResult::unchanged(name, None, Outcome::Failed, failure.message),
        };
        let limit = TimeLimit {
            drain: self.args.timeout.map_or(policy.timeout(), Duration::from_secs),
            wait_for_grace: self.args.timeout.is_none() && policy.drain.wait_for_grace_period,
        };
        let is_json = self.args.output.is_some();
        let mut print = |line: &str| print_with_time(is_json, &format!("{name} {line}"));
        let mut result = node_run::drain(self.cluster, settings, limit, &mut self.stop, &mut print).await;
        if result.result == Outcome::Drained {
            match cordon::find(self.cluster, name).await {
                Ok(node) if !cordon::is_cordoned(&node) => {
                    result.result = Outcome::Failed;
                    result.message += messages::UNCORDONED_MEANWHILE;
                }
                Ok(_) => result.message += &messages::stays_cordoned(name),
                Err(failure) => {
                    result.message += "; its cordon could not be checked: ";
                    result.message += &failure.message;
                }
            }
        }
        result
    }

    /// Removes the cordon of this run, and says which cordon remains.
    async fn uncordon(&self, node: &CordonedNode) -> String {
        if node.by_earlier_run {
            return messages::cordon_of_earlier_run(&node.name);
        }
        match cordon::uncordon(self.cluster, &node.name, &node.uid).await {
            Ok(uncordoned) => messages::after_failure(uncordoned).to_owned(),
            Err(failure) => format!("; {}", failure.message),
        }
    }

    fn add(&mut self, node: &PlannedNode, result: NodeResult) {
        // The message of a single node that failed is the error at the end.
        if result.result == Outcome::Drained || self.nodes > 1 {
            self.print(&result.message);
        }
        self.results.push(NodeResult {
            policy: node.policy.name.clone(),
            ..result
        });
    }

    fn print(&self, line: &str) {
        print_with_time(self.args.output.is_some(), line);
    }

    /// The exit code is that of the first node that failed for a reason of its own.
    fn end(self) -> Result<(), Failure> {
        let has_own_reason = |result: &&NodeResult| result.result != Outcome::NotStarted;
        let mut own = self.results.iter().filter(has_own_reason);
        let exit = own.find_map(|result| result.result.exit());
        let failed: Vec<&NodeResult> = self
            .results
            .iter()
            .filter(|result| result.result.exit().is_some())
            .collect();
        let message = match &failed[..] {
            [] => messages::STOPPED_EARLY.to_owned(),
            [result] if self.nodes == 1 => result.message.clone(),
            more => {
                let nodes = more.iter();
                let nodes = nodes.map(|result| format!("{} ({:?})", result.node, result.result));
                format!("not drained: {}", nodes.collect::<Vec<_>>().join(", "))
            }
        };
        let is_drained = failed.is_empty() && self.results.len() == self.nodes;
        if self.args.output.is_some() {
            terminal::print_json(&All { nodes: self.results });
        }
        if is_drained {
            return Ok(());
        }
        Err(Failure::new(exit.unwrap_or(Exit::Error), message))
    }
}

/// With `-o json` there is one document at the end and no lines before it.
fn print_with_time(is_json: bool, line: &str) {
    if !is_json {
        terminal::print(&[Line::plain(format!("{} {line}", DisplayClock::now().time_of_day()))]);
    }
}

/// Removes the cordon of this command, also that of an earlier run.
async fn cancel(cluster: &Cluster, nodes: &[String]) -> Result<(), Failure> {
    for name in nodes {
        let node = cordon::find(cluster, name).await?;
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let uncordoned = if cordon::is_ours(&node) {
            Some(cordon::uncordon(cluster, name, &uid).await?)
        } else {
            None
        };
        terminal::print(&[Line::plain(messages::cancelled(name, uncordoned))]);
    }
    Ok(())
}
