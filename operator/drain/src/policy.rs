//! Converts a policy's drain settings into those of the engine.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::core::Selector;
use lockkeeper_crds as crds;

use crate::error::Error;
use crate::rule::{Behavior, Rule};
use crate::settings::{Deletion, EmptyDir, OwnPods, PodOptOuts, Settings, Unmanaged};

impl Settings {
    /// The settings for `node`, cordoned at `cordoned_at`, as the policy has them. A value of a newer version counts as
    /// the safest one.
    ///
    /// An invalid selector is an error that names it. The caller handles timeouts.
    pub fn of_policy(
        node: impl Into<String>,
        drain: &crds::Drain,
        own_pods: OwnPods,
        cordoned_at: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let rules = drain
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| parse_rule(index, rule));
        let delay = drain.exclude_from_load_balancers_seconds;
        Ok(Self {
            unmanaged: match drain.unmanaged_pods {
                crds::UnmanagedPods::Evict => Unmanaged::Evict,
                crds::UnmanagedPods::Block | crds::UnmanagedPods::Unknown => Unmanaged::Block,
            },
            empty_dir: match drain.empty_dir_data {
                crds::EmptyDirData::Evict => EmptyDir::Evict,
                crds::EmptyDirData::Block | crds::EmptyDirData::Unknown => EmptyDir::Block,
            },
            pod_opt_outs: match drain.pod_opt_outs {
                crds::PodOptOuts::Respect | crds::PodOptOuts::Unknown => PodOptOuts::Respect,
                crds::PodOptOuts::Ignore => PodOptOuts::Ignore,
            },
            rules: rules.collect::<Result<_, _>>()?,
            daemon_sets_last: drain.daemon_sets_last,
            grace_period_seconds: drain.grace_period_seconds.map(i64::from),
            evict_from: (delay > 0).then(|| cordoned_at + TimeDelta::seconds(delay.into())),
            wait_for_volume_detach: seconds(drain.wait_for_volume_detach_seconds),
            ..Self::new(node, own_pods, cordoned_at)
        })
    }
}

impl Deletion {
    /// The stage `Delete` as the policy has it, from `since` on.
    pub fn of_policy(drain: &crds::Drain, since: DateTime<Utc>) -> Result<Self, Error> {
        Ok(Self {
            since,
            // The node is deferred then; a pod with a longer grace period would be deleted for nothing.
            until: Some(since + TimeDelta::seconds(drain.timeout_seconds.into())),
            exempt: drain.delete_exempt.as_ref().map(exempt).transpose()?,
        })
    }
}

fn parse_rule(index: usize, rule: &crds::DrainRule) -> Result<Rule, Error> {
    Rule::parse(
        index,
        rule.pod_selector.as_ref().map(crds::LabelSelector::to_kubernetes),
        rule.namespace_selector.as_ref().map(crds::LabelSelector::to_kubernetes),
        match rule.behavior {
            crds::DrainBehavior::Evict => Behavior::Evict,
            crds::DrainBehavior::Skip => Behavior::Skip,
            crds::DrainBehavior::WaitCompleted => Behavior::WaitCompleted,
            crds::DrainBehavior::Try => Behavior::Try,
            crds::DrainBehavior::Block | crds::DrainBehavior::Unknown => Behavior::Block,
        },
        rule.order,
    )
}

/// An exemption without a selector exempts every pod.
fn exempt(exempt: &crds::DeleteExempt) -> Result<Selector, Error> {
    let selector = exempt.pod_selector.clone().unwrap_or_default();
    Selector::try_from(selector.to_kubernetes()).map_err(|source| Error::Exempt { source })
}

