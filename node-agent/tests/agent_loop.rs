//! The agent's loop over a fake API server and a host in memory, in virtual time.

// Helpers are not tests in clippy's eyes; each test uses its part of the world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    dead_code,
    unreachable_pub
)]

mod world;

use std::fs;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAnswer, HostOrder, ORDER,
};
use lockkeeper_crds::HostReport;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_kube_util::Clock;
use lockkeeper_node_agent::AgentConfig;
use lockkeeper_node_agent::detect::DetectorSettings;
use lockkeeper_node_agent::directory_host::{DirectoryHost, HostPaths};
use lockkeeper_node_agent::facts::FactPaths;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use world::{Api, Fault, MemoryHost, capable, start, start_with};

/// Virtual time, so no test waits for it. Everything that the agent does by itself is done by then.
const IDLE: Duration = Duration::from_mins(10);

fn reports(api: &Api) -> usize {
    api.held().reports.len()
}

fn rebooting(id: &str) -> HostAnswer {
    answered(id, AnswerState::Rebooting)
}

fn answered(id: &str, state: AnswerState) -> HostAnswer {
    HostAnswer {
        id: id.into(),
        boot_id: "a".into(),
        state,
        message: String::new(),
    }
}

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
async fn the_agent_reports_whether_it_is_confined_and_tests_again_until_it_is() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    api.held().self_test = 200;
    let _agent = start(&api, host);
    let report = api.wait(|_| true).await;
    assert_eq!(report.confined, Some(false));
    assert!(
        report.confined_message.contains("ValidatingAdmissionPolicy"),
        "{}",
        report.confined_message
    );
    for fault in [401, 422, 500] {
        api.held().self_test = fault;
        let report = api.wait(|report| report.confined.is_none()).await;
        assert!(
            report.confined_message.contains("is repeated"),
            "{fault}: {}",
            report.confined_message
        );
        api.held().self_test = 200;
        api.wait(|report| report.confined == Some(false)).await;
    }
    api.held().self_test = 403;
    let report = api.wait(|report| report.confined == Some(true)).await;
    assert_eq!(report.confined_message, "");
    let tests = api.held().self_tests;
    sleep(IDLE).await;
    assert_eq!(api.held().self_tests, tests, "an idle agent tests nothing");
}

#[tokio::test(start_paused = true)]
async fn each_prepare_tests_whether_the_agent_is_confined() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host);
    assert_eq!(api.wait(|_| true).await.confined, Some(true));
    api.held().self_test = 200;
    sleep(IDLE).await;
    assert_eq!(api.wait(|_| true).await.confined, Some(true));
    api.order("1-0", "Prepare", "a");
    api.answer("1-0", "Ready").await;
    let ready = |report: &&serde_json::Value| report["order"]["state"] == "Ready";
    let first = api.held().reports.iter().find(ready).cloned().unwrap();
    assert_eq!(first["confined"], false, "with the answer, not after it");
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

#[tokio::test(start_paused = true)]
async fn the_agent_stops_when_cancelled() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    let config = AgentConfig::new("n1");
    let shutdown = sleep(Duration::from_secs(5));
    lockkeeper_node_agent::run_agent(config, api.client(), host, shutdown)
        .await
        .unwrap();
}

/// Real files and real notification, so real time; the actuator's part is played by hand.
#[tokio::test]
async fn real_files_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (run, shared) = (directory.path().join("run"), directory.path().join("shared"));
    fs::create_dir(&run).unwrap();
    fs::create_dir(&shared).unwrap();
    let boot_id = directory.path().join("boot_id");
    fs::write(&boot_id, "a\n").unwrap();
    let paths = HostPaths {
        run: run.clone(),
        modules: directory.path().join("modules"),
        rpm: directory.path().join("rpm"),
        facts: FactPaths {
            boot_id,
            uptime: "/proc/uptime".into(),
            os_release: "/etc/os-release".into(),
        },
    };
    let channel = Channel::new(&shared);
    let host = DirectoryHost::new(paths, channel.clone(), &DetectorSettings::default()).unwrap();
    let api = Api::default();
    api.make();
    let _agent = start(&api, host);

    channel.write(FACTS, &capable("a", "")).unwrap();
    let long = Duration::from_secs(30);
    let report = timeout(long, api.wait(|_| true)).await.expect("a report");
    assert!(report.reboot_capable && !report.reboot_required.required && !report.kernel.is_empty());

    let sentinel = run.join("reboot-required");
    fs::write(&sentinel, "").unwrap();
    fs::File::options()
        .append(true)
        .open(&sentinel)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let began = whole_seconds(Utc::now());
    let report = timeout(long, api.wait(|report| report.reboot_required.required))
        .await
        .expect("required");
    assert!(
        report.reboot_required.since >= Some(began - TimeDelta::seconds(1)),
        "{report:?}"
    );
    let drop_directory = run.join("lockkeeper/reboot-required.d");
    fs::create_dir_all(&drop_directory).unwrap();
    fs::write(
        drop_directory.join("firmware"),
        json!({"reasons": ["microcode"]}).to_string(),
    )
    .unwrap();
    let both = |report: &HostReport| report.reboot_required.source == "Debian sentinel, firmware";
    timeout(long, api.wait(both)).await.expect("both detectors");

    let mut watch = DirectoryWatch::new(vec![Watched::new(&shared, &[FACTS_WANTED, ORDER])]).unwrap();
    api.order("1-0", "Prepare", "a");
    timeout(long, watch.changed()).await.expect("a question").unwrap();
    assert_eq!(
        channel.read::<FactsWanted>(FACTS_WANTED).unwrap().unwrap().order_id,
        "1-0"
    );
    channel.write(FACTS, &capable("a", "1-0")).unwrap();
    timeout(long, api.answer("1-0", "Ready")).await.expect("ready");

    api.order("1-0", "Reboot", "a");
    timeout(long, watch.changed()).await.expect("an order").unwrap();
    assert_eq!(channel.read::<HostOrder>(ORDER).unwrap().unwrap().id, "1-0");
    channel.write(ANSWER, &rebooting("1-0")).unwrap();
    timeout(long, api.answer("1-0", "Rebooting")).await.expect("rebooting");
    assert!(!shared.join(ORDER).exists(), "an answered order is taken away");
}
