//! The operation of a node that gets a slot.

use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::context::{NodeRef, PolicyContext};
use crate::history::repeats;
use crate::lifecycle::deadline::prepare_expires;
use crate::overrides::Overrides;
use crate::policy_checks::baseline;
use crate::short_id::short_id;
use crate::snapshot::{Holder, Node, Operation, Order, OrderAction, Phase, Record};
use crate::soft_reboot::soft_reboots_before;

/// A node that gets a slot now.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) holder: Holder,
    /// Whether the lock has this holder already.
    pub(crate) reuses_entry: bool,
    /// Operation and order, to be written in this order after the holder.
    pub(crate) actions: [Action; 2],
}

/// Begins the operation of a node. It may have its entry already, with the id that it was given a moment ago.
pub(super) fn start_operation(
    node_ref: NodeRef,
    policy: &PolicyContext,
    entry: Option<&Holder>,
    now: Instant,
) -> Admitted {
    let NodeRef { name, node, record, .. } = node_ref;
    let id = entry.map_or_else(|| operation_id(node, record, now), |entry| entry.operation_id.clone());
    let operation = Operation {
        checks_baseline: baseline(policy.policy.checks.as_ref(), name),
        ..choose_method(new_operation(id, node, policy, now), node, record, now)
    };
    let holder = entry.cloned().unwrap_or_else(|| Holder {
        node: name.to_owned(),
        node_uid: node.uid.clone(),
        policy: policy.name.clone(),
        operation_id: operation.id.clone(),
        acquired: now,
        reboot: None,
    });
    let order = Order {
        id: operation.order_id(),
        action: OrderAction::Prepare,
        boot_id: operation.boot_id_before.clone(),
        method: operation.method(),
        soft_reboots: operation.soft_reboots_before,
        not_after: Some(prepare_expires(&operation)),
    };
    let change = RecordChange {
        operation: Change::Set(Some(Box::new(operation))),
        released: if record.released.is_some() {
            Change::Set(None)
        } else {
            Change::Keep
        },
        ..RecordChange::default()
    };
    Admitted {
        holder,
        reuses_entry: entry.is_some(),
        actions: [
            Action::WriteRecord {
                node: name.to_owned(),
                change: Box::new(change),
            },
            Action::SetSpec {
                node: name.to_owned(),
                policy: Some(policy.name.clone()),
                order: Some(order),
            },
        ],
    }
}

/// How the node is to be rebooted. A way that has not cleared the cause is not chosen again.
fn choose_method(operation: Operation, node: &Node, record: &Record, now: Instant) -> Operation {
    let in_vain = repeats(record.last_reboot.as_ref(), &operation, now) > 0;
    Operation {
        soft_reboots_before: soft_reboots_before(node, operation.settings.method, in_vain),
        ..operation
    }
}

fn new_operation(id: String, node: &Node, policy: &PolicyContext, now: Instant) -> Operation {
    let host = node.trusted_host();
    let mut reasons = host.map(|host| host.reasons.clone()).unwrap_or_default();
    reasons.extend(node.requested.as_ref().map(|reason| format!("requested: {reason}")));
    Operation {
        id,
        attempt: 0,
        phase: Phase::Preparing,
        policy: policy.name.clone(),
        boot_id_before: node.boot_id.clone(),
        soft_reboots_before: None,
        kernel_before: host.map(|host| host.kernel.clone()).unwrap_or_default(),
        reasons,
        requested: node.requested.clone(),
        approved: node.approved.clone(),
        required: host.and_then(|host| host.required_since),
        started: now,
        asked: now,
        cordoned: None,
        stage: None,
        extended_until: None,
        reboot_ordered: None,
        refused: None,
        rebooted: None,
        uncordoned: None,
        pods_moved: 0,
        returning_owners: vec![],
        daemon_sets: Vec::new(),
        static_pods: Vec::new(),
        workloads: vec![],
        checks_baseline: Vec::new(),
        healthy_since: None,
        hook: None,
        ended_hooks: Vec::new(),
        noticed: None,
        overridden: Overrides::of(policy.policy, node, now).record(),
        settings: policy.policy.settings.clone(),
        failure: None,
        pending_outcome: None,
    }
}

/// An id that no other operation of this node has, even if a clock is wrong: made of the node's uid, its last operation and
/// the time.
fn operation_id(node: &Node, record: &Record, now: Instant) -> String {
    let before = record.finished.as_deref().unwrap_or_default();
    let nanos = now.timestamp_nanos_opt().unwrap_or_default().to_le_bytes();
    short_id(node.uid.bytes().chain(before.bytes()).chain(nanos))
}
