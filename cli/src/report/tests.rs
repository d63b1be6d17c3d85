//! The report's words.

use lockkeeper_drain::{PodPreflight, Stays, Tier};

use super::*;
use crate::failure::Exit;
use crate::fixture::moment;

fn pod(name: &str, blockers: Vec<Blocker>) -> PodPreflight {
    PodPreflight {
        pod: PodName::new("shop", name),
        decision: Decision::Evict,
        tier: Tier::default(),
        budget: None,
        blockers,
    }
}

fn look(node: &str, pods: Vec<PodPreflight>) -> Look {
    let blockers = group(pods.iter().flat_map(|pod| pod.blockers.clone()).collect());
    Look {
        node: node.to_owned(),
        choice: Choice::default(),
        found: Ok(Preflight { pods, blockers }),
    }
}

fn pet(name: &str) -> PodPreflight {
    let blocker = Blocker::Unmanaged {
        pod: PodName::new("shop", name),
    };
    pod(name, vec![blocker])
}

fn text(looks: &[Look]) -> String {
    let lines = render(looks, &moment("2026-11-24T22:00:00Z"));
    lines.into_iter().map(|line| line.text + "\n").collect()
}

#[test]
fn nothing_in_the_way_is_one_line() {
    let mut stays = pod("agent", vec![]);
    stays.decision = Decision::Skip(Stays::DaemonSet);
    let looks = [look("w-01", vec![pod("web-0", vec![]), stays]), look("w-02", vec![])];
    expect_test::expect![[r#"
        all 2 nodes can be emptied today: 1 pod would move
    "#]]
    .assert_eq(&text(&looks));
    assert!(end(&looks).is_ok());
}

#[test]
fn what_blocks_many_nodes_is_one_cause() {
    let mut looks: Vec<Look> = (1..=7)
        .map(|n| look(&format!("w-{n:02}"), vec![pet(&format!("pet-{n}"))]))
        .collect();
    let mut waits = pod("db-0", vec![]);
    let numbers = Numbers {
        allowed: 0,
        healthy: 2,
        desired: 2,
        total: 3,
    };
    waits.budget = Some((PodName::new("shop", "db"), numbers));
    looks.push(look("w-08", vec![waits]));
    expect_test::expect![[r#"
        7 of 8 nodes cannot be emptied today
        pods shop/pet-1, shop/pet-2, shop/pet-3 and 4 more: no controller would create them again (the policy's drain.unmanagedPods is Block)
            on w-01 (the defaults), w-02 (the defaults), w-03 (the defaults), w-04 (the defaults), w-05 (the defaults) and 2 more
        1 pod waits for budget shop/db, which has no room just now (2 of 3 ready, 2 needed)
    "#]].assert_eq(&text(&looks));
    let failure = end(&looks).unwrap_err();
    assert_eq!(
        (failure.exit, failure.message.as_str()),
        (Exit::Blocked, "blocked: 7 of 8 nodes")
    );
}

#[test]
fn a_node_that_could_not_be_looked_at_is_not_taken_for_well() {
    let mut looks = [look("w-01", vec![])];
    looks[0].found = Err("reading the pods of node w-01: no answer within 15 s".to_owned());
    expect_test::expect![[r#"
        0 of 1 nodes cannot be emptied today, 1 could not be looked at
        w-01: reading the pods of node w-01: no answer within 15 s
    "#]]
    .assert_eq(&text(&looks));
    assert_eq!(end(&looks).unwrap_err().exit, Exit::Error);
}
