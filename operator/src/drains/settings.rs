//! A policy's choices in the engine's words.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::core::{ParseExpressionError, Selector};
use lockkeeper_crds::{
    DeleteExempt, Drain, DrainBehavior, DrainRule, EmptyDirData, LabelSelector, Operation, PodOptOuts as OptOuts,
    StageKind, UnmanagedPods,
};
use lockkeeper_drain::{Behavior, Deletion, EmptyDir, OwnPods, PodOptOuts, Rule, Settings, Stage, Unmanaged};
use lockkeeper_observe::convert;
use thiserror::Error;

/// A selector of a policy's drain cannot be read; nothing is drained by guess.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// One of a rule's.
    #[error(transparent)]
    Rule(#[from] lockkeeper_drain::Error),
    /// That of the pods that are never deleted past their budget.
    #[error("reading drain.deleteExempt.podSelector: correct the policy")]
    Exempt(#[source] ParseExpressionError),
}

/// What the engine must know of an operation, from its record.
pub fn of_operation(node: &str, operation: &Operation, namespace: &str) -> Result<Settings, Unreadable> {
    let drain = &operation.settings.drain;
    let cordoned_at = operation.cordoned_time.unwrap_or(operation.started_time);
    let mut settings = of_policy(node, drain, namespace, cordoned_at)?;
    if drain.exclude_from_load_balancers_seconds > 0 {
        settings.evict_from = Some(convert::operation(operation).evict_from());
    }
    if let Some(stage) = operation.stage.as_ref().filter(|stage| stage.kind == StageKind::Delete) {
        settings.stage = Stage::Delete(Deletion {
            since: stage.started_time,
            // What stands then is put back, so that what has a longer grace would be deleted for nothing.
            until: Some(stage.started_time + TimeDelta::seconds(drain.timeout_seconds.into())),
            exempt: drain.delete_exempt.as_ref().map(exempt).transpose()?,
        });
    }
    Ok(settings)
}

/// What a drain of the node under this policy would do.
pub fn of_policy(
    node: &str,
    drain: &Drain,
    namespace: &str,
    cordoned_at: DateTime<Utc>,
) -> Result<Settings, Unreadable> {
    let rules = drain.rules.iter().enumerate().map(|(index, rule)| parse(index, rule));
    Ok(Settings {
        unmanaged: match drain.unmanaged_pods {
            UnmanagedPods::Evict => Unmanaged::Evict,
            UnmanagedPods::Block | UnmanagedPods::Unknown => Unmanaged::Block,
        },
        empty_dir: match drain.empty_dir_data {
            EmptyDirData::Evict => EmptyDir::Evict,
            EmptyDirData::Block | EmptyDirData::Unknown => EmptyDir::Block,
        },
        pod_opt_outs: match drain.pod_opt_outs {
            OptOuts::Respect | OptOuts::Unknown => PodOptOuts::Respect,
            OptOuts::Ignore => PodOptOuts::Ignore,
        },
        rules: rules.collect::<Result<_, _>>()?,
        daemon_sets_last: drain.daemon_sets_last,
        grace_period_seconds: drain.grace_period_seconds.map(i64::from),
        wait_for_volume_detach: Duration::from_secs(drain.wait_for_volume_detach_seconds.try_into().unwrap_or(0)),
        ..Settings::new(node, OwnPods::in_namespace(namespace), cordoned_at)
    })
}

fn parse(index: usize, rule: &DrainRule) -> Result<Rule, lockkeeper_drain::Error> {
    Rule::parse(
        index,
        rule.pod_selector.as_ref().map(LabelSelector::to_kubernetes),
        rule.namespace_selector.as_ref().map(LabelSelector::to_kubernetes),
        match rule.behavior {
            DrainBehavior::Evict => Behavior::Evict,
            DrainBehavior::Skip => Behavior::Skip,
            DrainBehavior::WaitCompleted => Behavior::WaitCompleted,
            DrainBehavior::Block | DrainBehavior::Unknown => Behavior::Block,
        },
        rule.order,
    )
}

fn exempt(exempt: &DeleteExempt) -> Result<Selector, Unreadable> {
    let selector = exempt.pod_selector.clone().unwrap_or_default();
    Selector::try_from(selector.to_kubernetes()).map_err(Unreadable::Exempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn operation(drain: &serde_json::Value, stage: Option<&str>) -> Operation {
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
    fn the_defaults_of_a_policy_are_those_of_the_engine() {
        let settings = of_operation("w-01", &operation(&json!({}), None), "here").unwrap();
        let own = OwnPods::in_namespace("here");
        assert_eq!(settings, Settings::new("w-01", own, at("2026-11-21T12:00:10Z")));
    }

    #[test]
    fn every_choice_reaches_the_engine() {
        let drain = json!({
            "timeoutSeconds": 60, "gracePeriodSeconds": 5, "unmanagedPods": "Evict", "emptyDirData": "Block",
            "podOptOuts": "Ignore", "waitForVolumeDetachSeconds": 7, "excludeFromLoadBalancersSeconds": 30,
            "daemonSetsLast": true,
            "rules": [{"podSelector": {"matchLabels": {"a": "b"}}, "behavior": "WaitCompleted", "order": -3}],
        });
        let settings = of_operation("w-01", &operation(&drain, None), "here").unwrap();
        assert_eq!(settings.grace_period_seconds, Some(5));
        assert_eq!(settings.unmanaged, Unmanaged::Evict);
        assert_eq!(settings.empty_dir, EmptyDir::Block);
        assert_eq!(settings.pod_opt_outs, PodOptOuts::Ignore);
        assert_eq!(settings.wait_for_volume_detach, Duration::from_secs(7));
        assert_eq!(settings.evict_from, Some(at("2026-11-21T12:00:41Z")));
        assert!(settings.daemon_sets_last);
        assert_eq!(
            (settings.rules[0].behavior, settings.rules[0].order),
            (Behavior::WaitCompleted, -3)
        );
        assert_eq!(settings.rules[0].namespaces, None);
        assert_eq!(settings.stage, Stage::Evict);
    }

    #[test]
    fn words_of_a_newer_version_lose_no_data() {
        let drain =
            json!({"unmanagedPods": "New", "emptyDirData": "New", "podOptOuts": "New", "rules": [{"behavior": "New"}]});
        let settings = of_operation("w-01", &operation(&drain, None), "here").unwrap();
        assert_eq!(settings.unmanaged, Unmanaged::Block);
        assert_eq!(settings.empty_dir, EmptyDir::Block);
        assert_eq!(settings.pod_opt_outs, PodOptOuts::Respect);
        assert_eq!(settings.rules[0].behavior, Behavior::Block);
    }

    #[test]
    fn the_delete_stage_ends_when_the_node_is_put_back_and_an_empty_exemption_exempts_all() {
        let deletion = |drain: &serde_json::Value| match of_operation("w-01", &operation(drain, Some("Delete")), "here")
            .unwrap()
            .stage
        {
            Stage::Delete(deletion) => deletion,
            Stage::Evict => panic!("no stage"),
        };
        let plain = deletion(&json!({"timeoutSeconds": 60}));
        assert_eq!(plain.since, at("2026-11-21T12:15:10Z"));
        assert_eq!(plain.until, Some(at("2026-11-21T12:16:10Z")));
        assert_eq!(plain.exempt, None);
        let all = deletion(&json!({"deleteExempt": {}})).exempt.unwrap();
        assert!(kube::core::SelectorExt::matches(
            &all,
            &std::collections::BTreeMap::new()
        ));
    }

    #[test]
    fn a_selector_that_cannot_be_read_names_its_rule() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "New"}]});
        let drain = json!({"rules": [{}, {"namespaceSelector": bad}]});
        let error = of_operation("w-01", &operation(&drain, None), "here").unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading drain.rules[1].namespaceSelector: correct the policy"
        );
    }
}
