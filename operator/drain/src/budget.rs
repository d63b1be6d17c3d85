//! A disruption budget as the drain sees it, and which pods it counts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;

use crate::blocker::{Blocker, Numbers};
use crate::pod::{Phase, PodName, PodView};

/// What a drain has to know about one budget.
#[derive(Clone, Debug)]
pub struct BudgetView {
    /// Its name.
    pub name: PodName,
    /// Its version: a changed budget is worth another try.
    pub version: String,
    /// Which pods it counts; none if its selector is absent or cannot be read.
    pub selector: Option<Selector>,
    /// What it allows.
    pub numbers: Numbers,
    /// Whether pods that are not ready may go whatever it allows.
    pub unready_may_go: bool,
    /// Pods granted and not yet seen to go.
    pub disrupted: BTreeSet<String>,
    /// Why its numbers cannot be trusted, if the controller says so.
    pub broken: Option<String>,
}

impl BudgetView {
    /// Whether the budget counts the pod.
    pub fn selects(&self, pod: &PodView) -> bool {
        self.name.namespace == pod.name.namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&pod.labels))
    }

    /// Whether the API server asks this budget before it evicts the pod.
    pub fn guards(&self, pod: &PodView) -> bool {
        let unready_goes =
            self.unready_may_go || (self.numbers.desired > 0 && self.numbers.healthy >= self.numbers.desired);
        pod.phase == Phase::Running && (pod.ready || !unready_goes)
    }

    /// Whether waiting does not help: somebody has to change the budget or the pods under it.
    pub fn never(&self) -> bool {
        self.broken.is_some() || self.numbers.never()
    }

    /// The blocker that this budget is for a pod, with words of the API server where the numbers do not say it.
    pub(crate) fn blocks(&self, pod: PodName, words: &str) -> Blocker {
        Blocker::Budget {
            pod,
            budget: Some(self.name.clone()),
            numbers: Some(self.numbers),
            message: self.broken.clone().unwrap_or_else(|| words.to_owned()),
        }
    }
}

/// The parts of a `PodDisruptionBudget` that are decoded.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::policy::v1::PodDisruptionBudget)]
pub(crate) struct SlimBudget {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    selector: Option<LabelSelector>,
    unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    disruptions_allowed: i32,
    current_healthy: i32,
    desired_healthy: i32,
    expected_pods: i32,
    disrupted_pods: Option<BTreeMap<String, String>>,
    conditions: Option<Vec<SlimCondition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

impl From<SlimBudget> for BudgetView {
    fn from(budget: SlimBudget) -> Self {
        let SlimBudget {
            metadata: meta,
            spec,
            status,
        } = budget;
        Self {
            name: PodName::new(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default()),
            version: meta.resource_version.unwrap_or_default(),
            selector: spec.selector.and_then(|selector| Selector::try_from(selector).ok()),
            numbers: Numbers {
                allowed: status.disruptions_allowed,
                healthy: status.current_healthy,
                desired: status.desired_healthy,
                total: status.expected_pods,
            },
            unready_may_go: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
            disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
            broken: broken(&status.conditions.unwrap_or_default()),
        }
    }
}

/// The controller's own complaint, such as a pod whose owner it cannot scale.
fn broken(conditions: &[SlimCondition]) -> Option<String> {
    conditions
        .iter()
        .find(|condition| condition.kind == "DisruptionAllowed" && condition.status == "False")
        .filter(|condition| condition.reason == "SyncFailed")
        .map(|condition| condition.message.clone())
}
