//! Deferrals because a program inhibits the shutdown.

use chrono::TimeDelta;

use crate::common::World;

fn starts(world: &mut World) -> bool {
    world.run_until_idle();
    !world.in_progress().is_empty()
}

/// A program inhibits the shutdown after `n1` was admitted, so that `n1` is deferred.
fn defer_for_an_inhibitor(world: &mut World) {
    assert!(starts(world), "{}", world.wait_reasons());
    let inhibitor = ("fwupd".to_owned(), "firmware update".to_owned());
    world.record("n1").host.as_mut().unwrap().inhibitors = vec![inhibitor];
    world.refusing = vec!["n1".to_owned()];
    world.run(2);
    let deferred = world.record("n1").deferred.clone().unwrap();
    assert_eq!(deferred.cause, "Inhibited", "{}", world.trace);
}

fn end_the_inhibitor(world: &mut World) {
    world.record("n1").host.as_mut().unwrap().inhibitors.clear();
    world.refusing.clear();
}

#[test]
fn a_node_deferred_for_an_inhibitor_starts_as_soon_as_it_ends() {
    let mut world = World::new(1);
    defer_for_an_inhibitor(&mut world);
    assert!(!starts(&mut world), "while it is inhibited: {}", world.trace);
    end_the_inhibitor(&mut world);
    assert!(starts(&mut world), "{}", world.wait_reasons());
}

#[test]
fn a_host_that_could_not_reboot_for_another_cause_does_not_start_early() {
    let mut world = World::new(1);
    defer_for_an_inhibitor(&mut world);
    end_the_inhibitor(&mut world);
    world.record("n1").host.as_mut().unwrap().incapable = Some("no system bus".to_owned());
    assert!(!starts(&mut world), "{}", world.trace);
}

#[test]
fn from_the_fourth_deferral_on_a_node_waits_although_the_inhibitor_has_ended() {
    let mut world = World::new(1);
    for _ in 0..3 {
        defer_for_an_inhibitor(&mut world);
        end_the_inhibitor(&mut world);
    }
    defer_for_an_inhibitor(&mut world);
    end_the_inhibitor(&mut world);
    assert!(!starts(&mut world), "{}", world.trace);
    assert!(world.wait_reasons().contains("BackingOff"), "{}", world.wait_reasons());
    world.now += TimeDelta::hours(6);
    assert!(starts(&mut world), "{}", world.wait_reasons());
}

#[test]
fn a_node_deferred_for_another_cause_waits_for_its_back_off() {
    let mut world = World::new(1);
    world.refusing = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2);
    assert_eq!(world.record("n1").deferred.as_ref().unwrap().cause, "AgentIncapable");
    world.refusing.clear();
    assert!(!starts(&mut world), "{}", world.trace);
}

#[test]
fn a_node_inhibited_after_its_agent_was_ready_is_deferred_with_back_off() {
    let mut world = World::new(1);
    for count in 1..=4 {
        assert!(starts(&mut world), "{count}: {}", world.wait_reasons());
        // The agent answers, and a program inhibits the shutdown before the cordon.
        world.surroundings();
        world.record("n1").host.as_mut().unwrap().inhibitors = vec![("fwupd".to_owned(), "firmware update".to_owned())];
        world.run_until_idle();
        let deferred = world.record("n1").deferred.clone().unwrap();
        assert_eq!(
            (deferred.count, deferred.cause.as_str()),
            (count, "Inhibited"),
            "{}",
            world.trace
        );
        assert!(!world.trace.contains("Cordon"), "{}", world.trace);
        end_the_inhibitor(&mut world);
    }
    assert!(!starts(&mut world), "the fourth time it waits: {}", world.trace);
    assert!(world.wait_reasons().contains("BackingOff"), "{}", world.wait_reasons());
}
