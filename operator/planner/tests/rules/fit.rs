//! A node starts only if it fits what is left of the window.

use crate::common::{World, at, windows};
use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;
use lockkeeper_planner::{Success, estimate_durations};

#[test]
fn a_node_that_does_not_fit_the_window_waits_for_the_next_one() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 3600)]));
    world.now = at("2026-11-21T12:45:01Z");
    world.run_until_idle();
    expect![[r#"
        n1 DoesNotFitWindow: a reboot takes about 15 min but the window closes at 2026-11-21T13:00:00Z; the next one opens at 2026-11-22T12:00:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T13:00:00Z")));
    world.now = at("2026-11-21T12:45:00Z");
    assert_eq!(
        world.plan().wait_reasons,
        WaitReasons::default(),
        "to the second it fits"
    );
}

#[test]
fn a_pass_is_due_when_no_node_fits_the_window_any_more() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 3600)]));
    world.policy().approval = Approval::Manual;
    world.run_until_idle();
    assert_eq!(
        world.wait_reasons(),
        "n1 AwaitingApproval: waiting for manual approval (required by policy general)\n"
    );
    let last = at("2026-11-21T12:45:00Z");
    let again = world.plan().recheck_at.unwrap();
    assert_eq!(again, last + TimeDelta::nanoseconds(1), "to the second it fits");
    world.node("n1").approved = Some("ok".to_owned());
    world.now = again;
    assert!(
        world.wait_reasons().starts_with("n1 DoesNotFitWindow"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_node_that_fits_no_window_may_start_in_any_window() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 600)]));
    world.now = at("2026-11-21T12:09:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_window_that_a_reboot_fits_exactly_is_used() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 900)]));
    world.now = at("2026-11-21T12:00:01Z");
    world.run_until_idle();
    world.run(5);
    assert_eq!(
        world.started(),
        ["n1"],
        "no pass runs at the very instant of the opening"
    );
}

#[test]
fn an_exclusion_shortens_a_window() {
    let mut world = World::new(1);
    let mut schedule = windows(&[("0 12 * * *", 3600)]);
    schedule.exclusions.push(Exclusion::Dated {
        from: at("2026-11-21T12:20:00Z"),
        until: at("2026-11-21T12:30:00Z"),
        reason: "failover test".to_owned(),
    });
    world.policy().schedule = Ok(schedule);
    world.now = at("2026-11-21T12:10:00Z");
    world.run_until_idle();
    expect![[r#"
        n1 DoesNotFitWindow: a reboot takes about 15 min but the window closes at 2026-11-21T12:20:00Z; the next one opens at 2026-11-21T12:30:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn adjacent_windows_count_as_one_for_the_fit() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 3600), ("0 13 * * *", 3600)]));
    world.now = at("2026-11-21T12:59:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn the_duration_estimate_covers_nine_of_ten_after_five_reboots() {
    let success = |number: i64, seconds: i64| Success {
        ended: at("2026-11-21T12:00:00Z") + TimeDelta::hours(number),
        cordoned: TimeDelta::seconds(seconds),
        total: TimeDelta::seconds(seconds + 10),
    };
    let four: Vec<_> = (0..4).map(|number| success(number, 100)).collect();
    assert_eq!(estimate_durations(four).cordoned, TimeDelta::seconds(900));
    let ten: Vec<_> = (1..=10).map(|number| success(number, number * 100)).collect();
    assert_eq!(estimate_durations(ten).cordoned, TimeDelta::seconds(900));
    let five: Vec<_> = (1..=5).map(|number| success(number, number * 100)).collect();
    assert_eq!(
        estimate_durations(five),
        DurationEstimate {
            cordoned: TimeDelta::seconds(500),
            total: TimeDelta::seconds(310),
        }
    );
    // One in twenty that hung for a day moves nothing; what is older than the last twenty is forgotten.
    let mut many: Vec<_> = (0..19).map(|number| success(100 + number, 100)).collect();
    many.push(success(200, 86_400));
    many.extend((0..50).map(|number| success(number, 5000)));
    assert_eq!(estimate_durations(many).cordoned, TimeDelta::seconds(100));
}

#[test]
fn a_node_whose_pods_take_long_to_shut_down_needs_a_longer_window() {
    let mut world = World::new(2);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 7200)]));
    world.now = at("2026-11-21T13:00:00Z");
    world.node("n1").drain_details.longest_grace = TimeDelta::seconds(3600);
    world.run_until_idle();
    expect![[r#"
        n1 DoesNotFitWindow: a reboot takes about 65 min but the window closes at 2026-11-21T14:00:00Z; the next one opens at 2026-11-22T12:00:00Z
        n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T13:00:00Z)
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.in_progress(), ["n2"]);
    world.now = at("2026-11-22T12:00:00Z");
    world.node("n2").record.as_mut().unwrap().operation = None;
    assert_eq!(
        world
            .wait_reasons()
            .lines()
            .filter(|line| line.contains("DoesNotFit"))
            .count(),
        0
    );
}
