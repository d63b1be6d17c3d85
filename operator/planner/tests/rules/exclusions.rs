//! Exclusions win over windows, and say why.

use chrono::TimeDelta;

use crate::common::{World, at, windows};
use expect_test::expect;
use lockkeeper_planner::*;

fn dated(from: &str, until: &str, reason: &str) -> Exclusion {
    Exclusion::Dated {
        from: at(from),
        until: at(until),
        reason: reason.to_owned(),
    }
}

fn recurring(schedule: &str, seconds: i64, reason: &str) -> Exclusion {
    Exclusion::Recurring {
        when: Box::new(Window::parse(schedule, seconds, "UTC").unwrap()),
        reason: reason.to_owned(),
    }
}

fn openings(schedule: &Schedule, from: &str, until: &str) -> String {
    let line = |span: OpenSpan| {
        let (opens, closes) = (format_time(span.opens), format_time(span.closes));
        format!("{opens} {closes} {}\n", span.cause)
    };
    schedule
        .openings(at(from), at(until), 100)
        .into_iter()
        .map(line)
        .collect()
}

#[test]
fn nothing_starts_during_an_exclusion_although_a_window_is_open() {
    let mut world = World::new(1);
    let mut schedule = windows(&[("0 12 * * *", 3600)]);
    schedule.exclusions = vec![dated("2026-11-20T00:00:00Z", "2026-11-23T00:00:00Z", "year-end freeze")];
    world.policy().schedule = Ok(schedule);
    world.run_until_idle();
    assert_eq!(world.trace, "");
    assert_eq!(
        world.wait_reasons(),
        "n1 Excluded: excluded until 2026-11-23T00:00:00Z: year-end freeze\n"
    );
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-23T00:00:00Z")));
    // Its last instant is still excluded, the one after it is not: the windows say what then.
    world.now = at("2026-11-22T23:59:59Z");
    assert!(world.wait_reasons().contains("Excluded"));
    world.now = at("2026-11-23T00:00:00Z");
    assert_eq!(
        world.wait_reasons(),
        "n1 OutsideWindow: the next window opens at 2026-11-23T12:00:00Z\n"
    );
}

#[test]
fn an_exclusion_applies_without_windows_too() {
    let mut world = World::new(1);
    let schedule = Schedule {
        windows: vec![],
        exclusions: vec![recurring("0 8 * * MON-FRI", 36_000, "office hours")],
    };
    world.policy().schedule = Ok(schedule);
    world.now = at("2026-11-23T08:00:00Z");
    world.run_until_idle();
    assert_eq!(
        world.wait_reasons(),
        "n1 Excluded: excluded until 2026-11-23T18:00:00Z: office hours\n"
    );
    world.now = at("2026-11-23T18:00:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_cordoned_node_finishes_although_an_exclusion_begins() {
    let mut world = World::new(1);
    let schedule = Schedule {
        windows: vec![],
        exclusions: vec![dated("2026-11-21T12:00:10Z", "2026-11-22T00:00:00Z", "demo")],
    };
    world.policy().schedule = Ok(schedule);
    world.policy().duration_estimate.cordoned = TimeDelta::seconds(5);
    world.run_until_idle();
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn adjacent_windows_form_one_open_span_and_exclusions_cut_it() {
    let schedule = Schedule {
        exclusions: vec![
            dated("2026-11-22T23:30:00Z", "2026-11-23T00:30:00Z", "failover test"),
            recurring("0 0 24 * *", 86_400, "month end"),
        ],
        ..windows(&[("0 22 * * *", 7200), ("0 0 * * *", 3600), ("0 12 * * SAT", 600)])
    };
    expect![[r#"
        2026-11-21T12:00:00Z 2026-11-21T12:10:00Z window "0 12 * * SAT" UTC for 10 min
        2026-11-21T22:00:00Z 2026-11-22T01:00:00Z window "0 22 * * *" UTC for 2 h
        2026-11-22T22:00:00Z 2026-11-22T23:30:00Z window "0 22 * * *" UTC for 2 h
        2026-11-23T00:30:00Z 2026-11-23T01:00:00Z exclusion ends: failover test
        2026-11-23T22:00:00Z 2026-11-24T00:00:00Z window "0 22 * * *" UTC for 2 h
        2026-11-25T00:00:00Z 2026-11-25T01:00:00Z exclusion ends: month end
    "#]]
    .assert_eq(&openings(&schedule, "2026-11-21T11:00:00Z", "2026-11-25T12:00:00Z"));
}

#[test]
fn open_spans_are_clipped_to_the_range() {
    let schedule = windows(&[("0 22 * * *", 7200)]);
    expect![[r#"
        2026-11-21T22:30:00Z 2026-11-21T22:40:00Z window "0 22 * * *" UTC for 2 h
    "#]]
    .assert_eq(&openings(&schedule, "2026-11-21T22:30:00Z", "2026-11-21T22:40:00Z"));
    expect![[r#"
        2026-11-21T22:30:00Z 2026-11-22T22:40:00Z no windows: always open
    "#]]
    .assert_eq(&openings(
        &Schedule::default(),
        "2026-11-21T22:30:00Z",
        "2026-11-22T22:40:00Z",
    ));
    assert_eq!(openings(&schedule, "2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z"), "");
}

#[test]
fn adjacent_exclusions_are_merged() {
    let schedule = Schedule {
        windows: vec![],
        exclusions: vec![
            dated("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", "one"),
            dated("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "two"),
        ],
    };
    let excluded = |until: Option<&str>, reason: &str| Opening::Excluded {
        until: until.map(at),
        reason: reason.to_owned(),
        opens: until.map(at),
    };
    let now = at("2026-11-21T10:00:00Z");
    assert_eq!(schedule.opening(now), excluded(Some("2026-11-23T00:00:00Z"), "one"));
    let always = Schedule {
        windows: vec![],
        exclusions: vec![recurring("* * * * *", 60, "never again")],
    };
    assert_eq!(always.opening(now), excluded(None, "never again"));
}

#[test]
fn an_exclusion_over_every_window_is_recognized_as_never_open() {
    let schedule = Schedule {
        exclusions: vec![recurring("0 21 * * *", 14_400, "backups")],
        ..windows(&[("0 22 * * *", 3600)])
    };
    assert_eq!(
        schedule.opening(at("2026-11-21T12:00:00Z")),
        Opening::Closed { opens: None }
    );
}
