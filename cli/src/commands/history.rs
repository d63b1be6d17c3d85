//! `history`: past operations, newest first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lockkeeper_crds::{HistoryEntry, NodeReboot, Outcome};
use serde::Serialize;

use crate::clock::DisplayClock;
use crate::render::Line;
use crate::view::ActionRequired;

/// What `-o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct History {
    entries: Vec<Row>,
}

/// One operation of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    node: String,
    #[serde(flatten)]
    entry: HistoryEntry,
}

/// The past operations of these nodes, newest first.
pub(crate) fn history(reboots: &BTreeMap<String, NodeReboot>) -> History {
    let of_node = |(name, reboot): (&String, &NodeReboot)| {
        let history = reboot.status.iter().flat_map(|status| &status.history);
        let row = |entry: &HistoryEntry| Row {
            node: name.clone(),
            entry: entry.clone(),
        };
        history.map(row).collect::<Vec<_>>()
    };
    let mut entries: Vec<Row> = reboots.iter().flat_map(of_node).collect();
    // Of two that ended in the same second, the one that started later is newer.
    let times = |row: &Row| (row.entry.ended_time, row.entry.started_time);
    entries.sort_by(|one, other| times(other).cmp(&times(one)).then_with(|| one.node.cmp(&other.node)));
    History { entries }
}

const COLUMNS: [&str; 10] = [
    "NODE", "ENDED", "OUTCOME", "WAITED", "DRAINED", "DOWN", "VERIFIED", "PODS", "KERNEL", "WHY",
];

/// The screen: one line for each operation.
pub(crate) fn render(history: &History, clock: &DisplayClock) -> Vec<Line> {
    if history.entries.is_empty() {
        return vec![Line::plain("no operation has ended yet")];
    }
    let rows: Vec<[String; 10]> = history.entries.iter().map(|row| cells(row, clock)).collect();
    let mut widths = COLUMNS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 10], action_required: ActionRequired| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let text = padded.collect::<Vec<_>>().join("   ");
        Line::new(text.trim_end(), action_required)
    };
    let mut lines = vec![line(&COLUMNS.map(str::to_owned), ActionRequired::None)];
    let body = rows.iter().zip(&history.entries);
    lines.extend(body.map(|(cells, row)| line(cells, action_required(row.entry.outcome))));
    lines
}

fn cells(row: &Row, clock: &DisplayClock) -> [String; 10] {
    let entry = &row.entry;
    [
        row.node.clone(),
        ended(entry.ended_time, clock),
        outcome(entry.outcome).to_owned(),
        minutes(entry.waited_seconds),
        minutes(entry.drained_seconds),
        minutes(entry.down_seconds),
        minutes(entry.verified_seconds),
        entry.pods_moved.to_string(),
        kernel(entry),
        why(entry, clock),
    ]
}

fn ended(time: DateTime<Utc>, clock: &DisplayClock) -> String {
    format!("{} ({} ago)", clock.time(time), clock.age(time))
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "Succeeded",
        Outcome::Deferred => "Deferred",
        Outcome::Withdrawn => "Withdrawn",
        Outcome::Held => "Held",
        Outcome::Released => "Released",
        Outcome::Unknown => "Unknown",
    }
}

fn action_required(outcome: Outcome) -> ActionRequired {
    match outcome {
        Outcome::Released => ActionRequired::Repair,
        Outcome::Deferred => ActionRequired::Manual,
        Outcome::Succeeded | Outcome::Withdrawn | Outcome::Held | Outcome::Unknown => ActionRequired::None,
    }
}

/// `0:41`, `62:05`; a dash for a part that did not take place.
fn minutes(seconds: Option<i64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| format!("{}:{:02}", seconds / 60, seconds % 60),
    )
}

fn kernel(entry: &HistoryEntry) -> String {
    match (entry.kernel_before.as_str(), entry.kernel_after.as_str()) {
        ("", "") => "-".to_owned(),
        (same, other) if same == other || other.is_empty() => same.to_owned(),
        ("", after) => after.to_owned(),
        (before, after) => format!("{before} -> {after}"),
    }
}

/// Why the node was to be rebooted and, unless it succeeded, why the operation ended.
fn why(entry: &HistoryEntry, clock: &DisplayClock) -> String {
    let reasons: Vec<&str> = entry.reasons.iter().map(|cause| cause.0.as_str()).collect();
    let reasons = reasons.join(", ");
    match (reasons.as_str(), entry.message.as_str()) {
        (_, "") => reasons,
        ("", message) => clock.localize(message),
        (reasons, message) => format!("{reasons}; ended: {}", clock.localize(message)),
    }
}

#[cfg(test)]
mod tests;
