//! What is read of an `EvictionRequest` and an `Eviction`.

use chrono::{DateTime, Utc};
use lockkeeper_kube_util::{bounded, single_line};
use serde::Deserialize;
use serde_json::Value;

use crate::pod::Uid;

/// How much of a responder's message is shown: the API allows 4000 characters.
const MAX_MESSAGE: usize = 300;

/// What either kind of object tells about the eviction of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObservedEviction {
    /// The pod.
    pub(crate) pod: Uid,
    /// Whether a controller has taken the object up.
    pub(crate) is_observed: bool,
    /// Whether no responder works on it any more although the pod is not evicted.
    pub(crate) has_failed: bool,
    /// The responder that works on it.
    pub(crate) active: Option<ActiveResponder>,
}

/// The responder that works on an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActiveResponder {
    /// Its name.
    pub name: String,
    /// What it reports; empty before its first report.
    pub message: String,
    /// When it last reported that it works; `None` before its first report.
    pub heartbeat: Option<DateTime<Utc>>,
    /// When it expects to have ended, if it says so.
    pub expected_end: Option<DateTime<Utc>>,
}

impl ObservedEviction {
    /// Decodes an object; `None` if it does not name a pod or has a form that is not known.
    pub(crate) fn decode(object: &Value) -> Option<Self> {
        let SlimObject { spec, status } = SlimObject::deserialize(object).ok()?;
        let active = status.target_responders.iter().find(|one| one.state == "Active");
        let active = active.map(|one| {
            let report = status.responders.iter().find(|report| report.name == one.name);
            active_responder(&one.name, report)
        });
        let has_failed = |condition: &SlimCondition| condition.kind == "Failed" && condition.status == "True";
        Some(Self {
            pod: Uid(spec.target.pod?.uid),
            is_observed: status.observed_generation.is_some(),
            has_failed: status.conditions.iter().any(has_failed),
            active,
        })
    }
}

fn active_responder(name: &str, report: Option<&SlimReport>) -> ActiveResponder {
    let message = report.and_then(|report| report.message.as_deref()).unwrap_or_default();
    ActiveResponder {
        name: single_line(name),
        message: bounded(message, MAX_MESSAGE),
        heartbeat: report.and_then(|report| report.heartbeat_time),
        expected_end: report.and_then(|report| report.expected_completion_time),
    }
}

#[derive(Deserialize)]
struct SlimObject {
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Deserialize)]
struct SlimSpec {
    target: SlimTarget,
}

#[derive(Deserialize)]
struct SlimTarget {
    pod: Option<SlimPodReference>,
}

#[derive(Deserialize)]
struct SlimPodReference {
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    observed_generation: Option<i64>,
    conditions: Vec<SlimCondition>,
    target_responders: Vec<SlimTargetResponder>,
    responders: Vec<SlimReport>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimTargetResponder {
    name: String,
    state: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimReport {
    name: String,
    heartbeat_time: Option<DateTime<Utc>>,
    expected_completion_time: Option<DateTime<Utc>>,
    message: Option<String>,
}
