//! `history`: the records of operations that ended, newest first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lockkeeper_crds::{HistoryEntry, NodeReboot, Outcome};
use serde::Serialize;

use crate::moment::Moment;
use crate::reasons::Needs;
use crate::screen::Line;

/// What `-o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct History {
    records: Vec<Entry>,
}

/// One operation of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Entry {
    node: String,
    #[serde(flatten)]
    record: HistoryEntry,
}

/// The records of these nodes, newest first.
pub(crate) fn history(reboots: &BTreeMap<String, NodeReboot>) -> History {
    let of_node = |(name, reboot): (&String, &NodeReboot)| {
        let history = reboot.status.iter().flat_map(|status| &status.history);
        let entry = |record: &HistoryEntry| Entry {
            node: name.clone(),
            record: record.clone(),
        };
        history.map(entry).collect::<Vec<_>>()
    };
    let mut records: Vec<Entry> = reboots.iter().flat_map(of_node).collect();
    // Of those that ended in the same second, the one that began later is the newer one.
    let age = |entry: &Entry| (entry.record.ended_time, entry.record.started_time);
    records.sort_by(|one, other| age(other).cmp(&age(one)).then_with(|| one.node.cmp(&other.node)));
    History { records }
}

const COLUMNS: [&str; 10] = [
    "NODE", "ENDED", "OUTCOME", "WAITED", "DRAINED", "DOWN", "VERIFIED", "PODS", "KERNEL", "WHY",
];

/// The screen: one line for each operation.
pub(crate) fn render(history: &History, moment: &Moment) -> Vec<Line> {
    if history.records.is_empty() {
        return vec![Line::plain("no operation has ended yet")];
    }
    let rows: Vec<[String; 10]> = history.records.iter().map(|entry| row(entry, moment)).collect();
    let mut widths = COLUMNS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 10], needs: Needs| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let text = padded.collect::<Vec<_>>().join("   ");
        Line::new(text.trim_end(), needs)
    };
    let mut lines = vec![line(&COLUMNS.map(str::to_owned), Needs::Nothing)];
    let body = rows.iter().zip(&history.records);
    lines.extend(body.map(|(row, entry)| line(row, needs(entry.record.outcome))));
    lines
}

fn row(entry: &Entry, moment: &Moment) -> [String; 10] {
    let record = &entry.record;
    [
        entry.node.clone(),
        ended(record.ended_time, moment),
        outcome(record.outcome).to_owned(),
        minutes(record.waited_seconds),
        minutes(record.drained_seconds),
        minutes(record.down_seconds),
        minutes(record.verified_seconds),
        record.pods_moved.to_string(),
        kernel(record),
        why(record, moment),
    ]
}

fn ended(time: DateTime<Utc>, moment: &Moment) -> String {
    format!("{} ({} ago)", moment.at(time), moment.age(time))
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

fn needs(outcome: Outcome) -> Needs {
    match outcome {
        Outcome::Released => Needs::Repair,
        Outcome::Deferred => Needs::Person,
        Outcome::Succeeded | Outcome::Withdrawn | Outcome::Held | Outcome::Unknown => Needs::Nothing,
    }
}

/// `0:41`, `62:05`; what did not happen is a dash.
fn minutes(seconds: Option<i64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| format!("{}:{:02}", seconds / 60, seconds % 60),
    )
}

fn kernel(record: &HistoryEntry) -> String {
    match (record.kernel_before.as_str(), record.kernel_after.as_str()) {
        ("", "") => "-".to_owned(),
        (same, other) if same == other || other.is_empty() => same.to_owned(),
        ("", after) => after.to_owned(),
        (before, after) => format!("{before} -> {after}"),
    }
}

/// Why it was to be rebooted and, if it did not go well, why it ended as it did.
fn why(record: &HistoryEntry, moment: &Moment) -> String {
    let reasons: Vec<&str> = record.reasons.iter().map(|cause| cause.0.as_str()).collect();
    let reasons = reasons.join(", ");
    match (reasons.as_str(), record.message.as_str()) {
        (_, "") => reasons,
        ("", message) => moment.localise(message),
        (reasons, message) => format!("{reasons}; ended: {}", moment.localise(message)),
    }
}

#[cfg(test)]
mod tests;
