//! `report`: what would block a drain today, found days before anything is touched.

use futures::stream::{self, StreamExt};
use kube::ResourceExt;
use kube::api::ListParams;
use lockkeeper_drain::{Blocker, Cause, Decision, Numbers, PodName, Preflight, group, preflight};
use serde::Serialize;

use crate::connect::Cluster;
use crate::drain::args::ReportArgs;
use crate::drain::marks;
use crate::drain::picture::{NodeAhead, counts};
use crate::drain::policy::{Book, Choice};
use crate::failure::{Failure, chain};
use crate::moment::{Moment, count};
use crate::reasons::Needs;
use crate::screen::{self, Line};

/// Nodes that are looked at side by side; each asks for up to eight evictions at once, as dry runs.
const AT_ONCE: usize = 4;
/// How many nodes a line names.
const MAX_NODES: usize = 5;

/// Looks at each node and says what would block.
pub(crate) async fn run(cluster: &Cluster, args: &ReportArgs) -> Result<(), Failure> {
    let nodes = nodes(cluster, args).await?;
    let book = if args.nodes.is_empty() {
        Book::of_all(cluster, &args.policy).await?
    } else {
        Book::of_nodes(cluster, &args.policy, &nodes).await?
    };
    let looks = stream::iter(&nodes).map(|node| look(cluster, node, book.choice(node)));
    let looks: Vec<Look> = looks.buffered(AT_ONCE).collect().await;
    match args.output {
        Some(_) => {
            let all = looks.iter().map(Look::for_programs);
            screen::print_json(&All { nodes: all.collect() });
        }
        None => screen::print(&render(&looks, &Moment::now())),
    }
    end(&looks)
}

/// What `-o json` prints.
#[derive(Serialize)]
struct All {
    nodes: Vec<NodeAhead>,
}

/// One node, and what was seen.
struct Look {
    node: String,
    choice: Choice,
    found: Result<Preflight, String>,
}

impl Look {
    fn for_programs(&self) -> NodeAhead {
        let policy = self.choice.policy.clone();
        match &self.found {
            Ok(found) => NodeAhead::new(&self.node, policy, found),
            Err(error) => NodeAhead::failed(&self.node, policy, error.clone()),
        }
    }
}

