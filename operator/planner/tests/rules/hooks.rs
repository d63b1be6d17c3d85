//! Hooks: before the drain, before the reboot and after it, one after another, each until it has ended or timed out.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

fn job(name: &str) -> Hook {
    Hook {
        name: name.to_owned(),
        kind: HookKind::Job {
            template: format!("template-of-{name}"),
            on_node: false,
        },
        timeout: TimeDelta::seconds(600),
        ignores_failure: false,
    }
}

fn keys() -> HandshakeKeys {
    HandshakeKeys {
        annotation: "example.com/moved".to_owned(),
        label: Some("example.com/before-reboot".to_owned()),
    }
}

fn annotation(name: &str) -> Hook {
    Hook {
        kind: HookKind::Annotation(keys()),
        ..job(name)
    }
}

fn ignoring(hook: Hook) -> Hook {
    Hook {
        ignores_failure: true,
        ..hook
    }
}

/// A cluster of two nodes whose policy has these hooks; the first node has its slot.
fn world(before_drain: Vec<Hook>, before_reboot: Vec<Hook>, after_reboot: Vec<Hook>) -> World {
    let mut world = World::new(2);
    world.policy().settings.hooks = Hooks {
        before_drain,
        before_reboot,
        after_reboot,
    };
    world.run_until_idle();
    world.run(5);
    world
}

/// The id of the run of the hook in progress on the first node.
fn run_id(world: &mut World) -> String {
    let operation = world.record("n1").operation.clone().unwrap();
    operation.hook_id(operation.hook.as_ref().unwrap())
}

/// The Job of the hook in progress is in this state.
fn report(world: &mut World, state: JobState) {
    let id = run_id(world);
    world.node("n1").hook_job = Some(JobReport { id, state });
    world.run_until_idle();
}

fn failed() -> JobState {
    JobState::Failed {
        message: "Job lockkeeper-system/move-7f3c failed: BackoffLimitExceeded".to_owned(),
    }
}

/// A client sets the annotation.
fn answer(world: &mut World) {
    world.node("n1").handshake.as_mut().unwrap().answered = true;
    world.run_until_idle();
}

/// The actions about the first node since its cordon, without the seconds.
fn story(world: &World) -> Vec<String> {
    let lines = world
        .trace
        .lines()
        .filter(|line| line.contains(" n1 ") && !line.contains(" lock "));
    let lines = lines.map(|line| line.split_once(' ').unwrap().1.trim().to_owned());
    lines.skip_while(|line| !line.contains(" Cordon")).collect()
}

