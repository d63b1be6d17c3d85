//! The deadline of a policy: what it overrides for a node that has waited for long, when, and what never.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::{World, at, windows};
use crate::drain_stages::{blocked, stage};

pub(crate) const ALERT: &str = "alert KubeNodeNotReady fires";

fn rung(hours: i64, kind: Override) -> Rung {
    Rung {
        after: TimeDelta::hours(hours),
        kind,
        window: None,
    }
}

fn deadline(ladder: Vec<Rung>) -> PendingDeadline {
    PendingDeadline {
        max_pending: TimeDelta::hours(24),
        ladder,
    }
}

/// `n1`, which requires a reboot since 10:01, at noon, under a policy with a window at 3 and this rung after 4 hours.
fn closed_until_night(kind: Override, window: Option<Window>) -> World {
    let mut world = World::new(1);
    let policy = world.policy();
    policy.schedule = Ok(windows(&[("0 3 * * *", 3600)]));
    let rung = Rung {
        window,
        ..rung(4, kind)
    };
    policy.deadline = Some(deadline(vec![rung]));
    world
}

/// The policy's checks, which fail.
pub(crate) fn failing_checks(after: bool) -> Checks {
    Checks {
        evaluates: true,
        after,
        per_node: false,
        before_jobs: None,
        after_jobs: false,
        soak: TimeDelta::zero(),
        timeout: TimeDelta::minutes(30),
        round: None,
    }
}

pub(crate) fn fires(stage: CheckStage) -> CheckResult {
    let finding = Finding {
        id: "1".to_owned(),
        text: ALERT.to_owned(),
    };
    CheckResult {
        stage,
        name: "alerts".to_owned(),
        job: false,
        verdict: CheckVerdict::Failing(vec![finding]),
    }
}

pub(crate) fn overridden(world: &mut World) -> Option<Overridden> {
    let operation = world.record("n1").operation.as_deref();
    operation.and_then(|operation| operation.overridden.clone())
}

