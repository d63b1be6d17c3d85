//! The kinds of objects that the operator watches.

/// One of the watched kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchedKind {
    /// `nodes`
    Nodes,
    /// `nodereboots`
    Reboots,
    /// `rebootpolicies`
    Policies,
    /// `rebootlocks`
    Lock,
    /// `pods` that may be static pods of the control plane
    StaticPods,
}

impl WatchedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nodes, Self::Reboots, Self::Policies, Self::Lock, Self::StaticPods];

    /// The kind in the plural, as messages and the metric label name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "Nodes",
            Self::Reboots => "NodeReboots",
            Self::Policies => "RebootPolicies",
            Self::Lock => "RebootLocks",
            Self::StaticPods => "Pods of the control plane",
        }
    }
}
