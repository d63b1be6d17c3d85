//! How many nodes reboot at a time, which ones start first, and how many failures stop the rollout.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;
use crate::limit::IntOrPercent;

/// How many nodes at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Nodes of this policy that may be in progress at the same time: a count, or a percentage of the selected nodes
    /// (rounded down, at least 1).
    ///
    /// With 0 or 0% no node starts.
    #[serde(default = "Defaults::max_in_progress")]
    pub max_in_progress: IntOrPercent,
    /// Nodes of this policy that may be unavailable for any reason, including the one that starts; defaults to
    /// `maxInProgress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// Limits for each topology domain, such as one zone at a time; all of them apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology: Vec<Topology>,
    /// Seconds between two starts under this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub min_seconds_between: Option<i32>,
}

impl Default for Disruption {
    fn default() -> Self {
        Self {
            max_in_progress: Defaults::max_in_progress(),
            max_unavailable: None,
            topology: Vec::new(),
            min_seconds_between: None,
        }
    }
}

/// A limit by the value of a node label. All nodes without the label form one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxDomains) || has(self.maxInProgressPerDomain)").message("set maxDomains, maxInProgressPerDomain, or both"))]
pub struct Topology {
    /// The label's key, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Domains in which nodes may be in progress at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_domains: Option<i32>,
    /// Nodes that may be in progress at the same time in each domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_progress_per_domain: Option<i32>,
}

/// Which of the eligible nodes starts next. Control-plane nodes, nodes that failed and the operator's own node come
/// last in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueueOrder {
    /// The node that has waited longest.
    #[default]
    Oldest,
    /// The first node by name.
    Name,
    /// A value of a newer version; treated as `Oldest`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The first nodes of a rollout, which must stay healthy for a while before others follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Number of nodes.
    #[schemars(range(min = 1, max = 1000))]
    pub nodes: i32,
    /// Seconds that they must stay healthy after all of them have rebooted.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub soak_seconds: i32,
}

/// Whether a person must approve each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// No approval is needed.
    #[default]
    Automatic,
    /// A node starts only with the annotation `lockkeeper.dev/approved`.
    Manual,
    /// A value of a newer version; treated as `Manual`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How many failed nodes stop the rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Number of failed nodes that opens the breaker.
    #[serde(default = "Defaults::max_failed_nodes")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_failed_nodes: i32,
    /// Seconds after which one node may start as a probe; by default only a person can close the breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub cooldown_seconds: Option<i32>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_failed_nodes: Defaults::max_failed_nodes(),
            cooldown_seconds: None,
        }
    }
}
