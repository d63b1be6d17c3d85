//! How many nodes at once, which ones first, and what stops all of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;
use crate::limit::IntOrPercent;

/// How many nodes at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Nodes that we hold under this policy: a count, or a percentage of the nodes selected (rounded down, at least 1).
    ///
    /// 0 or 0% starts nothing.
    #[serde(default = "Defaults::max_in_progress")]
    pub max_in_progress: IntOrPercent,
    /// Nodes of this policy that may be down for any reason while one more starts; absent = `maxInProgress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// Limits by where nodes are, such as one zone at a time; all must have room.
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

/// A limit by the value of a node label; nodes without the label are one domain together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxDomains) || has(self.maxInProgressPerDomain)").message("set maxDomains, maxInProgressPerDomain, or both"))]
pub struct Topology {
    /// The label's key, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Domains in which nodes may be inside at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_domains: Option<i32>,
    /// Nodes inside at the same time in each domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_progress_per_domain: Option<i32>,
}

/// Which of the waiting nodes goes next; control plane, failed ones and the operator's own node are last in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueueOrder {
    /// The one that has waited longest.
    #[default]
    Oldest,
    /// By name.
    Name,
    /// A word of a newer version; as `Oldest`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The first nodes of a rollout, which must stay healthy for a while before others follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// How many nodes.
    #[schemars(range(min = 1, max = 1000))]
    pub nodes: i32,
    /// Seconds that they must stay healthy once all of them are back.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub soak_seconds: i32,
}

/// Whether a person approves each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// No.
    #[default]
    Automatic,
    /// A node starts only with the annotation `lockkeeper.dev/approved`.
    Manual,
    /// A word of a newer version; as `Manual`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// When failed nodes stop the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Failed nodes that open it.
    #[serde(default = "Defaults::max_failed_nodes")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_failed_nodes: i32,
    /// Seconds after which one node may probe whether all is well again; absent = only a person goes on.
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
