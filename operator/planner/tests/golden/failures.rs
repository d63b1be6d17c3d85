//! What goes wrong, and who goes on.

use chrono::TimeDelta;
use expect_test::expect;

use crate::Story;

#[test]
fn a_node_whose_drain_is_blocked_is_deferred() {
    let mut story = Story::new(2);
    story.world.blocked = vec!["n1".to_owned()];
    story.run(970);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
             n1 waits, EvictionBlocked: pod shop/db-0: budget shop/db allows 0
        901  n1 WriteRecord ends Deferred: pod shop/db-0: budget shop/db allows 0
        901  n1 Uncordon
        901  n1 SetSpec no order
        901  n1 WriteRecord Deferred pod shop/db-0: budget shop/db allows 0
        901  lock SetHolders n1 is free, n2 starts
        901  n2 WriteRecord Preparing
        901  n2 SetSpec Prepare
             n1 waits, BackingOff: deferred once (EvictionBlocked: pod shop/db-0: budget shop/db allows 0); next attempt at 2026-11-21T12:25:01Z
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:15:01Z)
        902  n2 Cordon
        902  n2 WriteRecord Draining
        903  lock SetHolders n2 reboots
        903  n2 OrderReboot
        903  n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:15:03Z; times out at 2026-11-21T12:30:03Z
        944  n2 WriteRecord Verifying
        944  n2 Uncordon
        944  n2 SetSpec no order
        944  n2 WriteRecord Succeeded
        944  lock SetHolders n2 is free
    "#]].assert_eq(&story.told());
}

#[test]
fn a_node_whose_agent_refuses_is_deferred() {
    let mut story = Story::new(1);
    story.world.refusing = vec!["n1".to_owned()];
    story.run(5);
    story
        .then("polkit lets it, later", |world| world.refusing.clear())
        .run(660);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        1    n1 WriteRecord ends Deferred: the agent cannot reboot this node: polkit asks for a password
        1    n1 SetSpec no order
        1    n1 WriteRecord Deferred the agent cannot reboot this node: polkit asks for a password
        1    lock SetHolders n1 is free
             n1 waits, BackingOff: deferred once (AgentIncapable: the agent cannot reboot this node: polkit asks for a password); next attempt at 2026-11-21T12:10:01Z
             -- polkit lets it, later
        601  lock SetHolders n1 starts
        601  n1 WriteRecord Preparing
        601  n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:10:01Z)
        602  n1 Cordon
        602  n1 WriteRecord Draining
        603  lock SetHolders n1 reboots
        603  n1 OrderReboot
        603  n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:10:03Z; times out at 2026-11-21T12:25:03Z
        644  n1 WriteRecord Verifying
        644  n1 Uncordon
        644  n1 SetSpec no order
        644  n1 WriteRecord Succeeded
        644  lock SetHolders n1 is free
    "#]].assert_eq(&story.told());
}

#[test]
fn a_node_that_does_not_come_back_fails_and_can_be_retried() {
    let mut story = Story::new(2);
    story.world.never_back = vec!["n1".to_owned()];
    story.run(910);
    story.then("a person presses its power button, and retries", |world| {
        world.never_back.clear();
        world.boot("n1");
        world.command("retry", "n1");
    });
    story.run(60);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot
        2    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        902  n1 WriteRecord Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        902  n1 SetSpec no order
             n1 waits, Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
             n2 waits, BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
             -- a person presses its power button, and retries
        910  n1 WriteRecord retry -> Ok("the node has a new boot ID; its health is checked again")
        910  n1 RemoveCommand
        910  n1 Uncordon
        910  n1 WriteRecord Succeeded came back late: 15 min after the reboot was ordered, 15 min were allowed
        910  lock SetHolders n1 is free, n2 starts
        910  n2 WriteRecord Preparing
        910  n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:15:10Z)
        911  n2 Cordon
        911  n2 WriteRecord Draining
        912  lock SetHolders n2 reboots
        912  n2 OrderReboot
        912  n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:15:12Z; times out at 2026-11-21T12:30:12Z
        953  n2 WriteRecord Verifying
        953  n2 Uncordon
        953  n2 SetSpec no order
        953  n2 WriteRecord Succeeded
        953  lock SetHolders n2 is free
    "#]].assert_eq(&story.told());
}

