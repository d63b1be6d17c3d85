//! `forecast`: the planner run against a virtual future, on what four lists have shown.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use lockkeeper_planner::{Forecast, Horizon, Node, Snapshot, forecast};
use lockkeeper_snapshot::{Local, ObservedObjects, snapshot};
use serde::Serialize;

use crate::connect::Cluster;
use crate::failure::Failure;
use crate::moment::{Moment, count};
use crate::next::{in_zone, zones};
use crate::objects::{self, Objects};
use crate::reasons::{Needs, needs};
use crate::screen::Line;
use crate::view::no_policy;

/// As many nodes of a policy are shown one by one before those in the middle become one line.
const LISTED: usize = 12;
/// How many of those are shown at each end.
const ENDS: usize = 5;

/// What `-o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// When the lists were read.
    time: DateTime<Utc>,
    estimated_completion_time: Option<DateTime<Utc>>,
    /// The future was cut: only its first nodes are told, and the ends are estimates.
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
    /// Nodes that need a reboot and will not get one unless somebody acts.
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
    reason: &'static str,
    message: String,
}

/// Lists what a forecast depends on, and looks ahead.
pub(crate) async fn look(cluster: &Cluster, only: Option<&str>) -> Result<View, Failure> {
    let objects = objects::fetch(cluster).await?;
    let nodes = objects::fetch_nodes(cluster).await?;
    let seen = seen(&objects, nodes);
    let now = Utc::now().trunc_subsecs(0);
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, &objects));
    }
    Ok(view(&seen, only, now))
}

fn seen(objects: &Objects, nodes: objects::Nodes) -> ObservedObjects {
    let policies = objects.policies.iter();
    let reboots = objects.reboots.iter();
    ObservedObjects {
        policies: policies
            .map(|(name, it)| (name.clone(), Arc::new(it.clone())))
            .collect(),
        reboots: reboots.map(|(name, it)| (name.clone(), Arc::new(it.clone()))).collect(),
        nodes: nodes.into_iter().map(|(name, it)| (name, Arc::new(it))).collect(),
        lock: objects.lock.clone().map(Arc::new),
        undecodable: objects.undecodable.clone(),
    }
}

/// Looks ahead from `now` on.
fn view(seen: &ObservedObjects, only: Option<&str>, now: DateTime<Utc>) -> View {
    let snapshot = snapshot(seen, &Local::default());
    let forecast = forecast(&snapshot, now, Horizon::default());
    let wanted = seen
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
            reason: waiting.name().as_str(),
            message: waiting.to_string(),
        })
        .collect()
}

fn selects(policy: &str, node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.policies.iter().any(|other| other == policy))
}

/// The screen: a line for each policy, then its nodes in the order in which they start.
pub(crate) fn render(view: &View, moment: &Moment) -> Vec<Line> {
    let mut lines = Vec::new();
    let width = view.policies.iter().map(|policy| policy.name.len()).max().unwrap_or(0);
    for policy in &view.policies {
        lines.push(headline(policy, width, view, moment));
        let nodes = &policy.nodes;
        let width = nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
        let row = |node: &NodeView| row(node, width, view.time, moment);
        if nodes.len() <= LISTED {
            lines.extend(nodes.iter().map(row));
        } else {
            let (head, tail) = (&nodes[..ENDS], &nodes[nodes.len() - ENDS..]);
            lines.extend(head.iter().map(row));
            lines.push(between(&nodes[ENDS..nodes.len() - ENDS], moment));
            lines.extend(tail.iter().map(row));
        }
        lines.extend(stuck(&policy.never, moment));
    }
    if lines.is_empty() {
        lines.push(Line::plain("no RebootPolicy: no node is rebooted"));
    }
    lines
}

fn headline(policy: &PolicyView, width: usize, view: &View, moment: &Moment) -> Line {
    let name = &policy.name;
    let Some(end) = policy.estimated_completion_time else {
        let text = if policy.never.is_empty() {
            "nothing to do: no node needs a reboot"
        } else {
            "no node will start unless somebody acts"
        };
        return Line::plain(format!("{name:width$}   {text}"));
    };
    let about = if view.cut { "done by about" } else { "done by" };
    let there: Vec<String> = policy
        .time_zones
        .iter()
        .filter_map(|zone| in_zone(zone, end, moment))
        .map(|text| format!(", {text}"))
        .collect();
    let inside = policy.nodes.iter().filter(|node| node.start_time < view.time).count();
    let mut counts = Vec::new();
    for (number, word) in [
        (inside, "inside"),
        (policy.nodes.len() - inside, "to come"),
        (policy.never.len(), "not in sight"),
    ] {
        if number > 0 {
            counts.push(format!("{} {word}", count(number)));
        }
    }
    Line::plain(format!(
        "{name:width$}   {about} {}{} if nothing blocks   {}",
        moment.ahead(end),
        there.concat(),
        counts.join(", ")
    ))
}

fn row(node: &NodeView, width: usize, now: DateTime<Utc>, moment: &Moment) -> Line {
    let name = &node.name;
    let end = moment.at(node.end_time);
    let text = match node.start_time.cmp(&now) {
        Ordering::Less => format!("inside since {}, free about {end}", moment.at(node.start_time)),
        Ordering::Equal => format!("may start now, free about {end}"),
        Ordering::Greater => format!("{} to {end}", moment.ahead(node.start_time)),
    };
    Line::plain(format!("  {name:width$}   {text}")).hanging(width + 5)
}

fn between(nodes: &[NodeView], moment: &Moment) -> Line {
    let starts = nodes.first().zip(nodes.last());
    let range = starts.map_or_else(String::new, |(first, last)| {
        format!(
            ", from {} to {}",
            moment.at(first.start_time),
            moment.at(last.start_time)
        )
    });
    Line::plain(format!(
        "  ... {} more start one after the other{range}",
        count(nodes.len())
    ))
}

/// Nodes that nobody will reboot; many with one reason become one line.
fn stuck(never: &[Never], moment: &Moment) -> Vec<Line> {
    let mut reasons: Vec<&str> = never.iter().map(|node| node.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut lines = Vec::new();
    for reason in reasons {
        let nodes: Vec<&Never> = never.iter().filter(|node| node.reason == reason).collect();
        let needs = needs(reason).max(Needs::Person);
        if nodes.len() <= LISTED {
            let line = |node: &&Never| {
                Line::new(
                    format!("  {}   not in sight: {}", node.name, moment.localise(&node.message)),
                    needs,
                )
            };
            lines.extend(nodes.iter().map(line));
        } else {
            let first = nodes
                .first()
                .map(|node| moment.localise(&node.message))
                .unwrap_or_default();
            lines.push(Line::new(
                format!("  {} not in sight, such as: {first}", count(nodes.len())),
                needs,
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
