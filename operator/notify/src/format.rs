//! The bodies of requests: Slack, JSON and CloudEvents.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::event::{Event, Severity};
use crate::template::Template;
use crate::text::text;

/// How many Events of one message a document lists; the rest is counted.
pub(crate) const MAX_LISTED: usize = 500;

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"text": ...}`, as the incoming webhooks of Slack, Mattermost and Rocket.Chat expect it.
    Slack,
    /// A document with all fields, or what the template makes.
    Json,
    /// CloudEvents 1.0, structured mode: one request for each Event.
    CloudEvents,
    /// CloudEvents 1.0, batched mode: one request for all Events of a message.
    CloudEventsBatch,
}

impl Format {
    /// Every format with its name in the configuration.
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("Slack", Self::Slack),
        ("JSON", Self::Json),
        ("CloudEvents", Self::CloudEvents),
        ("CloudEventsBatch", Self::CloudEventsBatch),
    ];
}

/// One request of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Bytes,
    /// How many Events it tells.
    pub(crate) events: u64,
}

/// The requests that tell these Events.
pub(crate) fn bodies(
    format: Format,
    template: Option<&Template>,
    cluster: &str,
    events: &[Event],
) -> Result<Vec<Body>, String> {
    match format {
        Format::Slack => {
            let message = match template {
                Some(template) => template.render(&escaped(document(cluster, events)))?,
                None => escape(&text(cluster, events)),
            };
            Ok(vec![body("application/json", &json!({"text": message}), events.len())])
        }
        Format::Json => {
            let document = document(cluster, events);
            let document = match template {
                Some(template) => parsed(&template.render(&document)?)?,
                None => document,
            };
            Ok(vec![body("application/json", &document, events.len())])
        }
        Format::CloudEvents => Ok(events
            .iter()
            .map(|event| body("application/cloudevents+json", &cloud_event(cluster, event), 1))
            .collect()),
        Format::CloudEventsBatch => {
            let all: Vec<Value> = events.iter().map(|event| cloud_event(cluster, event)).collect();
            Ok(vec![body(
                "application/cloudevents-batch+json",
                &Value::Array(all),
                events.len(),
            )])
        }
    }
}

/// All that is known, as the format JSON sends it and as templates see it.
pub(crate) fn document(cluster: &str, events: &[Event]) -> Value {
    let listed = &events[..events.len().min(MAX_LISTED)];
    let severity = events
        .iter()
        .map(|event| event.severity)
        .max()
        .unwrap_or(Severity::Normal);
    json!({
        "cluster": cluster,
        "severity": severity,
        "text": text(cluster, events),
        "count": events.len(),
        "omitted": events.len() - listed.len(),
        "events": listed,
    })
}

fn cloud_event(cluster: &str, event: &Event) -> Value {
    let subject = match (&event.node, &event.policy) {
        (Some(node), _) => Some(format!("nodes/{node}")),
        (None, Some(policy)) => Some(format!("rebootpolicies/{policy}")),
        (None, None) => None,
    };
    let mut value = json!({
        "specversion": "1.0",
        "id": id(event),
        "source": if cluster.is_empty() { "/lockkeeper".to_owned() } else { format!("/lockkeeper/{cluster}") },
        "type": format!("dev.lockkeeper.{}", event.reason),
        "time": event.time.to_rfc3339_opts(SecondsFormat::Millis, true),
        "datacontenttype": "application/json",
        "data": {
            "severity": event.severity,
            "reason": event.reason,
            "message": event.message,
            "policy": event.policy,
            "node": event.node,
            "operation": event.operation,
        },
    });
    if let Some(subject) = subject {
        value["subject"] = Value::String(subject);
    }
    value
}

/// The same for the same Event, so that a receiver can tell a request that was sent again.
fn id(event: &Event) -> String {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    format!("{:x}-{:016x}", event.time.timestamp_millis(), hasher.finish())
}

fn body(content_type: &'static str, document: &Value, events: usize) -> Body {
    Body {
        content_type,
        bytes: Bytes::from(document.to_string()),
        events: events.try_into().unwrap_or(u64::MAX),
    }
}

fn parsed(rendered: &str) -> Result<Value, String> {
    serde_json::from_str(rendered).map_err(|error| {
        format!(
            "makes no valid JSON (line {}); write values as {{{{ value }}}} without quotes",
            error.line()
        )
    })
}

/// Slack obeys these characters: <!channel> calls everybody, <http://...> is a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The document with each text escaped.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape(&text)),
        Value::Array(values) => values.into_iter().map(escaped).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, escaped(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
