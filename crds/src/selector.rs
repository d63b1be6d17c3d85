//! A label selector with the limits that a schema needs; it means what Kubernetes' own means.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects objects by their labels; all parts must match, an empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, size(key) > 0)").message("a label key must not be empty"))]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, LabelValue>,
    /// Requirements on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// The value of a label, at most 63 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0").message("In and NotIn need values, Exists and DoesNotExist take none"))]
pub struct SelectorRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// The operator that compares the label with `values`.
    pub operator: SelectorOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<LabelValue>,
}

/// The operator of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// A value of a newer version; matches nothing.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl LabelSelector {
    /// The same as Kubernetes' own type, for `kube::core::Selector`.
    pub fn to_kubernetes(&self) -> meta::LabelSelector {
        let expressions = self
            .match_expressions
            .iter()
            .map(|requirement| meta::LabelSelectorRequirement {
                key: requirement.key.clone(),
                operator: match requirement.operator {
                    SelectorOperator::In => "In",
                    SelectorOperator::NotIn => "NotIn",
                    SelectorOperator::Exists => "Exists",
                    SelectorOperator::DoesNotExist => "DoesNotExist",
                    SelectorOperator::Unknown => "Unknown",
                }
                .to_owned(),
                values: Some(requirement.values.iter().map(|value| value.0.clone()).collect()),
            });
        meta::LabelSelector {
            match_labels: Some(
                self.match_labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.0.clone()))
                    .collect(),
            ),
            match_expressions: Some(expressions.collect()),
        }
    }
}
