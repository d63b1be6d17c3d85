//! `status`: one block for each policy, one line for each node that is not up to date.

pub(crate) mod watch;

use std::collections::BTreeMap;

use lockkeeper_crds::NodeState;

use crate::clock::{DisplayClock, duration};
use crate::cluster::installation::SHOW_PODS;
use crate::render::{Line, counted, deadline, message, not_ready, state_column, thousands, window};
use crate::view::{ActionRequired, NodeView, PolicyView, Reason, View};

/// If more nodes wait for one reason, they become one line.
const MAX_LISTED: usize = 12;

/// The screen of `status`.
pub(crate) fn render(view: &View, clock: &DisplayClock) -> Vec<Line> {
    let invalid = view.invalid.iter().chain(&view.undecodable);
    let mut lines: Vec<Line> = invalid.map(|text| Line::new(text, ActionRequired::Manual)).collect();
    let width = view.policies.iter().map(|policy| policy.name.len()).max().unwrap_or(0);
    for policy in &view.policies {
        lines.push(headline(policy, width, clock));
        lines.extend(not_ready(policy, clock));
        let warnings = policy.warnings.iter();
        let warning = |text: &String| Line::new(format!("  warning: {}", clock.localize(text)), ActionRequired::Manual);
        lines.extend(warnings.map(warning));
        lines.extend(deadline(policy, clock));
        lines.extend(rows(&policy.nodes, clock));
    }
    let without_policy = view.without_policy.iter().filter(|node| !node.is_done()).count();
    if without_policy > 0 {
        lines.push(Line::plain(without_policy_line(without_policy)));
        lines.extend(rows(&view.without_policy, clock));
    }
    if view.policies.is_empty() {
        lines.insert(0, Line::plain(no_policies(view.without_policy.len())));
    }
    lines
}

/// The line above the nodes that belong to no policy.
pub(crate) fn without_policy_line(nodes: usize) -> String {
    let are = if nodes == 1 { "is" } else { "are" };
    format!(
        "no policy   {} without exactly one policy {are} never rebooted",
        counted(nodes, "node")
    )
}

/// The line of a cluster that has no policy.
pub(crate) fn no_policies(nodes: usize) -> String {
    if nodes == 0 {
        return format!("no RebootPolicy and no NodeReboot yet; if this lasts, check the operator: {SHOW_PODS}");
    }
    let are = if nodes == 1 { "is" } else { "are" };
    format!(
        "no RebootPolicy, so {} {are} never rebooted; create a first one: \
         kubectl apply -f deploy/samples/general.yaml",
        counted(nodes, "node")
    )
}

fn headline(policy: &PolicyView, width: usize, clock: &DisplayClock) -> Line {
    let window = window(policy, clock);
    let total = policy.nodes.len();
    let mut counts = vec![format!(
        "{} of {} up to date",
        thousands(policy.up_to_date),
        thousands(total)
    )];
    for (number, state) in [
        (policy.in_progress, "in progress"),
        (policy.pending, "waiting"),
        (policy.unknown, "unknown"),
        (policy.failed, "failed"),
    ] {
        if number > 0 {
            counts.push(format!("{} {state}", thousands(number)));
        }
    }
    let name = &policy.name;
    let end = policy.estimated_completion_time.filter(|end| *end > clock.now);
    let done = end.map_or_else(String::new, |end| {
        format!("   done by {} if nothing blocks", clock.time(end))
    });
    Line::plain(format!("{name:width$}   {window}   {}{done}", counts.join(", ")))
}

/// Nodes in progress come first, then those that wait; many with one reason become one line.
fn rows(all: &[NodeView], clock: &DisplayClock) -> Vec<Line> {
    let mut shown: Vec<&NodeView> = all.iter().filter(|node| !node.is_done()).collect();
    shown.sort_by_key(|node| (is_idle(node), state_column(node), node.since_time, &node.name));
    let mut groups: BTreeMap<(NodeState, Option<&Reason>), Vec<&NodeView>> = BTreeMap::new();
    for node in shown.iter().filter(|node| is_idle(node)) {
        groups.entry((node.state, node.reason.as_ref())).or_default().push(node);
    }
    groups.retain(|_, nodes| nodes.len() > MAX_LISTED);
    let is_listed = |node: &&NodeView| !groups.contains_key(&(node.state, node.reason.as_ref()));
    let listed: Vec<&NodeView> = shown.iter().copied().filter(is_listed).collect();
    let width = listed.iter().map(|node| node.name.len()).max().unwrap_or(0);
    let mut lines: Vec<Line> = listed.iter().map(|node| row(node, width, clock)).collect();
    lines.extend(groups.values().map(|nodes| group_line(nodes, clock)));
    lines
}

/// Whether the node has no slot.
fn is_idle(node: &NodeView) -> bool {
    match node.state {
        NodeState::Pending | NodeState::Unknown => true,
        NodeState::UpToDate
        | NodeState::Preparing
        | NodeState::Draining
        | NodeState::Rebooting
        | NodeState::Verifying
        | NodeState::Failed => false,
    }
}

fn row(node: &NodeView, width: usize, clock: &DisplayClock) -> Line {
    let since = node.since_time.map(|time| clock.age(time)).unwrap_or_default();
    let name = &node.name;
    let text = format!(
        "  {name:width$}   {:<9}   {since:<7}   {}",
        state_column(node),
        message(node, clock)
    );
    Line::new(text.trim_end(), node.action_required).indented(width + 27)
}

fn group_line(nodes: &[&NodeView], clock: &DisplayClock) -> Line {
    let messages: Vec<String> = nodes.iter().map(|node| message(node, clock)).collect();
    let text = match common_prefix(&messages) {
        "" => nodes[0].reason.as_ref().map_or("different messages", Reason::as_str),
        common => common,
    };
    let state = match nodes[0].state {
        NodeState::Unknown => "unknown",
        NodeState::UpToDate
        | NodeState::Pending
        | NodeState::Preparing
        | NodeState::Draining
        | NodeState::Rebooting
        | NodeState::Verifying
        | NodeState::Failed => "wait",
    };
    let oldest = nodes.iter().filter_map(|node| node.since_time).min();
    let since = oldest.map(|time| {
        let seconds = clock.now.signed_duration_since(time).num_seconds().max(0);
        format!(", the first for {}", duration(seconds))
    });
    let names: Vec<&str> = nodes.iter().take(3).map(|node| node.name.as_str()).collect();
    Line::new(
        format!(
            "  {} {state}: {text} ({} and {} more{})",
            thousands(nodes.len()),
            names.join(", "),
            thousands(nodes.len() - names.len()),
            since.unwrap_or_default()
        ),
        nodes[0].action_required,
    )
}

/// The beginning that all texts share, up to the end of a clause.
fn common_prefix(texts: &[String]) -> &str {
    let Some(first) = texts.first() else { return "" };
    let mut end = first.len();
    for text in texts {
        let same = first
            .chars()
            .zip(text.chars())
            .take_while(|(left, right)| left == right);
        end = end.min(same.map(|(letter, _)| letter.len_utf8()).sum());
    }
    let head = first[..end].trim_end();
    // A word has ended where each text stops or continues with neither a letter nor a digit.
    let is_word_end = |text: &String| !text[end..].starts_with(char::is_alphanumeric);
    if head.len() == end && texts.iter().all(is_word_end) {
        return head;
    }
    head.rfind([';', ':', '(', ','])
        .map_or("", |cut| head[..cut].trim_end())
}

#[cfg(test)]
mod tests;