/// The schema allows no negative number; one that got past it counts as 0.
fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(seconds.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt;
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn policy(drain: Value) -> crds::Drain {
        serde_json::from_value(drain).unwrap()
    }

    fn settings(drain: Value) -> Result<Settings, Error> {
        let own = OwnPods::in_namespace("here");
        Settings::of_policy("w-01", &policy(drain), own, at("2026-11-21T12:00:10Z"))
    }

    #[test]
    fn the_defaults_of_a_policy_are_those_of_the_engine() {
        let own = OwnPods::in_namespace("here");
        let engine = Settings::new("w-01", own, at("2026-11-21T12:00:10Z"));
        assert_eq!(settings(json!({})).unwrap(), engine);
        assert_eq!(engine.unmanaged, Unmanaged::Block);
        assert_eq!(engine.pod_opt_outs, PodOptOuts::Respect);
    }

    #[test]
    fn every_setting_reaches_the_engine() {
        let labels = |key: &str| json!({"matchLabels": {key: "b"}});
        let rule = json!({"podSelector": labels("a"), "namespaceSelector": labels("n"), "behavior": "WaitCompleted", "order": -3});
        let settings = settings(json!({
            "gracePeriodSeconds": 5, "unmanagedPods": "Evict", "emptyDirData": "Block", "podOptOuts": "Ignore",
            "waitForVolumeDetachSeconds": 7, "excludeFromLoadBalancersSeconds": 30, "daemonSetsLast": true,
            "rules": [rule, {"behavior": "Skip"}, {"behavior": "Evict"}, {"behavior": "Block"}],
        }))
        .unwrap();
        assert_eq!(settings.grace_period_seconds, Some(5));
        assert_eq!(settings.unmanaged, Unmanaged::Evict);
        assert_eq!(settings.empty_dir, EmptyDir::Block);
        assert_eq!(settings.pod_opt_outs, PodOptOuts::Ignore);
        assert_eq!(settings.wait_for_volume_detach, Duration::from_secs(7));
        assert_eq!(settings.evict_from, Some(at("2026-11-21T12:00:40Z")));
        assert!(settings.daemon_sets_last);
        let behaviors: Vec<Behavior> = settings.rules.iter().map(|rule| rule.behavior).collect();
        assert_eq!(
            behaviors,
            [
                Behavior::WaitCompleted,
                Behavior::Skip,
                Behavior::Evict,
                Behavior::Block
            ]
        );
        assert_eq!(settings.rules[0].order, -3);
        let selected = |selector: &Option<Selector>, key: &str| {
            let labels = BTreeMap::from([(key.to_owned(), "b".to_owned())]);
            selector.as_ref().map(|selector| selector.matches(&labels))
        };
        assert_eq!(selected(&settings.rules[0].pods, "a"), Some(true));
        assert_eq!(selected(&settings.rules[0].namespaces, "n"), Some(true));
        assert_eq!(selected(&settings.rules[0].namespaces, "a"), Some(false));
        assert_eq!(settings.rules[1].pods, None);
    }

    #[test]
    fn an_unknown_value_counts_as_the_safest_one() {
        let settings = settings(json!({
            "unmanagedPods": "Move", "emptyDirData": "Copy", "podOptOuts": "Ask", "rules": [{"behavior": "Ponder"}],
        }))
        .unwrap();
        assert_eq!(settings.unmanaged, Unmanaged::Block);
        assert_eq!(settings.empty_dir, EmptyDir::Block);
        assert_eq!(settings.pod_opt_outs, PodOptOuts::Respect);
        assert_eq!(settings.rules[0].behavior, Behavior::Block);
    }

    #[test]
    fn the_delete_stage_lasts_as_long_as_the_drain_timeout() {
        let since = at("2026-11-21T12:15:10Z");
        let plain = Deletion::of_policy(&policy(json!({"timeoutSeconds": 60})), since).unwrap();
        assert_eq!(plain.since, since);
        assert_eq!(plain.until, Some(at("2026-11-21T12:16:10Z")));
        assert_eq!(plain.exempt, None);
    }

    #[test]
    fn an_exemption_without_a_selector_exempts_every_pod() {
        let since = at("2026-11-21T12:15:10Z");
        let all = Deletion::of_policy(&policy(json!({"deleteExempt": {}})), since).unwrap();
        assert!(all.exempt.unwrap().matches(&BTreeMap::new()));
    }

    #[test]
    fn an_invalid_selector_is_named() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        let rules = json!({"rules": [{}, {"namespaceSelector": bad}]});
        let message = "drain.rules[1].namespaceSelector is invalid and must be corrected in the policy";
        assert_eq!(settings(rules).unwrap_err().to_string(), message);
        let rules = json!({"rules": [{"podSelector": bad}]});
        let message = "drain.rules[0].podSelector is invalid and must be corrected in the policy";
        assert_eq!(settings(rules).unwrap_err().to_string(), message);
        let drain = policy(json!({"deleteExempt": {"podSelector": bad}}));
        let error = Deletion::of_policy(&drain, DateTime::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "drain.deleteExempt.podSelector is invalid and must be corrected in the policy"
        );
    }
}
