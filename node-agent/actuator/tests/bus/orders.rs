//! What the actuator does with an order.

use std::fs;
use std::time::Duration;

use lockkeeper_actuator::logind::{Logind, Reply, Way};
use lockkeeper_channel::{ANSWER, AnswerState, FACTS, HostAnswer, HostFacts, HostOrder, ORDER};

use crate::bench::{Bench, lock, order};

#[tokio::test]
async fn logind_gets_one_reboot_request_for_each_order() {
    let bench = Bench::new().await;
    let actuator = bench.actuator();
    assert_eq!(bench.answer("1").await.state, AnswerState::Rebooting);
    bench.order("1");
    bench.idle().await;
    actuator.abort();
    let _second = bench.actuator();
    bench.facts("after the restart").await;
    bench.idle().await;
    assert_eq!(bench.reboots(), ["flags 0"]);
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots().len(), 2);
}

#[tokio::test]
async fn an_order_for_kexec_asks_logind_for_the_kernel_that_is_loaded() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let kexec = HostOrder {
        kexec: true,
        ..order("1")
    };
    bench.channel().write(ORDER, &kexec).unwrap();
    assert_eq!(bench.final_answer("1").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots(), ["flags 2"]);
}

#[tokio::test]
async fn an_order_for_another_boot_is_refused() {
    let bench = Bench::new().await;
    bench.boot("boot-b");
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert_eq!(answer.message, "the order is for boot boot-a, this is boot boot-b");
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn a_blocking_lock_refuses_the_reboot_and_a_delaying_one_does_not() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.script(|script| {
        script.inhibitors = vec![lock("shutdown", "delay"), lock("sleep:shutdown", "block")];
    });
    let facts = bench.facts("1").await;
    assert!(facts.reboot_capable);
    assert_eq!(facts.inhibitors.len(), 1);
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert_eq!(answer.message, "shutdown inhibited by dpkg: mid-update");
    bench.script(|script| script.inhibitors = vec![lock("shutdown", "delay"), lock("sleep", "block")]);
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots().len(), 1);
}

#[tokio::test]
async fn a_refusal_because_of_a_lock_comes_after_the_facts_that_name_it() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let first = bench.wait(FACTS, |facts: &HostFacts| facts.order_id.is_empty()).await;
    assert!(first.inhibitors.is_empty());
    bench.script(|script| script.inhibitors = vec![lock("shutdown", "block")]);
    assert_eq!(bench.answer("1").await.state, AnswerState::Refused);
    let facts: HostFacts = bench.channel().read(FACTS).unwrap().unwrap();
    assert_eq!(facts.inhibitors.len(), 1);
}

#[tokio::test]
async fn an_order_withdrawn_in_time_is_not_executed() {
    let bench = Bench::new().await;
    let channel = bench.channel();
    let _actuator = bench.actuator();
    bench.order_and_slip_in("1", move || drop(channel.remove(ORDER))).await;
    assert!(bench.reboots().is_empty());
    assert_eq!(bench.channel().read::<HostAnswer>(ANSWER).unwrap(), None);
}

