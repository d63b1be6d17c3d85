//! The checks of a policy close the gate before a start, and hold the slot after the reboot.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

/// Two nodes under a policy with checks before and after the reboot, of which all pass.
fn world() -> World {
    let mut world = World::new(2);
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
    world
}

fn result(stage: CheckStage, verdict: CheckVerdict) -> CheckResult {
    CheckResult {
        stage,
        name: "alerts".to_owned(),
        job: false,
        verdict,
    }
}

fn fires(stage: CheckStage, alerts: &[&str]) -> CheckResult {
    let finding = |alert: &&str| Finding {
        id: (*alert).to_owned(),
        text: format!("alert {alert} fires"),
    };
    result(stage, CheckVerdict::Failing(alerts.iter().map(finding).collect()))
}

fn unavailable(stage: CheckStage, ignored: bool) -> CheckResult {
    let error = "http://prometheus:9090 did not answer within 10 s".to_owned();
    result(stage, CheckVerdict::Unavailable { error, ignored })
}

fn find(world: &mut World, results: Vec<CheckResult>) {
    world.checks = Some(results);
}

/// What `n1` waits for.
fn waits(world: &World) -> String {
    let all = world.wait_reasons();
    all.lines()
        .find(|line| line.starts_with("n1 "))
        .unwrap_or_default()
        .to_owned()
}

fn operation(world: &mut World) -> Operation {
    world.record("n1").operation.as_deref().cloned().unwrap()
}

/// Runs until `n1` is uncordoned after its reboot.
fn reboot_n1(world: &mut World) {
    let is_uncordoned = |world: &mut World| {
        let operation = world.record("n1").operation.as_deref();
        operation.is_none_or(|operation| operation.uncordoned.is_some())
    };
    world.run(3);
    for _ in 0..100 {
        if is_uncordoned(world) {
            return;
        }
        world.run(1);
    }
    panic!("n1 is not uncordoned\n{}", world.trace);
}

#[test]
fn no_node_starts_while_a_check_fails_and_the_first_starts_once_it_passes() {
    let mut world = world();
    find(&mut world, vec![fires(CheckStage::Before, &["A", "B", "C", "D", "E"])]);
    world.run(120);
    assert_eq!(
        waits(&world),
        "n1 CheckFailing: check alerts fails: alert A fires; alert B fires; alert C fires; and 2 findings more"
    );
    assert_eq!(world.in_progress(), [] as [&str; 0]);
    find(&mut world, vec![]);
    world.run(20);
    assert_eq!(world.started(), ["n1"], "{}", world.trace);
}

#[test]
fn no_node_starts_while_a_source_cannot_be_reached_unless_its_errors_are_ignored() {
    for stage in [CheckStage::Before, CheckStage::After] {
        let mut world = world();
        find(&mut world, vec![unavailable(stage, false)]);
        world.run(60);
        assert_eq!(
            waits(&world),
            "n1 CheckUnavailable: check alerts could not be evaluated: http://prometheus:9090 did not answer within 10 s"
        );
        assert_eq!(world.started(), [] as [&str; 0]);
        find(&mut world, vec![unavailable(stage, true)]);
        world.run(20);
        assert_eq!(world.started(), ["n1"], "{}", world.trace);
    }
}

#[test]
fn nothing_is_evaluated_while_no_node_could_start() {
    let mut world = world();
    world.run(2);
    assert_eq!(world.plan().checks.len(), 1);
    world.policy().suspend = true;
    world.record("n1").host.as_mut().unwrap().required = false;
    world.run(200);
    assert!(world.plan().checks.is_empty(), "{:?}", world.plan().checks);
}

#[test]
fn a_node_with_a_slot_is_not_cordoned_if_a_check_fails_meanwhile() {
    let mut world = world();
    world.silent = vec!["n1".to_owned()];
    world.run(3);
    assert_eq!(world.in_progress(), ["n1"]);
    find(&mut world, vec![fires(CheckStage::Before, &["A"])]);
    world.run(20);
    world.silent.clear();
    world.run(5);
    assert_eq!(world.started(), [] as [&str; 0], "{}", world.trace);
    assert!(waits(&world).contains("CheckFailing"), "{}", world.wait_reasons());
}

