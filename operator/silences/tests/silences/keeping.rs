//! When silences are made, extended and ended.

use std::time::Duration;

use lockkeeper_silences::Outcome;
use serde_json::json;
use tokio::time::sleep;

use crate::alertmanager::{Alertmanager, Operator};

const CONFIG: &str = "url: http://alerts/";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn silenced(node: &str, seconds: i64) -> (String, i64) {
    (node.to_owned(), seconds)
}

#[tokio::test(start_paused = true)]
async fn a_node_is_silenced_while_it_is_in_progress_and_two_minutes_longer() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    assert_eq!(alertmanager.active(), [silenced("w-01", 899)]);
    let document = alertmanager.documents().remove(0);
    assert_eq!(
        document["matchers"],
        json!([{"name": "node", "value": "w-01", "isRegex": false, "isEqual": true}])
    );
    assert_eq!(
        document["comment"],
        "Lockkeeper reboots node w-01 (policy workers, operation op-w-01)"
    );
    sleep(seconds(60)).await;
    operator.has(&[], &[]).await;
    assert_eq!(alertmanager.active(), [silenced("w-01", 119)]);
    sleep(seconds(121)).await;
    assert_eq!(alertmanager.active(), []);
    assert_eq!(
        (operator.count(Outcome::Created), operator.count(Outcome::Ended)),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_extended_as_long_as_the_operation_lasts() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    for _ in 0..100 {
        sleep(seconds(100)).await;
        let active = alertmanager.active();
        let [(_, left)] = active.as_slice() else {
            panic!("{active:?}")
        };
        assert!((200..=900).contains(left), "{left}");
    }
    assert_eq!(operator.count(Outcome::Created), 1);
    assert!(operator.count(Outcome::Extended) < 25);
}

#[tokio::test(start_paused = true)]
async fn the_alerts_of_a_node_that_failed_are_heard_at_once() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01", "w-02"], &[]).await;
    operator.has(&["w-02"], &["w-01"]).await;
    assert_eq!(alertmanager.active(), [silenced("w-02", 899)]);
    // A retry continues the same operation.
    operator.has(&["w-01", "w-02"], &[]).await;
    assert_eq!(alertmanager.active(), [silenced("w-02", 899), silenced("w-01", 899)]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_ends_by_itself_if_no_operator_is_left() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    operator.crashes();
    sleep(seconds(900)).await;
    assert_eq!(alertmanager.active(), []);
}

#[tokio::test(start_paused = true)]
async fn the_next_operator_continues_and_ends_the_silences_of_one_that_crashed() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01", "w-02"], &[]).await;
    operator.crashes();
    sleep(seconds(600)).await;
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    assert_eq!(alertmanager.active(), [silenced("w-01", 899), silenced("w-02", 119)]);
    assert_eq!(operator.count(Outcome::Created), 0);
}

#[tokio::test(start_paused = true)]
async fn silences_of_people_and_of_other_clusters_are_left_alone() {
    let alertmanager = Alertmanager::new();
    alertmanager.add("a person", "w-01");
    alertmanager.add("lockkeeper c2", "of cluster c2 (policy workers, operation op-w-01)");
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    operator.has(&[], &[]).await;
    let left: Vec<i64> = alertmanager.active().iter().map(|(_, left)| *left).collect();
    assert_eq!(left, [3599, 3599, 119]);
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_that_is_away_is_asked_again_after_growing_pauses() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    alertmanager.set_down(true);
    operator.has(&["w-01"], &[]).await;
    sleep(seconds(600)).await;
    let attempts = alertmanager.take_requests().len();
    assert!(
        (13..=16).contains(&attempts),
        "{attempts}: 2, 4, 8, 16, 32, 60, 60 s ..."
    );
    assert_eq!(operator.count(Outcome::Failed), attempts);
    alertmanager.set_down(false);
    sleep(seconds(61)).await;
    assert_eq!(alertmanager.active().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_node_in_progress_alertmanager_is_asked_nothing() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&[], &[]).await;
    alertmanager.take_requests();
    for _ in 0..100 {
        operator.has(&[], &[]).await;
        sleep(seconds(600)).await;
    }
    assert_eq!(alertmanager.take_requests(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_does_not_lead_asks_nothing_and_ends_at_once() {
    let alertmanager = Alertmanager::new();
    let operator = Operator::new(&alertmanager, CONFIG);
    operator.has(&["w-01"], &[]).await;
    operator.stops_leading();
    alertmanager.take_requests();
    sleep(seconds(3600)).await;
    assert_eq!(alertmanager.take_requests(), [""; 0]);
    assert_eq!(operator.ends().await, Duration::ZERO);
}
