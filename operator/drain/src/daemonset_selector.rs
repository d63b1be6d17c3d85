//! Which nodes a `DaemonSet` selects: by labels and required affinity.
//!
//! Taints are ignored: many of them are removed only once the pods run that the operator waits for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// The parts of a `DaemonSet` that select nodes.
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
    /// Whether it selects a node with this name and these labels.
    pub(crate) fn selects(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        let spec = &self.spec.template.spec;
        let mut node_selector = spec.node_selector.iter().flatten();
        let required = || {
            let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
            affinity.required_during_scheduling_ignored_during_execution.as_ref()
        };
        let terms = required().map(|required| &required.node_selector_terms);
        node_selector.all(|(key, value)| labels.get(key) == Some(value))
            && terms.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node, labels)))
    }
}

/// Whether all requirements of a term are met; an empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let empty = expressions.is_empty() && fields.is_empty();
    let label_matches = |one: &NodeSelectorRequirement| requirement_met(one, labels.get(&one.key).map(String::as_str));
    // Kubernetes knows no other field.
    let field_matches = |one: &NodeSelectorRequirement| one.key != "metadata.name" || requirement_met(one, Some(node));
    !empty && expressions.iter().all(label_matches) && fields.iter().all(field_matches)
}

/// An unknown operator counts as met: it is safer to wait for a pod than not to.
fn requirement_met(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
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
