//! `status`: one block for each policy, one line for each node that is not up to date.

use std::collections::BTreeMap;

use lockkeeper_crds::NodeState;

use crate::moment::{Moment, count, span};
use crate::reasons::Needs;
use crate::screen::Line;
use crate::view::{NodeView, PolicyView, View, WindowView};

/// As many nodes may wait for one reason before they become one line.
const LISTED: usize = 12;

/// The screen of `status`.
pub(crate) fn render(view: &View, moment: &Moment) -> Vec<Line> {
    let unreadable = view.unreadable.iter();
    let mut lines: Vec<Line> = unreadable.map(|text| Line::new(text.clone(), Needs::Person)).collect();
    let width = view.policies.iter().map(|policy| policy.name.len()).max().unwrap_or(0);
    for policy in &view.policies {
        lines.push(headline(policy, width, moment));
        lines.extend(trouble_line(policy, moment));
        let warnings = policy.warnings.iter();
        let warning = |text: &String| Line::new(format!("  warning: {}", moment.localise(text)), Needs::Person);
        lines.extend(warnings.map(warning));
        lines.extend(rows(&policy.nodes, moment));
    }
    let strays: Vec<&NodeView> = view.without_policy.iter().filter(|node| is_shown(node)).collect();
    if !strays.is_empty() {
        lines.push(Line::plain(format!(
            "no policy   {} without a policy of their own, never rebooted",
            nodes(strays.len())
        )));
        lines.extend(rows(&view.without_policy, moment));
    }
    if view.policies.is_empty() {
        lines.insert(0, Line::plain(nothing_yet(view)));
    }
    lines
}

/// Why a policy is not Ready.
pub(crate) fn trouble_line(policy: &PolicyView, moment: &Moment) -> Option<Line> {
    let needs = if policy.failed > 0 {
        Needs::Repair
    } else {
        Needs::Person
    };
    let text = policy.trouble.as_ref()?;
    Some(Line::new(format!("  not ready: {}", moment.localise(text)), needs))
}

/// Whether nodes of a policy may start now, and until when.
pub(crate) fn window(policy: &PolicyView, moment: &Moment) -> String {
    let window = match policy.window {
        WindowView::Always => "any time".to_owned(),
        WindowView::Open { closes_time: None } => "window open".to_owned(),
        WindowView::Open {
            closes_time: Some(time),
        } => format!("window open, closes {}", moment.ahead(time)),
        WindowView::Closed { opens_time: None } => "window closed, no opening in sight".to_owned(),
        WindowView::Closed { opens_time: Some(time) } => format!("window closed, opens {}", moment.ahead(time)),
        WindowView::Unknown => "window not known yet".to_owned(),
    };
    if policy.suspended {
        format!("suspended, {window}")
    } else {
        window
    }
}

fn headline(policy: &PolicyView, width: usize, moment: &Moment) -> Line {
    let window = window(policy, moment);
    let total = policy.nodes.len();
    let mut counts = vec![format!("{} of {} up to date", count(policy.up_to_date), count(total))];
    for (number, word) in [
        (policy.inside, "inside"),
        (policy.pending, "waiting"),
        (policy.failed, "failed"),
    ] {
        if number > 0 {
            counts.push(format!("{} {word}", count(number)));
        }
    }
    let name = &policy.name;
    let ahead = policy.estimated_completion_time.filter(|end| *end > moment.now);
    let done = ahead.map_or_else(String::new, |end| {
        format!("   done by {} if nothing blocks", moment.at(end))
    });
    Line::plain(format!("{name:width$}   {window}   {}{done}", counts.join(", ")))
}

