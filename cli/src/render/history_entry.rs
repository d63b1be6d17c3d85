//! A past operation as text.

use lockkeeper_crds::{HistoryEntry, Outcome};

use crate::clock::{DisplayClock, duration};

/// How an operation ended, and when.
pub(crate) fn ended(entry: &HistoryEntry, clock: &DisplayClock) -> String {
    let when = clock.time_and_age(entry.ended_time);
    let how = match entry.outcome {
        Outcome::Succeeded => return format!("rebooted {when}: {}", measurements(entry)),
        Outcome::Deferred => "deferred",
        Outcome::Withdrawn => "withdrawn",
        Outcome::Held => "put on hold",
        Outcome::Released => "released manually",
        Outcome::Unknown => "ended",
    };
    if entry.message.is_empty() {
        format!("{how} {when}")
    } else {
        format!("{how} {when}: {}", clock.localize(&entry.message))
    }
}

/// How long the parts of an operation took, and the boot ids that prove the reboot.
pub(crate) fn measurements(entry: &HistoryEntry) -> String {
    let mut parts: Vec<String> = [
        ("waited", entry.waited_seconds),
        ("drained", entry.drained_seconds),
        ("down", entry.down_seconds),
        ("verified", entry.verified_seconds),
    ]
    .into_iter()
    .filter_map(|(part, seconds)| Some(format!("{part} {}", duration(seconds?))))
    .collect();
    let (before, after) = (short(&entry.boot_id_before), short(&entry.boot_id_after));
    parts.push(if entry.boot_id_before == entry.boot_id_after {
        format!("soft-rebooted in boot {after}")
    } else {
        format!("boot {before} -> {after}")
    });
    parts.join(", ")
}

/// The first part of a boot id, which is enough to distinguish two.
fn short(boot_id: &str) -> &str {
    boot_id.split('-').next().unwrap_or(boot_id)
}
