//! `forecast`: the planner's simulation of the future, from four lists.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use lockkeeper_planner::{Forecast, Horizon, Node, Snapshot, forecast};
use lockkeeper_snapshot::{Local, ObservedObjects, UndecodableObjects, snapshot};
use serde::Serialize;

use super::next::{zone_time, zones};
use crate::clock::DisplayClock;
use crate::cluster::Cluster;
use crate::cluster::find::no_policy;
use crate::cluster::objects::{self, Objects};
use crate::failure::Failure;
use crate::render::{Line, counted, thousands};
use crate::view::{ActionRequired, Reason};

/// If a policy has more nodes, those in the middle become one line.
const MAX_LISTED: usize = 12;
/// How many of those are shown at each end.
const ENDS: usize = 5;

/// The line of a policy whose nodes are all up to date.
pub(crate) const NOTHING_TO_DO: &str = "nothing to do: no node requires a reboot";
/// The line of a policy none of whose nodes gets a start time.
pub(crate) const NONE_STARTS: &str = "no node will start until you act";

/// What `-o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// When the lists were read.
    time: DateTime<Utc>,
    estimated_completion_time: Option<DateTime<Utc>>,
    /// Whether the simulation was cut: it has the first nodes only, and the ends are estimates.
    cut: bool,
    policies: Vec<PolicyView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyView {
    name: String,
    time_zones: BTreeSet<String>,
    estimated_completion_time: Option<DateTime<Utc>>,
    nodes: Vec<NodeView>,
    /// Nodes that require a reboot and do not start unless a person acts.
    never: Vec<Never>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeView {
    name: String,
    start_time: DateTime<Utc>,
    end_time: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Never {
    name: String,
    reason: Reason,
    message: String,
}

/// Reads the objects that a forecast depends on, and simulates.
pub(crate) async fn fetch(cluster: &Cluster, only: Option<&str>) -> Result<View, Failure> {
    let objects = objects::fetch(cluster).await?;
    let nodes = objects::fetch_nodes(cluster).await?;
    let observed = observed(&objects, nodes);
    let now = Utc::now().trunc_subsecs(0);
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, objects.policies.keys().map(String::as_str)));
    }
    Ok(view(&observed, only, now))
}

pub(crate) fn observed(objects: &Objects, nodes: objects::Nodes) -> ObservedObjects {
    let policies = objects.policies.iter();
    let reboots = objects.reboots.iter();
    ObservedObjects {
        policies: policies
            .map(|(name, it)| (name.clone(), Arc::new(it.clone())))
            .collect(),
        reboots: reboots.map(|(name, it)| (name.clone(), Arc::new(it.clone()))).collect(),
        nodes: nodes.into_iter().map(|(name, it)| (name, Arc::new(it))).collect(),
        lock: objects.lock.clone().map(Arc::new),
        static_pods: Vec::new(),
        undecodable: undecodable(&objects.undecodable),
        ..ObservedObjects::default()
    }
}

fn undecodable(objects: &objects::UndecodableObjects) -> UndecodableObjects {
    let policies = objects.policies.iter();
    let reboots = objects.reboots.iter();
    UndecodableObjects {
        policies: policies.map(|(name, it)| (name.clone(), it.cause.clone())).collect(),
        reboots: reboots.map(|(name, it)| (name.clone(), Arc::new(it.clone()))).collect(),
        lock: objects.locks.values().next().map(|lock| lock.cause.clone()),
    }
}

/// Simulates from `now` on.
fn view(observed: &ObservedObjects, only: Option<&str>, now: DateTime<Utc>) -> View {
    let snapshot = snapshot(observed, &Local::default());
    let forecast = forecast(&snapshot, now, Horizon::default());
    let wanted = observed
        .policies
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name));
    let policies: Vec<PolicyView> = wanted
        .map(|(name, object)| PolicyView {
            name: name.clone(),
            time_zones: zones(&object.spec),
            estimated_completion_time: forecast.policies.get(name).copied(),
            nodes: nodes_of(name, &forecast, &snapshot),
            never: never_of(name, &forecast, &snapshot),
        })
        .collect();
    View {
        time: now,
        estimated_completion_time: policies.iter().filter_map(|it| it.estimated_completion_time).max(),
        cut: forecast.cut,
        policies,
    }
}

fn nodes_of(policy: &str, forecast: &Forecast, snapshot: &Snapshot) -> Vec<NodeView> {
    let spans = forecast
        .nodes
        .iter()
        .filter(|(name, _)| selects(policy, snapshot.nodes.get(*name)));
    let mut nodes: Vec<NodeView> = spans
        .map(|(name, span)| NodeView {
            name: name.clone(),
            start_time: span.start.trunc_subsecs(0),
            end_time: span.end.trunc_subsecs(0),
        })
        .collect();
    nodes.sort_by(|one, other| (one.start_time, &one.name).cmp(&(other.start_time, &other.name)));
    nodes
}

