//! The JSON output of `drain` and `report`.

use lockkeeper_drain::{Blocker, BudgetNumbers, Cause, PodLine, PodName, PodPreflight, PodState, Preflight};
use serde::Serialize;

use super::decision::{decision_name, decision_text};

/// One node of `drain --dry-run -o json` and `report -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodePreflight {
    pub(crate) node: String,
    /// `None` if the default settings apply.
    pub(crate) policy: Option<String>,
    pub(crate) pods: Vec<PodJson>,
    pub(crate) blockers: Vec<CauseJson>,
    /// Budgets that are tried once the node is cordoned, and webhooks that refuse for now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) doubts: Vec<CauseJson>,
    /// Why the node could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodJson {
    namespace: String,
    name: String,
    decision: &'static str,
    /// The decision with its cause, for people.
    detail: String,
    order: i32,
    critical: bool,
    /// How long it may take to shut down.
    grace_period_seconds: i64,
    /// The owner that may place it on the node again after its eviction.
    #[serde(skip_serializing_if = "Option::is_none")]
    may_return: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    blockers: Vec<CauseJson>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    namespace: String,
    name: String,
    disruptions_allowed: i32,
    current_healthy: i32,
    desired_healthy: i32,
    expected_pods: i32,
}

/// A wait reason with its message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CauseJson {
    reason: &'static str,
    message: String,
    /// The first pods that it concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
    /// How many pods it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

/// One pod of `drain -o json`.
#[derive(Debug, Serialize)]
pub(crate) struct PodProgress {
    namespace: String,
    name: String,
    state: &'static str,
    order: i32,
    critical: bool,
    why: Vec<CauseJson>,
}

impl NodePreflight {
    pub(crate) fn new(node: &str, policy: Option<String>, found: &Preflight) -> Self {
        Self {
            node: node.to_owned(),
            policy,
            pods: found.pods.iter().map(PodJson::from).collect(),
            blockers: found.blockers.iter().map(CauseJson::from).collect(),
            doubts: found.doubts().iter().map(CauseJson::from).collect(),
            error: None,
        }
    }

    pub(crate) fn failed(node: &str, policy: Option<String>, error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::new(node, policy, &Preflight::default())
        }
    }
}

impl From<&PodPreflight> for PodJson {
    fn from(line: &PodPreflight) -> Self {
        Self {
            namespace: line.pod.namespace.clone(),
            name: line.pod.name.clone(),
            decision: decision_name(&line.decision),
            detail: decision_text(&line.decision),
            order: line.tier.order,
            critical: line.tier.critical,
            grace_period_seconds: line.grace,
            may_return: line.may_return.clone(),
            budget: line.budget.as_ref().map(|(name, numbers)| Budget::new(name, *numbers)),
            blockers: line.blockers.iter().map(CauseJson::from).collect(),
        }
    }
}

impl Budget {
    fn new(name: &PodName, numbers: BudgetNumbers) -> Self {
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            disruptions_allowed: numbers.allowed,
            current_healthy: numbers.healthy,
            desired_healthy: numbers.desired,
            expected_pods: numbers.total,
        }
    }
}

impl From<&Cause> for CauseJson {
    fn from(cause: &Cause) -> Self {
        Self {
            reason: cause.reason().as_str(),
            message: cause.to_string(),
            pods: cause.pods.iter().map(ToString::to_string).collect(),
            count: (cause.count > 0).then_some(cause.count),
        }
    }
}

impl From<&Blocker> for CauseJson {
    fn from(blocker: &Blocker) -> Self {
        Self {
            reason: blocker.reason().as_str(),
            message: blocker.to_string(),
            pods: Vec::new(),
            count: None,
        }
    }
}

impl From<&PodLine> for PodProgress {
    fn from(line: &PodLine) -> Self {
        Self {
            namespace: line.pod.namespace.clone(),
            name: line.pod.name.clone(),
            state: match line.state {
                PodState::Stays(_) => "Stays",
                PodState::Later => "Later",
                PodState::Waiting => "Waiting",
                PodState::Asked => "Asked",
                PodState::Leaving => "Leaving",
                PodState::Gone => "Gone",
            },
            order: line.tier.order,
            critical: line.tier.critical,
            why: line.blockers.iter().map(CauseJson::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Decision, EvictionBar, StayReason, Tier, group_by_cause};

    use super::*;

    fn pod(name: &str, decision: Decision) -> PodPreflight {
        PodPreflight {
            pod: PodName::new("shop", name),
            decision,
            tier: Tier::default(),
            budget: None,
            blockers: Vec::new(),
            doubt: None,
            grace: 30,
            may_return: None,
        }
    }

    #[test]
    fn json_has_the_decision_and_the_blockers_of_each_pod() {
        let mut pet = pod("pet", Decision::Block(vec![EvictionBar::Unmanaged]));
        pet.blockers = vec![Blocker::Unmanaged { pod: pet.pod.clone() }];
        let blockers = group_by_cause(pet.blockers.clone());
        let found = Preflight {
            pods: vec![pet, pod("old", Decision::Skip(StayReason::Finished))],
            blockers,
        };
        let json = NodePreflight::new("w-02", None, &found);
        expect_test::expect![[r#"
            {
              "node": "w-02",
              "policy": null,
              "pods": [
                {
                  "namespace": "shop",
                  "name": "pet",
                  "decision": "Block",
                  "detail": "blocks",
                  "order": 0,
                  "critical": false,
                  "gracePeriodSeconds": 30,
                  "blockers": [
                    {
                      "reason": "EvictionBlocked",
                      "message": "pod shop/pet: no controller would recreate it (the policy's drain.unmanagedPods is Block)"
                    }
                  ]
                },
                {
                  "namespace": "shop",
                  "name": "old",
                  "decision": "Stays",
                  "detail": "stays: finished",
                  "order": 0,
                  "critical": false,
                  "gracePeriodSeconds": 30,
                  "blockers": []
                }
              ],
              "blockers": [
                {
                  "reason": "EvictionBlocked",
                  "message": "pod shop/pet: no controller would recreate it (the policy's drain.unmanagedPods is Block)",
                  "pods": [
                    "shop/pet"
                  ],
                  "count": 1
                }
              ]
            }"#]].assert_eq(&serde_json::to_string_pretty(&json).unwrap());
    }
}
