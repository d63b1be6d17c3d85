//! What the agent's two programs cost a node: memory, processor time while nothing happens, and how soon they report.
//!
//! `make bench-size`, on a virtual machine, idle for `MINUTES` (5 unless set). The memory does not depend on the machine; the
//! times do, and an emulated guest is many times slower than a real one.

use std::time::Duration;

use chrono::DateTime;
use lockkeeper_crds::names;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use serde_json::Value;
use tokio::time::sleep;

/// What issue 16 of the project asks for, and what Kubernetes must grant at least.
const RSS_LIMIT_KB: u64 = 8 * 1024;
/// Clock ticks per second, of every architecture that runs Kubernetes.
const TICKS: u64 = 100;
const PROGRAMS: [&str; 2] = ["lockkeeper-node-agent", "lockkeeper-actuator"];
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
