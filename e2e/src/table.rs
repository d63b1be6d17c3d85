//! The demo's last screen.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lockkeeper_crds::NodeReboot;

use crate::recorder::Seen;

/// What the last screen is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The nodes' records.
    pub reboots: &'a [NodeReboot],
    /// What was seen from outside.
    pub seen: &'a Seen,
    /// From the first staged update to the last free slot.
    pub seconds: i64,
    /// Replicas of the workload.
    pub replicas: usize,
    /// Requests since the updates were staged, by program.
    pub requests: &'a BTreeMap<String, usize>,
    /// Resident memory in KiB, by program: the largest process of each.
    pub memory: &'a BTreeMap<String, u64>,
}

/// The table, the verdict and the totals.
pub fn render(facts: &Facts) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<14}{:>8}{:>10}{:>8}{:>11}   BOOT",
        "NODE", "WAITED", "DRAINED", "DOWN", "VERIFIED"
    );
    let mut rebooted = 0;
    for reboot in facts.reboots {
        let name = reboot.metadata.name.as_deref().unwrap_or_default();
        let Some(last) = reboot.status.as_ref().and_then(|status| status.last_reboot.as_ref()) else {
            let _ = writeln!(text, "{name:<14} was not rebooted");
            continue;
        };
        rebooted += 1;
        let _ = writeln!(
            text,
            "{name:<14}{:>8}{:>10}{:>8}{:>11}   {} -> {}",
            clock(last.waited_seconds),
            clock(last.drained_seconds),
            clock(last.down_seconds),
            clock(last.verified_seconds),
            short(&last.boot_id_before),
            short(&last.boot_id_after)
        );
    }
    let _ = writeln!(
        text,
        "{rebooted} of {} nodes rebooted in {}, never more than {} down; web kept {} of {} pods ready or more through all {} samples",
        facts.reboots.len(),
        clock(Some(facts.seconds)),
        facts.seen.most_down.len(),
        facts.seen.fewest_ready.unwrap_or(facts.replicas).min(facts.replicas),
        facts.replicas,
        facts.seen.samples
    );
    let nodes = facts.reboots.len().max(1);
    let requests = |program: &str| facts.requests.get(program).copied().unwrap_or(0);
    let memory = |program: &str| {
        facts
            .memory
            .get(program)
            .map_or_else(|| "not measured".to_owned(), |kib| format!("{} MB", kib.div_ceil(1024)))
    };
    let _ = writeln!(
        text,
        "operators {} requests, {}; agents {} requests each, {}",
        requests("lockkeeper-operator"),
        memory("lockkeeper-operator"),
        requests("lockkeeper-node-agent").div_ceil(nodes),
        memory("lockkeeper-node-agent"),
    );
    let _ = writeln!(text, "requests by user agent: {}", join(facts.requests));
    text
}

fn join(counts: &BTreeMap<String, usize>) -> String {
    counts
        .iter()
        .map(|(program, count)| format!("{program} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn clock(seconds: Option<i64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| format!("{}:{:02}", seconds / 60, seconds % 60),
    )
}

fn short(boot: &str) -> &str {
    boot.get(..8).unwrap_or(boot)
}
