//! `drain`: the operator's drain engine, for nodes that people work on themselves.
//!
//! First it checks whether the operator holds a node and which pods could never be evicted. Then it cordons all nodes
//! (`cordon`) before the first eviction, so that no pod moves twice, and drains them one after another (`node_run`).
//! Whatever ends a drain early uncordons the nodes that this run has cordoned.

pub(crate) mod cordon;
pub(crate) mod decision;
pub(crate) mod early;
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
use lockkeeper_drain::{OwnPods, Preflight, preflight, quick_preflight};
use lockkeeper_kube_util::error_chain;

use self::cordon::CordonedNode;
use self::decision::counts;
use self::early::{Document, EarlyFailure};
use self::json::{CauseJson, NodePreflight};
use self::node_run::TimeLimit;
use self::policy::{DrainPolicies, DrainPolicy};
use self::render::table;
use self::result::{NodeResult, Outcome};
use self::stop::Stop;
use crate::args::DrainArgs;
use crate::clock::DisplayClock;
use crate::cluster::{Cluster, find, installation};
use crate::failure::{Exit, Failure};
use crate::render::{Line, terminal};

/// Drains, shows what a drain would do, or uncordons, depending on the options.
///
/// With `-o json` it prints a document whatever happens, also if there is no connection to the cluster.
pub(crate) async fn run(cluster: Result<Cluster, Failure>, args: &DrainArgs) -> Result<(), Failure> {
    let mut nodes = args.nodes.clone();
    nodes.sort();
    nodes.dedup();
    if args.cancel {
        return cancel(&cluster?, &nodes).await;
    }
    let failed = |early: EarlyFailure| {
        match (args.output, args.dry_run) {
            (Some(_), true) => terminal::print_json(&early.preflight_document(&nodes)),
            (Some(_), false) => terminal::print_json(&early.drain_document(&nodes)),
            (None, _) => {}
        }
        early.failure
    };
    let cluster = cluster.map_err(|failure| failed(failure.into()))?;
    let context = prepare(&cluster, args, &nodes).await.map_err(failed)?;
    if args.dry_run {
        return dry_run(&context, &nodes).await;
    }
    let stop = Stop::listen().map_err(|failure| failed(failure.into()))?;
    let planned = plan(&context, &nodes).await.map_err(failed)?;
    let mut run = Run {
        context,
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

/// What all steps of a drain need.
struct Context<'a> {
    cluster: &'a Cluster,
    args: &'a DrainArgs,
    policies: DrainPolicies,
    own_pods: OwnPods,
}

/// Checks that the nodes exist and that the operator holds none of them, and reads the policies.
async fn prepare<'a>(cluster: &'a Cluster, args: &'a DrainArgs, nodes: &[String]) -> Result<Context<'a>, EarlyFailure> {
    let lock = find::lock(cluster).await?;
    for name in nodes {
        let of_node = |failure| EarlyFailure::of_node(name, failure);
        let node = cordon::find(cluster, name).await.map_err(of_node)?;
        ownership::check(&node, lock.as_ref()).map_err(of_node)?;
    }
    Ok(Context {
        cluster,
        args,
        policies: DrainPolicies::of_nodes(cluster, &args.policy, nodes).await?,
        own_pods: OwnPods::in_namespace(installation::namespace(cluster).await),
    })
}

/// Shows what would happen, with a dry-run eviction for each pod.
async fn dry_run(context: &Context<'_>, nodes: &[String]) -> Result<(), Failure> {
    let (mut all, mut lines, mut blocked, mut failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for node in nodes {
        let checked = async {
            let policy = context.policies.of(node)?;
            let settings = policy.settings(node, &context.own_pods, Utc::now())?;
            let found = preflight(&context.cluster.client, &settings).await;
            found
                .map(|found| (policy, found))
                .map_err(|error| not_checked(node, &error))
        };
        match checked.await {
            Ok((policy, found)) => {
                lines.extend(table(node, &policy.source(), &found, &DisplayClock::now()));
                if !found.blockers.is_empty() {
                    blocked.push(node.as_str());
                }
                all.push(NodePreflight::new(node, policy.name, &found));
            }
            Err(failure) => {
                all.push(NodePreflight::failed(node, None, failure.message.clone()));
                failures.push(failure);
            }
        }
    }
    match context.args.output {
        Some(_) => terminal::print_json(&Document::of(all)),
        None if lines.is_empty() => {}
        None => terminal::print(&lines),
    }
    let failure = failures.into_iter().reduce(|first, next| first.and(&next));
    match (failure, &blocked[..]) {
        (Some(failure), _) => Err(failure),
        (None, []) => Ok(()),
        (None, blocked) => Err(Failure::blocked(format!("blocked: {}", blocked.join(", ")))),
    }
}

fn not_checked(node: &str, error: &lockkeeper_drain::Error) -> Failure {
    Failure::error(format!("check node {node}: {}", error_chain(error)))
}

/// A node, the policy for its pods, and what a quick preflight found.
struct PlannedNode {
    name: String,
    policy: DrainPolicy,
    found: Preflight,
}

async fn plan(context: &Context<'_>, nodes: &[String]) -> Result<Vec<PlannedNode>, EarlyFailure> {
    let mut planned = Vec::new();
    for node in nodes {
        let of_node = |failure| EarlyFailure::of_node(node, failure);
        let policy = context.policies.of(node).map_err(of_node)?;
        let settings = policy.settings(node, &context.own_pods, Utc::now()).map_err(of_node)?;
        let found = quick_preflight(&context.cluster.client, &settings).await;
        let found = found.map_err(|error| of_node(not_checked(node, &error)))?;
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
    context: Context<'a>,
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
            match cordon::cordon(self.context.cluster, &node.name).await {
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
                    let outcome = Outcome::of_exit(failure.exit);
                    self.add(node, NodeResult::unchanged(&node.name, None, outcome, failure.message));
                }
            }
        }
        ready
    }

    async fn drain_node(&mut self, node: &ReadyNode<'_>) -> NodeResult {
        let PlannedNode { name, policy, .. } = node.planned;
        let settings = match policy.settings(name, &self.context.own_pods, node.at) {
            Ok(settings) => settings,
            Err(failure) => return NodeResult::unchanged(name, None, Outcome::Failed, failure.message),
        };
        let limit = TimeLimit {
            drain: self.context.args.timeout.map_or(policy.timeout(), Duration::from_secs),
            wait_for_grace: self.context.args.timeout.is_none() && policy.drain.wait_for_grace_period,
        };
        let is_json = self.context.args.output.is_some();
        let mut print = |line: &str| print_with_time(is_json, &format!("{name} {line}"));
        let mut result = node_run::drain(self.context.cluster, settings, limit, &mut self.stop, &mut print).await;
        if result.result == Outcome::Drained {
            match cordon::find(self.context.cluster, name).await {
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
        match cordon::uncordon(self.context.cluster, &node.name, &node.uid).await {
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
        print_with_time(self.context.args.output.is_some(), line);
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
        if self.context.args.output.is_some() {
            terminal::print_json(&Document::of(self.results));
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
