//! Advance notice: a condition of the cordoned Node, and a time before the first eviction.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::{World, windows};

/// What ends an operation.
type End = fn(&mut World);

pub(crate) const LENGTH: TimeDelta = TimeDelta::seconds(600);

/// A cluster of two nodes whose policy gives ten minutes of notice; the first node has been given it.
pub(crate) fn world() -> World {
    let mut world = World::new(2);
    world.policy().settings.notice = Some(LENGTH);
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").notice.ours().is_some(), "{}", world.trace);
    world
}

pub(crate) fn operation(world: &mut World) -> Operation {
    *world.record("n1").operation.clone().unwrap()
}

/// When the notice of the first node was given, as its Node says.
pub(crate) fn given(world: &mut World) -> Instant {
    world.node("n1").notice.ours().unwrap().given
}

/// The names of the actions about the first node since its cordon.
fn story(world: &World) -> Vec<String> {
    let lines = world.trace.lines();
    let lines = lines.filter(|line| line.contains(" n1 ") && !line.contains(" lock "));
    let actions = lines.map(|line| line.split_once(" n1 ").unwrap().1.trim().to_owned());
    let since_cordon = actions.skip_while(|action| !action.starts_with("Cordon"));
    // The id of the operation is another one in each run.
    since_cordon
        .map(|action| match action.split_once("Notice ") {
            Some((verb, _)) => format!("{verb}Notice"),
            None => action,
        })
        .collect()
}

#[test]
fn notice_is_given_once_the_node_is_cordoned_and_ends_with_the_uncordon() {
    let mut world = world();
    world.run(700);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    let expected = [
        "Cordon",
        "WriteRecord Draining",
        "GiveNotice",
        "WriteRecord Draining",
        "OrderReboot",
        "WriteRecord Rebooting",
        "WriteRecord Verifying",
        "Uncordon",
        "SetSpec no order",
        "EndNotice",
        "WriteRecord Succeeded",
    ];
    assert_eq!(story(&world), expected, "{}", world.trace);
    assert_eq!(world.node("n1").notice, NoticeCondition::Absent);
}

#[test]
fn nothing_is_evicted_before_the_notice_has_lasted() {
    let mut world = world();
    let (given, operation) = (given(&mut world), operation(&mut world));
    assert_eq!(operation.noticed, Some(given));
    assert_eq!(operation.evict_from(), given + LENGTH);
    let deadline = deadline(&operation).unwrap().at;
    assert_eq!(
        deadline,
        given + LENGTH + operation.settings.drain_timeout,
        "the drain has its whole time after the notice"
    );
    let until = (given + LENGTH).format("%Y-%m-%dT%H:%M:%SZ");
    let waits = world.wait_reasons();
    let expected = format!("n1 NoticeGiven: advance notice was given; evictions start at {until}, or the reboot");
    assert!(waits.contains(&expected), "{waits}");
    assert_eq!(world.plan().recheck_at, Some(given + LENGTH));
    world.run((given + LENGTH - world.now).num_seconds() - 1);
    assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    world.run(2);
    assert!(world.trace.contains("OrderReboot"), "{}", world.trace);
}

#[test]
fn a_node_that_all_pods_have_left_reboots_before_its_notice_ends() {
    let mut world = world();
    world.run(30);
    assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    world.leaving.push("n1".to_owned());
    world.run(3);
    assert!(world.trace.contains("OrderReboot"), "{}", world.trace);
}

#[test]
fn the_longer_of_notice_and_load_balancer_delay_counts() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(TimeDelta::seconds(60));
    world.policy().settings.load_balancer_delay = TimeDelta::seconds(120);
    world.leaving.push("n1".to_owned());
    world.run_until_idle();
    world.run(100);
    let waits = world.wait_reasons();
    assert!(waits.contains("n1 LoadBalancerDelay"), "{waits}");
    assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    world.run(30);
    assert!(world.trace.contains("OrderReboot"), "{}", world.trace);
}

