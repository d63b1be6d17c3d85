//! What becomes of orders.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lockkeeper_channel::AnswerState;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_kube_util::Clock;
use lockkeeper_node_agent::AgentConfig;
use tokio::time::{Instant, sleep};

use super::world::{Api, Fault, MemoryHost, capable, start, start_with};
use super::{IDLE, answered, rebooting, reports};

#[tokio::test(start_paused = true)]
async fn a_prepare_is_answered_after_the_actuator_was_asked() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    api.order("1-0", "Prepare", "a");
    api.answer("1-0", "Ready").await;
    assert_eq!(host.inner.lock().unwrap().view.facts, Some(capable("a", "1-0")));
    api.withdraw();
    api.answer("1-0", "Withdrawn").await;
    assert!(host.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prepare_is_refused_when_the_actuator_is_silent() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    host.change(|memory| memory.actuator_dead = true);
    api.make();
    let _agent = start(&api, host);
    api.wait(|_| true).await;
    let began = Instant::now();
    api.order("1-0", "Prepare", "a");
    assert!(
        api.answer("1-0", "Refused")
            .await
            .contains("the actuator does not respond")
    );
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_order_or_a_deleted_object_removes_the_order_file() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    for withdraw in [Api::withdraw, Api::delete] {
        api.order("1-0", "Reboot", "a");
        sleep(IDLE).await;
        assert!(host.inner.lock().unwrap().orders.last().unwrap().is_some());
        withdraw(&api);
        sleep(IDLE).await;
        assert!(host.inner.lock().unwrap().orders.last().unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_without_its_operation_is_refused_and_not_passed_on() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    api.forge_order("1-0", "Reboot", "a");
    let message = api.answer("1-0", "Refused").await;
    assert!(message.contains("no operation of this node"), "{message}");
    assert!(host.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_is_obeyed_once_its_operation_is_in_phase_rebooting() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.operation("1-0", "Draining");
    api.forge_order("1-0", "Reboot", "a");
    sleep(IDLE).await;
    assert!(host.orders().is_empty());
    api.operation("1-0", "Rebooting");
    sleep(IDLE).await;
    assert_eq!(host.orders(), ["1-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_the_watch_delivers_late_is_not_obeyed() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    api.held().deliver_stale_order("1", 0, "a");
    sleep(IDLE).await;
    assert!(host.orders().is_empty());
    api.order("2-0", "Reboot", "a");
    sleep(IDLE).await;
    assert_eq!(host.orders(), ["2-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_until_it_can_be_read_again() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    api.held().unreadable = true;
    api.order("1-0", "Reboot", "a");
    sleep(Duration::from_mins(1)).await;
    assert!(host.orders().is_empty());
    api.held().unreadable = false;
    sleep(Duration::from_secs(16)).await;
    assert_eq!(host.orders(), ["1-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_just_booted_reports_until_when_it_is_not_rebooted() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let booted = whole_seconds(Utc::now());
    host.change(|memory| {
        memory.view.boot_time = Some(booted);
        memory.view.uptime = Duration::from_secs(1);
        memory.view.facts.as_mut().unwrap().min_uptime_seconds = 600;
    });
    let _agent = start(&api, host.clone());
    let report = api.wait(|_| true).await;
    assert!(report.reboot_capable);
    assert_eq!(report.reboot_allowed_time, Some(booted + TimeDelta::seconds(630)));
    // The wait for the actuator's first facts wakes the agent after 10 s; from then on only the end of the refusal does.
    sleep(Duration::from_secs(20)).await;
    host.inner.lock().unwrap().view.uptime = Duration::from_mins(10);
    let began = Instant::now();
    api.wait(|report| report.reboot_allowed_time.is_none()).await;
    assert_eq!(began.elapsed().as_secs(), 599 - 10);
    sleep(IDLE).await;
    assert_eq!(reports(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_the_actuator_does_not_execute_in_time_is_withdrawn_and_refused() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    let start_of_day = Utc::now();
    api.make();
    let config = AgentConfig {
        clock: Clock::steady_from(start_of_day),
        ..AgentConfig::new("n1")
    };
    let _agent = start_with(config, &api, host.clone());
    api.wait(|_| true).await;
    let began = Instant::now();
    api.operation("1-0", "Rebooting");
    api.order_until("1-0", "Reboot", "a", start_of_day + TimeDelta::seconds(60));
    sleep(Duration::from_secs(50)).await;
    assert_eq!(host.orders(), ["1-0"]);
    let message = api.answer("1-0", "Refused").await;
    assert!(message.contains("expired"), "{message}");
    assert!((60..=61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(host.inner.lock().unwrap().orders.last().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_while_the_order_is_withdrawn_is_no_refusal() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.order("1-0", "Reboot", "a");
    sleep(IDLE).await;
    host.change(|memory| memory.answer_at_withdrawal = Some(answered("1-0", AnswerState::Requested)));
    api.operation("1-0", "Failed");
    let message = api.answer("1-0", "Rebooting").await;
    assert!(message.contains("not confirmed"), "{message}");
    let refused = |report: &serde_json::Value| report["order"]["state"] == "Refused";
    assert!(!api.held().reports.iter().any(refused), "{:?}", api.held().reports);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_not_passed_on_stays_refused_when_the_answer_is_lost() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    host.change(|memory| memory.directory_full = true);
    api.held().faults = [Fault::Status(500)].into();
    api.order("1-0", "Reboot", "a");
    // Less than the delay before the next report.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(reports(&api), 2, "the report of the refusal failed");
    host.change(|memory| memory.directory_full = false);
    api.answer("1-0", "Refused").await;
    sleep(IDLE).await;
    assert!(host.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_with_an_empty_directory_repeats_no_answered_order() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let agent = start(&api, host.clone());
    api.order("1-0", "Reboot", "a");
    sleep(IDLE).await;
    host.answer(rebooting("1-0"));
    api.answer("1-0", "Rebooting").await;
    agent.abort();
    let other = MemoryHost::new("a");
    let _agent = start(&api, other.clone());
    sleep(IDLE).await;
    assert_eq!(host.orders(), ["1-0"]);
    assert!(other.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_of_the_previous_boot_is_not_executed() {
    let (api, host) = (Api::default(), MemoryHost::new("b"));
    api.make();
    api.order("1-0", "Reboot", "a");
    let _agent = start(&api, host.clone());
    assert_eq!(api.wait(|_| true).await.boot_id, "b");
    sleep(IDLE).await;
    assert!(host.orders().is_empty());
    assert_eq!(reports(&api), 1);
}
