//! Reboots that do not clear their cause.

use chrono::TimeDelta;
use expect_test::expect;

use crate::common::World;

/// The host of `n1` requires a reboot from now on.
fn require(world: &mut World, reasons: &[&str]) {
    let now = world.now;
    let host = world.record("n1").host.as_mut().unwrap();
    host.required = true;
    host.required_since = Some(now);
    host.reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
}

/// `n1` was rebooted for these reasons a moment ago.
fn rebooted_for(reasons: &[&str]) -> World {
    let mut world = World::new(1);
    require(&mut world, reasons);
    reboot(&mut world);
    world
}

fn reboot(world: &mut World) {
    let before = world.record("n1").last_reboot.clone();
    world.run_until_idle();
    world.run(60);
    let after = world.record("n1").last_reboot.clone();
    assert_ne!(after, before, "{}", world.trace);
}

fn starts(world: &mut World) -> bool {
    world.run_until_idle();
    !world.in_progress().is_empty()
}

#[test]
fn a_node_that_still_requires_a_reboot_is_left_alone_for_a_day() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(60);
    let host = world.record("n1").host.as_mut().unwrap();
    host.required = true;
    host.reasons = vec!["linux-image-6.1.0-28".to_owned()];
    world.run_until_idle();
    let expected = expect![[r#"
        n1 StillRequired: still requires a reboot for the same cause after rebooting at 2026-11-21T12:00:43Z; next attempt not before 2026-11-22T12:00:43Z
    "#]];
    expected.assert_eq(&world.wait_reasons());
    world.now += TimeDelta::hours(25);
    world.run_until_idle();
    assert_eq!(world.snapshot.lock.as_ref().unwrap().holders.len(), 1);
}

#[test]
fn some_of_the_reasons_of_the_last_reboot_are_the_same_cause() {
    let mut world = rebooted_for(&["glibc", "kernel-core", "linux-firmware"]);
    for fewer in [&["glibc", "linux-firmware"][..], &["kernel-core"]] {
        require(&mut world, fewer);
        assert!(!starts(&mut world), "{fewer:?}");
        assert!(
            world.wait_reasons().contains("StillRequired"),
            "{}",
            world.wait_reasons()
        );
    }
}

#[test]
fn one_further_reason_is_another_cause() {
    let mut world = rebooted_for(&["glibc", "kernel-core"]);
    require(&mut world, &["glibc", "openssl"]);
    assert!(starts(&mut world), "{}", world.wait_reasons());
}

#[test]
fn a_reason_that_a_full_list_may_have_lacked_is_no_other_cause() {
    let names: Vec<String> = (10..60).map(|number| format!("package-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = rebooted_for(&names[..32]);
    require(&mut world, &names[20..50]);
    assert!(!starts(&mut world), "{}", world.trace);
    require(&mut world, &["another", names[0]]);
    assert!(starts(&mut world), "{}", world.wait_reasons());
}

#[test]
fn each_reboot_in_vain_doubles_the_pause_up_to_four_weeks() {
    let mut world = rebooted_for(&["glibc", "kernel-core"]);
    for days in [1, 2, 4, 8, 16, 28, 28] {
        require(&mut world, &["glibc"]);
        let last = world.record("n1").last_reboot.clone().unwrap();
        world.now = last.time + TimeDelta::days(days) - TimeDelta::seconds(1);
        assert!(!starts(&mut world), "before {days} days: {}", world.trace);
        world.now += TimeDelta::seconds(1);
        reboot(&mut world);
    }
    require(&mut world, &["glibc"]);
    assert!(
        world.wait_reasons().contains("after 8 reboots in a row"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_requirement_that_begins_a_day_after_the_reboot_is_a_new_one() {
    let mut world = rebooted_for(&["glibc"]);
    require(&mut world, &["glibc"]);
    world.now += TimeDelta::days(1);
    reboot(&mut world);
    assert_eq!(world.record("n1").last_reboot.as_ref().unwrap().repeats, 1);
    world.now += TimeDelta::hours(25);
    require(&mut world, &["glibc"]);
    reboot(&mut world);
    assert_eq!(world.record("n1").last_reboot.as_ref().unwrap().repeats, 0);
}

#[test]
fn a_requested_reboot_starts_at_once_and_ends_the_row_of_reboots_in_vain() {
    let mut world = rebooted_for(&["glibc"]);
    require(&mut world, &["glibc"]);
    world.now += TimeDelta::days(1);
    reboot(&mut world);
    require(&mut world, &["glibc"]);
    world.node("n1").requested = Some("the flag is right".to_owned());
    reboot(&mut world);
    assert_eq!(world.record("n1").last_reboot.as_ref().unwrap().repeats, 0);
    require(&mut world, &["glibc"]);
    assert!(!starts(&mut world), "a request counts once: {}", world.trace);
}
