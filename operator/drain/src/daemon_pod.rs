//! A `DaemonSet` pod, and whether it has become Ready since the node's reboot.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lockkeeper_kube_util::{Guarded, single_line};
use serde::Deserialize;

/// The parts of a pod that are decoded to see whether it is Ready.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub(crate) struct DaemonPod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Option<String>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<DateTime<Utc>>,
}

/// A pod that cannot be decoded counts as not Ready.
impl From<Guarded<Self>> for DaemonPod {
    fn from(pod: Guarded<Self>) -> Self {
        pod.0.unwrap_or_else(|undecodable| {
            let ready = Condition {
                kind: "Ready".to_owned(),
                status: "Unknown".to_owned(),
                message: Some(format!("it cannot be decoded ({})", undecodable.cause)),
                ..Condition::default()
            };
            Self {
                metadata: undecodable.metadata,
                status: Status {
                    conditions: Some(vec![ready]),
                    ..Status::default()
                },
            }
        })
    }
}

impl DaemonPod {
    /// Whether the pod is Ready and not shutting down.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = self.ready_condition().is_some_and(|ready| ready.status == "True");
        ready && self.metadata.deletion_timestamp.is_none()
    }

    /// When its Ready condition last changed.
    pub(crate) fn ready_changed_at(&self) -> Option<DateTime<Utc>> {
        self.ready_condition()?.last_transition_time
    }

    /// Whether the pod is Ready, and reported that after the reboot.
    pub(crate) fn is_ready_after_reboot(&self, ready_since_before: Option<DateTime<Utc>>) -> bool {
        self.is_ready() && !self.readiness_predates_reboot(ready_since_before)
    }

    /// Whether its Ready condition is still the one from before the reboot.
    fn readiness_predates_reboot(&self, ready_since_before: Option<DateTime<Utc>>) -> bool {
        ready_since_before.is_some() && self.ready_changed_at() == ready_since_before
    }

    /// Why the pod is not Ready, in one sentence.
    pub(crate) fn not_ready_message(&self, ready_since_before: Option<DateTime<Utc>>) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if self.metadata.deletion_timestamp.is_some() {
            return format!("pod {name} is shutting down");
        }
        if self.is_ready() && self.readiness_predates_reboot(ready_since_before) {
            return format!("pod {name} has not reported Ready since the reboot");
        }
        let ready = self.ready_condition();
        let cause = ready.and_then(|ready| non_empty(ready.message.as_ref()).or(non_empty(ready.reason.as_ref())));
        let phase = self.status.phase.as_deref().unwrap_or("Pending");
        format!("pod {name} is not Ready: {}", single_line(cause.unwrap_or(phase)))
    }

    fn ready_condition(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.find(|condition| condition.kind == "Ready")
    }
}

fn non_empty(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
