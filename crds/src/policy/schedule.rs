//! When nodes may start, and when they may not.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

use super::Defaults;

/// A rule instead of a pattern: the API server would answer with the whole pattern, which does not say what to write.
fn five_fields() -> Rule {
    let pattern = include_str!("../cron-pattern.txt").trim_ascii_end();
    Rule::new(format!("self.matches(r'{pattern}')")).message(
        "write five fields of cron (minute, hour, day of month, month, day of week), such as \"0 22 * * MON-FRI\"; \
         seconds, @daily, L, W and # are not supported",
    )
}

/// A recurring period in which nodes may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens, as in cron: minute, hour, day of month, month, day of week, with names, ranges, lists and steps; a
    /// range may go over the edge, such as `FRI-MON` or `22-4`.
    #[schemars(length(max = 256))]
    #[x_kube(validation = five_fields())]
    pub schedule: String,
    /// How long it stays open, in elapsed seconds.
    #[schemars(range(min = 60, max = 604_800))]
    pub duration_seconds: i32,
    /// The IANA time zone of `schedule`.
    #[serde(default = "Defaults::time_zone")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^([A-Za-z_]+[A-Za-z0-9_+-]*)(/[A-Za-z0-9_+-]+){0,2}$")
    )]
    #[x_kube(validation = Rule::new("self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0").message("not an IANA time zone such as Europe/Berlin"))]
    pub time_zone: String,
}

/// A period in which no node starts, even in a window: with dates (`from`, `until`) or recurring (`schedule`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.schedule) != (has(self.from) || has(self.until))").message("an exclusion is either dated (from, until) or recurring (schedule, durationSeconds), not both"))]
#[x_kube(validation = Rule::new("has(self.from) == has(self.until)").message("a dated exclusion needs both from and until"))]
#[x_kube(validation = Rule::new("!has(self.from) || !has(self.until) || self.from < self.until").message("from must be before until"))]
#[x_kube(validation = Rule::new("has(self.schedule) == has(self.durationSeconds)").message("a recurring exclusion needs both schedule and durationSeconds"))]
pub struct Exclusion {
    /// When an exclusion with dates begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// When it ends; nodes may start from this instant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// When a recurring exclusion begins, as in `windows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = five_fields())]
    pub schedule: Option<String>,
    /// How long a recurring exclusion lasts, in elapsed seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub duration_seconds: Option<i32>,
    /// The IANA time zone of `schedule`; defaults to UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^([A-Za-z_]+[A-Za-z0-9_+-]*)(/[A-Za-z0-9_+-]+){0,2}$")
    )]
    #[x_kube(validation = Rule::new("self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0").message("not an IANA time zone such as Europe/Berlin"))]
    pub time_zone: Option<String>,
    /// The reason, shown wherever a node waits for the exclusion.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub reason: String,
}
