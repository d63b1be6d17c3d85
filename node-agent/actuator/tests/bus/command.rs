//! A host without logind: a command reboots it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lockkeeper_channel::{ANSWER, AnswerState, FACTS, HostAnswer, HostFacts};

use crate::bench::Bench;

/// A host without a bus, whose reboot command notes its arguments in the file `runs` and ends with this exit code.
fn host(exit_code: u8) -> Bench {
    let mut bench = Bench::without_bus();
    let script = bench.directory.path().join("reboot");
    let runs = bench.directory.path().join("runs");
    let text = format!("#!/bin/sh\necho \"$*\" >>{}\nexit {exit_code}\n", runs.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    bench.reboot_command = Some(format!("{} --reboot now", script.display()).parse().unwrap());
    bench
}

fn runs(bench: &Bench) -> String {
    fs::read_to_string(bench.directory.path().join("runs")).unwrap_or_default()
}

#[tokio::test]
async fn a_host_without_a_bus_is_rebooted_by_its_command_once_per_order() {
    let bench = host(0);
    let actuator = bench.actuator();
    let facts = bench.wait(FACTS, |facts: &HostFacts| facts.boot_id == "boot-a").await;
    assert!(facts.reboot_capable && facts.inhibitors.is_empty(), "{facts:?}");
    assert_eq!(bench.answer("1").await.state, AnswerState::Rebooting);
    // The service restarts while the host goes down.
    actuator.abort();
    let _second = bench.actuator();
    bench.idle().await;
    assert_eq!(runs(&bench), "--reboot now\n");
    let answer: HostAnswer = bench.channel().read(ANSWER).unwrap().unwrap();
    assert_eq!((answer.id.as_str(), answer.state), ("1", AnswerState::Rebooting));
}

#[tokio::test]
async fn a_reboot_command_that_ends_with_an_error_is_a_failure_and_not_repeated() {
    let bench = host(3);
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Failed);
    assert!(answer.message.contains("exit code 3"), "{}", answer.message);
    bench.idle().await;
    assert_eq!(runs(&bench), "--reboot now\n");
}

#[tokio::test]
async fn a_reboot_command_also_waits_for_the_least_uptime() {
    let bench = host(0);
    bench.up_for("30.00");
    let _actuator = bench.actuator();
    assert_eq!(bench.answer("1").await.state, AnswerState::Refused);
    assert_eq!(runs(&bench), "");
}

#[tokio::test]
async fn an_order_without_a_working_reboot_command_is_refused_with_the_remedy() {
    let mut bench = host(0);
    bench.reboot_command = Some("/no/such/program now".parse().unwrap());
    let _actuator = bench.actuator();
    assert!(!bench.facts("1").await.reboot_capable);
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("/no/such/program"), "{}", answer.message);
}
