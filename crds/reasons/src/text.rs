//! How messages write times, durations and lists.

use chrono::TimeDelta;

use crate::Instant;

/// Writes an instant as RFC 3339 in UTC with whole seconds, such as `2026-11-24T21:00:00Z`.
pub fn format_time(time: Instant) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes a duration for people: `45 s`, `12 min`, `3 h 12 min`. A negative one is `0 s`.
pub fn format_duration(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Writes a count with its noun, such as `1 pod` or `2 pods`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// Lists at most three names, and says how many more there are.
pub fn names(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
    let shown = shown.join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
