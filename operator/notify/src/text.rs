//! A message in words, and the limits of its length.

use std::collections::BTreeMap;

use lockkeeper_text::bounded;

use crate::event::{Event, Severity};

/// How many Events a text shows one by one.
const LINES: usize = 20;
/// The longest line.
const LINE: usize = 400;

/// The Events as text: one line for one Event; for more, a line that counts them and the most important of them.
pub(crate) fn text(cluster: &str, events: &[Event]) -> String {
    if let [event] = events {
        let prefix = if cluster.is_empty() {
            String::new()
        } else {
            format!("[{cluster}] ")
        };
        return format!("{prefix}{}", line(event));
    }
    let mut sorted: Vec<&Event> = events.iter().collect();
    // Those that need a person first; the sort is stable, so that within these the oldest comes first.
    sorted.sort_by_key(|event| std::cmp::Reverse(event.severity));
    let mut lines = vec![summary(cluster, events)];
    lines.extend(sorted.iter().take(LINES).map(|event| line(event)));
    if let Some(more) = events.len().checked_sub(LINES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// How many Events of each reason there are.
fn summary(cluster: &str, events: &[Event]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        *counts.entry(event.reason).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let counts: Vec<_> = counts
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let cluster = if cluster.is_empty() {
        String::new()
    } else {
        format!("[{cluster}] ")
    };
    format!("{cluster}{} events: {}", events.len(), counts.join(", "))
}

fn line(event: &Event) -> String {
    let severity = match event.severity {
        Severity::Normal => "",
        Severity::Warning => "Warning: ",
    };
    let about = match (&event.node, &event.policy) {
        (Some(node), Some(policy)) => format!("node {node} (policy {policy}): "),
        (Some(node), None) => format!("node {node}: "),
        (None, Some(policy)) => format!("policy {policy}: "),
        (None, None) => String::new(),
    };
    bounded(&format!("{severity}{} {about}{}", event.reason, event.message), LINE)
}
