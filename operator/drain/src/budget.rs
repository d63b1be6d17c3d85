//! The parts of a disruption budget that a drain uses, and the pods that it selects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt};
use lockkeeper_kube_util::single_line;
use serde::Deserialize;

use crate::blocker::{Blocker, BudgetNumbers, BudgetOutlook};
use crate::pod::{Phase, PodName, PodView};

/// The parts of a disruption budget that a drain uses.
#[derive(Clone, Debug)]
pub struct BudgetView {
    /// Its name.
    pub name: PodName,
    /// Its resource version: a changed budget is worth another request.
    pub version: String,
    /// Selects the pods that it counts; `None` if its selector is absent or invalid.
    pub selector: Option<Selector>,
    /// Its numbers.
    pub numbers: BudgetNumbers,
    /// What its spec alone says about the future, whatever its numbers are.
    pub by_spec: BudgetOutlook,
    /// Whether a controller owns it, or it belongs to a product, that opens it once the node is cordoned.
    pub may_open: bool,
    /// Whether unready pods may be evicted regardless of the numbers (`AlwaysAllow`).
    pub always_allow_unready: bool,
    /// Pods whose eviction was granted and whose shutdown the controller has not seen.
    pub disrupted: BTreeSet<String>,
    /// Why the controller cannot compute the numbers, if it reports that.
    pub sync_error: Option<String>,
}

impl BudgetView {
    /// Whether the budget selects the pod.
    pub fn selects(&self, pod: &PodView) -> bool {
        self.name.namespace == pod.name.namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&pod.labels))
    }

    /// Whether the API server checks this budget before it evicts the pod.
    pub fn guards(&self, pod: &PodView) -> bool {
        let unready_allowed =
            self.always_allow_unready || (self.numbers.desired > 0 && self.numbers.healthy >= self.numbers.desired);
        pod.phase == Phase::Running && (pod.ready || !unready_allowed)
    }

    /// Whether waiting does not help: a person has to change the budget or its pods.
    pub fn never_allows(&self) -> bool {
        self.sync_error.is_some() || self.outlook().is_never()
    }

    /// Whether it may allow a disruption later.
    pub fn outlook(&self) -> BudgetOutlook {
        if self.by_spec == BudgetOutlook::MayAllow && self.numbers.never_allow() {
            BudgetOutlook::NeedsAllPods
        } else {
            self.by_spec
        }
    }

    /// The blocker of a pod under this budget, with the API server's message if the numbers do not explain it.
    pub(crate) fn blocker(&self, pod: PodName, outlook: BudgetOutlook, message: &str) -> Blocker {
        Blocker::Budget {
            pod,
            budget: Some(self.name.clone()),
            numbers: Some(self.numbers),
            outlook,
            message: self.sync_error.clone().unwrap_or_else(|| message.to_owned()),
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
    max_unavailable: Option<IntOrString>,
    min_available: Option<IntOrString>,
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
        let may_open = may_open(&meta, spec.selector.as_ref());
        Self {
            name: name_of(&meta),
            version: meta.resource_version.unwrap_or_default(),
            selector: spec.selector.and_then(|selector| Selector::try_from(selector).ok()),
            numbers: BudgetNumbers {
                allowed: status.disruptions_allowed,
                healthy: status.current_healthy,
                desired: status.desired_healthy,
                total: status.expected_pods,
            },
            may_open,
            by_spec: outlook_by_spec(spec.max_unavailable.as_ref(), spec.min_available.as_ref()),
            always_allow_unready: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
            disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
            sync_error: sync_error(&status.conditions.unwrap_or_default()),
        }
    }
}

/// The name of the budget with these metadata.
pub(crate) fn name_of(meta: &ObjectMeta) -> PodName {
    PodName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Keys of labels, also in selectors, of products that change their budgets while a node is being drained: Longhorn,
/// Portworx, Rook, `CloudNativePG`, Zalando's Postgres operator, Strimzi and `KubeVirt`. docs/drain.md lists them.
const PRODUCTS: [&str; 7] = [
    "longhorn.io/",
    "portworx.io/",
    "rook.io/",
    "cnpg.io/",
    "spilo-role",
    "strimzi.io/",
    "kubevirt.io/",
];

fn may_open(meta: &ObjectMeta, selector: Option<&LabelSelector>) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    let labels = meta.labels.iter().flat_map(BTreeMap::keys);
    let equal = selector
        .iter()
        .flat_map(|selector| selector.match_labels.iter().flat_map(BTreeMap::keys));
    let expressions = selector
        .iter()
        .flat_map(|selector| selector.match_expressions.iter().flatten());
    let mut keys = labels.chain(equal).chain(expressions.map(|one| &one.key));
    // `ceph.rook.io/cluster` is a key of `rook.io/`.
    let of_product = |key: &str| {
        PRODUCTS
            .iter()
            .any(|mark| key.starts_with(mark) || key.contains(&format!(".{mark}")))
    };
    owners.any(|owner| owner.controller == Some(true)) || keys.any(|key| of_product(key))
}

/// What the spec says, for each number of pods.
fn outlook_by_spec(max_unavailable: Option<&IntOrString>, min_available: Option<&IntOrString>) -> BudgetOutlook {
    let percent = |text: &str| text.trim().strip_suffix('%')?.parse::<u32>().ok();
    let none_unavailable = match max_unavailable {
        Some(IntOrString::Int(count)) => *count < 1,
        // A percentage is rounded up, so that only 0% allows no pod.
        Some(IntOrString::String(text)) => percent(text) == Some(0),
        None => false,
    };
    let all_available = match min_available {
        Some(IntOrString::String(text)) => percent(text).is_some_and(|percent| percent >= 100),
        Some(IntOrString::Int(_)) | None => false,
    };
    if none_unavailable {
        BudgetOutlook::MaxUnavailableZero
    } else if all_available {
        BudgetOutlook::MinAvailableAll
    } else {
        BudgetOutlook::MayAllow
    }
}

/// The controller's error, such as a pod whose owner has no scale subresource.
fn sync_error(conditions: &[SlimCondition]) -> Option<String> {
    conditions
        .iter()
        .find(|condition| condition.kind == "DisruptionAllowed" && condition.status == "False")
        .filter(|condition| condition.reason == "SyncFailed")
        .map(|condition| single_line(&condition.message))
}
