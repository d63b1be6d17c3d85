//! Windows against a walk over every minute: what is open, when it opens and when it closes, in zones and years at random.
//!
//! The walk shares nothing with the code under test but the time zone database: it reads the schedule by itself, goes
//! through UTC minute by minute and notes every start that the contract names.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use lockkeeper_planner::*;
use proptest::prelude::*;

/// Whole and half hours, two hours at once, shifts at midnight, shifts for Ramadan, none at all.
const ZONES: [&str; 16] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
];

/// A schedule as the contract reads it.
#[derive(Debug)]
struct Rule {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    every_hour: bool,
    days: Option<BTreeSet<u32>>,
    months: BTreeSet<u32>,
    weekdays: Option<BTreeSet<u32>>,
}

impl Rule {
    fn read(text: &str) -> Self {
        let fields: Vec<&str> = text.split(' ').collect();
        let weekdays = set(fields[4], 0, 7, &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 0);
        let months = [
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ];
        Self {
            minutes: set(fields[0], 0, 59, &[], 0),
            hours: set(fields[1], 0, 23, &[], 0),
            every_hour: fields[1] == "*",
            days: (fields[2] != "*").then(|| set(fields[2], 1, 31, &[], 0)),
            months: set(fields[3], 1, 12, &months, 1),
            weekdays: (fields[4] != "*").then(|| weekdays.into_iter().map(|day| day % 7).collect()),
        }
    }

    fn names(&self, local: NaiveDateTime) -> bool {
        let weekday = local.weekday().num_days_from_sunday();
        let day = match (&self.days, &self.weekdays) {
            (None, None) => true,
            (Some(days), None) => days.contains(&local.day()),
            (None, Some(weekdays)) => weekdays.contains(&weekday),
            (Some(days), Some(weekdays)) => days.contains(&local.day()) || weekdays.contains(&weekday),
        };
        day && self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
            && self.months.contains(&local.month())
    }
}

fn set(field: &str, first: u32, last: u32, names: &[&str], offset: u32) -> BTreeSet<u32> {
    let number = |text: &str| match names.iter().position(|name| *name == text) {
        Some(place) => place as u32 + offset,
        None => text.parse().unwrap(),
    };
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = part
            .split_once('/')
            .map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (first, last),
            None => (number(range), number(range)),
        };
        // Over the edge: the numbers are walked in their order, and a week has no eighth day.
        let edge = if last == 7 { 6 } else { last };
        let walked: Vec<u32> = if from <= to {
            (from..=to).collect()
        } else {
            (from..=edge).chain(first..=to).collect()
        };
        all.extend(walked.into_iter().step_by(step));
    }
    all
}

/// Every start in `[from, until)`, found minute by minute.
fn starts(rule: &Rule, zone: Tz, from: Instant, until: Instant) -> BTreeSet<Instant> {
    let offset = |at: Instant| {
        TimeDelta::seconds(
            zone.offset_from_utc_datetime(&at.naive_utc())
                .fix()
                .local_minus_utc()
                .into(),
        )
    };
    let minute = TimeDelta::minutes(1);
    let mut found = BTreeSet::new();
    // The latest local time seen so far tells which local times are repeated.
    let mut latest = (from - TimeDelta::days(2)).naive_utc() + offset(from - TimeDelta::days(2));
    let mut at = from - TimeDelta::days(2);
    while at < until {
        let local = at.naive_utc() + offset(at);
        // What the clock has skipped starts now.
        let mut skipped = latest + minute;
        let mut starts = false;
        while skipped < local {
            starts |= rule.names(skipped);
            skipped += minute;
        }
        let repeated = local <= latest && at > from - TimeDelta::days(2);
        starts |= rule.names(local) && (!repeated || rule.every_hour);
        if starts && at >= from {
            found.insert(at);
        }
        latest = latest.max(local);
        at += minute;
    }
    found
}

fn field(first: u32, last: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let one = first..=last;
    let written = move |number: u32| match names.get(number as usize) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => number.to_string(),
    };
    prop_oneof![
        4 => Just("*".to_owned()),
        4 => one.clone().prop_map(written),
        1 => (2u32..=7).prop_map(|step| format!("*/{step}")),
        1 => (one.clone(), one.clone()).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (one.clone(), one.clone()).prop_map(|(a, b)| format!("{a},{b}")),
        1 => (one.clone(), one, 2u32..=4).prop_map(|(a, b, step)| format!("{a}-{b}/{step}")),
    ]
}

fn schedule() -> impl Strategy<Value = String> {
    const MONTHS: &[&str] = &[
        "", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let month = prop_oneof![5 => Just("*".to_owned()), 1 => field(1, 12, MONTHS)];
    let day = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 31, &[])];
    let weekday = prop_oneof![2 => Just("*".to_owned()), 1 => field(0, 7, DAYS)];
    (field(0, 59, &[]), field(0, 23, &[]), day, month, weekday)
        .prop_map(|(m, h, d, mo, w)| format!("{m} {h} {d} {mo} {w}"))
}

