//! Which nodes may be in progress at the same time.

use expect_test::expect;
use lockkeeper_planner::*;

use crate::Story;
use crate::common::policy;

#[test]
fn two_policies_share_one_slot() {
    let mut story = Story::new(2);
    story.world.snapshot.policies.insert("other".into(), policy());
    story.world.node("n2").policies = ["other".into()].into();
    story.run(110);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
        0    n2 SetSpec no order
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1 in progress (1 of 1, cluster limit)
        1    n1 Cordon
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot
        2    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
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
        86   n2 WriteRecord Verifying
        86   n2 Uncordon
        86   n2 SetSpec no order
        86   n2 WriteRecord Succeeded
        86   lock SetHolders n2 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn control_plane_nodes_reboot_last_and_one_at_a_time() {
    let mut story = Story::new(3);
    story.world.limit(3);
    story.world.node("n1").control_plane = true;
    story.world.node("n2").control_plane = true;
    story.run(110);
    expect![[r#"
        0    lock SetHolders n3 starts, n1 starts
        0    n3 WriteRecord Preparing
        0    n3 SetSpec Prepare
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, ControlPlaneBusy: another control-plane node is down: n1
             n3 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        1    n1 Cordon
        1    n3 Cordon
        1    n1 WriteRecord Draining
        1    n3 WriteRecord Draining
        2    lock SetHolders n1 reboots, n3 reboots
        2    n1 OrderReboot
        2    n3 OrderReboot
        2    n1 WriteRecord Rebooting
        2    n3 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
             n3 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        43   n1 WriteRecord Verifying
        43   n3 WriteRecord Verifying
        43   n1 Uncordon
        43   n3 Uncordon
        43   n1 SetSpec no order
        43   n3 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   n3 WriteRecord Succeeded
        43   lock SetHolders n1 is free, n3 is free, n2 starts
        43   n2 WriteRecord Preparing
        43   n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:43Z)
        44   n2 Cordon
        44   n2 WriteRecord Draining
        45   lock SetHolders n2 reboots
        45   n2 OrderReboot
        45   n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:00:45Z; times out at 2026-11-21T12:15:45Z
        86   n2 WriteRecord Verifying
        86   n2 Uncordon
        86   n2 SetSpec no order
        86   n2 WriteRecord Succeeded
        86   lock SetHolders n2 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn zones_reboot_one_after_the_other() {
    let mut story = Story::new(4);
    let key = "topology.kubernetes.io/zone".to_owned();
    for (name, zone) in [("n1", "a"), ("n2", "b"), ("n3", "a"), ("n4", "b")] {
        story.world.node(name).domains.insert(key.clone(), zone.to_owned());
    }
    story.world.limit(2);
    story.world.policy().topology = vec![Topology {
        key,
        max_domains: Some(1),
        max_in_progress_per_domain: None,
    }];
    story.run(110);
    expect![[r#"
        0    lock SetHolders n1 starts, n3 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
        0    n3 WriteRecord Preparing
        0    n3 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, NoFreeSlot: no free slot: n1, n3 in progress (2 of 2, policy limit)
             n3 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n4 waits, NoFreeSlot: no free slot: n1, n3 in progress (2 of 2, policy limit); 1 node ahead in the queue
        1    n1 Cordon
        1    n3 Cordon
        1    n1 WriteRecord Draining
        1    n3 WriteRecord Draining
        2    lock SetHolders n1 reboots, n3 reboots
        2    n1 OrderReboot
        2    n3 OrderReboot
        2    n1 WriteRecord Rebooting
        2    n3 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
             n3 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        43   n1 WriteRecord Verifying
        43   n3 WriteRecord Verifying
        43   n1 Uncordon
        43   n3 Uncordon
        43   n1 SetSpec no order
        43   n3 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   n3 WriteRecord Succeeded
        43   lock SetHolders n1 is free, n3 is free, n2 starts, n4 starts
        43   n2 WriteRecord Preparing
        43   n2 SetSpec Prepare
        43   n4 WriteRecord Preparing
        43   n4 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:43Z)
             n4 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:43Z)
        44   n2 Cordon
        44   n4 Cordon
        44   n2 WriteRecord Draining
        44   n4 WriteRecord Draining
        45   lock SetHolders n2 reboots, n4 reboots
        45   n2 OrderReboot
        45   n4 OrderReboot
        45   n2 WriteRecord Rebooting
        45   n4 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:00:45Z; times out at 2026-11-21T12:15:45Z
             n4 waits, Rebooting: rebooting since 2026-11-21T12:00:45Z; times out at 2026-11-21T12:15:45Z
        86   n2 WriteRecord Verifying
        86   n4 WriteRecord Verifying
        86   n2 Uncordon
        86   n4 Uncordon
        86   n2 SetSpec no order
        86   n4 SetSpec no order
        86   n2 WriteRecord Succeeded
        86   n4 WriteRecord Succeeded
        86   lock SetHolders n2 is free, n4 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_unavailable_node_counts_against_max_unavailable() {
    let mut story = Story::new(2);
    story.world.node("n2").ready.ready = false;
    story.world.record("n2").host.as_mut().unwrap().required = false;
    story.run(3);
    story.then("n2 is back", |world| world.boot("n2")).run(60);
    expect![[r#"
             n1 waits, TooManyUnavailable: 1 node unavailable, at most 1 allowed: n2 (NotReady)
             -- n2 is back
        3    lock SetHolders n1 starts
        3    n1 WriteRecord Preparing
        3    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:03Z)
        4    n1 Cordon
        4    n1 WriteRecord Draining
        5    lock SetHolders n1 reboots
        5    n1 OrderReboot
        5    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:05Z; times out at 2026-11-21T12:15:05Z
        46   n1 WriteRecord Verifying
        46   n1 Uncordon
        46   n1 SetSpec no order
        46   n1 WriteRecord Succeeded
        46   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}
