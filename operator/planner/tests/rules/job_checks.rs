//! Jobs that must succeed before a node starts, and after its reboot.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

/// Two nodes under a policy with a Job before the start, after the reboot, or both.
fn world(before: bool, after: bool) -> World {
    let mut world = World::new(2);
    world.policy().checks = Some(Checks {
        evaluates: true,
        after,
        per_node: true,
        before_jobs: before.then(|| TimeDelta::minutes(10)),
        after_jobs: after,
        soak: TimeDelta::zero(),
        timeout: TimeDelta::minutes(30),
        round: None,
    });
    world
}

/// What the Jobs of `n1` run for.
fn jobs(world: &World) -> CheckJobs {
    world.plan().check_jobs.get("n1").cloned().unwrap()
}

/// The Job of `n1` that runs now ends like this.
fn end(world: &mut World, verdict: CheckVerdict) {
    let jobs = jobs(world);
    world.job_verdicts.retain(|(known, _)| *known != jobs);
    world.job_verdicts.push((jobs, verdict));
}

fn failed() -> CheckVerdict {
    CheckVerdict::Failing(vec![Finding {
        id: "fsck".to_owned(),
        text: "Job fsck failed: errors on sda1".to_owned(),
    }])
}

fn waits(world: &World) -> String {
    let all = world.wait_reasons();
    let line = all.lines().find(|line| line.starts_with("n1 "));
    line.unwrap_or_default().to_owned()
}

/// Runs until the checks of `n1` are evaluated after its uncordon.
fn reboot_n1(world: &mut World) {
    for _ in 0..200 {
        let operation = world.record("n1").operation.as_deref();
        if operation.is_some_and(|operation| operation.uncordoned.is_some()) {
            world.run(2);
            return;
        }
        world.run(1);
    }
    panic!("n1 is not uncordoned\n{}", world.trace);
}

#[test]
fn a_job_before_the_start_runs_once_the_node_has_a_slot_and_before_its_cordon() {
    let mut world = world(true, false);
    world.run(60);
    assert_eq!(world.in_progress(), ["n1"]);
    assert_eq!(world.started(), [] as [&str; 0]);
    assert_eq!(
        waits(&world),
        "n1 ChecksPending: the checks of the policy are being evaluated: check fsck: Job fsck has not finished"
    );
    let operation = world.record("n1").operation.clone().unwrap();
    let expected = CheckJobs {
        operation: operation.id.clone(),
        attempt: 0,
        stage: CheckStage::Before,
    };
    assert_eq!(jobs(&world), expected);
    end(&mut world, CheckVerdict::Passing);
    world.run(20);
    assert_eq!(world.started(), ["n1"], "{}", world.trace);
}

#[test]
fn no_job_runs_before_the_agent_is_ready() {
    let mut world = world(true, true);
    world.silent = vec!["n1".to_owned()];
    world.run(20);
    assert_eq!(world.in_progress(), ["n1"]);
    assert!(world.plan().check_jobs.is_empty(), "{:?}", world.plan().check_jobs);
}

#[test]
fn a_job_that_fails_before_the_start_defers_the_node_and_the_next_goes_on() {
    let unavailable = CheckVerdict::Unavailable {
        error: "CronJob lockkeeper-system/fsck does not exist".to_owned(),
        ignored: false,
    };
    for (verdict, cause) in [(failed(), "CheckFailing"), (unavailable, "CheckUnavailable")] {
        let mut world = world(true, false);
        world.run(20);
        end(&mut world, verdict);
        world.run(30);
        assert!(
            waits(&world).contains(&format!("BackingOff: deferred once ({cause}: ")),
            "{}",
            waits(&world)
        );
        assert_eq!(world.in_progress(), ["n2"]);
        assert_eq!(world.started(), [] as [&str; 0], "{}", world.trace);
    }
}

#[test]
fn a_job_whose_errors_are_ignored_lets_the_node_start() {
    let mut world = world(true, false);
    world.run(20);
    let error = "no answer".to_owned();
    end(&mut world, CheckVerdict::Unavailable { error, ignored: true });
    world.run(20);
    assert_eq!(world.started(), ["n1"], "{}", world.trace);
}

#[test]
fn a_job_that_never_ends_defers_the_node() {
    let mut world = world(true, false);
    world.run(10 * 60);
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(5 * 60);
    assert!(
        waits(&world).contains("BackingOff: deferred once (ChecksPending: "),
        "{}",
        waits(&world)
    );
}