async fn nodes(cluster: &Cluster, args: &ReportArgs) -> Result<Vec<String>, Failure> {
    let mut names = args.nodes.clone();
    if names.is_empty() {
        let mut params = ListParams::default();
        params.label_selector.clone_from(&args.selector);
        let list = cluster.nodes().list_metadata(&params).await;
        let list = list.map_err(|error| marks::failed(cluster, "list nodes", &error))?;
        names = list.iter().map(ResourceExt::name_any).collect();
        if let (true, Some(selector)) = (names.is_empty(), &args.selector) {
            return Err(Failure::error(format!(
                "no node has the labels {selector}; see: kubectl get nodes --show-labels"
            )));
        }
    } else {
        for node in &names {
            marks::find(cluster, node).await?;
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

async fn look(cluster: &Cluster, node: &str, choice: Result<Choice, Failure>) -> Look {
    let settings = choice
        .as_ref()
        .map_err(|failure| failure.message.clone())
        .and_then(|choice| {
            choice
                .settings(node, chrono::Utc::now())
                .map_err(|failure| failure.message)
        });
    let found = match settings {
        Ok(settings) => preflight(&cluster.client, &settings)
            .await
            .map_err(|error| chain(&error)),
        Err(message) => Err(message),
    };
    Look {
        node: node.to_owned(),
        choice: choice.unwrap_or_default(),
        found,
    }
}

/// The answer, then each cause with the nodes it is on.
fn render(looks: &[Look], moment: &Moment) -> Vec<Line> {
    let blocked = looks.iter().filter(|look| is_blocked(look)).count();
    let unseen: Vec<&Look> = looks.iter().filter(|look| look.found.is_err()).collect();
    let found = looks.iter().filter_map(|look| look.found.as_ref().ok());
    let to_move: usize = found.map(|found| counts(found).0).sum();
    let all = count(looks.len());
    let mut lines = vec![match (blocked, unseen.len()) {
        (0, 0) => Line::plain(format!(
            "all {all} nodes can be emptied today: {} {} would move",
            count(to_move),
            if to_move == 1 { "pod" } else { "pods" }
        )),
        (blocked, 0) => Line::new(
            format!("{} of {all} nodes cannot be emptied today", count(blocked)),
            Needs::Person,
        ),
        (blocked, unseen) => Line::new(
            format!(
                "{} of {all} nodes cannot be emptied today, {} could not be looked at",
                count(blocked),
                count(unseen)
            ),
            Needs::Repair,
        ),
    }];
    for cause in group(blockers(looks)) {
        lines.push(Line::new(moment.localise(&cause.to_string()), Needs::Person));
        lines.push(Line::plain(format!("    on {}", on(looks, &cause))));
    }
    for look in unseen {
        let error = look.found.as_ref().err().cloned().unwrap_or_default();
        lines.push(Line::new(format!("{}: {error}", look.node), Needs::Repair));
    }
    lines.extend(waits(looks));
    lines
}

fn is_blocked(look: &Look) -> bool {
    look.found.as_ref().is_ok_and(|found| !found.blockers.is_empty())
}

fn blockers(looks: &[Look]) -> Vec<Blocker> {
    let found = looks.iter().filter_map(|look| look.found.as_ref().ok());
    found
        .flat_map(|found| found.pods.iter().flat_map(|pod| pod.blockers.clone()))
        .collect()
}

/// The first nodes with this cause, with the policy that counts there.
fn on(looks: &[Look], cause: &Cause) -> String {
    let has = |look: &&Look| {
        let pods = look.found.iter().flat_map(|found| &found.pods);
        let mut blockers = pods.flat_map(|pod| &pod.blockers);
        blockers.any(|blocker| cause.blocker.same_cause(blocker))
    };
    let nodes: Vec<String> = looks
        .iter()
        .filter(has)
        .map(|look| format!("{} ({})", look.node, look.choice.words()))
        .collect();
    match nodes.len().saturating_sub(MAX_NODES) {
        0 => nodes.join(", "),
        more => format!("{} and {} more", nodes[..MAX_NODES].join(", "), count(more)),
    }
}

/// Budgets without room just now: no blocker, as that may pass, and good to know.
fn waits(looks: &[Look]) -> Vec<Line> {
    let mut closed: Vec<(&PodName, Numbers, usize)> = Vec::new();
    let pods = looks
        .iter()
        .flat_map(|look| look.found.iter().flat_map(|found| &found.pods));
    for pod in pods.filter(|pod| pod.blockers.is_empty() && pod.decision == Decision::Evict) {
        let Some((name, numbers)) = pod.budget.as_ref().filter(|(_, numbers)| numbers.allowed < 1) else {
            continue;
        };
        match closed.iter_mut().find(|(known, _, _)| *known == name) {
            Some((_, _, pods)) => *pods += 1,
            None => closed.push((name, *numbers, 1)),
        }
    }
    closed.sort_by_key(|(name, _, _)| *name);
    let line = |(name, numbers, pods): (&PodName, Numbers, usize)| {
        let are = if pods == 1 { "pod waits" } else { "pods wait" };
        let text = format!(
            "{} {are} for budget {name}, which has no room just now ({} of {} ready, {} needed)",
            count(pods),
            numbers.healthy,
            numbers.total,
            numbers.desired
        );
        Line::new(text, Needs::Time)
    };
    closed.into_iter().map(line).collect()
}

fn end(looks: &[Look]) -> Result<(), Failure> {
    let unseen = looks.iter().filter(|look| look.found.is_err()).count();
    let blocked = looks.iter().filter(|look| is_blocked(look)).count();
    match (unseen, blocked) {
        (0, 0) => Ok(()),
        (0, blocked) => Err(Failure::blocked(format!(
            "blocked: {} of {} nodes",
            count(blocked),
            count(looks.len())
        ))),
        (unseen, _) => Err(Failure::error(format!(
            "{} of {} nodes could not be looked at",
            count(unseen),
            count(looks.len())
        ))),
    }
}

#[cfg(test)]
mod tests;