/// Those inside first, then those that wait; many with one reason become one line.
fn rows(all: &[NodeView], moment: &Moment) -> Vec<Line> {
    let mut shown: Vec<&NodeView> = all.iter().filter(|node| is_shown(node)).collect();
    shown.sort_by_key(|node| {
        (
            node.state == NodeState::Pending,
            word(node),
            node.since_time,
            &node.name,
        )
    });
    let mut crowds: BTreeMap<&str, Vec<&NodeView>> = BTreeMap::new();
    for node in shown.iter().filter(|node| node.state == NodeState::Pending) {
        crowds
            .entry(node.reason.as_deref().unwrap_or_default())
            .or_default()
            .push(node);
    }
    crowds.retain(|_, nodes| nodes.len() > LISTED);
    let single = |node: &&NodeView| {
        node.state != NodeState::Pending || !crowds.contains_key(node.reason.as_deref().unwrap_or_default())
    };
    let listed: Vec<&NodeView> = shown.iter().copied().filter(|node| single(node)).collect();
    let width = listed.iter().map(|node| node.name.len()).max().unwrap_or(0);
    let mut lines: Vec<Line> = listed.iter().map(|node| row(node, width, moment)).collect();
    lines.extend(crowds.values().map(|nodes| crowd(nodes, moment)));
    lines
}

fn row(node: &NodeView, width: usize, moment: &Moment) -> Line {
    let since = node.since_time.map(|time| moment.age(time)).unwrap_or_default();
    let name = &node.name;
    let text = format!(
        "  {name:width$}   {:<9}   {since:<7}   {}",
        word(node),
        told(node, moment)
    );
    Line::new(text.trim_end(), node.needs).hanging(width + 27)
}

/// The message, and until when unless it says so itself.
pub(crate) fn told(node: &NodeView, moment: &Moment) -> String {
    let message = moment.localise(&node.message);
    match node.until_time {
        Some(until) if message == node.message && until > moment.now => {
            // For what is under way the time is a limit, not the end of a wait.
            let word = if node.reason.as_deref() == Some("NodeNotReady") {
                "given up on at"
            } else {
                "until"
            };
            format!("{message}, {word} {}", moment.ahead(until))
        }
        _ => message,
    }
}

fn crowd(nodes: &[&NodeView], moment: &Moment) -> Line {
    let told: Vec<String> = nodes.iter().map(|node| told(node, moment)).collect();
    let reason = nodes[0].reason.clone().unwrap_or_default();
    let message = match common(&told) {
        "" => reason,
        common => common.to_owned(),
    };
    let oldest = nodes.iter().filter_map(|node| node.since_time).min();
    let since = oldest.map(|time| {
        let seconds = moment.now.signed_duration_since(time).num_seconds().max(0);
        format!(", the first for {}", span(seconds))
    });
    let names: Vec<&str> = nodes.iter().take(3).map(|node| node.name.as_str()).collect();
    Line::new(
        format!(
            "  {} wait: {message} ({} and {} more{})",
            count(nodes.len()),
            names.join(", "),
            count(nodes.len() - names.len()),
            since.unwrap_or_default()
        ),
        nodes[0].needs,
    )
}

/// What all the texts begin with, up to the end of a clause.
fn common(texts: &[String]) -> &str {
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
    // Where each text stops or goes on with something else than a letter or a digit, a word has ended.
    let whole = |text: &String| !text[end..].starts_with(char::is_alphanumeric);
    if head.len() == end && texts.iter().all(whole) {
        return head;
    }
    head.rfind([';', ':', '(', ','])
        .map_or("", |cut| head[..cut].trim_end())
}

/// A node that is done has no line; neither has one that nobody selects and that wants nothing.
fn is_shown(node: &NodeView) -> bool {
    !node.is_done()
}

/// One word for the column.
pub(crate) fn word(node: &NodeView) -> &'static str {
    match (node.state, node.reason.as_deref()) {
        (NodeState::Pending, Some("Held")) => "held",
        (NodeState::Pending, _) => "waits",
        (state, _) => state.as_str(),
    }
}

fn nothing_yet(view: &View) -> String {
    if view.without_policy.is_empty() {
        "no RebootPolicy and no NodeReboot yet; if this lasts, look at: kubectl -n lockkeeper-system get pods"
            .to_owned()
    } else {
        format!(
            "no RebootPolicy, so none of {} is rebooted; a first one: kubectl apply -f deploy/samples/general.yaml",
            nodes(view.without_policy.len())
        )
    }
}

fn nodes(number: usize) -> String {
    match number {
        1 => "1 node".to_owned(),
        _ => format!("{} nodes", count(number)),
    }
}

#[cfg(test)]
mod tests;
