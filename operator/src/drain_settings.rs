//! What the engine must know of an operation, from its record.

use lockkeeper_crds::{Operation, StageKind};
use lockkeeper_drain::{Deletion, Error, OwnPods, Settings, Stage};
use lockkeeper_kube_util::Clock;
use lockkeeper_snapshot::convert;

/// What is the same for each drain and preflight of this operator.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The namespace of our own pods.
    pub namespace: String,
    /// What the times of pods and of the policy are compared with.
    pub clock: Clock,
    /// Whether pods with responders are left to these.
    pub eviction_requests: bool,
}

/// The policy's choices as they were when the operation began, and the stage that it has reached.
pub fn of_operation(node: &str, operation: &Operation, namespace: &str, clock: Clock) -> Result<Settings, Error> {
    let drain = &operation.settings.drain;
    let cordoned_at = operation.cordoned_time.unwrap_or(operation.started_time);
    let mut settings = Settings::of_policy(node, drain, OwnPods::in_namespace(namespace), cordoned_at)?;
    settings.clock = clock;
    // The last list of pods leaves them out, and a drain that starts anew does not evict them again.
    settings.returning = operation.returning_owners.iter().map(|owner| owner.0.clone()).collect();
    if settings.evict_from.is_some() || operation.noticed_time.is_some() {
        // The planner says until then why the node waits.
        settings.evict_from = Some(convert::operation(operation).evict_from());
    }
    if let Some(stage) = operation.stage.as_ref().filter(|stage| stage.kind == StageKind::Delete) {
        settings.stage = Stage::Delete(Deletion::of_policy(drain, stage.started_time)?);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    fn operation(drain: &Value, stage: Option<&str>) -> Operation {
        let mut value = json!({
            "id": "op", "phase": "Draining", "policy": "general", "bootIDBefore": "b-1",
            "startedTime": "2026-11-21T12:00:00Z", "cordonedTime": "2026-11-21T12:00:10Z",
            "settings": {"drain": drain},
        });
        if let Some(kind) = stage {
            value["stage"] = json!({"kind": kind, "startedTime": "2026-11-21T12:15:10Z"});
        }
        serde_json::from_value(value).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_drain_counts_from_the_cordon_and_evicts_when_the_planner_says() {
        let settings = of_operation("w-01", &operation(&json!({}), None), "here", Clock::machine()).unwrap();
        let own = OwnPods::in_namespace("here");
        assert_eq!(settings, Settings::new("w-01", own, at("2026-11-21T12:00:10Z")));
        let delayed = operation(&json!({"excludeFromLoadBalancersSeconds": 30}), None);
        let settings = of_operation("w-01", &delayed, "here", Clock::machine()).unwrap();
        assert_eq!(settings.evict_from, Some(at("2026-11-21T12:00:41Z")));
    }

    #[test]
    fn nothing_is_evicted_before_the_notice_ends() {
        let mut operation = operation(&json!({}), None);
        operation.settings.notice = Some(lockkeeper_crds::Notice { seconds: 600 });
        operation.noticed_time = Some(at("2026-11-21T12:00:11Z"));
        let settings = of_operation("w-01", &operation, "here", Clock::machine()).unwrap();
        assert_eq!(settings.evict_from, Some(at("2026-11-21T12:10:11Z")));
    }

    #[test]
    fn owners_whose_pods_return_are_left_alone_by_the_next_drain() {
        let mut operation = operation(&json!({}), None);
        assert!(
            of_operation("w-01", &operation, "here", Clock::machine())
                .unwrap()
                .returning
                .is_empty()
        );
        let owner = "CloneSet.apps.kruise.io shop/agent".to_owned();
        operation.returning_owners = vec![lockkeeper_crds::OwnerName(owner.clone())];
        let settings = of_operation("w-01", &operation, "here", Clock::machine()).unwrap();
        assert_eq!(settings.returning, [owner].into());
    }

    #[test]
    fn only_the_stage_delete_deletes() {
        let stage = |kind| {
            of_operation("w-01", &operation(&json!({}), kind), "here", Clock::machine())
                .unwrap()
                .stage
        };
        assert_eq!(stage(None), Stage::Evict);
        assert_eq!(stage(Some("Reboot")), Stage::Evict);
        let Stage::Delete(deletion) = stage(Some("Delete")) else {
            panic!("no stage")
        };
        assert_eq!(deletion.since, at("2026-11-21T12:15:10Z"));
        assert_eq!(deletion.until, Some(at("2026-11-21T12:30:10Z")));
    }

    #[test]
    fn a_selector_that_cannot_be_read_drains_nothing() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "New"}]});
        let rules = json!({"rules": [{}, {"namespaceSelector": bad}]});
        let exempt = json!({"deleteExempt": {"podSelector": bad}});
        assert!(of_operation("w-01", &operation(&rules, None), "here", Clock::machine()).is_err());
        assert!(of_operation("w-01", &operation(&exempt, Some("Delete")), "here", Clock::machine()).is_err());
    }
}