#[tokio::test]
async fn an_order_of_a_boot_that_has_ended_is_not_executed() {
    let bench = Bench::new().await;
    let boot_id = bench.directory.path().join("boot_id");
    let _actuator = bench.actuator();
    bench
        .order_and_slip_in("1", move || fs::write(&boot_id, "boot-b").unwrap())
        .await;
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn a_request_whose_reply_is_lost_and_whose_bus_is_gone_is_no_refusal() {
    let mut bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.order_without_reply("1").await;
    bench.stop_bus().await;
    let answer = bench.final_answer("1").await;
    assert_eq!(answer.state, AnswerState::Rebooting, "{}", answer.message);
    assert!(
        answer.message.contains("requested and not confirmed"),
        "{}",
        answer.message
    );
    assert_eq!(bench.reboots(), ["flags 0"]);
}

#[tokio::test]
async fn an_actuator_that_restarts_after_its_request_does_not_refuse_when_the_bus_is_gone() {
    let mut bench = Bench::new().await;
    let actuator = bench.actuator();
    bench.order_without_reply("1").await;
    actuator.abort();
    assert!(actuator.await.unwrap_err().is_cancelled());
    let answer: HostAnswer = bench.channel().read(ANSWER).unwrap().unwrap();
    assert_eq!((answer.id.as_str(), answer.state), ("1", AnswerState::Requested));
    bench.stop_bus().await;
    let _second = bench.actuator();
    let answer = bench.final_answer("1").await;
    assert_eq!(answer.state, AnswerState::Rebooting, "{}", answer.message);
}

#[tokio::test]
async fn an_actuator_that_restarts_after_its_request_requests_again_or_says_why_not() {
    let bench = Bench::new().await;
    for (id, locks, expected) in [
        ("1", vec![], AnswerState::Rebooting),
        ("2", vec![lock("shutdown", "block")], AnswerState::Failed),
    ] {
        let actuator = bench.actuator();
        bench.order_without_reply(id).await;
        actuator.abort();
        assert!(actuator.await.unwrap_err().is_cancelled());
        bench.script(|script| script.inhibitors = locks);
        let second = bench.actuator();
        let answer = bench.final_answer(id).await;
        assert_eq!(answer.state, expected, "{}", answer.message);
        second.abort();
    }
    assert_eq!(
        bench.reboots().len(),
        3,
        "twice for the first order, once for the second"
    );
}

#[tokio::test]
async fn a_request_that_has_left_is_not_withdrawn_with_its_order() {
    let mut bench = Bench::new().await;
    bench.retries = (u32::MAX, Duration::from_millis(1));
    let _actuator = bench.actuator();
    bench.order_without_reply("1").await;
    assert!(bench.channel().remove(ORDER).unwrap());
    // The first bus goes down with the request; on the next one logind knows nothing of it.
    bench.stop_bus().await;
    bench.start_bus().await;
    let answer = bench.final_answer("1").await;
    assert_eq!(answer.state, AnswerState::Rebooting, "{}", answer.message);
    assert!(
        answer.message.contains("withdrawn in the meantime"),
        "{}",
        answer.message
    );
}

#[tokio::test]
async fn a_refusal_of_logind_is_a_failure_with_its_message() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.DBus.Error.AccessDenied"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Failed);
    assert!(answer.message.contains("the stand-in says no"), "{}", answer.message);
    assert!(answer.message.contains("uid 0"), "{}", answer.message);
}

#[tokio::test]
async fn a_lock_taken_after_the_check_is_a_refusal() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.BlockedByInhibitorLock"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("systemd-inhibit --list"), "{}", answer.message);
}

/// What logind replies to a request, without the actuator.
async fn request(bench: &Bench) -> Reply {
    Logind::new(bench.bus())
        .open()
        .await
        .unwrap()
        .reboot(Way::Firmware)
        .await
}

#[tokio::test]
async fn a_shutdown_in_progress_counts_as_accepted() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.OperationInProgress"));
    let words = "a shutdown was already in progress".to_owned();
    assert_eq!(request(&bench).await, Reply::Accepted(words));
}

#[tokio::test]
async fn an_old_logind_gets_the_call_without_flags() {
    let bench = Bench::new().await;
    bench.script(|script| script.without_flags = true);
    assert_eq!(request(&bench).await, Reply::Accepted(String::new()));
    assert_eq!(bench.reboots(), ["interactive false"]);
}

#[tokio::test]
async fn a_host_that_has_just_booted_is_not_rebooted() {
    let mut bench = Bench::new().await;
    bench.up_for("599.99");
    let actuator = bench.actuator();
    let facts = bench.facts("1").await;
    assert!(facts.reboot_capable, "the agent adds when: {facts:?}");
    assert_eq!(facts.min_uptime_seconds, 600);
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("booted 599 s ago"), "{}", answer.message);
    assert!(bench.reboots().is_empty());
    bench.up_for("600.00");
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    actuator.abort();
    bench.min_uptime = Duration::ZERO;
    bench.up_for("1.00");
    let _without = bench.actuator();
    assert_eq!(bench.answer("3").await.state, AnswerState::Rebooting);
}

#[tokio::test]
async fn an_order_that_has_expired_is_not_executed() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let expiring = |id: &str, not_after| HostOrder {
        not_after: Some(not_after),
        ..order(id)
    };
    bench.channel().write(ORDER, &expiring("1", 1)).unwrap();
    let answer = bench.final_answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("expired"), "{}", answer.message);
    assert!(bench.reboots().is_empty());
    bench.channel().write(ORDER, &expiring("2", i64::MAX)).unwrap();
    assert_eq!(bench.final_answer("2").await.state, AnswerState::Rebooting);
}
