//! When messages are sent, and what happens if a receiver does not accept them.

use std::time::Duration;

use lockkeeper_notify::{Event, Outcome};
use tokio::time::sleep;

use crate::world::{Answer, World, event};

const CHAT: &str =
    "receivers: [{name: chat, format: Slack, url: 'http://chat/hunter2', events: [RebootSucceeded, Failed]}]";

fn rebooted(node: &str) -> Event {
    event("RebootSucceeded", node, "rebooted and verified in 60 s")
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

#[tokio::test(start_paused = true)]
async fn events_of_a_short_time_become_one_message_and_the_next_one_comes_10_s_later() {
    let world = World::new(CHAT);
    world.notify(rebooted("w-01"));
    world.notify(rebooted("w-02"));
    sleep(Duration::from_secs(4)).await;
    world.notify(rebooted("w-03"));
    sleep(Duration::from_secs(1)).await;
    world.notify(rebooted("w-04"));
    sleep(minutes(1)).await;
    let received = world.received();
    let times: Vec<_> = received
        .iter()
        .map(|(time, _, text)| (*time, text.lines().next().unwrap()))
        .collect();
    assert_eq!(
        times,
        [(2, "2 events: 2 RebootSucceeded"), (12, "2 events: 2 RebootSucceeded")]
    );
    assert_eq!(world.count("chat", Outcome::Sent), 4);
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_at_once_are_one_message_of_twenty_lines() {
    let world = World::new(CHAT);
    for node in 0..2500 {
        world.notify(rebooted(&format!("w-{node:04}")));
    }
    // The queue holds 4,096 that were not looked at yet.
    sleep(Duration::from_secs(1)).await;
    for node in 2500..4999 {
        world.notify(rebooted(&format!("w-{node:04}")));
    }
    world.notify(event("Failed", "w-4999", "not back within 15 min"));
    sleep(minutes(1)).await;
    let received = world.received();
    let [(2, _, text)] = received.as_slice() else {
        panic!("{received:?}")
    };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 22);
    assert_eq!(lines[0], "5000 events: 4999 RebootSucceeded, 1 Failed");
    assert_eq!(
        lines[1],
        "Warning: Failed node w-4999 (policy workers): not back within 15 min"
    );
    assert_eq!(lines[21], "and 4980 more");
    assert_eq!(world.count("chat", Outcome::Sent), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_again_after_growing_pauses_or_when_the_receiver_asks_for_it() {
    let world = World::new(CHAT);
    let busy = Answer::Status(503, None);
    world.answers("chat", &[busy, busy, Answer::Status(429, Some(30)), busy]);
    world.notify(rebooted("w-01"));
    sleep(minutes(2)).await;
    let times: Vec<_> = world.received().iter().map(|(time, ..)| *time).collect();
    assert_eq!(times, [2, 3, 5, 35, 43], "pauses of 1, 2, 30 and 8 s");
    assert_eq!(world.count("chat", Outcome::Sent), 1);
    assert_eq!(world.count("chat", Outcome::Failed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_is_not_sent_again_and_the_next_one_is() {
    let world = World::new(CHAT);
    world.answers("chat", &[Answer::Status(404, None)]);
    world.notify(rebooted("w-01"));
    sleep(minutes(1)).await;
    world.notify(rebooted("w-02"));
    sleep(minutes(1)).await;
    assert_eq!(world.received().len(), 2);
    assert_eq!(
        (world.count("chat", Outcome::Failed), world.count("chat", Outcome::Sent)),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_for_ten_minutes_is_counted_and_the_next_one_is_sent() {
    let world = World::new(CHAT);
    world.answers("chat", &[Answer::Status(500, None); 16]);
    world.notify(rebooted("w-01"));
    sleep(minutes(5)).await;
    world.notify(rebooted("w-02"));
    sleep(minutes(15)).await;
    assert_eq!(
        (world.count("chat", Outcome::Failed), world.count("chat", Outcome::Sent)),
        (1, 1)
    );
    let (_, _, last) = world.received().pop().unwrap();
    assert!(last.contains("w-02"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_delays_no_other_and_loses_only_what_its_queue_cannot_hold() {
    let both = "receivers:\n\
                - {name: chat, format: Slack, url: 'http://chat/', events: [RebootSucceeded]}\n\
                - {name: other, format: Slack, url: 'http://other/', events: [RebootSucceeded]}\n";
    let world = World::new(both);
    world.answers("chat", &[Answer::Hangs]);
    for hour in 0..10 {
        for node in 0..1000 {
            world.notify(rebooted(&format!("w-{hour}-{node:04}")));
        }
        sleep(minutes(60)).await;
    }
    assert_eq!(world.count("other", Outcome::Sent), 10_000);
    assert_eq!(
        world.count("chat", Outcome::Dropped),
        4000,
        "1,000 are being sent, 5,000 wait"
    );
    assert_eq!(world.count("chat", Outcome::Sent), 0);
}

#[tokio::test(start_paused = true)]
async fn handing_over_an_event_never_waits_and_counts_what_is_lost() {
    let world = World::new(CHAT);
    // Nothing else runs on this thread meanwhile.
    for node in 0..5000 {
        world.notify(rebooted(&format!("w-{node}")));
    }
    assert_eq!(world.count("all", Outcome::Dropped), 5000 - 4096);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_left_is_sent_once() {
    let mut world = World::new(CHAT);
    world.notify(rebooted("w-01"));
    assert_eq!(world.end().await, Duration::ZERO);
    assert_eq!(world.count("chat", Outcome::Sent), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_receiver_that_hangs() {
    let mut world = World::new(CHAT);
    world.answers("chat", &[Answer::Hangs]);
    world.notify(rebooted("w-01"));
    assert_eq!(world.end().await, Duration::from_secs(2));
    assert_eq!(world.count("chat", Outcome::Failed), 1);
    let mut world = World::new(CHAT);
    world.answers("chat", &[Answer::Hangs]);
    world.notify(rebooted("w-01"));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.end().await, Duration::from_secs(2), "a request is on its way");
    assert_eq!(world.count("chat", Outcome::Failed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_event_about_the_same_node_is_sent_once_in_ten_minutes() {
    let world = World::new(CHAT);
    for _ in 0..4 {
        world.notify(rebooted("w-01"));
        sleep(minutes(4)).await;
    }
    assert_eq!(world.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_file_counts_from_the_next_event_on() {
    let world = World::new(CHAT);
    world.notify(rebooted("w-01"));
    sleep(minutes(1)).await;
    world.configure(&CHAT.replace("http://chat/", "http://other/"));
    world.notify(rebooted("w-02"));
    sleep(minutes(1)).await;
    world.configure("receivers: [{name: chat, format: Fax, url: 'http://other/'}]");
    world.notify(rebooted("w-03"));
    sleep(minutes(1)).await;
    let hosts: Vec<_> = world.received().into_iter().map(|(_, host, _)| host).collect();
    assert_eq!(hosts, ["chat", "other"]);
    let configured = world.counts.configured.lock().unwrap().clone();
    let one = |errors| (if errors == 0 { vec!["chat".to_owned()] } else { vec![] }, errors);
    assert_eq!(configured, [one(0), one(0), one(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_gets_the_events_and_policies_that_it_names() {
    let world = World::new(
        "receivers: [{name: chat, format: Slack, url: 'http://chat/', events: [Failed, ClusterRestored], policies: [databases]}]",
    );
    let of = |policy: Option<&str>, reason| Event {
        policy: policy.map(str::to_owned),
        ..event(reason, "w-01", policy.unwrap_or("all policies"))
    };
    world.notify(of(Some("workers"), "Failed"));
    world.notify(of(Some("databases"), "RebootSucceeded"));
    world.notify(of(Some("databases"), "Failed"));
    world.notify(of(None, "ClusterRestored"));
    sleep(minutes(1)).await;
    let (_, _, text) = world.received().pop().unwrap();
    assert_eq!(
        text,
        "2 events: 1 ClusterRestored, 1 Failed\n\
         Warning: Failed node w-01 (policy databases): databases\n\
         ClusterRestored node w-01: all policies"
    );
}