#[test]
fn hooks_before_the_drain_run_during_the_notice() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(LENGTH);
    world.policy().settings.hooks.before_drain = vec![Hook {
        name: "a".to_owned(),
        kind: HookKind::Annotation(HandshakeKeys {
            annotation: "example.com/moved".to_owned(),
            label: None,
        }),
        timeout: TimeDelta::seconds(600),
        ignores_failure: false,
    }];
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").notice.ours().is_some(), "{}", world.trace);
    assert!(world.node("n1").handshake.is_some(), "{}", world.trace);
    let ends = given(&mut world) + LENGTH;
    world.node("n1").handshake.as_mut().unwrap().answered = true;
    world.run(5);
    assert_eq!(operation(&mut world).evict_from(), ends);
}

#[test]
fn a_policy_without_notice_gives_none() {
    let mut world = World::new(1);
    world.run(200);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.trace.contains("Notice"), "{}", world.trace);
}

#[test]
fn an_operator_that_dies_between_notice_and_record_continues_the_same_notice() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(LENGTH);
    while !world.trace.contains("GiveNotice") {
        if world.pass(1) == 0 {
            world.now += TimeDelta::seconds(1);
            world.surroundings();
        }
    }
    let given = given(&mut world);
    assert_eq!(operation(&mut world).noticed, None, "it dies before the record");
    world.restart_operator(300);
    world.run(2);
    assert_eq!(operation(&mut world).noticed, Some(given));
    assert_eq!(world.trace.matches("GiveNotice").count(), 1, "{}", world.trace);
}

#[test]
fn a_new_operator_waits_for_the_rest_of_the_notice() {
    let mut world = world();
    let ends = given(&mut world) + LENGTH;
    world.restart_operator(200);
    world.run(100);
    assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    world.run((ends - world.now).num_seconds() + 2);
    assert!(world.trace.contains("OrderReboot"), "{}", world.trace);
    assert_eq!(world.trace.matches("GiveNotice").count(), 1, "{}", world.trace);
}

#[test]
fn whatever_ends_the_operation_removes_the_notice() {
    let hold = |world: &mut World| {
        world.node("n1").hold = Some(Hold {
            reason: "disk".to_owned(),
            until: None,
            invalid_until: None,
        });
    };
    let ends: [(&str, End); 4] = [
        ("cancel", |world| world.command("cancel", "n1")),
        ("uncordon", |world| world.node("n1").unschedulable = false),
        ("policy gone", |world| world.node("n1").policies.clear()),
        ("refused write", |world| {
            world.node("n1").refused_write = Some("the API server refuses to cordon n1: not today".to_owned());
        }),
    ];
    for (what, end) in ends.into_iter().chain([("hold", hold as End)]) {
        let mut world = world();
        end(&mut world);
        world.run(1);
        world.node("n1").refused_write = None;
        world.run(4);
        let notice = world.node("n1").notice.clone();
        assert_eq!(notice, NoticeCondition::Absent, "{what}: {}", world.trace);
        assert!(!world.trace.contains("OrderReboot"), "{what}: {}", world.trace);
    }
}

#[test]
fn a_notice_that_no_operation_has_given_is_removed() {
    for id in ["old-0", ""] {
        let mut world = World::new(1);
        world.record("n1").host = None;
        world.node("n1").notice = NoticeCondition::Ours(GivenNotice {
            id: id.to_owned(),
            given: world.now,
        });
        world.run_until_idle();
        let notice = world.node("n1").notice.clone();
        assert_eq!(notice, NoticeCondition::Absent, "{}", world.trace);
    }
}

#[test]
fn a_notice_of_an_earlier_operation_does_not_count_for_the_next_one() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(LENGTH);
    world.run_until_idle();
    while world.node("n1").cordoned_for.is_none() {
        world.run(1);
        let earlier = world.now - TimeDelta::hours(1);
        if world.node("n1").notice == NoticeCondition::Absent {
            world.node("n1").notice = NoticeCondition::Ours(GivenNotice {
                id: "old-0".to_owned(),
                given: earlier,
            });
        }
    }
    world.run(5);
    let noticed = operation(&mut world).noticed.unwrap();
    assert!(world.now - noticed < TimeDelta::seconds(60), "{}", world.trace);
    assert_eq!(given(&mut world), noticed);
}

