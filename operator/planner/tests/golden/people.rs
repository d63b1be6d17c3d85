//! What people say and do.

use expect_test::expect;
use lockkeeper_planner::*;

use crate::Story;

#[test]
fn a_hold_during_the_drain_ends_the_operation() {
    let mut story = Story::new(2);
    story.world.blocked = vec!["n1".to_owned()];
    story.run(3);
    story.then("n1 is put on hold", |world| {
        let reason = "debugging the NIC".to_owned();
        world.node("n1").hold = Some(Hold {
            reason,
            until: None,
            invalid_until: None,
        });
    });
    story.run(50);
    story.then("the hold ends, and n1 is uncordoned", |world| {
        world.blocked.clear();
        world.node("n1").hold = None;
        world.node("n1").unschedulable = false;
    });
    story.run(50);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
             n1 waits, EvictionBlocked: pod shop/db-0: budget shop/db allows 0
             -- n1 is put on hold
        3    n1 WriteRecord ends Held: held by annotation: "debugging the NIC"
        3    n1 Uncordon stays cordoned
        3    n1 SetSpec no order
        3    n1 WriteRecord Held held by annotation: "debugging the NIC"
        3    lock SetHolders n1 is free, n2 starts
        3    n2 WriteRecord Preparing
        3    n2 SetSpec Prepare
             n1 waits, Held: held by annotation: "debugging the NIC"
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:03Z)
        4    n2 Cordon
        4    n2 WriteRecord Draining
        5    lock SetHolders n2 reboots
        5    n2 OrderReboot
        5    n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:00:05Z; times out at 2026-11-21T12:15:05Z
        46   n2 WriteRecord Verifying
        46   n2 Uncordon
        46   n2 SetSpec no order
        46   n2 WriteRecord Succeeded
        46   lock SetHolders n2 is free
             -- the hold ends, and n1 is uncordoned
        53   lock SetHolders n1 starts
        53   n1 WriteRecord Preparing
        53   n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:53Z)
        54   n1 Cordon
        54   n1 WriteRecord Draining
        55   lock SetHolders n1 reboots
        55   n1 OrderReboot
        55   n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:55Z; times out at 2026-11-21T12:15:55Z
        96   n1 WriteRecord Verifying
        96   n1 Uncordon
        96   n1 SetSpec no order
        96   n1 WriteRecord Succeeded
        96   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_cancel_during_the_drain_defers_the_node() {
    let mut story = Story::new(1);
    story.world.blocked = vec!["n1".to_owned()];
    story.run(3);
    story.then("cancel", |world| world.command("cancel", "n1")).run(3);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        1    n1 Cordon
        1    n1 WriteRecord Draining
             n1 waits, EvictionBlocked: pod shop/db-0: budget shop/db allows 0
             -- cancel
        3    n1 WriteRecord cancel -> Ok("operation aborted; the node is deferred")
        3    n1 Uncordon
        3    n1 SetSpec no order
        3    n1 WriteRecord Deferred cancelled by a person
        3    lock SetHolders n1 is free
        3    n1 RemoveCommand
             n1 waits, BackingOff: deferred once (Cancelled: cancelled by a person); next attempt at 2026-11-21T12:10:03Z
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_uncordon_during_the_drain_defers_the_node() {
    let mut story = Story::new(1);
    story.world.blocked = vec!["n1".to_owned()];
    story.run(3);
    story
        .then("kubectl uncordon n1", |world| world.node("n1").unschedulable = false)
        .run(3);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        1    n1 Cordon
        1    n1 WriteRecord Draining
             n1 waits, EvictionBlocked: pod shop/db-0: budget shop/db allows 0
             -- kubectl uncordon n1
        3    n1 WriteRecord ends Deferred: uncordoned by another client during the drain; deferred
        3    n1 Uncordon
        3    n1 SetSpec no order
        3    n1 WriteRecord Deferred uncordoned by another client during the drain; deferred
        3    lock SetHolders n1 is free
             n1 waits, BackingOff: deferred once (Uncordoned: uncordoned by another client during the drain; deferred); next attempt at 2026-11-21T12:10:03Z
    "#]].assert_eq(&story.told());
}

#[test]
fn a_requested_reboot_waits_for_its_approval() {
    let mut story = Story::new(1);
    story.world.policy().approval = Approval::Manual;
    story.world.record("n1").host.as_mut().unwrap().required = false;
    story.run(1);
    story.then("a reboot is requested", |world| {
        world.node("n1").requested = Some("firmware".to_owned());
    });
    story.run(1);
    story
        .then("and approved", |world| {
            world.node("n1").approved = Some("go".to_owned());
        })
        .run(60);
    expect![[r#"
             -- a reboot is requested
             n1 waits, AwaitingApproval: waiting for manual approval (required by policy general)
             -- and approved
        2    lock SetHolders n1 starts
        2    n1 WriteRecord Preparing
        2    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:02Z)
        3    n1 Cordon
        3    n1 WriteRecord Draining
        4    lock SetHolders n1 reboots
        4    n1 OrderReboot
        4    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:04Z; times out at 2026-11-21T12:15:04Z
        45   n1 WriteRecord Verifying
        45   n1 Uncordon
        45   n1 SetSpec no order
        45   n1 RemoveRequest
        45   n1 RemoveApproval
        45   n1 WriteRecord Succeeded
        45   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_suspended_policy_starts_no_node() {
    let mut story = Story::new(2);
    story.run(3);
    story.then("suspend", |world| world.policy().suspend = true).run(60);
    story.then("and go on", |world| world.policy().suspend = false).run(60);
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
             -- suspend
             n2 waits, Suspended: policy general is suspended
        43   n1 WriteRecord Verifying
        43   n1 Uncordon
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   lock SetHolders n1 is free
             -- and go on
        63   lock SetHolders n2 starts
        63   n2 WriteRecord Preparing
        63   n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:03Z)
        64   n2 Cordon
        64   n2 WriteRecord Draining
        65   lock SetHolders n2 reboots
        65   n2 OrderReboot
        65   n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:01:05Z; times out at 2026-11-21T12:16:05Z
        106  n2 WriteRecord Verifying
        106  n2 Uncordon
        106  n2 SetSpec no order
        106  n2 WriteRecord Succeeded
        106  lock SetHolders n2 is free
    "#]]
    .assert_eq(&story.told());
}
