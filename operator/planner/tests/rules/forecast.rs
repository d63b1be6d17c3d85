//! The forecast is the same plan in a future in which nothing blocks.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::{World, at, windows};

/// How long a node of this world takes from its slot to the free slot.
const WHOLE: TimeDelta = TimeDelta::seconds(43);

fn world(count: usize) -> World {
    let mut world = World::new(count);
    world.policy().duration_estimate.total = WHOLE;
    world
}

fn told(world: &World) -> String {
    let forecast = forecast(&world.snapshot, world.now, Horizon::default());
    let span = |(name, span): (&String, &Span)| {
        let (start, end) = (format_time(span.start), format_time(span.end));
        format!("{name} {start} {end}")
    };
    let mut lines: Vec<String> = forecast.nodes.iter().map(span).collect();
    lines.extend(forecast.never.iter().map(|(name, why)| format!("{name} {why}")));
    lines.push(format!("end {}", forecast.end.map_or("never".to_owned(), format_time)));
    assert!(!forecast.cut);
    lines.join("\n") + "\n"
}

#[test]
fn a_forecast_shows_when_each_node_starts_and_finishes() {
    let mut world = world(4);
    world.limit(2);
    world.run_until_idle();
    world.run(10);
    expect![[r#"
        n1 2026-11-21T12:00:00Z 2026-11-21T12:00:43Z
        n2 2026-11-21T12:00:00Z 2026-11-21T12:00:43Z
        n3 2026-11-21T12:00:43Z 2026-11-21T12:01:26Z
        n4 2026-11-21T12:00:43Z 2026-11-21T12:01:26Z
        end 2026-11-21T12:01:26Z
    "#]]
    .assert_eq(&told(&world));
    world.run(200);
    let ended = |name: &str, world: &mut World| world.record(name).last_reboot.as_ref().unwrap().time;
    assert_eq!(ended("n4", &mut world), at("2026-11-21T12:01:26Z"));
    assert_eq!(told(&world), "end never\n");
}

#[test]
fn a_forecast_respects_windows_canary_pace_and_approval() {
    let mut world = world(5);
    world.policy().schedule = Ok(windows(&[("0 13 * * *", 600)]));
    world.policy().duration_estimate.cordoned = TimeDelta::seconds(40);
    world.policy().pace = TimeDelta::seconds(120);
    world.policy().canary = Some(Canary {
        nodes: 1,
        soak: TimeDelta::minutes(3),
    });
    world.node("n4").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: None,
        invalid_until: None,
    });
    world.node("n5").hold = Some(Hold {
        reason: "until tomorrow".to_owned(),
        until: Some(at("2026-11-22T10:00:00Z")),
        invalid_until: None,
    });
    world.run_until_idle();
    expect![[r#"
        n1 2026-11-21T13:00:00Z 2026-11-21T13:00:43Z
        n2 2026-11-21T13:03:43Z 2026-11-21T13:04:26Z
        n3 2026-11-21T13:05:43Z 2026-11-21T13:06:26Z
        n5 2026-11-22T13:00:00Z 2026-11-22T13:00:43Z
        n4 held by annotation: "debugging"
        end 2026-11-22T13:00:43Z
    "#]]
    .assert_eq(&told(&world));
}

#[test]
fn a_forecast_names_what_a_person_must_do_instead_of_a_time() {
    let mut world = world(3);
    world.never_back = vec!["n1".to_owned()];
    world.node("n3").preflight = Preflight::Blocked {
        pod: "shop/db-0".to_owned(),
        why: "budget shop/db never allows a disruption".to_owned(),
        at: world.now,
    };
    world.run_until_idle();
    world.run(2000);
    expect![[r#"
        n1 n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        n2 breaker open: 1 failed node (n1); retry or release it to continue
        n3 cannot be drained: pod shop/db-0: budget shop/db never allows a disruption
        end never
    "#]]
    .assert_eq(&told(&world));
}

#[test]
fn a_forecast_starts_a_deferred_node_after_its_backoff() {
    let mut world = world(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(950);
    expect![[r#"
        n1 2026-11-21T12:25:01Z 2026-11-21T12:25:44Z
        end 2026-11-21T12:25:44Z
    "#]]
    .assert_eq(&told(&world));
}

#[test]
fn a_forecast_expects_a_late_node_to_finish_soon() {
    let mut world = world(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(600);
    assert!(
        told(&world).starts_with("n1 2026-11-21T12:00:00Z 2026-11-21T12:10:04Z\n"),
        "{}",
        told(&world)
    );
}

#[test]
fn an_incomplete_snapshot_gives_no_forecast() {
    let mut world = world(30);
    world.policy().max_in_progress = Limit::Percent(10);
    world.policy().max_unavailable = Limit::Percent(10);
    assert_eq!(told(&world), told(&world));
    assert_eq!(told(&world).lines().count(), 31);
    world.snapshot.unlisted = vec![ViewGap::NotListed {
        kind: "Nodes".to_owned(),
    }];
    assert!(
        told(&world).starts_with("n1 the operator has just started and is still listing Nodes\n"),
        "{}",
        told(&world)
    );
}

#[test]
fn a_long_forecast_is_extrapolated() {
    let world = world(400);
    let whole = forecast(&world.snapshot, world.now, Horizon::default());
    assert!(!whole.cut);
    let horizon = Horizon {
        max_visits: 20_000,
        ..Horizon::default()
    };
    let cut = forecast(&world.snapshot, world.now, horizon);
    assert!(cut.cut && cut.nodes.len() < 100, "{}", cut.nodes.len());
    let (long, guessed) = (whole.end.unwrap() - world.now, cut.end.unwrap() - world.now);
    let off = (long - guessed).num_seconds().abs() * 100 / long.num_seconds();
    assert!(off <= 5, "{long} became {guessed}");
}

/// Nodes with deadlines, 43 s each, and a window at 13 o'clock for 10 minutes.
fn with_deadline(count: usize, minutes: i64) -> World {
    let mut world = world(count);
    world.policy().schedule = Ok(windows(&[("0 13 * * *", 600)]));
    world.policy().duration_estimate.cordoned = TimeDelta::seconds(40);
    world.policy().deadline = Some(PendingDeadline {
        max_pending: TimeDelta::hours(3) + TimeDelta::minutes(minutes),
        ladder: vec![],
    });
    world
}

fn late(world: &World) -> Vec<LateNode> {
    let forecast = forecast(&world.snapshot, world.now, Horizon::default());
    forecast
        .late_nodes(&world.snapshot, world.now)
        .remove("general")
        .unwrap_or_default()
}

#[test]
fn a_forecast_names_the_nodes_that_will_be_overdue_before_they_are_rebooted() {
    // n1 requires a reboot since 10:01, n2 since 10:02 and n3 since 10:03. The last is done at 13:02:09.
    assert_eq!(late(&with_deadline(3, 0)), []);
    let found = late(&with_deadline(3, -1));
    assert_eq!((found.len(), found[0].name.as_str()), (3, "n1"));
    assert_eq!(found[0].overdue, at("2026-11-21T13:00:00Z"));
    assert_eq!(found[0].done, Some(at("2026-11-21T13:00:43Z")));
}

#[test]
fn a_node_that_is_not_rebooted_in_the_forecast_will_be_overdue() {
    let mut world = with_deadline(1, 0);
    world.node("n1").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: None,
        invalid_until: None,
    });
    assert_eq!(late(&world)[0].done, None);
    world.now = at("2026-11-21T13:01:00Z");
    assert_eq!(late(&world), [], "it is overdue");
}

#[test]
fn a_forecast_uses_the_rungs_that_nodes_will_have_reached() {
    let mut world = with_deadline(1, -30);
    assert_eq!(late(&world)[0].done, Some(at("2026-11-21T13:00:43Z")));
    world.policy().deadline.as_mut().unwrap().ladder = vec![Rung {
        after: TimeDelta::hours(2) + TimeDelta::minutes(20),
        kind: Override::IgnoreWindows,
        window: None,
    }];
    assert_eq!(late(&world), [], "12:21");
}

#[test]
fn a_forecast_takes_checks_for_granted() {
    let mut world = world(1);
    world.policy().checks = Some(Checks {
        evaluates: true,
        after: true,
        per_node: false,
        before_jobs: None,
        after_jobs: false,
        soak: TimeDelta::zero(),
        timeout: TimeDelta::minutes(30),
        round: None,
    });
    assert!(told(&world).starts_with("n1 2026-11-21T12:00:00Z"), "{}", told(&world));
}
