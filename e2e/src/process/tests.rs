use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Process, Spec, free_port};

/// Set in the process that plays the harness in `dies_with_a_harness_that_is_killed`.
const VICTIM: &str = "LOCKKEEPER_E2E_VICTIM_LOG_DIR";

fn sleeper(log_dir: &std::path::Path) -> Process {
    Process::spawn(Spec::new("sleeper", "sleep", log_dir).arg("600")).unwrap()
}

fn watch(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap()
}

fn ends_within(pidfd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// Waits until `setpriv` has become the program: who is killed before that leaves a child that does not know of it.
fn wait_until_it_is_the_program(pid: u32) {
    let comm = format!("/proc/{pid}/comm");
    while std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() != "sleep") {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Plays the harness: starts a program on a thread that ends, tells its pid, and waits to be killed.
fn play_the_victim(log_dir: &str) {
    let log_dir = std::path::PathBuf::from(log_dir);
    let process = std::thread::spawn(move || sleeper(&log_dir)).join().unwrap();
    wait_until_it_is_the_program(process.pid());
    println!("pid={}", process.pid());
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_process_dies_with_its_harness_and_not_with_the_thread_that_started_it() {
    if let Ok(log_dir) = std::env::var(VICTIM) {
        return play_the_victim(&log_dir);
    }
    let logs = tempfile::tempdir().unwrap();
    let mut harness = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(
            concat!(
                module_path!(),
                "::a_process_dies_with_its_harness_and_not_with_the_thread_that_started_it"
            )
            .split_once("::")
            .unwrap()
            .1,
        )
        .env(VICTIM, logs.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(harness.stdout.take().unwrap());
    // The test runner prints on the same line before us.
    let pid = said
        .lines()
        .find_map(|line| line.unwrap().split_once("pid=").map(|(_, pid)| pid.parse().unwrap()));
    let pidfd = watch(pid.unwrap());
    assert!(
        !ends_within(&pidfd, Duration::from_millis(300)),
        "ended with the thread that asked for it"
    );

    harness.kill().unwrap();
    assert!(ends_within(&pidfd, Duration::from_secs(10)), "outlived the harness");
    harness.wait().unwrap();
}

#[test]
fn a_dropped_process_is_killed() {
    let logs = tempfile::tempdir().unwrap();
    let process = sleeper(logs.path());
    let pidfd = watch(process.pid());
    drop(process);
    assert!(ends_within(&pidfd, Duration::from_secs(10)));
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed() {
    let logs = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done";
    let mut deaf = Process::spawn(Spec::new("deaf", "sh", logs.path()).args(["-c", script])).unwrap();
    while !deaf.log_tail(1).contains("deaf") {
        tokio::task::yield_now().await;
    }
    let status = deaf.terminate(Duration::from_millis(100)).await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

#[tokio::test]
async fn one_log_holds_both_outputs_of_each_run() {
    let logs = tempfile::tempdir().unwrap();
    let script = Spec::new("talker", "sh", logs.path())
        .args(["-c", "echo one; echo $WORD >&2"])
        .env("WORD", "two");
    let mut talker = Process::spawn(script).unwrap();
    assert!(talker.wait(Duration::from_secs(10)).await.unwrap().success());
    talker.restart().unwrap();
    talker.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(talker.log_tail(3), "two\none\ntwo");
}

#[tokio::test]
async fn an_error_names_the_program_that_does_not_exist() {
    let logs = tempfile::tempdir().unwrap();
    let mut process = Process::spawn(Spec::new("ghost", "/nonexistent/ghost", logs.path())).unwrap();
    assert!(!process.wait(Duration::from_secs(10)).await.unwrap().success());
    assert!(
        process.log_tail(2).contains("/nonexistent/ghost"),
        "{}",
        process.log_tail(2)
    );
}

#[test]
fn no_port_is_given_twice() {
    let first = free_port().unwrap();
    assert_ne!(first, free_port().unwrap());
}
