//! Silences as Alertmanager's API v2 has them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Config, Matcher};

/// One silence of Alertmanager's list, as far as it matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Its ID.
    pub id: String,
    /// Whether it is pending, active or expired.
    pub status: Status,
    /// What it matches; kept as it is when the silence is changed.
    pub matchers: Value,
    /// When it began.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// The state of a silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `pending`, `active` or `expired`.
    pub state: String,
}

impl Silence {
    /// The ID of the operation in its comment.
    pub(crate) fn operation(&self) -> Option<&str> {
        self.comment.rsplit_once(OPERATION)?.1.strip_suffix(')')
    }

    pub(crate) fn has_ended(&self, now: DateTime<Utc>) -> bool {
        self.status.state == "expired" || self.ends_at <= now
    }
}

/// Before the ID of an operation in a comment.
const OPERATION: &str = ", operation ";

/// How our silences of a cluster are marked, so that those of another cluster in the same Alertmanager are left alone.
pub(crate) fn created_by(cluster: &str) -> String {
    format!("lockkeeper {cluster}")
}

/// What a silence is made for.
pub(crate) struct NewSilence<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) node: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) operation: &'a str,
}

/// The document that makes a silence.
pub(crate) fn created(config: &Config, new: &NewSilence<'_>, now: DateTime<Utc>) -> Value {
    let NewSilence {
        cluster,
        node,
        policy,
        operation,
    } = new;
    let matchers: Vec<Value> = config.matchers.iter().map(|matcher| matcher.for_node(node)).collect();
    json!({
        "matchers": matchers,
        "startsAt": time(now),
        "endsAt": time(now + config.duration),
        "createdBy": created_by(cluster),
        "comment": format!("Lockkeeper reboots node {node} (policy {policy}{OPERATION}{operation})"),
    })
}

/// The document that changes when a silence ends.
pub(crate) fn changed(silence: &Silence, ends_at: DateTime<Utc>) -> Value {
    json!({
        "id": silence.id,
        "matchers": silence.matchers,
        "startsAt": time(silence.starts_at),
        "endsAt": time(ends_at),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Matcher {
    fn for_node(&self, node: &str) -> Value {
        // A name of a node has letters, digits, '-' and '.', and only the last is special in a regular expression.
        let node = if self.is_regex {
            node.replace('.', "\\.")
        } else {
            node.to_owned()
        };
        let value = self.value.replace(crate::config::NODE, &node);
        json!({"name": self.name, "value": value, "isRegex": self.is_regex, "isEqual": true})
    }
}
