//! The kinds of objects that the operator watches.

/// One of the four watched kinds.
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
}

impl WatchedKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Nodes, Self::Reboots, Self::Policies, Self::Lock];

    /// The kind in the plural, as messages and the metric label name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "Nodes",
            Self::Reboots => "NodeReboots",
            Self::Policies => "RebootPolicies",
            Self::Lock => "RebootLocks",
        }
    }
}
