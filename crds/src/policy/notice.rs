//! The advance notice that the workloads of a node get before it is drained.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The advance notice that the workloads of a node get before it is drained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Seconds from the notice, which is the condition `MaintenancePlanned` of the cordoned Node, until the first eviction.
    #[schemars(range(min = 10, max = 86_400))]
    pub seconds: i32,
}
