//! Which nodes a `DaemonSet` selects: by labels and required affinity.
//!
//! Taints do not count: many are there only until the very pods run that are waited for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A `DaemonSet` as far as it says on which nodes its pods are to be.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::apps::v1::DaemonSet)]
pub(crate) struct SlimDaemonSet {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<Affinity>,
}

impl SlimDaemonSet {
    /// Whether its pods are to be on a node with this name and these labels.
    pub(crate) fn selects(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        let spec = &self.spec.template.spec;
        let mut wanted = spec.node_selector.iter().flatten();
        let required = || {
            let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
            affinity.required_during_scheduling_ignored_during_execution.as_ref()
        };
        let terms = required().map(|required| &required.node_selector_terms);
        wanted.all(|(key, value)| labels.get(key) == Some(value))
            && terms.is_none_or(|terms| terms.iter().any(|term| holds(term, node, labels)))
    }
}

/// All of a term's requirements are met; an empty one matches nothing.
fn holds(term: &NodeSelectorTerm, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let empty = expressions.is_empty() && fields.is_empty();
    let of_label = |one: &NodeSelectorRequirement| meets(one, labels.get(&one.key).map(String::as_str));
    // The only field that there is.
    let of_field = |one: &NodeSelectorRequirement| one.key != "metadata.name" || meets(one, Some(node));
    !empty && expressions.iter().all(of_label) && fields.iter().all(of_field)
}

/// An operator that this version does not know is met: a pod is waited for rather than not.
fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_in = |value: &str| values.iter().any(|other| other == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = || Some((number(value?)?, number(values.first()?)?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(is_in),
        "NotIn" => !value.is_some_and(is_in),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, bound)| value > bound),
        "Lt" => compared().is_some_and(|(value, bound)| value < bound),
        _ => true,
    }
}