#[test]
fn hooks_run_one_after_another_at_their_points() {
    let mut world = world(vec![job("a"), annotation("b")], vec![job("c")], vec![job("d")]);
    let asked = world.plan().hook_jobs;
    let asked = asked.get("n1").unwrap();
    let expected = HookJob {
        id: run_id(&mut world),
        operation_id: world.record("n1").operation.as_ref().unwrap().id.clone(),
        attempt: 0,
        point: HookPoint::BeforeDrain,
        hook: "a".to_owned(),
        template: "template-of-a".to_owned(),
        on_node: false,
        timeout: TimeDelta::seconds(600),
    };
    assert_eq!(*asked, expected);
    report(&mut world, JobState::Succeeded);
    assert_eq!(world.plan().hook_jobs.len(), 0, "the next hook is no Job");
    answer(&mut world);
    world.run(20);
    report(&mut world, JobState::Succeeded);
    world.run(60);
    assert!(
        world.node("n1").unschedulable,
        "hooks after the reboot come before the uncordon"
    );
    report(&mut world, JobState::Succeeded);
    world.run(5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    let operation = run_id_of(&world);
    let expected = [
        "Cordon",
        "WriteRecord Draining",
        "WriteRecord Draining, hook a begins",
        "WriteRecord Draining, hook a has ended",
        "WriteRecord Draining, hook b begins",
        &format!("BeginHandshake {operation}-0/beforeDrain/b"),
        "WriteRecord Draining, hook b has ended",
        "WriteRecord Draining, hook c begins",
        "EndHandshake",
        "WriteRecord Draining, hook c has ended",
        "OrderReboot",
        "WriteRecord Rebooting",
        "WriteRecord Verifying",
        "WriteRecord Verifying, hook d begins",
        "WriteRecord Verifying, hook d has ended",
        "Uncordon",
        "SetSpec no order",
        "WriteRecord Succeeded",
    ];
    let story: Vec<String> = story(&world)
        .into_iter()
        .map(|line| line.trim_start_matches("n1 ").trim().to_owned())
        .collect();
    assert_eq!(story, expected, "{}", world.trace);
}

/// The id of the operation that the trace shows.
fn run_id_of(world: &World) -> String {
    let line = world
        .trace
        .lines()
        .find(|line| line.contains("BeginHandshake"))
        .unwrap();
    let id = line.split("BeginHandshake ").nth(1).unwrap();
    id.split_once("-0/").unwrap().0.to_owned()
}

#[test]
fn nothing_is_evicted_before_the_first_hooks_have_ended() {
    let mut world = world(vec![job("a")], vec![], vec![]);
    world.run(60);
    let waits = world.wait_reasons();
    assert!(
        waits.contains("n1 HookRunning: hook a: its Job is being created; it times out at 2026-11-21T12:10:0"),
        "{waits}"
    );
    let operation = world.record("n1").operation.clone().unwrap();
    assert!(operation.next_hook(HookPoint::BeforeDrain).is_some(), "no drain runs");
    report(
        &mut world,
        JobState::Running {
            job: "lockkeeper-system/move-7f3c".to_owned(),
        },
    );
    let waits = world.wait_reasons();
    assert!(
        waits.contains("hook a: Job lockkeeper-system/move-7f3c runs"),
        "{waits}"
    );
    report(&mut world, JobState::Succeeded);
    let operation = world.record("n1").operation.clone().unwrap();
    assert!(operation.next_hook(HookPoint::BeforeDrain).is_none());
    let ended = operation.ended_hooks[0].ended;
    assert_eq!(
        operation.evict_from(),
        ended,
        "the drain has its whole time after the hooks"
    );
    assert_eq!(
        deadline(&operation).unwrap().at,
        ended + operation.settings.drain_timeout
    );
}

#[test]
fn a_hook_that_fails_before_the_reboot_defers_the_node() {
    for (before_drain, before_reboot) in [(vec![job("a")], vec![]), (vec![], vec![job("a")])] {
        let mut world = world(before_drain, before_reboot, vec![]);
        report(&mut world, failed());
        world.run(5);
        let deferred = world.record("n1").deferred.clone().unwrap();
        assert_eq!(deferred.cause, "HookFailed");
        assert_eq!(
            deferred.message,
            "hook a failed: Job lockkeeper-system/move-7f3c failed: BackoffLimitExceeded"
        );
        assert!(!world.node("n1").unschedulable, "{}", world.trace);
        assert!(!world.trace.contains("n1 OrderReboot"), "{}", world.trace);
        assert_eq!(world.started(), ["n1", "n2"], "the next node goes on");
    }
}

#[test]
fn a_hook_that_times_out_says_what_it_waited_for() {
    let mut world = world(vec![annotation("a")], vec![], vec![]);
    let waits = world.wait_reasons();
    assert!(
        waits.contains(
            "hook a: waiting until the annotation example.com/moved of the Node is set to \"true\"; it times out"
        ),
        "{waits}"
    );
    world.run(610);
    let deferred = world.record("n1").deferred.clone().unwrap();
    assert_eq!(
        deferred.message,
        "hook a failed: it did not end within 10 min: waiting until the annotation example.com/moved of the Node is set to \"true\""
    );
    assert_eq!(world.node("n1").handshake, None, "nothing is left on the Node");
}

#[test]
fn a_job_that_cannot_be_created_is_a_wait_with_the_error_until_it_times_out() {
    let mut world = world(vec![job("a")], vec![], vec![]);
    let error = "CronJob lockkeeper-system/template-of-a does not exist; create it".to_owned();
    report(&mut world, JobState::Unavailable { error: error.clone() });
    let waits = world.wait_reasons();
    assert!(
        waits.contains(&format!("n1 HookUnavailable: hook a: {error}; it times out at")),
        "{waits}"
    );
    report(&mut world, JobState::Unavailable { error: error.clone() });
    world.run(610);
    let deferred = world.record("n1").deferred.clone().unwrap();
    assert_eq!(
        deferred.message,
        format!("hook a failed: it did not end within 10 min: {error}")
    );
}

#[test]
fn a_failure_that_the_policy_ignores_is_in_the_history() {
    let mut world = world(
        vec![ignoring(job("a"))],
        vec![ignoring(annotation("b"))],
        vec![ignoring(job("c"))],
    );
    report(&mut world, failed());
    world.run(20);
    assert!(world.node("n1").handshake.is_some(), "{}", world.trace);
    world.run(610);
    assert_eq!(world.node("n1").handshake, None);
    world.run(60);
    report(&mut world, failed());
    world.run(5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    let failure = "hook a failed (failurePolicy: Ignore): Job lockkeeper-system/move-7f3c failed: BackoffLimitExceeded; hook b \
                   failed (failurePolicy: Ignore): it did not end within 10 min";
    assert!(world.trace.contains(failure), "{}", world.trace);
}

#[test]
fn a_hook_that_fails_after_the_reboot_fails_the_node_until_a_retry() {
    let mut world = world(vec![job("a")], vec![], vec![job("b"), job("c")]);
    report(&mut world, JobState::Succeeded);
    world.run(60);
    report(&mut world, JobState::Succeeded);
    report(&mut world, failed());
    let operation = world.record("n1").operation.clone().unwrap();
    assert_eq!(operation.phase, Phase::Failed);
    let failure = operation.failure.clone().unwrap();
    assert!(
        failure.message.contains("hook c (hooks.afterReboot) failed: Job") && !failure.timed_out,
        "{failure:?}"
    );
    assert!(world.node("n1").unschedulable, "it keeps its cordon");
    let first = format!("{}/afterReboot/c", operation.order_id());
    world.record("n1").command = Some(Command {
        verb: "retry".to_owned(),
        operation_id: operation.id.clone(),
    });
    world.run_until_idle();
    assert_ne!(run_id(&mut world), first, "the hook runs again, in a Job of its own");
    report(&mut world, JobState::Succeeded);
    world.run(5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(
        world.trace.matches("hook b begins").count(),
        1,
        "a hook that has ended is not repeated"
    );
}

#[test]
fn a_report_about_another_run_does_not_count() {
    let mut world = world(vec![job("a")], vec![], vec![]);
    world.node("n1").hook_job = Some(JobReport {
        id: "another-0/beforeDrain/a".to_owned(),
        state: JobState::Succeeded,
    });
    world.run(30);
    assert!(!world.trace.contains("hook a has ended"), "{}", world.trace);
}

#[test]
fn an_answer_from_an_earlier_operation_does_not_count() {
    let mut world = World::new(1);
    world.policy().settings.hooks.before_drain = vec![annotation("a")];
    world.node("n1").handshake = Some(Handshake {
        id: "old-0/beforeDrain/a".to_owned(),
        keys: keys(),
        answered: true,
    });
    world.run_until_idle();
    world.run(10);
    let handshake = world.node("n1").handshake.clone().unwrap();
    assert!(
        !handshake.answered && handshake.id != "old-0/beforeDrain/a",
        "{handshake:?}"
    );
    assert!(!world.trace.contains("hook a has ended"), "{}", world.trace);
}

#[test]
fn a_hold_and_a_cancel_end_the_hook_and_leave_nothing_on_the_node() {
    for cancelled in [true, false] {
        let mut world = world(vec![annotation("a")], vec![], vec![]);
        assert!(world.node("n1").handshake.is_some(), "{}", world.trace);
        if cancelled {
            let operation_id = world.record("n1").operation.as_ref().unwrap().id.clone();
            let verb = "cancel".to_owned();
            world.record("n1").command = Some(Command { verb, operation_id });
        } else {
            world.node("n1").hold = Some(Hold {
                reason: "disk".to_owned(),
                until: None,
                invalid_until: None,
            });
        }
        world.run(5);
        let node = world.node("n1").clone();
        assert_eq!(node.handshake, None, "{}", world.trace);
        assert_eq!(node.operation(), None, "{}", world.trace);
    }
}

#[test]
fn a_handshake_that_a_client_removed_is_begun_again() {
    let mut world = world(vec![annotation("a")], vec![], vec![]);
    world.node("n1").handshake = None;
    world.run_until_idle();
    assert_eq!(world.trace.matches("BeginHandshake").count(), 2, "{}", world.trace);
}

#[test]
fn s3_reports_a_reboot_order_before_a_hook_has_ended() {
    let mut world = world(vec![], vec![job("a")], vec![]);
    world.run(10);
    let operation = world.record("n1").operation.clone().unwrap();
    let mut plan = world.plan();
    let order = Order {
        id: operation.order_id(),
        action: OrderAction::Reboot,
        boot_id: operation.boot_id_before.clone(),
        method: operation.method(),
        soft_reboots: None,
        not_after: None,
    };
    plan.actions.push(Action::OrderReboot {
        node: "n1".to_owned(),
        order,
    });
    let violations = check(&world.snapshot, &plan, world.now);
    let expected = "n1 would be rebooted before hook beforeReboot/a has ended";
    assert!(
        violations
            .iter()
            .any(|violation| violation.rule == "S3" && violation.what.contains(expected)),
        "{violations:?}"
    );
}
