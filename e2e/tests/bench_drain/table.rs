//! What was measured, in tables.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::install::repository;

use super::cases::{Case, Gate};

const BEGIN: &str = "<!-- written by make bench-drain DOCS=1 -->\n";
const END: &str = "<!-- end -->\n";

/// One drain's cost.
#[derive(Debug)]
pub(crate) struct Run {
    wall: Duration,
    /// By verb and resource.
    counts: BTreeMap<String, usize>,
    refused: usize,
    /// Requests in the minute in which a pod was blocked.
    minute: usize,
}

/// All runs of a case.
#[derive(Debug)]
pub(crate) struct Measured {
    case: &'static Case,
    pub(crate) ours: Vec<Run>,
    pub(crate) theirs: Vec<Run>,
}

impl Run {
    pub(crate) fn new(wall: Duration, minute: &Range<DateTime<Utc>>, requests: &[Request]) -> Self {
        let mut counts = BTreeMap::new();
        for request in requests {
            let dry = if request.dry_run { " (dry run)" } else { "" };
            let kind = format!("{} {}{dry}", request.verb, request.resource);
            *counts.entry(kind).or_default() += 1;
        }
        Self {
            wall,
            counts,
            refused: requests.iter().filter(|request| request.code == 429).count(),
            minute: requests
                .iter()
                .filter(|request| minute.contains(&request.received))
                .count(),
        }
    }

    fn requests(&self) -> usize {
        self.counts.values().sum()
    }
}

impl Measured {
    pub(crate) fn new(case: &'static Case) -> Self {
        Self {
            case,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    /// What our command asked too often, if anything.
    pub(crate) fn broken_gates(&self) -> Vec<String> {
        let over = |name: &str, most: usize, asked: usize| {
            (asked > most).then(|| format!("{}: {asked} {name}, at most {most}", self.case.name))
        };
        let broken = self.ours.iter().filter_map(|run| match self.case.gate {
            Gate::None => None,
            Gate::Requests(most) => over("requests", most, run.requests()),
            Gate::RequestsAMinute(most) => over("requests a minute", most, run.minute),
        });
        broken.collect()
    }

    /// For the terminal, while the others still run.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:24} bound {:>4} s   ours {} s, {}   kubectl {} s, {}   {:.1}x",
            self.case.name,
            self.case.bound,
            walls(&self.ours),
            asked(self.case, &self.ours),
            walls(&self.theirs),
            asked(self.case, &self.theirs),
            self.ratio()
        )
    }

    fn ratio(&self) -> f32 {
        middle(&self.theirs) / middle(&self.ours)
    }
}

/// Both tables, in Markdown.
pub(crate) fn tables(results: &[Measured], rounds: usize) -> String {
    let mut lines = vec![
        format!(
            "Rounds: {rounds}. Seconds are minimum/median/maximum of all rounds; requests are the maximum of any round."
        ),
        String::new(),
        "| case | bound | Lockkeeper, s | kubectl, s | ratio | requests: Lockkeeper | kubectl |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for result in results {
        lines.push(format!(
            "| {} | {} s | {} | {} | {:.1} | {} | {} |",
            result.case.name,
            result.case.bound,
            walls(&result.ours),
            walls(&result.theirs),
            result.ratio(),
            asked(result.case, &result.ours),
            asked(result.case, &result.theirs)
        ));
    }
    lines.extend([
        String::new(),
        "Requests by verb, of the last round:".to_owned(),
        String::new(),
        "| case | Lockkeeper | kubectl |".to_owned(),
        "|---|---|---|".to_owned(),
    ]);
    for result in results {
        let (ours, theirs) = (verbs(&result.ours), verbs(&result.theirs));
        lines.push(format!("| {} | {ours} | {theirs} |", result.case.name));
    }
    lines.join("\n") + "\n"
}

/// Puts the tables into the page.
pub(crate) fn write_docs(tables: &str) -> Result<()> {
    let path = repository().join("docs/drain-benchmark.md");
    let page = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the tables")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page's place for the tables has no end")?;
    let page = format!("{before}{BEGIN}\n{tables}\n{END}{after}");
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}

fn sorted(runs: &[Run]) -> Vec<f32> {
    let mut walls: Vec<f32> = runs.iter().map(|run| run.wall.as_secs_f32()).collect();
    walls.sort_by(f32::total_cmp);
    walls
}

fn middle(runs: &[Run]) -> f32 {
    let walls = sorted(runs);
    walls.get(walls.len() / 2).copied().unwrap_or(f32::NAN)
}

fn walls(runs: &[Run]) -> String {
    match &sorted(runs)[..] {
        [] => "-".to_owned(),
        [only] => format!("{only:.1}"),
        [least, .., most] => format!("{least:.1}/{:.1}/{most:.1}", middle(runs)),
    }
}

fn asked(case: &Case, runs: &[Run]) -> String {
    let requests = runs.iter().map(Run::requests).max().unwrap_or_default();
    let refused = runs.iter().map(|run| run.refused).max().unwrap_or_default();
    let minute = runs.iter().map(|run| run.minute).max().unwrap_or_default();
    match (case.gate, refused) {
        (Gate::RequestsAMinute(_), _) => format!("{requests}, {minute} in a minute"),
        (Gate::None | Gate::Requests(_), 0) => requests.to_string(),
        (Gate::None | Gate::Requests(_), refused) => format!("{requests}, of these {refused} refused"),
    }
}

fn verbs(runs: &[Run]) -> String {
    let counts = runs.last().map(|run| &run.counts);
    let words = counts
        .into_iter()
        .flatten()
        .map(|(kind, count)| format!("{count} {kind}"));
    words.collect::<Vec<_>>().join(", ")
}