#[test]
fn a_failed_node_can_be_released() {
    let mut story = Story::new(2);
    story.world.never_back = vec!["n1".to_owned()];
    story.run(910);
    story.then("release", |world| world.command("release", "n1")).run(5);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot
        2    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        902  n1 WriteRecord Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        902  n1 SetSpec no order
             n1 waits, Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
             n2 waits, BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
             -- release
        910  n1 WriteRecord release -> Ok("slot released; node uncordoned")
        910  n1 Uncordon
        910  n1 WriteRecord Released n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        910  lock SetHolders n1 is free
        910  n1 RemoveCommand
             n1 waits, Released: released manually after a failure (n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it); not rebooted again for the same cause
             n2 waits, TooManyUnavailable: 1 node unavailable, at most 1 allowed: n1 (NotReady)
    "#]].assert_eq(&story.told());
}

#[test]
fn an_open_breaker_starts_a_probe_after_its_cooldown() {
    let mut story = Story::new(3);
    story.world.limit(2);
    story.world.policy().pace = TimeDelta::seconds(460);
    story.world.policy().breaker.cooldown = Some(TimeDelta::seconds(120));
    story.world.never_back = vec!["n1".to_owned()];
    story.run(1150);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, Pacing: the next node may start at 2026-11-21T12:07:40Z
             n3 waits, Pacing: the next node may start at 2026-11-21T12:07:40Z
        1    n1 Cordon
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot
        2    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        460  lock SetHolders n2 starts
        460  n2 WriteRecord Preparing
        460  n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:07:40Z)
             n3 waits, NoFreeSlot: no free slot: n1, n2 in progress (2 of 2, policy limit)
        461  n2 Cordon
        461  n2 WriteRecord Draining
        462  lock SetHolders n2 reboots
        462  n2 OrderReboot
        462  n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:07:42Z; times out at 2026-11-21T12:22:42Z
        503  n2 WriteRecord Verifying
        503  n2 Uncordon
        503  n2 SetSpec no order
        503  n2 WriteRecord Succeeded
        503  lock SetHolders n2 is free
             n3 waits, Pacing: the next node may start at 2026-11-21T12:15:20Z
        902  n1 WriteRecord Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        902  n1 SetSpec no order
             n1 waits, Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
             n3 waits, BreakerOpen: breaker open: 1 failed node (n1); one node starts as a probe at 2026-11-21T12:17:02Z
        1022 lock SetHolders n3 starts
        1022 n3 WriteRecord Preparing
        1022 n3 SetSpec Prepare
             n3 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:17:02Z)
        1023 n3 Cordon
        1023 n3 WriteRecord Draining
        1024 lock SetHolders n3 reboots
        1024 n3 OrderReboot
        1024 n3 WriteRecord Rebooting
             n3 waits, Rebooting: rebooting since 2026-11-21T12:17:04Z; times out at 2026-11-21T12:32:04Z
        1065 n3 WriteRecord Verifying
        1065 n3 Uncordon
        1065 n3 SetSpec no order
        1065 n3 WriteRecord Succeeded
        1065 lock SetHolders n3 is free
    "#]].assert_eq(&story.told());
}

#[test]
fn a_deleted_lock_is_rebuilt_from_the_operations() {
    let mut story = Story::new(2);
    story.run(5);
    story
        .then("a person deletes the lock", |world| world.snapshot.lock = None)
        .run(50);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot
        2    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
             -- a person deletes the lock
        5    lock CreateLock
        5    lock SetHolders n1 got its entry back
        43   n1 WriteRecord Verifying
        43   n1 Uncordon
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   lock SetHolders n1 is free, n2 starts
        43   n2 WriteRecord Preparing
        43   n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:43Z)
        44   n2 Cordon
        44   n2 WriteRecord Draining
        45   lock SetHolders n2 reboots
        45   n2 OrderReboot
        45   n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:00:45Z; times out at 2026-11-21T12:15:45Z
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_operator_that_restarts_after_each_write_finishes_the_rollout() {
    let mut story = Story::new(1);
    for _ in 0..60 {
        // One write, and a new process that knows nothing but what the API server holds.
        story.world.pass(1);
        story.world.now += TimeDelta::seconds(1);
        story.world.surroundings();
    }
    story.run(1);
    expect![[r#"
        0    lock SetHolders n1 starts
        1    n1 WriteRecord Preparing
        2    n1 SetSpec Prepare
        3    n1 Cordon
        4    n1 WriteRecord Draining
        5    lock SetHolders n1 reboots
        6    n1 OrderReboot
        7    n1 WriteRecord Rebooting
        47   n1 WriteRecord Verifying
        48   n1 Uncordon
        49   n1 SetSpec no order
        50   n1 WriteRecord Succeeded
        51   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}
