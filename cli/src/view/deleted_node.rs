//! A node whose Node was deleted while it rebooted: only the lock knows of it.

use lockkeeper_crds::reasons::format_time;
use lockkeeper_crds::{Holder, NodeState, OrderedReboot};

use super::action_required::ActionRequired;
use super::node::NodeView;
use crate::cluster::objects::Objects;

/// The holders whose Node was deleted, with the policies under which they were admitted.
pub(crate) fn deleted_nodes(objects: &Objects) -> impl Iterator<Item = (&str, NodeView)> {
    let status = objects.lock.iter().filter_map(|lock| lock.status.as_ref());
    let holders = status.flat_map(|status| &status.holders);
    let known = |name| objects.reboots.contains_key(name) || objects.undecodable.reboots.contains_key(name);
    let deleted = holders.filter(move |holder| !known(&holder.node));
    deleted.filter_map(|holder| Some((holder.policy.as_str(), view(holder, holder.reboot.as_ref()?))))
}

fn view(holder: &Holder, reboot: &OrderedReboot) -> NodeView {
    NodeView {
        name: holder.node.clone(),
        state: NodeState::Rebooting,
        reason: None,
        message: message(&holder.node, reboot),
        since_time: Some(reboot.ordered_time),
        until_time: Some(reboot.deadline_time),
        operation_id: Some(holder.operation_id.clone()),
        action_required: ActionRequired::Wait,
    }
}

/// What is known of such a node, and what a person can do.
pub(crate) fn message(node: &str, reboot: &OrderedReboot) -> String {
    format!(
        "its Node was deleted while it rebooted; it keeps its slot until it registers again, and counts as failed from {} \
         on; if it will not come back: kubectl lockkeeper release {node}",
        format_time(reboot.deadline_time)
    )
}
