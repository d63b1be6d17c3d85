//! Rollouts that go well, and what time does to them.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::Story;
use crate::common::{at, windows};

#[test]
fn a_first_rollout_reboots_every_node_once() {
    let mut story = Story::new(2);
    story.run(120);
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
fn a_node_that_no_longer_fits_the_window_waits_for_the_next_one() {
    let mut story = Story::new(2);
    story.world.policy().schedule = Ok(windows(&[("0 12 * * *", 930)]));
    story.run(70);
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
             n2 waits, DoesNotFitWindow: a reboot takes about 15 min but the window closes at 2026-11-21T12:15:30Z; the next one opens at 2026-11-22T12:00:00Z
        43   n1 WriteRecord Verifying
        43   n1 Uncordon
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn nodes_start_when_the_window_opens() {
    let mut story = Story::new(1);
    story.world.policy().schedule = Ok(windows(&[("1 12 * * *", 3600)]));
    story.run(110);
    expect![[r#"
             n1 waits, OutsideWindow: the next window opens at 2026-11-21T12:01:00Z
        60   lock SetHolders n1 starts
        60   n1 WriteRecord Preparing
        60   n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:00Z)
        61   n1 Cordon
        61   n1 WriteRecord Draining
        62   lock SetHolders n1 reboots
        62   n1 OrderReboot
        62   n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:01:02Z; times out at 2026-11-21T12:16:02Z
        103  n1 WriteRecord Verifying
        103  n1 Uncordon
        103  n1 SetSpec no order
        103  n1 WriteRecord Succeeded
        103  lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_exclusion_wins_over_the_window() {
    let mut story = Story::new(1);
    let schedule = Schedule {
        exclusions: vec![Exclusion::Dated {
            from: at("2026-11-21T00:00:00Z"),
            until: at("2026-11-21T12:00:05Z"),
            reason: "year-end freeze".to_owned(),
        }],
        ..Schedule::default()
    };
    story.world.policy().schedule = Ok(schedule);
    story.run(60);
    expect![[r#"
             n1 waits, Excluded: excluded until 2026-11-21T12:00:05Z: year-end freeze
        5    lock SetHolders n1 starts
        5    n1 WriteRecord Preparing
        5    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:05Z)
        6    n1 Cordon
        6    n1 WriteRecord Draining
        7    lock SetHolders n1 reboots
        7    n1 OrderReboot
        7    n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:07Z; times out at 2026-11-21T12:15:07Z
        48   n1 WriteRecord Verifying
        48   n1 Uncordon
        48   n1 SetSpec no order
        48   n1 WriteRecord Succeeded
        48   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn the_other_nodes_start_after_the_canary_has_soaked() {
    let mut story = Story::new(3);
    story.world.limit(2);
    let soak = TimeDelta::seconds(60);
    story.world.policy().canary = Some(Canary { nodes: 1, soak });
    story.run(220);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             n2 waits, CanarySoaking: waiting for canary n1 to finish and stay healthy
             n3 waits, CanarySoaking: waiting for canary n1 to finish and stay healthy
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
        43   lock SetHolders n1 is free
        103  lock SetHolders n2 starts, n3 starts
        103  n2 WriteRecord Preparing
        103  n2 SetSpec Prepare
        103  n3 WriteRecord Preparing
        103  n3 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:43Z)
             n3 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:43Z)
        104  n2 Cordon
        104  n3 Cordon
        104  n2 WriteRecord Draining
        104  n3 WriteRecord Draining
        105  lock SetHolders n2 reboots, n3 reboots
        105  n2 OrderReboot
        105  n3 OrderReboot
        105  n2 WriteRecord Rebooting
        105  n3 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:01:45Z; times out at 2026-11-21T12:16:45Z
             n3 waits, Rebooting: rebooting since 2026-11-21T12:01:45Z; times out at 2026-11-21T12:16:45Z
        146  n2 WriteRecord Verifying
        146  n3 WriteRecord Verifying
        146  n2 Uncordon
        146  n3 Uncordon
        146  n2 SetSpec no order
        146  n3 SetSpec no order
        146  n2 WriteRecord Succeeded
        146  n3 WriteRecord Succeeded
        146  lock SetHolders n2 is free, n3 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn nodes_start_at_the_pace_of_the_policy() {
    let mut story = Story::new(2);
    story.world.policy().pace = TimeDelta::seconds(90);
    story.run(150);
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
        43   n1 WriteRecord Verifying
        43   n1 Uncordon
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded
        43   lock SetHolders n1 is free
             n2 waits, Pacing: the next node may start at 2026-11-21T12:01:30Z
        90   lock SetHolders n2 starts
        90   n2 WriteRecord Preparing
        90   n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:30Z)
        91   n2 Cordon
        91   n2 WriteRecord Draining
        92   lock SetHolders n2 reboots
        92   n2 OrderReboot
        92   n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:01:32Z; times out at 2026-11-21T12:16:32Z
        133  n2 WriteRecord Verifying
        133  n2 Uncordon
        133  n2 SetSpec no order
        133  n2 WriteRecord Succeeded
        133  lock SetHolders n2 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn the_operators_own_node_reboots_last() {
    let mut story = Story::new(2);
    story.world.snapshot.own_node = Some("n1".to_owned());
    story.run(100);
    expect![[r#"
        0    lock SetHolders n2 starts
        0    n2 WriteRecord Preparing
        0    n2 SetSpec Prepare
             n1 waits, NoFreeSlot: no free slot: n2 in progress (1 of 1, policy limit)
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        1    n2 Cordon
        1    n2 WriteRecord Draining
        2    lock SetHolders n2 reboots
        2    n2 OrderReboot
        2    n2 WriteRecord Rebooting
             n2 waits, Rebooting: rebooting since 2026-11-21T12:00:02Z; times out at 2026-11-21T12:15:02Z
        43   n2 WriteRecord Verifying
        43   n2 Uncordon
        43   n2 SetSpec no order
        43   n2 WriteRecord Succeeded
        43   lock SetHolders n2 is free, n1 starts
        43   n1 WriteRecord Preparing
        43   n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:43Z)
        44   n1 Cordon
        44   n1 WriteRecord Draining
        45   lock SetHolders n1 reboots
        45   n1 OrderReboot
        45   n1 WriteRecord Rebooting
             n1 waits, Rebooting: rebooting since 2026-11-21T12:00:45Z; times out at 2026-11-21T12:15:45Z
        86   n1 WriteRecord Verifying
        86   n1 Uncordon
        86   n1 SetSpec no order
        86   n1 WriteRecord Succeeded
        86   lock SetHolders n1 is free
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_window_that_closes_before_the_cordon_withdraws_the_node() {
    let mut story = Story::new(1);
    story.world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    story.world.silent = vec!["n1".to_owned()];
    story.run(55);
    story.then("the agent answers when it is too late", |world| {
        world.now += TimeDelta::seconds(4);
        world.silent.clear();
    });
    story.run(3);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
             n1 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
             -- the agent answers when it is too late
        60   n1 WriteRecord ends Withdrawn: the next window opens at 2026-11-22T12:00:00Z
        60   n1 SetSpec no order
        60   n1 WriteRecord Withdrawn the next window opens at 2026-11-22T12:00:00Z
        60   lock SetHolders n1 is free
             n1 waits, OutsideWindow: the next window opens at 2026-11-22T12:00:00Z
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_node_stays_cordoned_until_its_daemon_sets_are_ready() {
    let mut story = Story::new(2);
    story.world.daemons = vec![CountedWorkload {
        name: "kube-system/cni".to_owned(),
        since: None,
    }];
    story.run(42);
    let what = "DaemonSet kube-system/cni: pod cni-x is not ready: containers with unready status: [cni]".to_owned();
    story.then(
        "it is about to come back; of its DaemonSets' pods one is not ready yet",
        |world| {
            world.node("n1").daemon_sets = DaemonSetReadiness::NotReady { what };
        },
    );
    story.run(20);
    story.then("it is ready", |world| {
        world.node("n1").daemon_sets = DaemonSetReadiness::Ready;
    });
    story.run(1);
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
             -- it is about to come back; of its DaemonSets' pods one is not ready yet
        43   n1 WriteRecord Verifying
             n1 waits, NodeNotReady: rebooted; waiting for the node to become Ready: DaemonSet kube-system/cni: pod cni-x is not ready: containers with unready status: [cni]
             -- it is ready
        62   n1 Uncordon
        62   n1 SetSpec no order
        62   n1 WriteRecord Succeeded
        62   lock SetHolders n1 is free, n2 starts
        62   n2 WriteRecord Preparing
        62   n2 SetSpec Prepare
             n2 waits, Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:01:02Z)
        63   n2 Cordon
        63   n2 WriteRecord Draining
    "#]]
    .assert_eq(&story.told());
}
