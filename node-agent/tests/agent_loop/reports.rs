//! When the agent reports, and what it does when it cannot.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lockkeeper_crds::HostReport;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_node_agent::AgentConfig;
use tokio::time::{Instant, sleep};

use super::world::{Api, Fault, MemoryHost, capable, start};
use super::{IDLE, rebooting, reports};

#[tokio::test(start_paused = true)]
async fn the_agent_waits_for_its_object_and_then_reports_once() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    let _agent = start(&api, host.clone());
    sleep(IDLE).await;
    assert_eq!(reports(&api), 0);
    api.make();
    assert!(api.wait(|_| true).await.reboot_capable);
    sleep(IDLE).await;
    assert_eq!(reports(&api), 1);
}

#[tokio::test(start_paused = true)]
async fn the_agent_reports_again_only_after_a_change() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.wait(|_| true).await;
    host.change(|_| {});
    sleep(IDLE).await;
    assert_eq!(reports(&api), 1);
    host.change(|memory| memory.view.reboot_required.required = true);
    api.wait(|report| report.reboot_required.required).await;
    sleep(IDLE).await;
    assert_eq!(reports(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn since_outlives_the_agent_and_further_packages_but_not_the_boot() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    let hours_ago = |hours| Some(whole_seconds(Utc::now() - TimeDelta::hours(hours)));
    let (first, later) = (hours_ago(5), hours_ago(1));
    let requires = |since, reason: &str| {
        let reason = Cause(reason.to_owned());
        host.change(|memory| {
            memory.view.boot_time = hours_ago(9);
            memory.view.reboot_required.required = true;
            memory.view.reboot_required.since = since;
            memory.view.reboot_required.reasons.push(reason);
        });
    };
    api.make();
    requires(first, "libc6");
    let agent = start(&api, host.clone());
    assert_eq!(api.wait(|_| true).await.reboot_required.since, first);
    requires(later, "linux-image");
    let both = |report: &HostReport| report.reboot_required.reasons.len() == 2;
    assert_eq!(api.wait(both).await.reboot_required.since, first);

    agent.abort();
    requires(later, "openssl");
    let _agent = start(&api, host.clone());
    let three = |report: &HostReport| report.reboot_required.reasons.len() == 3;
    assert_eq!(api.wait(three).await.reboot_required.since, first);

    host.change(|memory| {
        memory.view.boot_id = "b".into();
        memory.view.facts = Some(capable("b", ""));
    });
    let next = api.wait(|report| report.boot_id == "b").await;
    assert_eq!(next.reboot_required.since, later);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_another_client_changed_is_restored() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host);
    api.wait(|_| true).await;
    api.delete();
    api.make();
    assert_eq!(api.wait(|_| true).await.boot_id, "a");
}

#[tokio::test(start_paused = true)]
async fn the_first_report_waits_a_limited_time_for_the_actuator() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    host.change(|memory| memory.view.facts = None);
    api.make();
    let began = Instant::now();
    let _agent = start(&api, host);
    let report = api.wait(|_| true).await;
    assert_eq!(began.elapsed().as_secs(), 10);
    assert!(!report.reboot_capable);
    assert!(report.reboot_capable_message.contains("log of container actuator"));
}

#[tokio::test(start_paused = true)]
async fn the_agent_retries_after_errors_with_backoff() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    api.held().faults = [Fault::Status(500), Fault::Status(429), Fault::Status(403), Fault::Hang].into();
    let began = Instant::now();
    let _agent = start(&api, host);
    api.wait(|_| true).await;
    assert_eq!(reports(&api), 5);
    let took = began.elapsed();
    // 1 + 2 + 4 + 8 s, give or take a half, and 15 s without an answer.
    assert!(
        took >= Duration::from_secs(22) && took <= Duration::from_secs(39),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_returning_api_server_is_noticed_within_ten_seconds() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host);
    api.wait(|_| true).await;
    api.go_away();
    let before = api.held().asked;
    sleep(Duration::from_mins(10)).await;
    let asked = api.held().asked - before;
    assert!((60..=130).contains(&asked), "{asked} requests in ten minutes");
    api.come_back();
    let back = Instant::now();
    api.order("o-1", "Prepare", "a");
    api.wait(|report| report.order.as_ref().is_some_and(|order| order.id == "o-1"))
        .await;
    // The watch, and then what the actuator may take.
    let took = back.elapsed();
    assert!(took <= Duration::from_secs(10 + 10), "noticed after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_absent_api_server_gets_few_requests() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.go_away();
    let _agent = start(&api, host);
    sleep(Duration::from_mins(10)).await;
    let asked = api.held().asked;
    assert!((60..=130).contains(&asked), "{asked} requests in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_reply_is_lost_is_not_lost() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    api.held().faults = [Fault::LostReply].into();
    let _agent = start(&api, host);
    api.wait(|_| true).await;
    sleep(IDLE).await;
    assert_eq!(reports(&api), 1);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_reboot_is_reported_to_a_recreated_object() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host.clone());
    api.order("1-0", "Reboot", "a");
    sleep(IDLE).await;
    host.answer(rebooting("1-0"));
    api.answer("1-0", "Rebooting").await;
    api.delete();
    sleep(IDLE).await;
    api.make();
    api.answer("1-0", "Rebooting").await;
    assert_eq!(host.orders(), ["1-0"]);
}

#[tokio::test(start_paused = true)]
async fn the_agent_stops_when_cancelled() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    let config = AgentConfig::new("n1");
    let shutdown = sleep(Duration::from_secs(5));
    lockkeeper_node_agent::run_agent(config, api.client(), host, shutdown)
        .await
        .unwrap();
}