#[test]
fn an_answer_that_is_too_old_starts_nothing() {
    let mut world = world();
    world.silent = vec!["n1".to_owned()];
    world.run(3);
    let round = world.policy().checks.clone().unwrap().round;
    assert!(round.is_some());
    world.checks = None;
    world.now += TimeDelta::seconds(61);
    world.policy().checks.as_mut().unwrap().round = round;
    world.silent.clear();
    world.run(5);
    assert_eq!(world.started(), [] as [&str; 0], "{}", world.trace);
    assert!(waits(&world).contains("ChecksPending"), "{}", world.wait_reasons());
}

#[test]
fn checks_about_the_node_are_evaluated_for_the_next_node_only() {
    let mut world = world();
    world.limit(2);
    world.policy().checks.as_mut().unwrap().per_node = true;
    world
        .node_checks
        .insert("n1".to_owned(), vec![fires(CheckStage::Before, &["KernelDeadlock"])]);
    world.pass(usize::MAX);
    world.pass(usize::MAX);
    let asked: Vec<String> = world.plan().checks.into_values().flatten().collect();
    assert!(asked.contains(&"n1".to_owned()), "{asked:?}");
    world.run(5);
    assert!(
        waits(&world).contains("alert KernelDeadlock fires"),
        "{}",
        world.wait_reasons()
    );
    assert_eq!(world.started(), ["n2"], "another node goes on: {}", world.trace);
}

#[test]
fn what_failed_before_the_start_does_not_count_after_the_reboot_but_new_failures_do() {
    let mut world = world();
    find(&mut world, vec![fires(CheckStage::After, &["Old"])]);
    world.run(3);
    assert_eq!(operation(&mut world).checks_baseline, ["Old"]);
    find(&mut world, vec![fires(CheckStage::After, &["Old", "New"])]);
    reboot_n1(&mut world);
    world.run(60);
    let words = waits(&world);
    assert!(
        words.starts_with("n1 CheckFailing: check alerts fails: alert New fires; the node is Failed at "),
        "{words}"
    );
    assert_eq!(world.in_progress(), ["n1"], "the slot stays held");
    assert!(!world.node("n1").unschedulable);
    find(&mut world, vec![fires(CheckStage::After, &["Old"])]);
    world.run(20);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
    assert!(world.started().contains(&"n2".to_owned()), "{}", world.trace);
}

#[test]
fn a_round_that_began_before_the_uncordon_does_not_count() {
    let mut world = world();
    world.run(3);
    world.checks = None;
    reboot_n1(&mut world);
    let uncordoned = operation(&mut world).uncordoned.unwrap();
    let checks = world.policy().checks.as_mut().unwrap();
    checks.round = Some(CheckRound {
        started: uncordoned - TimeDelta::seconds(1),
        ..CheckRound::default()
    });
    assert!(waits(&world).contains("ChecksPending"), "{}", world.wait_reasons());
}

#[test]
fn a_node_soaks_without_a_break_and_a_failure_starts_the_time_anew() {
    let mut world = world();
    world.policy().checks.as_mut().unwrap().soak = TimeDelta::minutes(5);
    reboot_n1(&mut world);
    world.run(200);
    let first = operation(&mut world).healthy_since.unwrap();
    assert!(waits(&world).contains("Soaking"), "{}", world.wait_reasons());
    find(&mut world, vec![fires(CheckStage::After, &["New"])]);
    world.run(30);
    assert_eq!(operation(&mut world).healthy_since, None);
    find(&mut world, vec![]);
    world.run(200);
    let second = operation(&mut world).healthy_since.unwrap();
    assert!(second > first + TimeDelta::seconds(200));
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(120);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}

