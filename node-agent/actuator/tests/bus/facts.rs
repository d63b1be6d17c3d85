//! What the actuator finds out about its host, and when.

use std::time::{Duration, Instant};

use lockkeeper_actuator::logind::Logind;
use lockkeeper_channel::{AnswerState, FACTS, HostFacts};

use crate::bench::{Bench, lock};
use crate::logind::stand_in;

#[tokio::test]
async fn facts_are_published_at_the_start_and_on_each_request() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let first = bench.wait(FACTS, |facts: &HostFacts| facts.order_id.is_empty()).await;
    assert!(first.reboot_capable, "{first:?}");
    assert_eq!(first.boot_id, "boot-a");
    bench.script(|script| script.can_reboot = "challenge".into());
    let second = bench.facts("7f3c-0").await;
    assert!(!second.reboot_capable);
    assert!(second.message.contains("uid 0"), "{}", second.message);
}

#[tokio::test]
async fn an_inhibitor_that_begins_or_ends_is_noticed_by_its_signal() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.inhibitors.is_empty()).await;
    for word in ["yes", "inhibited", "inhibitor-blocked", "challenge-inhibitor-blocked"] {
        bench.inhibit(word, vec![lock("shutdown", "block")]).await;
        let facts = bench
            .wait(FACTS, |facts: &HostFacts| !facts.inhibitors.is_empty())
            .await;
        assert_eq!(
            (facts.reboot_capable, facts.inhibitors[0].who.as_str()),
            (true, "dpkg"),
            "{word}"
        );
        bench.inhibit("yes", vec![]).await;
        let facts = bench.wait(FACTS, |facts: &HostFacts| facts.inhibitors.is_empty()).await;
        assert!(facts.reboot_capable, "{word}");
    }
}

#[tokio::test]
async fn a_bus_that_starts_later_is_found() {
    let mut bench = Bench::without_bus();
    let _actuator = bench.actuator();
    let facts = bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    assert!(facts.message.starts_with("no system bus at "), "{}", facts.message);
    bench.start_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
}

#[tokio::test]
async fn a_bus_that_was_restarted_is_found_again() {
    let mut bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    bench.stop_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    bench.start_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    assert_eq!(bench.answer("1").await.state, AnswerState::Rebooting);
    bench.inhibit("inhibited", vec![lock("shutdown", "block")]).await;
    bench
        .wait(FACTS, |facts: &HostFacts| !facts.inhibitors.is_empty())
        .await;
}

#[tokio::test]
async fn a_logind_that_stops_and_starts_is_noticed() {
    let mut bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    let logind = bench.logind.take().unwrap();
    logind.release_name("org.freedesktop.login1").await.unwrap();
    let facts = bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    assert!(facts.message.contains("start systemd-logind"), "{}", facts.message);
    bench.logind = Some(stand_in(&bench.bus(), bench.script.clone()).await);
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
}

#[tokio::test]
async fn the_errors_of_a_missing_socket_or_logind_name_the_remedy() {
    let mut bench = Bench::new().await;
    let none = Logind::new(bench.directory.path().join("no-bus")).probe().await;
    assert!(
        !none.capable && none.message.contains("install dbus"),
        "{}",
        none.message
    );
    // Closing the connection is noticed by the bus some time later; giving the name back is answered.
    let logind = bench.logind.take().unwrap();
    logind.release_name("org.freedesktop.login1").await.unwrap();
    let none = Logind::new(bench.bus()).probe().await;
    assert!(
        !none.capable && none.message.contains("start systemd-logind"),
        "{}",
        none.message
    );
}

#[tokio::test]
async fn an_agent_that_never_stops_asking_is_served_slowly() {
    let mut bench = Bench::new().await;
    let every = Duration::from_millis(100);
    bench.pace = (3, every);
    let began = Instant::now();
    let _actuator = bench.actuator();
    for number in 0..6 {
        bench.facts(&number.to_string()).await;
    }
    assert!(began.elapsed() >= 3 * every, "served after {:?}", began.elapsed());
}
