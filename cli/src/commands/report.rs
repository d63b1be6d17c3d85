//! `report`: what would block a drain today, on any node; it changes nothing.

pub(crate) mod outlook;

use futures::stream::{self, StreamExt};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_drain::{Blocker, Cause, OwnPods, Preflight, group_by_cause, preflight};
use lockkeeper_kube_util::error_chain;
use lockkeeper_snapshot::{slim, unmanaged};

use super::drain::cordon;
use super::drain::decision::counts;
use super::drain::early::{Document, EarlyFailure};
use super::drain::json::NodePreflight;
use super::drain::policy::{DrainPolicies, DrainPolicy};
use crate::args::ReportArgs;
use crate::clock::DisplayClock;
use crate::cluster::{Cluster, installation};
use crate::failure::Failure;
use crate::render::{Line, counted, terminal, thousands};
use crate::view::ActionRequired;

/// How many nodes are checked concurrently; each sends up to eight dry-run evictions at once.
const MAX_CONCURRENT_NODES: usize = 4;
/// How many nodes a line names at most.
const MAX_NODES: usize = 5;

/// Checks each node and prints what would block. With `-o json` it prints a document whatever happens.
pub(crate) async fn run(cluster: Result<Cluster, Failure>, args: &ReportArgs) -> Result<(), Failure> {
    let failed = |early: EarlyFailure| {
        if args.output.is_some() {
            terminal::print_json(&early.preflight_document(&args.nodes));
        }
        early.failure
    };
    let cluster = &cluster.map_err(|failure| failed(failure.into()))?;
    let nodes = nodes(cluster, args).await.map_err(failed)?;
    let policies = if args.nodes.is_empty() {
        DrainPolicies::of_all(cluster, &args.policy).await
    } else {
        DrainPolicies::of_nodes(cluster, &args.policy, &nodes).await
    };
    let policies = policies.map_err(|failure| failed(failure.into()))?;
    let own_pods = OwnPods::in_namespace(installation::namespace(cluster).await);
    let reports = stream::iter(&nodes).map(|node| check(cluster, node, policies.of(node), &own_pods));
    let reports: Vec<NodeReport> = reports.buffered(MAX_CONCURRENT_NODES).collect().await;
    match args.output {
        Some(_) => {
            let all = reports.iter().map(NodeReport::json);
            terminal::print_json(&Document::of(all.collect()));
        }
        None => terminal::print(&render(&reports, &DisplayClock::now())),
    }
    end(&reports)
}

/// One node, and what its preflight found.
struct NodeReport {
    node: String,
    policy: DrainPolicy,
    found: Result<Preflight, String>,
}

impl NodeReport {
    fn json(&self) -> NodePreflight {
        let policy = self.policy.name.clone();
        match &self.found {
            Ok(found) => NodePreflight::new(&self.node, policy, found),
            Err(error) => NodePreflight::failed(&self.node, policy, error.clone()),
        }
    }
}