fn soaks_until(world: &World) -> Instant {
    match world.plan().wait_reasons.get("n1") {
        Some(WaitReason::Soaking { until }) => *until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_not_ready_while_it_soaks_starts_its_time_anew() {
    let mut world = world();
    world.policy().checks.as_mut().unwrap().soak = TimeDelta::minutes(5);
    reboot_n1(&mut world);
    world.run(100);
    let first = operation(&mut world).healthy_since.unwrap();
    world.node("n1").ready.ready = false;
    world.run(5);
    assert_eq!(operation(&mut world).healthy_since, None);
    let now = world.now;
    let ready = &mut world.node("n1").ready;
    (ready.ready, ready.since) = (true, now);
    world.run(5);
    assert!(operation(&mut world).healthy_since.unwrap() > first + TimeDelta::seconds(90));
    // One that was not observed, because no operator was there, is seen by the time of the condition.
    world.run(50);
    let now = world.now;
    world.node("n1").ready.since = now;
    world.run(2);
    assert_eq!(soaks_until(&world), now + TimeDelta::minutes(5));
}

#[test]
fn a_soak_counts_from_a_ready_time_that_a_clock_recorded_a_little_ahead() {
    let mut world = world();
    world.policy().checks.as_mut().unwrap().soak = TimeDelta::minutes(5);
    reboot_n1(&mut world);
    world.run(10);
    let (since, now) = (operation(&mut world).healthy_since, world.now);
    // The kubelet's clock is 20 s ahead of the operator's.
    world.node("n1").ready.since = now + TimeDelta::seconds(20);
    world.run(2);
    assert_eq!(soaks_until(&world), now + TimeDelta::seconds(320));
    world.run(30);
    assert_eq!(operation(&mut world).healthy_since, since, "it is recorded once");
    assert_eq!(soaks_until(&world), now + TimeDelta::seconds(320));
    // A clock that is an hour ahead does not count, until that hour has nearly passed.
    let wrong = world.now + TimeDelta::hours(1);
    world.node("n1").ready.since = wrong;
    world.run(2);
    assert_eq!(soaks_until(&world), since.unwrap() + TimeDelta::minutes(5));
}

#[test]
fn checks_that_do_not_pass_in_time_fail_the_node_and_open_the_breaker() {
    let mut world = world();
    world.policy().checks.as_mut().unwrap().soak = TimeDelta::minutes(5);
    reboot_n1(&mut world);
    find(&mut world, vec![fires(CheckStage::After, &["New"])]);
    world.run(31 * 60);
    let failed = operation(&mut world);
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(
        failed.failure.unwrap().message,
        "n1 rebooted and was uncordoned, but its checks did not pass for 5 min within 30 min of the uncordon: check alerts fails: \
         alert New fires; repair that, then retry or release the node"
    );
    assert!(
        world.wait_reasons().contains("n2 BreakerOpen"),
        "{}",
        world.wait_reasons()
    );
    // It does not continue by itself, and `retry` gives it all its time once more.
    find(&mut world, vec![]);
    world.run(60);
    assert_eq!(operation(&mut world).phase, Phase::Failed);
    world.command("retry", "n1");
    world.run(60);
    assert!(waits(&world).contains("Soaking"), "{}", world.wait_reasons());
    world.run(300);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}

#[test]
fn checks_that_are_removed_from_the_policy_hold_no_slot() {
    let mut world = world();
    world.run(3);
    find(&mut world, vec![fires(CheckStage::After, &["New"])]);
    reboot_n1(&mut world);
    world.run(60);
    assert!(waits(&world).contains("CheckFailing"), "{}", world.wait_reasons());
    world.policy().checks = None;
    world.run(2);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}

#[test]
fn a_policy_that_cannot_be_decoded_frees_no_slot_before_its_checks_are_known() {
    let mut world = world();
    world.run(3);
    find(&mut world, vec![fires(CheckStage::After, &["New"])]);
    reboot_n1(&mut world);
    let policy = world.snapshot.policies.remove("general");
    world.snapshot.view_gaps = vec![ViewGap::PolicyInvalid {
        policy: "general".to_owned(),
        cause: "spec.suspend: expected a boolean".to_owned(),
    }];
    world.run(60);
    assert!(waits(&world).contains("ViewIncomplete"), "{}", world.wait_reasons());
    assert_eq!(world.in_progress(), ["n1"]);
    world.snapshot.view_gaps.clear();
    world.snapshot.policies.insert("general".into(), policy.unwrap());
    find(&mut world, vec![]);
    world.run(30);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}
