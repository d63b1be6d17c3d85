//! What the actuator finds out about updates that wait for a reboot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_channel::{AnswerState, HostFacts, RPM_OSTREE, UPDATE_ENGINE, UpdaterState};

use crate::bench::Bench;
use crate::update_engine::{
    CHROMEOS, Deployments, Engine, FLATCAR, IDLE, NEEDS_REBOOT, announce_deployments, chromeos, hanging, malformed,
    old_chromeos, rpm_ostree, send,
};

const REASON: &str = "update_engine installed version 4152.2.0";

#[tokio::test]
async fn an_update_that_waits_for_a_reboot_is_noticed_by_its_signal() {
    let bench = Bench::new().await;
    let engine = Engine::new(IDLE, "0.0.0");
    let connection = engine.flatcar(&bench.bus()).await;
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    engine.change(&connection, NEEDS_REBOOT, "4152.2.0").await;
    let update = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert_eq!(update.message, REASON);
    engine.change(&connection, IDLE, "0.0.0").await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
}

#[tokio::test]
async fn a_status_that_changed_without_a_signal_is_read_with_the_next_facts() {
    let bench = Bench::new().await;
    let engine = Engine::new(NEEDS_REBOOT, "4152.2.0");
    let _connection = engine.flatcar(&bench.bus()).await;
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    engine.set(IDLE, "0.0.0");
    bench.facts("7f3c-0").await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
}

#[tokio::test]
async fn a_host_without_update_engine_is_known_and_one_that_starts_is_noticed() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    for name in [UPDATE_ENGINE, RPM_OSTREE] {
        bench.update(name, UpdaterState::Absent).await;
    }
    let _connection = Engine::new(IDLE, "0.0.0").flatcar(&bench.bus()).await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
}

#[tokio::test]
async fn an_update_and_its_version_outlive_a_restart_of_both_programs() {
    let bench = Bench::new().await;
    let connection = Engine::new(NEEDS_REBOOT, "4152.2.0").flatcar(&bench.bus()).await;
    let actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    actuator.abort();
    connection.release_name(FLATCAR[0]).await.unwrap();
    let _actuator = bench.actuator();
    bench.idle().await;
    let absent = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    // After its restart it does not know the version.
    let engine = Engine::new(NEEDS_REBOOT, "0.0.0");
    let _connection = engine.flatcar(&bench.bus()).await;
    bench.idle().await;
    let restarted = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert!(engine.asked() > 0);
    assert_eq!([absent.message, restarted.message], [REASON, REASON]);
}

#[tokio::test]
async fn an_update_of_the_boot_before_is_forgotten() {
    let bench = Bench::new().await;
    let connection = Engine::new(NEEDS_REBOOT, "4152.2.0").flatcar(&bench.bus()).await;
    let actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    actuator.abort();
    connection.release_name(FLATCAR[0]).await.unwrap();
    bench.boot("boot-b");
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::Absent).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_is_a_failure_until_a_good_one_comes() {
    let bench = Bench::new().await;
    let connection = malformed(&bench.bus()).await;
    let _actuator = bench.actuator();
    let failing = bench.update(UPDATE_ENGINE, UpdaterState::Failing).await;
    assert!(failing.message.contains("check its service on the host"), "{failing:?}");
    connection.release_name(FLATCAR[0]).await.unwrap();
    let engine = Engine::new(IDLE, "0.0.0");
    let connection = engine.flatcar(&bench.bus()).await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    engine.set(NEEDS_REBOOT, "4152.2.0");
    // A signal that cannot be decoded only leads to another question.
    send(&connection, FLATCAR, "StatusUpdate", &"nonsense").await;
    let update = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert_eq!(update.message, REASON);
}

#[tokio::test]
async fn update_engine_is_not_asked_again_for_each_percent_of_a_download() {
    let bench = Bench::new().await;
    let engine = Engine::new(IDLE, "0.0.0");
    let connection = engine.flatcar(&bench.bus()).await;
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    bench.idle().await;
    let before = engine.asked();
    for _ in 0..100 {
        engine
            .change(&connection, "UPDATE_STATUS_DOWNLOADING", "4152.2.0")
            .await;
    }
    // The signal after them is the first that is asked about.
    engine.change(&connection, NEEDS_REBOOT, "4152.2.0").await;
    bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert_eq!(engine.asked(), before + 1);
}