async fn nodes(cluster: &Cluster, args: &ReportArgs) -> Result<Vec<String>, EarlyFailure> {
    let mut names = args.nodes.clone();
    if names.is_empty() {
        let mut params = ListParams::default();
        params.label_selector.clone_from(&args.selector);
        let api: Api<slim::Node> = Api::all(cluster.client.clone());
        let list = api.list(&params).await;
        let list = list.map_err(|error| cordon::failed(cluster, "list nodes", &error))?;
        let managed = list.iter().filter(|node| unmanaged(node).is_none());
        names = managed.map(ResourceExt::name_any).collect();
        if let (true, Some(selector)) = (names.is_empty(), &args.selector) {
            let message = format!("no node has the labels {selector}; see: kubectl get nodes --show-labels");
            return Err(Failure::error(message).into());
        }
    } else {
        for node in &names {
            let found = cordon::find(cluster, node).await;
            found.map_err(|failure| EarlyFailure::of_node(node, failure))?;
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

async fn check(cluster: &Cluster, node: &str, policy: Result<DrainPolicy, Failure>, own_pods: &OwnPods) -> NodeReport {
    let settings = policy
        .as_ref()
        .map_err(|failure| failure.message.clone())
        .and_then(|policy| {
            policy
                .settings(node, own_pods, chrono::Utc::now())
                .map_err(|failure| failure.message)
        });
    let found = match settings {
        Ok(settings) => preflight(&cluster.client, &settings)
            .await
            .map_err(|error| error_chain(&error)),
        Err(message) => Err(message),
    };
    NodeReport {
        node: node.to_owned(),
        policy: policy.unwrap_or_default(),
        found,
    }
}

/// The answer, then each cause with the nodes it is on.
fn render(reports: &[NodeReport], clock: &DisplayClock) -> Vec<Line> {
    let blocked = reports.iter().filter(|report| is_blocked(report)).count();
    let failed: Vec<&NodeReport> = reports.iter().filter(|report| report.found.is_err()).collect();
    let found = reports.iter().filter_map(|report| report.found.as_ref().ok());
    let to_evict: usize = found.map(|found| counts(found).0).sum();
    let all = counted(reports.len(), "node");
    let mut lines = vec![match (blocked, failed.len()) {
        (0, 0) => Line::plain(format!(
            "{} can be drained today: {} to evict",
            all_nodes(reports.len()),
            counted(to_evict, "pod")
        )),
        (blocked, 0) => Line::new(
            format!("{} of {all} cannot be drained today", thousands(blocked)),
            ActionRequired::Manual,
        ),
        (blocked, failed) => Line::new(
            format!(
                "{} of {all} cannot be drained today, {} could not be checked",
                thousands(blocked),
                thousands(failed)
            ),
            ActionRequired::Repair,
        ),
    }];
    for cause in group_by_cause(blockers(reports)) {
        lines.push(Line::new(clock.localize(&cause.to_string()), ActionRequired::Manual));
        lines.push(Line::plain(format!("    on {}", on(reports, &cause))));
    }
    for report in failed {
        let error = report.found.as_ref().err().cloned().unwrap_or_default();
        lines.push(Line::new(format!("{}: {error}", report.node), ActionRequired::Repair));
    }
    lines.extend(outlook::lines(reports));
    lines
}

/// `all 12 nodes`, or `the node`.
fn all_nodes(number: usize) -> String {
    if number == 1 {
        "the node".to_owned()
    } else {
        format!("all {}", counted(number, "node"))
    }
}

fn is_blocked(report: &NodeReport) -> bool {
    report.found.as_ref().is_ok_and(|found| !found.blockers.is_empty())
}

fn blockers(reports: &[NodeReport]) -> Vec<Blocker> {
    let found = reports.iter().filter_map(|report| report.found.as_ref().ok());
    found
        .flat_map(|found| found.pods.iter().flat_map(|pod| pod.blockers.clone()))
        .collect()
}

/// The first nodes with this cause, with the policy that applies to each.
fn on(reports: &[NodeReport], cause: &Cause) -> String {
    let has = |report: &&NodeReport| {
        let pods = report.found.iter().flat_map(|found| &found.pods);
        let mut blockers = pods.flat_map(|pod| &pod.blockers);
        blockers.any(|blocker| cause.blocker.same_cause(blocker))
    };
    let nodes: Vec<String> = reports
        .iter()
        .filter(has)
        .map(|report| format!("{} ({})", report.node, report.policy.source()))
        .collect();
    match nodes.len().saturating_sub(MAX_NODES) {
        0 => nodes.join(", "),
        more => format!("{} and {} more", nodes[..MAX_NODES].join(", "), thousands(more)),
    }
}

fn end(reports: &[NodeReport]) -> Result<(), Failure> {
    let failed = reports.iter().filter(|report| report.found.is_err()).count();
    let blocked = reports.iter().filter(|report| is_blocked(report)).count();
    match (failed, blocked) {
        (0, 0) => Ok(()),
        (0, blocked) => Err(Failure::blocked(format!(
            "blocked: {} of {}",
            thousands(blocked),
            counted(reports.len(), "node")
        ))),
        (failed, _) => Err(Failure::error(format!(
            "{} of {} could not be checked",
            thousands(failed),
            counted(reports.len(), "node")
        ))),
    }
}

#[cfg(test)]
mod tests;