#[test]
fn a_retry_of_a_node_that_did_not_reboot_gives_notice_anew() {
    let mut world = world();
    world.never_back.push("n1".to_owned());
    world.run(700 + 900 + 60);
    assert_eq!(operation(&mut world).phase, Phase::Failed, "{}", world.trace);
    assert!(world.node("n1").notice.ours().is_some(), "it is still cordoned for it");
    world.command("retry", "n1");
    world.run_until_idle();
    assert_eq!(operation(&mut world).noticed, None);
}

#[test]
fn a_condition_of_another_client_is_left_alone_and_defers_only_its_own_node() {
    let mut world = World::new(2);
    world.policy().settings.notice = Some(LENGTH);
    let foreign = NoticeCondition::Foreign {
        reason: "Recycling".to_owned(),
    };
    world.node("n1").notice = foreign.clone();
    world.run_until_idle();
    world.run(20);
    let deferred = world.record("n1").deferred.clone().unwrap();
    assert_eq!(deferred.cause, "WriteRefused");
    assert!(
        deferred
            .message
            .contains("another client has set the condition MaintenancePlanned of this node, with reason Recycling"),
        "{deferred:?}"
    );
    assert_eq!(world.node("n1").notice, foreign);
    assert!(world.node("n2").notice.ours().is_some(), "{}", world.trace);
}

#[test]
fn a_notice_given_by_a_clock_that_is_ahead_counts_from_now() {
    let mut world = world();
    let ahead = world.now + TimeDelta::hours(5);
    let mut operation = operation(&mut world);
    operation.noticed = Some(ahead);
    world.record("n1").operation = Some(Box::new(operation));
    world.run_until_idle();
    let now = world.now;
    assert_eq!(self::operation(&mut world).noticed, Some(now));
}

#[test]
fn a_node_starts_only_if_its_notice_and_its_reboot_fit_the_window() {
    for (minutes, starts) in [(24, false), (26, true)] {
        let mut world = World::new(1);
        world.policy().settings.notice = Some(LENGTH);
        let opens = world.now - TimeDelta::minutes(60 - minutes);
        let cron = format!("{} {} * * *", opens.format("%-M"), opens.format("%-H"));
        world.policy().schedule = Ok(windows(&[(cron.as_str(), 3600)]));
        world.run_until_idle();
        let waits = world.wait_reasons();
        assert_eq!(
            waits.contains("n1 DoesNotFitWindow: a reboot takes about 25 min"),
            !starts,
            "{waits}"
        );
    }
}

#[test]
fn an_urgent_override_does_not_shorten_a_notice() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(LENGTH);
    world.policy().urgent = Some(Urgent {
        reason: "CVE-2026-1234".to_owned(),
        from: world.now,
        until: world.now + TimeDelta::days(1),
        rollout: None,
        overrides: vec![Override::IgnoreWindows, Override::IgnoreChecks, Override::DeletePods],
    });
    world.run_until_idle();
    world.run(500);
    let waits = world.wait_reasons();
    assert!(waits.contains("n1 NoticeGiven"), "{waits}");
    world.run(200);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_notice_goes_on_after_the_window_has_closed() {
    let mut world = World::new(1);
    world.policy().settings.notice = Some(LENGTH);
    // It fits no window, so it may start in any.
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 300)]));
    world.run_until_idle();
    world.run(500);
    let waits = world.wait_reasons();
    assert!(waits.contains("n1 NoticeGiven"), "{waits}");
    world.run(200);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_forecast_counts_the_notice_of_each_node() {
    let mut world = World::new(2);
    world.policy().settings.notice = Some(LENGTH);
    world.policy().duration_estimate.total = TimeDelta::seconds(43);
    let forecast = forecast(&world.snapshot, world.now, Horizon::default());
    assert_eq!(forecast.end, Some(world.now + (LENGTH + TimeDelta::seconds(43)) * 2));
}
