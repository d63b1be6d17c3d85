//! Whether the agent is confined to its own node.

use std::time::Duration;

use tokio::time::sleep;

use super::world::{Api, MemoryHost, start};
use super::{IDLE, rebooting, reports};

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
async fn a_confinement_test_without_a_verdict_is_repeated_before_the_answer_to_an_order() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let _agent = start(&api, host);
    assert_eq!(api.wait(|_| true).await.confined, Some(true));
    sleep(IDLE).await;
    // Away, or not ready for writes: the report itself would be accepted in the second case.
    for (order, away, code) in [("1-0", true, 403), ("2-0", false, 429), ("3-0", false, 500)] {
        {
            let mut held = api.held();
            (held.self_test, held.reports) = (code, Vec::new());
        }
        api.order(order, "Prepare", "a");
        api.held().away = away;
        sleep(Duration::from_secs(3)).await;
        {
            let mut held = api.held();
            (held.away, held.self_test) = (false, 403);
        }
        api.answer(order, "Ready").await;
        let reports = api.held().reports.clone();
        assert!(reports.iter().all(|report| report["confined"] == true), "{reports:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_that_was_ordered_an_agent_tests_nothing_and_reports_once() {
    let (api, host) = (Api::default(), MemoryHost::new("a"));
    api.make();
    let agent = start(&api, host.clone());
    api.wait(|_| true).await;
    api.order("1-0", "Prepare", "a");
    api.answer("1-0", "Ready").await;
    api.order("1-0", "Reboot", "a");
    host.answer(rebooting("1-0"));
    api.answer("1-0", "Rebooting").await;
    agent.abort();
    let tested = api.held().self_tests;
    let reported = reports(&api);

    let rebooted = start(&api, MemoryHost::new("b"));
    let report = api.wait(|report| report.boot_id == "b").await;
    assert_eq!(report.confined, Some(true));
    api.answer("1-0", "Withdrawn").await;
    api.withdraw();
    sleep(IDLE).await;
    let tests = api.held().self_tests;
    assert_eq!((tests, reports(&api)), (tested, reported + 1));
    rebooted.abort();
    let _restarted = start(&api, MemoryHost::new("c"));
    api.wait(|report| report.boot_id == "c").await;
    assert_eq!(api.held().self_tests, tested + 1, "no order preceded this boot");
}