#[tokio::test]
async fn an_update_engine_that_hangs_does_not_hold_up_the_facts_and_is_asked_again() {
    let mut bench = Bench::new().await;
    bench.updates_within = Duration::from_millis(100);
    bench.probe_backoff = (Duration::from_millis(100), Duration::from_millis(100));
    let hangs = Arc::new(AtomicBool::new(true));
    let _connection = hanging(&bench.bus(), hangs.clone()).await;
    let _actuator = bench.actuator();
    let failing = bench.update(UPDATE_ENGINE, UpdaterState::Failing).await;
    assert!(failing.message.contains("no answer within 100ms"), "{failing:?}");
    let facts: HostFacts = bench.facts("7f3c-0").await;
    assert!(facts.reboot_capable, "{facts:?}");
    // No signal tells that it answers again.
    hangs.store(false, Ordering::SeqCst);
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
}

#[tokio::test]
async fn a_bus_that_was_restarted_is_asked_again_about_updates() {
    let mut bench = Bench::new().await;
    let _connection = Engine::new(IDLE, "0.0.0").flatcar(&bench.bus()).await;
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    bench.stop_bus().await;
    let failing = bench.update(UPDATE_ENGINE, UpdaterState::Failing).await;
    assert!(failing.message.contains("cannot use the system bus"), "{failing:?}");
    bench.start_bus().await;
    let engine = Engine::new(IDLE, "0.0.0");
    let connection = engine.flatcar(&bench.bus()).await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    engine.change(&connection, NEEDS_REBOOT, "4152.2.0").await;
    bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
}

#[tokio::test]
async fn chromeos_is_asked_in_its_own_ways() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.update(UPDATE_ENGINE, UpdaterState::Absent).await;
    let connection = old_chromeos(&bench.bus(), Engine::new(NEEDS_REBOOT, "11895.95.0")).await;
    let old = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert_eq!(old.message, "update_engine installed version 11895.95.0");
    connection.release_name(CHROMEOS[0]).await.unwrap();
    // Status 0, and then 6 with a version, as protobuf.
    let connection = chromeos(&bench.bus(), b"\x08\x01").await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    connection.release_name(CHROMEOS[0]).await.unwrap();
    let connection = chromeos(&bench.bus(), b"\x18\x06\x22\x0a16093.68.0").await;
    send(&connection, CHROMEOS, "StatusUpdateAdvanced", &b"\x18\x06".to_vec()).await;
    let new = bench.update(UPDATE_ENGINE, UpdaterState::Required).await;
    assert_eq!(new.message, "update_engine installed version 16093.68.0");
}

#[tokio::test]
async fn a_host_is_not_rebooted_before_update_engine_has_confirmed_the_booted_slot() {
    let mut bench = Bench::new().await;
    bench.min_uptime = Duration::ZERO;
    let _connection = Engine::new(IDLE, "0.0.0").flatcar(&bench.bus()).await;
    bench.up_for("299.00");
    let _actuator = bench.actuator();
    let facts = bench.facts("7f3c-0").await;
    assert_eq!(facts.min_uptime_seconds, 300);
    assert_eq!(bench.answer("1").await.state, AnswerState::Refused);
    bench.up_for("301.00");
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots(), ["flags 0"]);
}

#[tokio::test]
async fn an_update_engine_that_starts_late_gets_the_time_to_confirm_the_slot() {
    let mut bench = Bench::new().await;
    bench.min_uptime = Duration::ZERO;
    let _actuator = bench.actuator();
    assert_eq!(bench.facts("7f3c-0").await.min_uptime_seconds, 0);
    let _connection = Engine::new(IDLE, "0.0.0").flatcar(&bench.bus()).await;
    bench.update(UPDATE_ENGINE, UpdaterState::NotRequired).await;
    assert_eq!(bench.facts("7f3c-1").await.min_uptime_seconds, 720);
    assert_eq!(bench.answer("1").await.state, AnswerState::Refused);
}

#[tokio::test]
async fn a_default_deployment_that_is_not_booted_requires_a_reboot() {
    let bench = Bench::new().await;
    let deployments: Deployments = Arc::new(Mutex::new(vec![("41.1", true)]));
    let connection = rpm_ostree(&bench.bus(), deployments.clone()).await;
    let _actuator = bench.actuator();
    bench.update(RPM_OSTREE, UpdaterState::NotRequired).await;
    *deployments.lock().unwrap() = vec![("40.9", false), ("41.1", true)];
    announce_deployments(&connection).await;
    let update = bench.update(RPM_OSTREE, UpdaterState::Required).await;
    assert_eq!(update.message, "deployment 40.9 is the default, another one is booted");
    deployments.lock().unwrap().clear();
    announce_deployments(&connection).await;
    bench.facts("7f3c-0").await;
    let update = bench.update(RPM_OSTREE, UpdaterState::Required).await;
    assert!(
        update.message.contains("40.9"),
        "an answer without deployments forgets none"
    );
}