#[test]
fn windows_are_ignored_from_the_second_on_at_which_the_node_reaches_the_rung() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    world.run_until_idle();
    expect![[r#"
        n1 OutsideWindow: the next window opens at 2026-11-21T14:01:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
    world.now = at("2026-11-21T14:00:59Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), [] as [&str; 0]);
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T14:01:00Z")));
    world.run(1);
    assert_eq!(world.in_progress(), ["n1"]);
    let recorded = overridden(&mut world).unwrap();
    assert_eq!(recorded.overrides, [Override::IgnoreWindows]);
    assert_eq!(recorded.after, Some(TimeDelta::hours(4)));
    world.run(120);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_further_window_opens_only_for_the_nodes_that_have_reached_its_rung() {
    let office = Window::parse("0 13 * * *", 14_400, "UTC").unwrap();
    let mut world = closed_until_night(Override::ExtraWindow, Some(office));
    let late = world.now - TimeDelta::hours(1);
    let mut other = world.node("n1").clone();
    let host = other.record.as_mut().unwrap().host.as_mut().unwrap();
    host.required_since = Some(late);
    world.snapshot.nodes.insert("n2".to_owned(), other);
    world.limit(2);
    world.now = at("2026-11-21T13:30:00Z");
    world.run_until_idle();
    expect![[r#"
        n1 OutsideWindow: the next window opens at 2026-11-21T14:01:00Z
        n2 OutsideWindow: the next window opens at 2026-11-21T15:00:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
    world.now = at("2026-11-21T14:01:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_rung_that_is_reached_outside_its_further_window_waits_for_it() {
    let office = Window::parse("0 8 * * *", 14_400, "UTC").unwrap();
    let mut world = closed_until_night(Override::ExtraWindow, Some(office));
    world.policy().schedule = Ok(windows(&[("0 3 1 * *", 3600)]));
    world.now = at("2026-11-21T14:30:00Z");
    world.run_until_idle();
    expect![[r#"
        n1 OutsideWindow: the next window opens at 2026-11-22T08:00:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn a_further_window_does_not_close_a_policy_without_windows() {
    let office = Window::parse("0 8 * * *", 14_400, "UTC").unwrap();
    let mut world = closed_until_night(Override::ExtraWindow, Some(office));
    world.policy().schedule = Ok(windows(&[]));
    world.now = at("2026-11-21T14:30:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn an_exclusion_is_never_overridden() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    let freeze = Exclusion::Dated {
        from: at("2026-11-20T00:00:00Z"),
        until: at("2026-11-28T00:00:00Z"),
        reason: "year-end freeze".to_owned(),
    };
    world.policy().schedule.as_mut().unwrap().exclusions.push(freeze);
    world.now = at("2026-11-23T12:00:00Z");
    world.run_until_idle();
    expect![[r#"
        n1 Excluded: excluded until 2026-11-28T00:00:00Z: year-end freeze
    "#]]
    .assert_eq(&world.wait_reasons());
    world.now = at("2026-11-28T00:00:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn suspend_hold_and_approval_are_never_overridden() {
    let all = Override::ALL.iter().filter(|kind| **kind != Override::ExtraWindow);
    let ladder: Vec<Rung> = all.map(|kind| rung(1, *kind)).collect();
    let world = |change: fn(&mut World)| {
        let mut world = World::new(1);
        world.policy().deadline = Some(deadline(ladder.clone()));
        change(&mut world);
        world.run(600);
        world.wait_reasons()
    };
    let suspended = world(|world| world.policy().suspend = true);
    assert!(suspended.starts_with("n1 Suspended"), "{suspended}");
    let held = world(|world| {
        world.node("n1").hold = Some(Hold {
            reason: "debugging".to_owned(),
            until: None,
            invalid_until: None,
        });
    });
    assert!(held.starts_with("n1 Held"), "{held}");
    let unapproved = world(|world| world.policy().approval = Approval::Manual);
    assert!(unapproved.starts_with("n1 AwaitingApproval"), "{unapproved}");
}

#[test]
fn checks_before_a_start_are_ignored_and_those_after_the_reboot_still_hold_the_slot() {
    let mut world = World::new(1);
    world.policy().checks = Some(failing_checks(true));
    world.policy().deadline = Some(deadline(vec![rung(3, Override::IgnoreChecks)]));
    world.checks = Some(vec![fires(CheckStage::Before)]);
    world.run(60);
    assert!(world.wait_reasons().starts_with("n1 CheckFailing"), "{}", world.trace);
    world.now = at("2026-11-21T13:01:00Z");
    world.run(5);
    assert_eq!(world.in_progress(), ["n1"], "{}", world.wait_reasons());
    assert_eq!(overridden(&mut world).unwrap().overrides, [Override::IgnoreChecks]);
    world.run(30);
    world.checks = Some(vec![fires(CheckStage::After)]);
    world.run(120);
    expect![[r#"
        n1 CheckFailing: check alerts fails: alert KubeNodeNotReady fires; the node is Failed at 2026-11-21T13:31:45Z if this lasts
    "#]]
    .assert_eq(&world.wait_reasons());
    world.checks = Some(vec![]);
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_without_a_baseline_does_not_start_although_checks_are_ignored() {
    let mut world = World::new(1);
    world.policy().checks = Some(failing_checks(true));
    world.policy().deadline = Some(deadline(vec![rung(1, Override::IgnoreChecks)]));
    let unavailable = |stage| CheckResult {
        verdict: CheckVerdict::Unavailable {
            error: "no answer".to_owned(),
            ignored: false,
        },
        ..fires(stage)
    };
    world.checks = Some(vec![unavailable(CheckStage::Before), unavailable(CheckStage::After)]);
    world.run(60);
    assert!(
        world.wait_reasons().starts_with("n1 CheckUnavailable"),
        "{}",
        world.trace
    );
    // Nothing is evaluated for a policy that checks nothing after the reboot.
    world.policy().checks = Some(failing_checks(false));
    world.checks = None;
    world.run(5);
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn pods_are_deleted_after_the_time_out_if_the_rung_was_reached_at_the_start() {
    for (reached, expected) in [(false, None), (true, Some(StageKind::Delete))] {
        let mut world = blocked(OnTimeout::Defer);
        let hours = if reached { 1 } else { 2 };
        world.policy().deadline = Some(deadline(vec![rung(hours, Override::DeletePods)]));
        world.run_until_idle();
        world.run(901);
        assert_eq!(stage(&mut world), expected, "{}", world.trace);
    }
}

#[test]
fn a_policy_that_reboots_with_pods_left_keeps_doing_so() {
    let mut world = blocked(OnTimeout::Reboot);
    world.policy().deadline = Some(deadline(vec![rung(1, Override::DeletePods)]));
    world.run_until_idle();
    world.run(901);
    assert!(world.trace.contains("Draining Reboot"), "{}", world.trace);
}

#[test]
fn pods_of_an_overdue_node_are_deleted_within_its_own_windows_only() {
    for ignores_windows in [false, true] {
        let mut world = blocked(OnTimeout::Defer);
        let mut ladder = vec![rung(1, Override::DeletePods)];
        if ignores_windows {
            ladder.push(rung(1, Override::IgnoreWindows));
        }
        world.policy().deadline = Some(deadline(ladder));
        world.policy().schedule = Ok(windows(&[("0 12 * * *", 600)]));
        world.run_until_idle();
        world.run(1000);
        let expected = ignores_windows.then_some(StageKind::Delete);
        assert_eq!(stage(&mut world), expected, "{}", world.trace);
    }
}

#[test]
fn a_time_before_the_node_existed_or_before_its_last_reboot_does_not_count() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    let (now, before) = (world.now, at("1970-01-01T00:00:00Z"));
    let since = |world: &mut World| world.node("n1").clone().pending_since(now).unwrap();
    world.record("n1").host.as_mut().unwrap().required_since = Some(before);
    assert_eq!(since(&mut world), now - TimeDelta::days(9));
    let started = now - TimeDelta::hours(3);
    world.record("n1").last_reboot = Some(LastReboot {
        started,
        time: started + TimeDelta::minutes(5),
        reasons: vec![],
        repeats: 0,
        series: None,
    });
    assert_eq!(since(&mut world), started);
    world.run_until_idle();
    assert_eq!(world.in_progress(), [] as [&str; 0], "3 of 4 hours");
}

#[test]
fn a_requirement_ahead_of_now_counts_from_when_the_operator_observed_it() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    let now = world.now;
    world.record("n1").host.as_mut().unwrap().required_since = Some(now + TimeDelta::days(30));
    assert_eq!(world.node("n1").pending_since(now), None);
    world.now = now + TimeDelta::hours(12);
    world.run_until_idle();
    assert_eq!(world.in_progress(), [] as [&str; 0]);
    world.record("n1").required_observed = Some(now);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_requested_reboot_has_no_deadline() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    let host = world.record("n1").host.as_mut().unwrap();
    (host.required, host.required_since) = (false, None);
    world.node("n1").requested = Some("disk swap".to_owned());
    let now = world.now;
    assert_eq!(world.node("n1").pending_since(now), None);
    world.now += TimeDelta::hours(8);
    world.run_until_idle();
    assert!(world.wait_reasons().starts_with("n1 OutsideWindow"), "{}", world.trace);
}

/// The rules that the plan of another policy breaks under the one of this world.
fn broken(world: &World, change: impl FnOnce(&mut Policy)) -> Vec<&'static str> {
    let mut other = world.snapshot.clone();
    change(other.policies.get_mut("general").unwrap());
    let plan = plan(&other, world.now);
    assert!(!plan.actions.is_empty());
    let mut rules: Vec<_> = check(&world.snapshot, &plan, world.now)
        .iter()
        .map(|violation| violation.rule)
        .collect();
    rules.dedup();
    rules
}

#[test]
fn s2_reports_a_start_one_rung_too_early() {
    let mut world = closed_until_night(Override::IgnoreWindows, None);
    world.now = at("2026-11-21T14:00:59Z");
    let early = |policy: &mut Policy| {
        policy.deadline.as_mut().unwrap().ladder[0].after -= TimeDelta::seconds(1);
    };
    assert_eq!(broken(&world, early), ["S2"]);
    world.now = at("2026-11-21T14:01:00Z");
    assert_eq!(broken(&world, early), [] as [&str; 0]);
}

#[test]
fn s2_reports_an_operation_that_records_more_than_its_policy_overrides() {
    let world = World::new(1);
    let deletes = |policy: &mut Policy| policy.deadline = Some(deadline(vec![rung(1, Override::DeletePods)]));
    assert_eq!(broken(&world, deletes), ["S2"]);
}

#[test]
fn s2_reports_a_start_against_a_check_that_is_not_overridden() {
    let mut world = World::new(1);
    world.policy().checks = Some(failing_checks(false));
    world.policy().checks.as_mut().unwrap().round = Some(CheckRound {
        started: world.now,
        cluster: vec![fires(CheckStage::Before)],
        ..CheckRound::default()
    });
    let ignores = |policy: &mut Policy| policy.deadline = Some(deadline(vec![rung(1, Override::IgnoreChecks)]));
    assert_eq!(broken(&world, ignores), ["S2"]);
}

#[test]
fn s3_reports_a_deletion_of_pods_that_nothing_asks_for() {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    world.run(900);
    world.now += TimeDelta::seconds(1);
    world.surroundings();
    let mut operation = world.record("n1").operation.as_deref().cloned().unwrap();
    operation.stage = Some(Stage {
        kind: StageKind::Delete,
        since: world.now,
    });
    let plan = Plan {
        actions: vec![Action::WriteRecord {
            node: "n1".to_owned(),
            change: Box::new(RecordChange::operation(operation)),
        }],
        ..Plan::default()
    };
    let found = check(&world.snapshot, &plan, world.now);
    expect!["S3: a stage of the drain of n1 would begin although nothing asks for it"].assert_eq(&found[0].to_string());
}
