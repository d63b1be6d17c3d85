//! The boot that a reboot must leave, and what proves that it was left.

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
    /// Whether a node has left it that is in this boot and has soft-rebooted so often. A Node that registered a moment ago may
    /// not say in which boot it is, and an agent that cannot count the soft-reboots proves none.
    pub(super) fn is_left(self, boot_id: &BootId, soft_reboots: Option<i32>) -> bool {
        let soft_rebooted = || {
            self.soft_reboots
                .zip(soft_reboots)
                .is_some_and(|(before, now)| now > before)
        };
        !boot_id.is_empty() && (boot_id != self.boot_id || soft_rebooted())
    }
}
