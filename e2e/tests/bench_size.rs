//! What the agent's two programs cost a node: memory, processor time while nothing happens, and how soon they report.
//!
//! `make bench-size`, on a virtual machine, idle for `MINUTES` (5 unless set). The memory does not depend on the machine; the
//! times do. An emulated guest is many times slower than a real one, so the start is measured on this machine, with programs
//! that are built without optimization.

use std::time::Duration;

use chrono::DateTime;
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::process::{Process, Spec};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::records::wait_reboot;
use lockkeeper_e2e::scene::LONG;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// What issue 16 of the project asks for, and what Kubernetes must grant at least.
const RSS_LIMIT_KB: u64 = 8 * 1024;
/// Clock ticks per second, of every architecture that runs Kubernetes.
const TICKS: u64 = 100;
const PROGRAMS: [&str; 2] = ["lockkeeper-node-agent", "lockkeeper-actuator"];
/// How often the agent is started to see how soon it reports.
const STARTS: usize = 20;
/// All detectors, also those that `auto` leaves out on Debian.
const DETECTORS: &str = "agent.detectors={debian,suse,amazon,drop-directory,kernel,rpm,update-engine,ostree}";

/// What the kernel says of a process.
#[derive(Debug)]
struct Usage {
    rss_kb: u64,
    anonymous_kb: u64,
    ticks: u64,
}

fn say(what: &str) {
    eprintln!("-- {what}");
}

#[tokio::test]
async fn the_agent_reports_soon_after_its_start() {
    let mut stack = Stack::start("bench-start", 1, 1).await.unwrap();
    let node = stack.name(0).to_owned();
    let reported = |reboot: &NodeReboot| reboot.status.as_ref().is_some_and(|status| status.host.is_some());
    stack.wait_reboot(&node, "a report", LONG, reported).await.unwrap();
    stack.agents.kill();
    let channel = stack.workdir.path().join("channel");
    std::fs::create_dir(&channel).unwrap();
    let channel = format!("--channel-dir={}", channel.display());
    let actuator = Spec::new(
        "actuator",
        program("lockkeeper-actuator").unwrap(),
        stack.plane.log_dir(),
    );
    let _actuator = Process::spawn(actuator.arg(&channel)).unwrap();
    let kubeconfig = format!("--kubeconfig={}", stack.plane.kubeconfig().display());
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let clear = r#"{"status":{"host":null}}"#;
        let patch = [
            "patch",
            "nodereboot",
            &node,
            "--subresource=status",
            "--type=merge",
            "-p",
            clear,
        ];
        stack.plane.kubectl(&patch).unwrap();
        let agent = Spec::new(
            "agent",
            program("lockkeeper-node-agent").unwrap(),
            stack.plane.log_dir(),
        );
        let agent = agent.args([&kubeconfig, &channel, "--host-run=/run", "--host-modules=/lib/modules"]);
        let agent = agent.args(["--host-os-release=/etc/os-release", "--host-rpm=/var/lib/rpm"]);
        let begun = Instant::now();
        let mut agent = Process::spawn(agent.env("NODE_NAME", &node)).unwrap();
        let look = Duration::from_millis(2);
        wait_reboot(&stack.plane, &node, "a report", LONG, look, reported)
            .await
            .unwrap();
        times.push(begun.elapsed().as_millis());
        agent.kill();
    }
    times.sort_unstable();
    println!(
        "the agent has reported {} ms after its start (median of {STARTS}; {} to {} ms)",
        times[STARTS / 2],
        times[0],
        times[STARTS - 1]
    );
    stack.workdir.passed();
}

#[tokio::test]
async fn the_agents_programs_stay_small_while_nothing_happens() {
    let minutes = std::env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let minutes: u64 = minutes.unwrap_or(5);
    let mut stack = VmStack::boot("bench-size", 1, Release::Newer, &say).await.unwrap();
    let node = stack.nodes.node_names().remove(0);
    let values = [DETECTORS, "agent.sentinels={/run/mine}", "agent.maxUptimeDays=30"];
    stack.install(&values, &say).unwrap();
    println!(
        "the agent reports {} ms after its start",
        reported_after(&stack, &node).await
    );
    // The start of the pods is over.
    sleep(Duration::from_mins(1)).await;
    let mut before = Vec::new();
    for program in PROGRAMS {
        before.push(usage(&stack, &node, program).await);
    }
    sleep(Duration::from_mins(minutes)).await;
    for (program, before) in PROGRAMS.iter().zip(before) {
        let after = usage(&stack, &node, program).await;
        let micros_per_second = (after.ticks - before.ticks) * (1_000_000 / TICKS) / (minutes * 60);
        println!(
            "{program}: VmRSS {} KiB, RssAnon {} KiB, {micros_per_second} microseconds of CPU per second over {minutes} min",
            after.rss_kb, after.anonymous_kb
        );
        assert!(after.rss_kb <= RSS_LIMIT_KB, "{program}: {after:?}");
    }
    stack.workdir.passed();
}

async fn usage(stack: &VmStack, node: &str, program: &str) -> Usage {
    let command = format!(
        "pid=$(pidof {program}); awk '/^VmRSS|^RssAnon/ {{print $2}}' /proc/$pid/status; awk '{{print $14 + $15}}' /proc/$pid/stat"
    );
    let said = stack.nodes.exec(node, &command).await.unwrap();
    let numbers: Vec<u64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [rss_kb, anonymous_kb, ticks] = numbers[..] else {
        panic!("{program}: {said}")
    };
    Usage {
        rss_kb,
        anonymous_kb,
        ticks,
    }
}

/// How many milliseconds after the start of its process the agent has logged its first report.
async fn reported_after(stack: &VmStack, node: &str) -> i64 {
    let command = "pid=$(pidof lockkeeper-node-agent); \
                   awk -v now=$(date +%s.%N) -v up=$(cut -d' ' -f1 /proc/uptime) '{printf \"%.0f\", (now - up + $22 / 100) * 1000}' \
                   /proc/$pid/stat";
    let started: i64 = stack.nodes.exec(node, command).await.unwrap().trim().parse().unwrap();
    let namespace = format!("--namespace={}", names::NAMESPACE);
    let logs = [
        "logs",
        "daemonset/lockkeeper-node-agent",
        "--container=agent",
        &namespace,
    ];
    let said = stack.plane.kubectl(&logs).unwrap();
    let first = said.lines().find(|line| line.contains("reported the host")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    let at = DateTime::parse_from_rfc3339(first["timestamp"].as_str().unwrap()).unwrap();
    at.timestamp_millis() - started
}
