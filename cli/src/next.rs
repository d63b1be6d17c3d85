//! `next`: when nodes may start, by windows and exclusions alone; a file is enough, no cluster is needed.

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
use crate::failure::Failure;
use crate::moment::{Moment, span};
use crate::objects::Objects;
use crate::screen::Line;
use crate::view::no_policy;

/// More openings than this of one policy are not shown.
const MOST: usize = 10_000;
/// How far it looks unless told otherwise.
const AHEAD: TimeDelta = TimeDelta::days(14);

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

/// One policy, beside its openings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyNext {
    name: String,
    suspended: bool,
    /// The time zones of its windows and exclusions.
    time_zones: BTreeSet<String>,
    /// There are more openings than are shown.
    truncated: bool,
}

/// A span in which nodes may start, as long as it is, cut at `from` and `until`.
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

/// The policies of the cluster, or the one that is asked for.
pub(crate) fn of_cluster(objects: &Objects, only: Option<&str>) -> Result<Specs, Failure> {
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, objects));
    }
    let wanted = objects
        .policies
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name));
    Ok(wanted
        .map(|(name, policy)| (name.clone(), policy.spec.clone()))
        .collect())
}

/// Looks up the openings of all policies; one that cannot be read is an error that names it.
pub(crate) fn next(specs: &Specs, args: &NextArgs, now: DateTime<Utc>) -> Result<Next, Failure> {
    let from = args.from.unwrap_or_else(|| now.trunc_subsecs(0));
    let until = args.until.unwrap_or_else(|| from + AHEAD);
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
        let spans = schedule.openings(from, until, MOST);
        next.policies.push(PolicyNext {
            name: name.clone(),
            suspended: spec.suspend,
            time_zones: zones(spec),
            truncated: spans.len() == MOST,
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
pub(crate) fn render(next: &Next, moment: &Moment) -> Vec<Line> {
    let range = format!("from {} to {}", moment.at(next.from), moment.at(next.until));
    let mut lines = Vec::new();
    for policy in &next.policies {
        let openings: Vec<&Opening> = next
            .openings
            .iter()
            .filter(|opening| opening.policy == policy.name)
            .collect();
        let found = match openings.len() {
            0 => "no opening".to_owned(),
            1 => "1 opening".to_owned(),
            many => format!("{many} openings"),
        };
        let more = if policy.truncated { " and more" } else { "" };
        let suspended = if policy.suspended {
            "; suspended: no node starts all the same"
        } else {
            ""
        };
        lines.push(Line::plain(format!(
            "{}   {found}{more} {range}{suspended}",
            policy.name
        )));
        lines.extend(openings.into_iter().map(|opening| row(opening, policy, next, moment)));
    }
    if lines.is_empty() {
        lines.push(Line::plain("no RebootPolicy: no node is rebooted"));
    }
    lines
}

fn row(opening: &Opening, policy: &PolicyNext, next: &Next, moment: &Moment) -> Line {
    let opens = if opening.opens <= moment.now {
        format!("{} (open now)", moment.at(opening.opens))
    } else {
        moment.ahead(opening.opens)
    };
    let closes = if opening.closes == next.until {
        format!("{} or later", moment.at(opening.closes))
    } else {
        moment.at(opening.closes)
    };
    let length = span((opening.closes - opening.opens).num_seconds());
    let there: Vec<String> = policy
        .time_zones
        .iter()
        .filter_map(|zone| elsewhere(zone, opening, moment))
        .collect();
    let text = format!("  {opens} to {closes}, {length}   {}{}", opening.cause, there.concat());
    Line::plain(text).hanging(6)
}

/// Both ends in the policy's zone, unless its clocks show the reader's time.
fn elsewhere(zone: &str, opening: &Opening, moment: &Moment) -> Option<String> {
    let (opens, closes) = (opening.opens, opening.closes);
    if in_zone(zone, opens, moment).is_none() && in_zone(zone, closes, moment).is_none() {
        return None;
    }
    let tz: Tz = zone.parse().ok()?;
    let clock = |time: DateTime<Utc>| time.with_timezone(&tz).format("%a %H:%M").to_string();
    Some(format!("; {} to {} {tz}", clock(opens), clock(closes)))
}

/// `Tue 04:00 Europe/Berlin`, unless the clocks there show the reader's time.
pub(crate) fn in_zone(zone: &str, time: DateTime<Utc>, moment: &Moment) -> Option<String> {
    let tz: Tz = zone.parse().ok()?;
    let there = time.with_timezone(&tz);
    let same = there.naive_local() == time.with_timezone(&(moment.offset)(time)).naive_local();
    (!same).then(|| format!("{} {tz}", there.format("%a %H:%M")))
}

#[cfg(test)]
mod tests;