fn never_of(policy: &str, forecast: &Forecast, snapshot: &Snapshot) -> Vec<Never> {
    let never = forecast
        .never
        .iter()
        .filter(|(name, _)| selects(policy, snapshot.nodes.get(*name)));
    never
        .map(|(name, waiting)| Never {
            name: name.clone(),
            reason: Reason::Known(waiting.name()),
            message: waiting.to_string(),
        })
        .collect()
}

fn selects(policy: &str, node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.policies.iter().any(|other| other == policy))
}

/// The screen: a line for each policy, then its nodes in the order in which they start.
pub(crate) fn render(view: &View, clock: &DisplayClock) -> Vec<Line> {
    let mut lines = Vec::new();
    let width = view.policies.iter().map(|policy| policy.name.len()).max().unwrap_or(0);
    for policy in &view.policies {
        lines.push(headline(policy, width, view, clock));
        let nodes = &policy.nodes;
        let width = nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
        let row = |node: &NodeView| row(node, width, view.time, clock);
        if nodes.len() <= MAX_LISTED {
            lines.extend(nodes.iter().map(row));
        } else {
            let (head, tail) = (&nodes[..ENDS], &nodes[nodes.len() - ENDS..]);
            lines.extend(head.iter().map(row));
            lines.push(between(&nodes[ENDS..nodes.len() - ENDS], clock));
            lines.extend(tail.iter().map(row));
        }
        lines.extend(without_start(&policy.never, clock));
    }
    if lines.is_empty() {
        lines.push(Line::plain("no RebootPolicy, so no node is rebooted"));
    }
    lines
}

fn headline(policy: &PolicyView, width: usize, view: &View, clock: &DisplayClock) -> Line {
    let name = &policy.name;
    let Some(end) = policy.estimated_completion_time else {
        let text = if policy.never.is_empty() {
            NOTHING_TO_DO
        } else {
            NONE_STARTS
        };
        return Line::plain(format!("{name:width$}   {text}"));
    };
    let done_by = if view.cut { "done by about" } else { "done by" };
    let elsewhere: Vec<String> = policy
        .time_zones
        .iter()
        .filter_map(|zone| zone_time(zone, end, clock))
        .map(|text| format!(", {text}"))
        .collect();
    let started = policy.nodes.iter().filter(|node| node.start_time < view.time).count();
    let mut counts = Vec::new();
    for (number, state) in [
        (started, "in progress"),
        (policy.nodes.len() - started, "to start"),
        (policy.never.len(), "without a start time"),
    ] {
        if number > 0 {
            counts.push(format!("{} {state}", thousands(number)));
        }
    }
    Line::plain(format!(
        "{name:width$}   {done_by} {}{} if nothing blocks   {}",
        clock.time_and_remaining(end),
        elsewhere.concat(),
        counts.join(", ")
    ))
}

fn row(node: &NodeView, width: usize, now: DateTime<Utc>, clock: &DisplayClock) -> Line {
    let name = &node.name;
    let end = clock.time(node.end_time);
    let text = match node.start_time.cmp(&now) {
        Ordering::Less => format!("in progress since {}, ends at about {end}", clock.time(node.start_time)),
        Ordering::Equal => format!("may start now, ends at about {end}"),
        Ordering::Greater => format!("{} to {end}", clock.time_and_remaining(node.start_time)),
    };
    Line::plain(format!("  {name:width$}   {text}")).indented(width + 5)
}

fn between(nodes: &[NodeView], clock: &DisplayClock) -> Line {
    let starts = nodes.first().zip(nodes.last());
    let range = starts.map_or_else(String::new, |(first, last)| {
        format!(
            ", from {} to {}",
            clock.time(first.start_time),
            clock.time(last.start_time)
        )
    });
    Line::plain(format!("  ... {} more nodes{range}", thousands(nodes.len())))
}

/// Nodes without a start time; many with one reason become one line.
fn without_start(never: &[Never], clock: &DisplayClock) -> Vec<Line> {
    let reasons: BTreeSet<&Reason> = never.iter().map(|node| &node.reason).collect();
    let mut lines = Vec::new();
    for reason in reasons {
        let nodes: Vec<&Never> = never.iter().filter(|node| node.reason == *reason).collect();
        let action_required = ActionRequired::from(reason).max(ActionRequired::Manual);
        if nodes.len() <= MAX_LISTED {
            let line = |node: &&Never| {
                Line::new(
                    format!("  {}   no start time: {}", node.name, clock.localize(&node.message)),
                    action_required,
                )
            };
            lines.extend(nodes.iter().map(line));
        } else {
            let first = nodes
                .first()
                .map(|node| clock.localize(&node.message))
                .unwrap_or_default();
            lines.push(Line::new(
                format!(
                    "  {} without a start time, for example: {first}",
                    counted(nodes.len(), "node")
                ),
                action_required,
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
