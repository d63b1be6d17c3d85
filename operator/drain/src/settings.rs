//! What one drain has to know: the node, and what the policy says about its pods.

use chrono::{DateTime, Utc};

/// One drain: its node, and the policy's choices as they were when the operation began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node to empty.
    pub node: String,
    /// What happens to pods that nothing would create again.
    pub unmanaged: Unmanaged,
    /// Overrides each pod's own grace period; values below 1 count as 1.
    pub grace_period_seconds: Option<i64>,
    /// The pods of Lockkeeper itself, which stay.
    pub own_pods: OwnPods,
    /// When the node was cordoned: pods were seen to land up to 2 s later.
    pub cordoned_at: DateTime<Utc>,
}

/// What happens to pods without a controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmanaged {
    /// They block the drain, with their name.
    #[default]
    Block,
    /// They are evicted, and are gone for good.
    Evict,
}

/// Which pods are Lockkeeper's own: those with the label in the namespace.
///
/// A drain that evicted its own operator or agent would stop half-way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPods {
    /// The namespace Lockkeeper runs in.
    pub namespace: String,
    /// The label's key.
    pub label: String,
    /// The label's value.
    pub value: String,
}

impl OwnPods {
    /// The pods that our manifests install into `namespace`.
    pub fn in_namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            label: "app.kubernetes.io/part-of".to_owned(),
            value: "lockkeeper".to_owned(),
        }
    }
}