/// An instant of 2020 to 2040; every second one lies within a day of a shift of the zone's clock, if it has any.
fn moment(zone: &'static str) -> impl Strategy<Value = Instant> {
    let first = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap();
    (0i64..21 * 365, 0i64..1440, any::<bool>()).prop_map(move |(day, minute, shift)| {
        let at = first + TimeDelta::days(day) + TimeDelta::minutes(minute);
        let zone = Tz::from_str(zone).unwrap();
        let offset = |at: Instant| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
        let days = (0..370).map(|later| at + TimeDelta::days(later));
        let found = days
            .filter(|_| shift)
            .find(|at| offset(*at) != offset(*at + TimeDelta::days(1)));
        found.unwrap_or(at)
    })
}

fn case() -> impl Strategy<Value = (&'static str, String, i64, Instant)> {
    let duration = prop_oneof![60i64..=7200, Just(60), Just(3600), Just(86_400), 60i64..=200_000];
    prop::sample::select(ZONES.to_vec())
        .prop_flat_map(move |zone| (Just(zone), schedule(), duration.clone(), moment(zone)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn windows_open_and_close_as_a_check_of_each_minute_shows((name, text, seconds, around) in case()) {
        let zone = Tz::from_str(name).unwrap();
        let duration = TimeDelta::seconds(seconds);
        let schedule = Schedule { windows: vec![Window::parse(&text, seconds, name).unwrap()], exclusions: vec![] };
        let (from, until) = (around - TimeDelta::hours(30), around + TimeDelta::hours(54));
        let starts = starts(&Rule::read(&text), zone, from - TimeDelta::minutes(seconds / 60 + 1), until);
        let open = |at: Instant| starts.range(..=at).next_back().is_some_and(|start| at < *start + duration);

        // Both sides of every edge near the moment, and some instants between.
        let second = TimeDelta::seconds(1);
        let edges = starts.iter().flat_map(|start| [*start, *start + duration]);
        let mut instants: BTreeSet<Instant> = edges.flat_map(|edge| [edge - second, edge]).collect();
        instants.extend((0..24).map(|hour| around + TimeDelta::minutes(61 * hour)));
        let instants: Vec<Instant> = instants.into_iter().filter(|at| *at >= around && *at < until - TimeDelta::hours(1)).collect();
        let step = (instants.len() / 40).max(1);
        for at in instants.into_iter().step_by(step) {
            prop_assert_eq!(schedule.is_open(at), open(at), "{} {} {} at {}", name, text, seconds, at);
            match schedule.opening(at) {
                Opening::Closed { opens } => {
                    let expected = starts.range(at..).next().copied();
                    let opens = opens.filter(|opens| *opens < until);
                    prop_assert_eq!(opens, expected, "{} {} {}: opens after {}", name, text, seconds, at);
                }
                Opening::Open { closes } => {
                    let mut end = at;
                    while let Some(start) = starts.range(..=end).next_back().filter(|start| **start + duration > end) {
                        end = *start + duration;
                        if end >= until { break; }
                    }
                    if end < until {
                        prop_assert_eq!(closes, Some(end), "{} {} {}: closes after {}", name, text, seconds, at);
                    } else {
                        prop_assert!(closes.is_none_or(|closes| closes >= until), "{} {} {}: {:?} after {}", name, text, seconds, closes, at);
                    }
                }
                Opening::Excluded { .. } => prop_assert!(false, "there is no exclusion"),
            }
        }
    }

    #[test]
    fn open_spans_cover_exactly_the_open_time_outside_exclusions(
        (name, text, seconds, around) in case(),
        second in schedule(),
        frozen in (0i64..2000, 1i64..2000),
        third in schedule(),
    ) {
        let window = |text: &str, seconds: i64| Window::parse(text, seconds, name).unwrap();
        let dated = Exclusion::Dated {
            from: around + TimeDelta::minutes(frozen.0),
            until: around + TimeDelta::minutes(frozen.0 + frozen.1),
            reason: "frozen".to_owned(),
        };
        let recurring = Exclusion::Recurring { when: Box::new(window(&third, 1800)), reason: "third".to_owned() };
        let schedule = Schedule {
            windows: vec![window(&text, seconds), window(&second, 3600)],
            exclusions: vec![dated, recurring],
        };
        let until = around + TimeDelta::hours(36);
        let spans = schedule.openings(around, until, 10_000);
        for pair in spans.windows(2) {
            prop_assert!(pair[0].closes < pair[1].opens, "{} {} {:?}", name, text, pair);
        }
        for span in &spans {
            prop_assert!(span.opens >= around && span.closes <= until && span.opens < span.closes, "{:?}", span);
        }
        for minutes in (0..36 * 60).step_by(97) {
            let at = around + TimeDelta::minutes(minutes);
            let covered = spans.iter().any(|span| span.opens <= at && at < span.closes);
            prop_assert_eq!(covered, schedule.is_open(at), "{} {} {} {} at {}", name, text, second, third, at);
        }
    }
}
