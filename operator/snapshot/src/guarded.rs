//! The kinds that are read although one of their objects may not be decodable, and what is known of such an object.

use lockkeeper_crds::condition::Condition;
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, WaitingStatus};
use lockkeeper_kube_util::{Guarded, Rest, Undecodable};
use serde::Deserialize;
use serde_json::Value;

/// A policy.
pub type GuardedPolicy = Guarded<RebootPolicy, PolicyRest>;
/// A policy that cannot be decoded.
pub type UndecodablePolicy = Undecodable<PolicyRest>;
/// A `NodeReboot`.
pub type GuardedRecord = Guarded<NodeReboot, RecordRest>;
/// A `NodeReboot` that cannot be decoded.
pub type UndecodableRecord = Undecodable<RecordRest>;
/// A lock.
pub type GuardedLock = Guarded<RebootLock>;

/// The status of a policy that cannot be decoded, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRest {
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// `status.observedGeneration`.
    pub observed_generation: Option<i64>,
}

impl Rest for PolicyRest {
    fn of(object: &Value) -> Self {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let decoded = |condition: &Value| Condition::deserialize(condition).ok();
        Self {
            conditions: conditions.into_iter().flatten().filter_map(decoded).collect(),
            observed_generation: object.pointer("/status/observedGeneration").and_then(Value::as_i64),
        }
    }
}

/// The status of a `NodeReboot` that cannot be decoded, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordRest {
    /// `status.waiting`.
    pub waiting: Option<WaitingStatus>,
    /// Whether it has an operation.
    pub in_progress: bool,
}

impl Rest for RecordRest {
    fn of(object: &Value) -> Self {
        let waiting = object.pointer("/status/waiting");
        Self {
            waiting: waiting.and_then(|waiting| WaitingStatus::deserialize(waiting).ok()),
            in_progress: object.pointer("/status/operation").is_some_and(Value::is_object),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_undecodable_policy_names_the_field_and_keeps_its_conditions() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "UpToDate", "message": "",
            "lastTransitionTime": "2026-11-21T12:00:00Z"});
        let policy: GuardedPolicy = serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "general", "generation": 7},
            "spec": {"windows": [{"schedule": "0 22 * * *", "durationSeconds": "two hours"}]},
            "status": {"observedGeneration": 6, "conditions": [ready, {"type": 5}]},
        }))
        .unwrap();
        let undecodable = policy.0.unwrap_err();
        assert_eq!(
            undecodable.cause,
            "spec.windows[0].durationSeconds: invalid type: string \"two hours\", expected i32"
        );
        assert_eq!(undecodable.metadata.name.as_deref(), Some("general"));
        assert_eq!(undecodable.rest.observed_generation, Some(6));
        let types: Vec<&str> = undecodable.rest.conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types, ["Ready"]);
    }

    #[test]
    fn an_undecodable_record_keeps_its_owner_and_its_wait_reason() {
        let record: GuardedRecord = serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot",
            "metadata": {"name": "w-01", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "w-01", "uid": "u"}]},
            "spec": {}, "status": {"host": {"bootTime": "2026-11-21T12:00:00Ztrailing words"}, "operation": {},
                "waiting": {"reason": "NoPolicy", "message": "m", "sinceTime": "2026-11-21T12:00:00Z"}},
        }))
        .unwrap();
        let undecodable = record.0.unwrap_err();
        assert!(
            undecodable.cause.starts_with("status.host.bootTime: "),
            "{}",
            undecodable.cause
        );
        assert_eq!(undecodable.metadata.owner_references.unwrap()[0].uid, "u");
        assert_eq!(undecodable.rest.waiting.unwrap().reason, "NoPolicy");
        assert!(undecodable.rest.in_progress);
    }
}
