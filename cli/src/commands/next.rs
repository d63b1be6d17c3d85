//! `next`: when nodes may start by windows and exclusions alone; a file is enough instead of a cluster.

mod file;

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use lockkeeper_crds::RebootPolicySpec;
use lockkeeper_planner::OpenSpan;
use lockkeeper_snapshot::convert;
use serde::Serialize;

use crate::args::NextArgs;
use crate::clock::{DisplayClock, duration};
use crate::cluster::find::no_policy;
use crate::cluster::objects::Objects;
use crate::failure::Failure;
use crate::render::{Line, counted};

/// How many openings of one policy are shown at most.
const MAX_OPENINGS: usize = 10_000;
/// The length of the period unless `--until` sets it.
const DEFAULT_PERIOD: TimeDelta = TimeDelta::days(14);

/// Policies by name, from a cluster or a file.
pub(crate) type Specs = Vec<(String, RebootPolicySpec)>;

/// What `-o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    policies: Vec<PolicyNext>,
    openings: Vec<Opening>,
}

/// One policy, without its openings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyNext {
    name: String,
    suspended: bool,
    /// The time zones of its windows and exclusions.
    time_zones: BTreeSet<String>,
    /// Whether there are more openings than are shown.
    truncated: bool,
}

/// A span in which nodes may start, cut at `from` and `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Opening {
    policy: String,
    opens: DateTime<Utc>,
    closes: DateTime<Utc>,
    cause: String,
}

/// The policies in a file, `-` for standard input.
pub(crate) fn of_file(path: &Path) -> Result<Specs, Failure> {
    file::read(path)
}

/// The policies of the cluster, or the one that is named.
pub(crate) fn of_cluster(objects: &Objects, only: Option<&str>) -> Result<Specs, Failure> {
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, objects.policies.keys().map(String::as_str)));
    }
    let wanted = objects
        .policies
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name));
    Ok(wanted
        .map(|(name, policy)| (name.clone(), policy.spec.clone()))
        .collect())
}

/// Computes the openings of all policies; an invalid schedule is an error that names its policy.
pub(crate) fn next(specs: &Specs, args: &NextArgs, now: DateTime<Utc>) -> Result<Next, Failure> {
    let from = args.from.unwrap_or_else(|| now.trunc_subsecs(0));
    let until = args.until.unwrap_or_else(|| from + DEFAULT_PERIOD);
    if from >= until {
        return Err(Failure::usage(format!(
            "--from {from:?} is not before --until {until:?}"
        )));
    }
    let mut next = Next {
        from,
        until,
        policies: Vec::new(),
        openings: Vec::new(),
    };
    for (name, spec) in specs {
        let schedule =
            convert::schedule(spec).map_err(|error| Failure::error(format!("RebootPolicy {name}: {error}")))?;
        let spans = schedule.openings(from, until, MAX_OPENINGS);
        next.policies.push(PolicyNext {
            name: name.clone(),
            suspended: spec.suspend,
            time_zones: zones(spec),
            truncated: spans.len() == MAX_OPENINGS,
        });
        let opening = |span: OpenSpan| Opening {
            policy: name.clone(),
            opens: span.opens,
            closes: span.closes,
            cause: span.cause,
        };
        next.openings.extend(spans.into_iter().map(opening));
    }
    Ok(next)
}

/// The time zones of a policy's windows and exclusions.
pub(crate) fn zones(spec: &RebootPolicySpec) -> BTreeSet<String> {
    let windows = spec.windows.iter().map(|window| window.time_zone.clone());
    let exclusions = spec.exclusions.iter().filter(|exclusion| exclusion.schedule.is_some());
    let exclusions = exclusions.map(|exclusion| exclusion.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()));
    windows.chain(exclusions).collect()
}

/// The screen: a line for each policy and one for each of its openings.
pub(crate) fn render(next: &Next, clock: &DisplayClock) -> Vec<Line> {
    let range = format!("from {} to {}", clock.time(next.from), clock.time(next.until));
    let mut lines = Vec::new();
    for policy in &next.policies {
        let openings: Vec<&Opening> = next
            .openings
            .iter()
            .filter(|opening| opening.policy == policy.name)
            .collect();
        let found = match openings.len() {
            0 => "no opening".to_owned(),
            number => counted(number, "opening"),
        };
        let more = if policy.truncated { " and more" } else { "" };
        let suspended = if policy.suspended {
            "; the policy is suspended, so no node starts"
        } else {
            ""
        };
        lines.push(Line::plain(format!(
            "{}   {found}{more} {range}{suspended}",
            policy.name
        )));
        lines.extend(openings.into_iter().map(|opening| row(opening, policy, next, clock)));
    }
    if lines.is_empty() {
        lines.push(Line::plain("no RebootPolicy, so no node is rebooted"));
    }
    lines
}

fn row(opening: &Opening, policy: &PolicyNext, next: &Next, clock: &DisplayClock) -> Line {
    let opens = if opening.closes <= clock.now {
        format!("{} (past)", clock.time(opening.opens))
    } else if opening.opens <= clock.now {
        format!("{} (open now)", clock.time(opening.opens))
    } else {
        clock.time_and_remaining(opening.opens)
    };
    let closes = if opening.closes == next.until {
        format!("{} or later", clock.time(opening.closes))
    } else {
        clock.time(opening.closes)
    };
    let length = duration((opening.closes - opening.opens).num_seconds());
    let elsewhere: Vec<String> = policy
        .time_zones
        .iter()
        .filter_map(|zone| in_zone(zone, opening, clock))
        .collect();
    let text = format!(
        "  {opens} to {closes}, {length}   {}{}",
        opening.cause,
        elsewhere.concat()
    );
    Line::plain(text).indented(6)
}

/// Both ends in the policy's zone, unless they are the reader's own times.
fn in_zone(zone: &str, opening: &Opening, clock: &DisplayClock) -> Option<String> {
    let (opens, closes) = (opening.opens, opening.closes);
    if zone_time(zone, opens, clock).is_none() && zone_time(zone, closes, clock).is_none() {
        return None;
    }
    let tz: Tz = zone.parse().ok()?;
    let local = |time: DateTime<Utc>| time.with_timezone(&tz).format("%a %H:%M").to_string();
    Some(format!("; {} to {} {tz}", local(opens), local(closes)))
}

/// `Tue 04:00 Europe/Berlin`, unless it is the reader's own time.
pub(crate) fn zone_time(zone: &str, time: DateTime<Utc>, clock: &DisplayClock) -> Option<String> {
    let tz: Tz = zone.parse().ok()?;
    let local = time.with_timezone(&tz);
    let is_same = local.naive_local() == time.with_timezone(&(clock.offset)(time)).naive_local();
    (!is_same).then(|| format!("{} {tz}", local.format("%a %H:%M")))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
