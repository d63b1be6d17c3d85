//! The boot that a reboot must leave, and what proves that it was left.

use super::node::Node;
use crate::names::BootId;

/// The boot before a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootBefore<'a> {
    /// The boot of the kernel. Another one proves the reboot, whatever its method was.
    pub boot_id: &'a BootId,
    /// The soft-reboots of that boot before the reboot. If they are given, a soft-reboot is enough: a larger number in the same
    /// boot proves it.
    pub soft_reboots: Option<i32>,
}

impl BootBefore<'_> {
    /// Whether the node has left it. A Node that registered a moment ago may not say in which boot it is, and an agent that
    /// cannot count the soft-reboots proves none.
    pub fn is_left_by(self, node: &Node) -> bool {
        let soft_rebooted = || {
            self.soft_reboots
                .zip(node.soft_reboots())
                .is_some_and(|(before, now)| now > before)
        };
        !node.boot_id.is_empty() && (node.boot_id != *self.boot_id || soft_rebooted())
    }
}