#[test]
fn the_job_of_an_earlier_operation_does_not_count() {
    let mut world = world(true, false);
    world.run(20);
    let before = jobs(&world);
    end(&mut world, CheckVerdict::Passing);
    world.command("cancel", "n1");
    world.limit(2);
    world.run(15 * 60);
    assert_eq!(
        world.started().iter().filter(|node| **node == "n1").count(),
        0,
        "{}",
        world.trace
    );
    let now = jobs(&world);
    assert_ne!(now.operation, before.operation);
}

#[test]
fn a_job_after_the_reboot_holds_the_slot_until_it_succeeds() {
    let mut world = world(false, true);
    reboot_n1(&mut world);
    world.run(60);
    assert!(
        waits(&world)
            .starts_with("n1 ChecksPending: the checks of the policy are being evaluated: check fsck: Job fsck"),
        "{}",
        waits(&world)
    );
    assert_eq!(jobs(&world).stage, CheckStage::After);
    end(&mut world, failed());
    world.run(60);
    let words = waits(&world);
    assert!(
        words.starts_with("n1 CheckFailing: check fsck fails: Job fsck failed: errors on sda1; the node is Failed at "),
        "{words}"
    );
    assert_eq!(world.in_progress(), ["n1"]);
    end(&mut world, CheckVerdict::Passing);
    world.run(20);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}

#[test]
fn a_job_after_the_reboot_runs_neither_before_the_start_nor_before_the_uncordon() {
    let mut world = world(false, true);
    for _ in 0..200 {
        world.run(1);
        let operation = world.record("n1").operation.as_deref();
        if operation.is_some_and(|operation| operation.uncordoned.is_some()) {
            return;
        }
        assert!(world.plan().check_jobs.is_empty(), "{}", world.trace);
    }
    panic!("n1 is not uncordoned\n{}", world.trace);
}

#[test]
fn what_a_job_found_for_another_operation_is_no_baseline() {
    let mut world = world(false, true);
    let found = CheckResult {
        stage: CheckStage::After,
        name: "fsck".to_owned(),
        job: true,
        verdict: failed(),
    };
    world.node_checks.insert("n1".to_owned(), vec![found]);
    world.run(3);
    let operation = world.record("n1").operation.clone().unwrap();
    assert_eq!(operation.checks_baseline, [] as [String; 0]);
}

#[test]
fn jobs_run_again_for_a_node_that_is_retried() {
    let mut world = world(false, true);
    reboot_n1(&mut world);
    end(&mut world, failed());
    world.run(31 * 60);
    assert!(waits(&world).starts_with("n1 Failed"), "{}", waits(&world));
    world.command("retry", "n1");
    world.run(60);
    assert_eq!(jobs(&world).attempt, 1);
    end(&mut world, CheckVerdict::Passing);
    world.run(20);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}

#[test]
fn s2_reports_a_cordon_before_the_job_of_the_operation_has_succeeded() {
    let mut world = world(true, false);
    world.run(20);
    let operation = world.record("n1").operation.clone().unwrap();
    let plan = Plan {
        actions: vec![Action::Cordon {
            node: "n1".to_owned(),
            operation_id: operation.id.clone(),
        }],
        ..Plan::default()
    };
    let reported = |world: &World| -> Vec<String> {
        let violations = check(&world.snapshot, &plan, world.now);
        violations.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        reported(&world),
        ["S2: n1 would start although check fsck does not pass"]
    );
    let round = world.policy().checks.as_mut().unwrap().round.as_mut().unwrap();
    round.nodes.insert("n1".to_owned(), vec![]);
    round.jobs.get_mut("n1").unwrap().operation = "earlier".to_owned();
    assert_eq!(
        reported(&world),
        ["S2: n1 would start although the Jobs of its checks were not run for this operation"]
    );
}

#[test]
fn a_rebooted_node_that_leaves_its_policy_still_passes_the_checks_of_its_operation() {
    let mut world = world(false, true);
    reboot_n1(&mut world);
    world.node("n1").policies = [].into();
    world.run(20);
    end(&mut world, CheckVerdict::Passing);
    world.run(60);
    assert!(world.trace.contains("n1 WriteRecord Succeeded"), "{}", world.trace);
}
