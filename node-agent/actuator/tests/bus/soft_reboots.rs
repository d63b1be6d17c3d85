//! Orders for a soft-reboot: once for each count, and only if it is known.

use lockkeeper_channel::soft_reboots::monotonic;
use lockkeeper_channel::{ANSWER, AnswerState, HostAnswer, HostOrder, ORDER, SoftReboots};

use crate::bench::{Bench, lock, order};

/// An order for a host that was soft-rebooted so many times.
fn soft(id: &str, count: u32) -> HostOrder {
    HostOrder {
        soft_reboots: Some(count),
        ..order(id)
    }
}

/// A host that was soft-rebooted so many times, the last time so many seconds ago.
fn counted(bench: &Bench, count: u32, seconds_ago: u64) {
    let started = monotonic().as_micros() as u64 - seconds_ago * 1_000_000;
    bench.script(|script| script.soft_reboots = Some((count, started)));
}

async fn answer(bench: &Bench, order: &HostOrder) -> HostAnswer {
    bench.channel().write(ORDER, order).unwrap();
    bench.final_answer(&order.id).await
}

#[tokio::test]
async fn the_facts_tell_how_often_the_host_was_soft_rebooted() {
    let bench = Bench::new().await;
    let actuator = bench.actuator();
    let facts = bench.facts("1").await;
    assert!(facts.reboot_capable, "an older systemd can reboot: {facts:?}");
    assert_eq!(facts.soft_reboots, None);
    bench.script(|script| script.soft_reboots = Some((3, 77)));
    let expected = SoftReboots {
        count: 3,
        started_micros: 77,
    };
    assert_eq!(bench.facts("2").await.soft_reboots, Some(expected));
    actuator.abort();
}

#[tokio::test]
async fn an_order_for_a_soft_reboot_asks_logind_for_one() {
    let bench = Bench::new().await;
    bench.script(|script| script.soft_reboots = Some((0, 0)));
    let _actuator = bench.actuator();
    let answer = answer(&bench, &soft("1", 0)).await;
    assert_eq!((answer.state, answer.soft_reboots), (AnswerState::Rebooting, Some(0)));
    assert_eq!(bench.reboots(), ["flags 4"]);
}

#[tokio::test]
async fn a_host_that_does_not_count_or_has_another_count_is_not_soft_rebooted() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let uncounted = answer(&bench, &soft("1", 0)).await;
    assert_eq!(uncounted.state, AnswerState::Refused);
    assert!(uncounted.message.contains("SoftRebootsCount"), "{}", uncounted.message);
    counted(&bench, 2, 3600);
    let further = answer(&bench, &soft("2", 1)).await;
    assert_eq!(further.state, AnswerState::Refused);
    assert!(further.message.contains("this one had 2"), "{}", further.message);
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn an_old_logind_that_has_no_flags_is_not_asked_for_a_full_reboot_instead() {
    let bench = Bench::new().await;
    bench.script(|script| {
        script.soft_reboots = Some((0, 0));
        script.without_flags = true;
    });
    let _actuator = bench.actuator();
    let answer = answer(&bench, &soft("1", 0)).await;
    assert_eq!(answer.state, AnswerState::Failed, "{}", answer.message);
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn an_actuator_of_the_new_userspace_does_not_request_the_same_soft_reboot_again() {
    let bench = Bench::new().await;
    bench.script(|script| script.soft_reboots = Some((0, 0)));
    let actuator = bench.actuator();
    bench.channel().write(ORDER, &soft("1", 0)).unwrap();
    let received = std::sync::Arc::new(tokio::sync::Notify::new());
    let silent = received.clone();
    bench.script(|script| script.silent = Some(silent));
    tokio::time::timeout(crate::bench::LONG, received.notified())
        .await
        .expect("the request");
    actuator.abort();
    assert!(actuator.await.unwrap_err().is_cancelled());
    let requested: HostAnswer = bench.channel().read(ANSWER).unwrap().unwrap();
    assert_eq!(requested.state, AnswerState::Requested);
    // The host has soft-rebooted; a lock that is taken now is no reason to say that it has not.
    counted(&bench, 1, 3);
    bench.script(|script| {
        script.silent = None;
        script.inhibitors = vec![lock("shutdown", "block")];
    });
    let _second = bench.actuator();
    bench.idle().await;
    assert_eq!(bench.reboots(), ["flags 4"]);
    let after: HostAnswer = bench.channel().read(ANSWER).unwrap().unwrap();
    assert_eq!(after.state, AnswerState::Requested, "{}", after.message);
}

#[tokio::test]
async fn a_host_that_has_just_soft_rebooted_is_not_rebooted_in_any_way() {
    let bench = Bench::new().await;
    bench.up_for("99999.00");
    counted(&bench, 1, 300);
    let _actuator = bench.actuator();
    for order in [soft("1", 1), order("2")] {
        let answer = answer(&bench, &order).await;
        assert_eq!(answer.state, AnswerState::Refused);
        assert!(
            answer.message.contains("the host soft-rebooted 30"),
            "{}",
            answer.message
        );
        assert!(answer.message.contains("only after 600 s"), "{}", answer.message);
    }
    assert!(bench.reboots().is_empty());
    counted(&bench, 1, 601);
    assert_eq!(answer(&bench, &soft("3", 1)).await.state, AnswerState::Rebooting);
}
