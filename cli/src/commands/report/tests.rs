//! The report's text.

use lockkeeper_drain::{BudgetNumbers, Decision, PodName, PodPreflight, StayReason, Tier};

use super::*;
use crate::failure::Exit;
use crate::fixture::clock;

fn pod(name: &str, blockers: Vec<Blocker>) -> PodPreflight {
    PodPreflight {
        pod: PodName::new("shop", name),
        decision: Decision::Evict,
        tier: Tier::default(),
        budget: None,
        blockers,
        doubt: None,
        grace: 30,
        may_return: None,
    }
}

fn report(node: &str, pods: Vec<PodPreflight>) -> NodeReport {
    let blockers = group_by_cause(pods.iter().flat_map(|pod| pod.blockers.clone()).collect());
    NodeReport {
        node: node.to_owned(),
        policy: DrainPolicy::default(),
        found: Ok(Preflight { pods, blockers }),
    }
}

fn pet(name: &str) -> PodPreflight {
    let blocker = Blocker::Unmanaged {
        pod: PodName::new("shop", name),
    };
    pod(name, vec![blocker])
}

fn text(reports: &[NodeReport]) -> String {
    let lines = render(reports, &clock("2026-11-24T22:00:00Z"));
    lines.into_iter().map(|line| line.text + "\n").collect()
}

#[test]
fn a_report_without_blockers_is_one_line() {
    let mut stays = pod("agent", vec![]);
    stays.decision = Decision::Skip(StayReason::DaemonSet);
    let reports = [
        report("w-01", vec![pod("web-0", vec![]), stays]),
        report("w-02", vec![]),
    ];
    expect_test::expect![[r#"
        all 2 nodes can be drained today: 1 pod to evict
    "#]]
    .assert_eq(&text(&reports));
    assert!(end(&reports).is_ok());
}

#[test]
fn a_cause_on_many_nodes_is_one_line() {
    let mut reports: Vec<NodeReport> = (1..=7)
        .map(|n| report(&format!("w-{n:02}"), vec![pet(&format!("pet-{n}"))]))
        .collect();
    let mut waits = pod("db-0", vec![]);
    let numbers = BudgetNumbers {
        allowed: 0,
        healthy: 2,
        desired: 2,
        total: 3,
    };
    waits.budget = Some((PodName::new("shop", "db"), numbers));
    reports.push(report("w-08", vec![waits]));
    expect_test::expect![[r#"
        7 of 8 nodes cannot be drained today
        pods shop/pet-1, shop/pet-2, shop/pet-3 and 4 more: no controller would recreate them (the policy's drain.unmanagedPods is Block)
            on w-01 (the default settings), w-02 (the default settings), w-03 (the default settings), w-04 (the default settings), w-05 (the default settings) and 2 more
        1 pod waits for budget shop/db, which allows no disruption now (2 of 3 ready, 2 needed)
    "#]].assert_eq(&text(&reports));
    let failure = end(&reports).unwrap_err();
    assert_eq!(
        (failure.exit, failure.message.as_str()),
        (Exit::Blocked, "blocked: 7 of 8 nodes")
    );
}

#[test]
fn a_node_that_could_not_be_checked_is_an_error() {
    let mut reports = [report("w-01", vec![])];
    reports[0].found = Err("cannot read the pods of node w-01: no answer within 15 s".to_owned());
    expect_test::expect![[r#"
        0 of 1 node cannot be drained today, 1 could not be checked
        w-01: cannot read the pods of node w-01: no answer within 15 s
    "#]]
    .assert_eq(&text(&reports));
    assert_eq!(end(&reports).unwrap_err().exit, Exit::Error);
}

#[test]
fn the_message_of_a_webhook_that_refuses_for_now_is_shown_and_does_not_block() {
    let moving = |name: &str| {
        let message = "admission webhook \"vm\" denied the request: migrating".to_owned();
        PodPreflight {
            doubt: Some(Blocker::Webhook {
                pod: PodName::new("shop", name),
                message,
            }),
            ..pod(name, vec![])
        }
    };
    let reports = [
        report("w-01", vec![moving("vm-0")]),
        report("w-02", vec![moving("vm-1")]),
    ];
    expect_test::expect![[r#"
        all 2 nodes can be drained today: 2 pods to evict
        pods shop/vm-0, shop/vm-1: admission webhook "vm" denied the request: migrating
    "#]]
    .assert_eq(&text(&reports));
    assert!(end(&reports).is_ok());
}

#[test]
fn pods_that_may_return_are_foretold_and_do_not_block() {
    let pinned = |name: &str, owner: &str| PodPreflight {
        may_return: Some(owner.to_owned()),
        ..pod(name, vec![])
    };
    let set = "CloneSet.apps.kruise.io shop/set";
    let reports = [
        report(
            "w-01",
            vec![pinned("set-0", set), pinned("pinned-0", "ReplicaSet shop/pinned")],
        ),
        report("w-02", (1..5).map(|n| pinned(&format!("set-{n}"), set)).collect()),
    ];
    expect_test::expect![[r#"
        all 2 nodes can be drained today: 6 pods to evict
        pods shop/set-0, shop/set-1, shop/set-2 and 2 more of CloneSet.apps.kruise.io shop/set tolerate the cordon and may return to their nodes; after two returns they stay and go down with the node, unless a drain rule says Block
        pod shop/pinned-0 of ReplicaSet shop/pinned tolerates the cordon and may return to its node; after two returns it stays and goes down with the node, unless a drain rule says Block
    "#]]
    .assert_eq(&text(&reports));
    assert!(end(&reports).is_ok());
}

#[test]
fn a_grace_period_longer_than_the_drain_may_take_is_foretold() {
    let broker = |name: &str, grace: i64| PodPreflight {
        grace,
        ..pod(name, vec![])
    };
    let with = |drain: serde_json::Value, pods: Vec<PodPreflight>| {
        let mut report = report("w-01", pods);
        report.policy.drain = serde_json::from_value(drain).unwrap();
        text(&[report])
    };
    let all = || vec![broker("broker-0", 3600), broker("web-0", 60), broker("slow-0", 1800)];
    let texts = [
        with(serde_json::json!({"timeoutSeconds": 60}), all()),
        with(serde_json::json!({"timeoutSeconds": 3600}), all()),
        with(serde_json::json!({"waitForGracePeriod": false}), all()),
        with(serde_json::json!({}), vec![broker("broker-0", 86_400)]),
    ];
    expect_test::expect![[r#"
        the node can be drained today: 3 pods to evict
        pods shop/broker-0, shop/slow-0 may take 3600 s to shut down, longer than drain.timeoutSeconds (60, the default settings): the drain waits for that
        the node can be drained today: 3 pods to evict
        the node can be drained today: 3 pods to evict
        pods shop/broker-0, shop/slow-0 may take 3600 s to shut down, longer than drain.timeoutSeconds (900, the default settings): the drain times out before that
        the node can be drained today: 1 pod to evict
        pod shop/broker-0 may take 86400 s to shut down, longer than drain.timeoutSeconds (900, the default settings): the drain times out before that
    "#]]
    .assert_eq(&texts.concat());
}
