//! What a plan asks for: one action is one API write. `preconditions` says what must still hold when it is written.

use chrono::TimeDelta;

use crate::Instant;
use crate::names::{BootId, PolicyName};
use crate::snapshot::{
    Command, Deferred, HandshakeKeys, Holder, LastReboot, Operation, Order, Outcome, Released, Taint,
};

/// One API write. Every action may be repeated, and after each one the process may die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the lock.
    CreateLock,
    /// Create the `NodeReboot` of a Node, owned by it.
    CreateRecord {
        /// The Node.
        node: String,
        /// Its uid.
        uid: String,
        /// `spec.policy`.
        policy: Option<PolicyName>,
    },
    /// Delete the `NodeReboot` of a Node that Lockkeeper does not manage any more.
    DeleteRecord {
        /// The node.
        node: String,
    },
    /// Replace the lock's holders by compare-and-swap.
    SetHolders {
        /// All holders afterwards.
        holders: Vec<Holder>,
        /// Which holders were added and removed, and why, for the log.
        because: String,
    },
    /// Change what the `NodeReboot`'s status remembers.
    WriteRecord {
        /// The node.
        node: String,
        /// What changes.
        change: Box<RecordChange>,
    },
    /// Set the policy's name or the order in the `NodeReboot`'s spec; never the reboot order.
    SetSpec {
        /// The node.
        node: String,
        /// `spec.policy` afterwards.
        policy: Option<PolicyName>,
        /// `spec.order` afterwards.
        order: Option<Order>,
    },
    /// Give the order to reboot: the point of no return.
    OrderReboot {
        /// The node.
        node: String,
        /// The order.
        order: Order,
    },
    /// Cordon the Node: `spec.unschedulable`, annotations and label in one apply.
    Cordon {
        /// The node.
        node: String,
        /// The operation for which it is cordoned.
        operation_id: String,
    },
    /// Uncordon the Node.
    Uncordon {
        /// The node.
        node: String,
        /// Leave `spec.unschedulable` for the person who holds the node.
        keep_cordon: bool,
    },
    /// Add a taint to the Node.
    AddTaint {
        /// The node.
        node: String,
        /// The taint.
        taint: Taint,
    },
    /// Remove a taint from the Node.
    RemoveTaint {
        /// The node.
        node: String,
        /// The taint.
        taint: Taint,
    },
    /// Ask for the annotation of a hook: the operator's own annotation and the label are set, an old answer is removed.
    BeginHandshake {
        /// The node.
        node: String,
        /// The id of the hook's run.
        id: String,
        /// The keys.
        keys: HandshakeKeys,
    },
    /// Remove what [`Action::BeginHandshake`] has set on the Node, and the answer.
    EndHandshake {
        /// The node.
        node: String,
        /// The keys, as the Node says them.
        keys: HandshakeKeys,
    },
    /// Give notice of the drain, by a condition of the Node.
    GiveNotice {
        /// The node.
        node: String,
        /// The id of the attempt.
        id: String,
        /// How long after the write evictions start.
        lasts: TimeDelta,
    },
    /// Remove the condition that [`Action::GiveNotice`] has set on the Node.
    EndNotice {
        /// The node.
        node: String,
        /// The id of the attempt, as the Node says it.
        id: String,
    },
    /// Remove a command that was answered.
    RemoveCommand {
        /// The node.
        node: String,
        /// The command as it was read.
        command: Command,
    },
    /// Remove a request for a reboot that was fulfilled, if it still has this value.
    RemoveRequest {
        /// The node.
        node: String,
        /// The annotation's value.
        value: String,
    },
    /// Remove an approval that was used, if it still has this value.
    RemoveApproval {
        /// The node.
        node: String,
        /// The annotation's value.
        value: String,
    },
}

impl Action {
    /// The name of every action.
    pub const NAMES: [&str; 18] = [
        "CreateLock",
        "CreateRecord",
        "DeleteRecord",
        "SetHolders",
        "WriteRecord",
        "SetSpec",
        "OrderReboot",
        "Cordon",
        "Uncordon",
        "AddTaint",
        "RemoveTaint",
        "BeginHandshake",
        "EndHandshake",
        "GiveNotice",
        "EndNotice",
        "RemoveCommand",
        "RemoveRequest",
        "RemoveApproval",
    ];

    /// The action's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateLock => "CreateLock",
            Self::CreateRecord { .. } => "CreateRecord",
            Self::DeleteRecord { .. } => "DeleteRecord",
            Self::SetHolders { .. } => "SetHolders",
            Self::WriteRecord { .. } => "WriteRecord",
            Self::SetSpec { .. } => "SetSpec",
            Self::OrderReboot { .. } => "OrderReboot",
            Self::Cordon { .. } => "Cordon",
            Self::Uncordon { .. } => "Uncordon",
            Self::AddTaint { .. } => "AddTaint",
            Self::RemoveTaint { .. } => "RemoveTaint",
            Self::BeginHandshake { .. } => "BeginHandshake",
            Self::EndHandshake { .. } => "EndHandshake",
            Self::GiveNotice { .. } => "GiveNotice",
            Self::EndNotice { .. } => "EndNotice",
            Self::RemoveCommand { .. } => "RemoveCommand",
            Self::RemoveRequest { .. } => "RemoveRequest",
            Self::RemoveApproval { .. } => "RemoveApproval",
        }
    }

    /// The node it is about, if it is about one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::CreateLock | Self::SetHolders { .. } => None,
            Self::CreateRecord { node, .. }
            | Self::DeleteRecord { node }
            | Self::WriteRecord { node, .. }
            | Self::SetSpec { node, .. }
            | Self::OrderReboot { node, .. }
            | Self::Cordon { node, .. }
            | Self::Uncordon { node, .. }
            | Self::AddTaint { node, .. }
            | Self::RemoveTaint { node, .. }
            | Self::BeginHandshake { node, .. }
            | Self::EndHandshake { node, .. }
            | Self::GiveNotice { node, .. }
            | Self::EndNotice { node, .. }
            | Self::RemoveCommand { node, .. }
            | Self::RemoveRequest { node, .. }
            | Self::RemoveApproval { node, .. } => Some(node),
        }
    }
}

/// Whether a field of the record keeps its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It gets this value, or is removed.
    Set(Option<T>),
}

impl<T> Change<T> {
    /// The value afterwards.
    pub fn apply(&self, before: &Option<T>) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Keep => before.clone(),
            Self::Set(after) => after.clone(),
        }
    }
}

/// What changes in a record, in one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordChange {
    /// The operation.
    pub operation: Change<Box<Operation>>,
    /// The back-off.
    pub deferred: Change<Deferred>,
    /// The release by a person.
    pub released: Change<Released>,
    /// An operation that ended: an entry for the history.
    pub finished: Option<Finished>,
    /// A command that was answered, and how.
    pub answered_command: Option<(Command, Result<String, String>)>,
}

impl RecordChange {
    /// A change of the operation alone.
    pub fn operation(operation: Operation) -> Self {
        Self {
            operation: Change::Set(Some(Box::new(operation))),
            ..Self::default()
        }
    }
}

/// An operation that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The operation as it was.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// Why; empty for a success.
    pub message: String,
    /// When.
    pub time: Instant,
    /// The boot afterwards.
    pub boot_id_after: BootId,
    /// The kernel afterwards.
    pub kernel_after: String,
    /// A proven reboot, to be remembered as the last one.
    pub last_reboot: Option<LastReboot>,
}
