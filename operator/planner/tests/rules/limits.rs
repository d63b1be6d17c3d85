//! How many at once: topology, pace, the control plane, percents, and budgets that shrink on the way.

use std::collections::BTreeMap;

use crate::common::{World, at};
use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

/// Six nodes, `n1` to `n6`, in zones a, b, a, b, a, b; the limits alone would let all of them in.
fn zones(topology: Topology) -> World {
    let mut world = World::new(6);
    world.limit(6);
    world.policy().topology = vec![topology];
    for number in 1..=6 {
        let zone = if number % 2 == 1 { "a" } else { "b" };
        world.node(&format!("n{number}")).domains = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    }
    world
}

fn zone(max_domains: Option<usize>, max_in_progress_per_domain: Option<usize>) -> Topology {
    Topology {
        key: "zone".to_owned(),
        max_domains,
        max_in_progress_per_domain,
    }
}

#[test]
fn one_domain_reboots_at_a_time() {
    let mut world = zones(zone(Some(1), None));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n3", "n5"]);
    expect![[r#"
        n1 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n2 TopologyFull: limit for zone a reached (in progress: n1, n3, n5)
        n3 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n4 TopologyFull: limit for zone a reached (in progress: n1, n3, n5)
        n5 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n6 TopologyFull: limit for zone a reached (in progress: n1, n3, n5)
    "#]]
    .assert_eq(&world.wait_reasons());
    world.run(200);
    assert_eq!(world.wait_reasons(), "");
}

#[test]
fn a_domain_finishes_before_nodes_that_wait_longer_elsewhere() {
    let mut world = zones(zone(Some(1), None));
    world.policy().max_in_progress = Limit::Count(1);
    world.run_until_idle();
    world.run(400);
    assert_eq!(world.started(), ["n1", "n3", "n5", "n2", "n4", "n6"]);
}

#[test]
fn the_limit_per_domain_applies_to_each_domain() {
    let mut world = zones(zone(None, Some(1)));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    expect![[r#"
        n1 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n3 TopologyFull: limit for zone a reached (in progress: n1)
        n4 TopologyFull: limit for zone b reached (in progress: n2)
        n5 TopologyFull: limit for zone a reached (in progress: n1)
        n6 TopologyFull: limit for zone b reached (in progress: n2)
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn nodes_without_the_label_form_one_domain() {
    let mut world = zones(zone(Some(1), None));
    for name in ["n1", "n2"] {
        world.node(name).domains.clear();
    }
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    assert!(
        world
            .wait_reasons()
            .contains("n3 TopologyFull: limit for zone \"\" reached (in progress: n1, n2)"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn two_topology_limits_apply_together() {
    let mut world = zones(zone(None, Some(2)));
    world.policy().topology.push(Topology {
        key: "rack".to_owned(),
        max_domains: None,
        max_in_progress_per_domain: Some(1),
    });
    for (name, rack) in [
        ("n1", "r1"),
        ("n2", "r2"),
        ("n3", "r1"),
        ("n4", "r4"),
        ("n5", "r5"),
        ("n6", "r6"),
    ] {
        world.node(name).domains.insert("rack".to_owned(), rack.to_owned());
    }
    world.run_until_idle();
    // n3 shares a rack with n1; zone b is full with n2 and n4.
    assert_eq!(world.in_progress(), ["n1", "n5", "n2", "n4"]);
}

#[test]
fn the_next_node_starts_no_sooner_than_the_pace_allows() {
    let mut world = World::new(3);
    world.policy().pace = TimeDelta::seconds(600);
    world.run_until_idle();
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some());
    expect![[r#"
        n2 Pacing: the next node may start at 2026-11-21T12:10:00Z
        n3 Pacing: the next node may start at 2026-11-21T12:10:00Z
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T12:10:00Z")));
    world.run(500);
    assert_eq!(world.in_progress(), ["n2"]);
    assert!(
        world.wait_reasons().contains("n3 NoFreeSlot"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_clock_that_was_set_back_delays_nothing_without_a_pace() {
    let mut world = World::new(2);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    world.now -= TimeDelta::seconds(30);
    world.limit(2);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
}

#[test]
fn two_at_once_under_a_pace_start_one_after_the_other() {
    let mut world = World::new(2);
    world.limit(2);
    world.policy().pace = TimeDelta::seconds(10);
    world.away = TimeDelta::seconds(300);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(10);
    assert_eq!(world.in_progress(), ["n1", "n2"]);
}

#[test]
fn a_control_plane_node_waits_until_the_others_are_ready() {
    let mut world = World::new(3);
    world.limit(3);
    for name in ["n1", "n2"] {
        world.node(name).control_plane = true;
    }
    // Made a minute ago and never Ready: for maxUnavailable it is still being set up, for the control plane it is down.
    let now = world.now;
    let node = world.node("n2");
    node.created = now - TimeDelta::seconds(60);
    node.ready = Ready {
        ready: false,
        since: node.created,
        heartbeat: now,
        message: "KubeletNotReady: no network".to_owned(),
    };
    world.record("n2").host.as_mut().unwrap().required = false;
    world.run_until_idle();
    expect![[r#"
        n1 ControlPlaneBusy: another control-plane node is down: n2
        n3 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn a_control_plane_node_waits_for_the_static_pods_of_the_others() {
    let mut world = World::new(3);
    world.limit(3);
    for name in ["n1", "n2"] {
        world.node(name).control_plane = true;
    }
    world.node("n2").unready_static_pod = Some("kube-system/etcd-n2".to_owned());
    world.record("n2").host.as_mut().unwrap().required = false;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n3"], "{}", world.wait_reasons());
    assert!(world.wait_reasons().contains("n1 ControlPlaneBusy"));
    world.node("n2").unready_static_pod = None;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n3", "n1"]);
}

fn tainted(world: &mut World, name: &str) {
    let since = Some(world.now);
    let taint = "ToBeDeletedByClusterAutoscaler".to_owned();
    world.node(name).deletion = Some(Deletion::Tainted { taint, since });
}

#[test]
fn a_node_about_to_be_deleted_never_starts_and_counts_as_unavailable() {
    let mut world = World::new(2);
    tainted(&mut world, "n1");
    world.run_until_idle();
    expect![[r#"
        n1 BeingDeleted: this node has been marked for deletion since 2026-11-21T12:00:00Z (taint ToBeDeletedByClusterAutoscaler)
        n2 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n1 (being deleted: taint ToBeDeletedByClusterAutoscaler)
    "#]]
    .assert_eq(&world.wait_reasons());
    let since = world.now;
    world.node("n1").deletion = Some(Deletion::InProgress { since });
    world.limit(2);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
    assert!(
        world
            .wait_reasons()
            .contains("n1 BeingDeleted: this Node is being deleted since ")
    );
}

#[test]
fn a_stale_deletion_taint_stops_counting_and_is_named() {
    let mut world = World::new(2);
    tainted(&mut world, "n1");
    world.run_until_idle();
    assert_eq!(world.in_progress(), Vec::<String>::new());
    assert_eq!(world.plan().recheck_at, Some(world.now + TimeDelta::minutes(30)));
    world.run(1799);
    assert_eq!(world.in_progress(), Vec::<String>::new());
    world.run(5);
    assert_eq!(world.started(), ["n2"]);
    let words = "n1 BeingDeleted: this node has been marked for deletion since 2026-11-21T12:00:00Z \
                 (taint ToBeDeletedByClusterAutoscaler) but is still Ready; remove the taint if it is stale";
    assert!(world.wait_reasons().contains(words), "{}", world.wait_reasons());
    world.node("n1").ready.ready = false;
    world.run_until_idle();
    assert!(
        !world.wait_reasons().contains("still Ready"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_node_marked_for_deletion_after_its_admission_gives_its_slot_back() {
    let mut world = World::new(1);
    world.silent = vec!["n1".to_owned()];
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    tainted(&mut world, "n1");
    world.silent.clear();
    world.run(5);
    assert_eq!(world.in_progress(), Vec::<String>::new(), "{}", world.trace);
    assert!(!world.node("n1").unschedulable);
}

#[test]
fn percentages_round_down_to_at_least_one_and_zero_starts_nothing() {
    for (percent, nodes, expected) in [(10, 5, 1), (40, 5, 2), (50, 5, 2), (100, 3, 3), (0, 5, 0), (1, 1, 1)] {
        let mut world = World::new(nodes);
        world.policy().max_in_progress = Limit::Percent(percent);
        world.policy().max_unavailable = Limit::Count(9);
        world.run_until_idle();
        assert_eq!(world.in_progress().len(), expected, "{percent} % of {nodes}");
    }
}

#[test]
fn a_percentage_in_the_lock_counts_all_linux_nodes() {
    let mut world = World::new(8);
    world.limit(8);
    world.snapshot.lock = Some(Lock {
        max_in_progress: Some(Limit::Percent(25)),
        ..Lock::default()
    });
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    assert!(
        world
            .wait_reasons()
            .contains("n3 NoFreeSlot: no free slot: n1, n2 in progress (2 of 2, cluster limit)"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_lowered_limit_lets_cordoned_nodes_finish_and_admits_none() {
    let mut world = World::new(5);
    world.limit(3);
    world.away = TimeDelta::seconds(100);
    world.run_until_idle();
    world.run(10);
    assert_eq!(world.down(), 3);
    world.limit(1);
    world.run(60);
    assert_eq!(world.in_progress(), ["n1", "n2", "n3"], "what is cordoned finishes");
    let mut most = 3;
    for _ in 0..400 {
        world.run(1);
        most = most.min(world.in_progress().len().max(1));
        assert!(world.in_progress().len() <= most.max(1), "{}", world.trace);
    }
    assert_eq!(world.wait_reasons(), "");
    assert!(!world.trace.contains("Withdrawn"), "{}", world.trace);
}

#[test]
fn a_lowered_limit_withdraws_nodes_that_are_not_cordoned_yet() {
    let mut world = World::new(3);
    world.limit(3);
    world.run_until_idle();
    world.policy().max_in_progress = Limit::Count(1);
    world.run(3);
    assert_eq!(world.in_progress(), ["n1"]);
    assert_eq!(world.record("n2").deferred, None);
    assert_eq!(world.record("n3").deferred, None);
}

#[test]
fn a_lowered_limit_counts_cordoned_nodes_first() {
    let mut world = World::new(2);
    world.limit(2);
    world.silent = vec!["n1".to_owned()];
    world.blocked = vec!["n2".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert_eq!(world.started(), ["n2"]);
    world.policy().max_in_progress = Limit::Count(1);
    world.silent.clear();
    world.run(5);
    assert_eq!(world.started(), ["n2"], "{}", world.trace);
}

#[test]
fn a_restored_slot_counts_before_another_node_is_cordoned() {
    let mut world = World::new(2);
    world.limit(2);
    world.silent = vec!["n1".to_owned()];
    world.blocked = vec!["n2".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert_eq!(world.started(), ["n2"]);
    world.policy().max_in_progress = Limit::Count(1);
    world
        .snapshot
        .lock
        .as_mut()
        .unwrap()
        .holders
        .retain(|holder| holder.node != "n2");
    world.silent.clear();
    world.run(5);
    assert_eq!(world.started(), ["n2"], "{}", world.trace);
}
