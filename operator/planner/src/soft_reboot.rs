//! Whether a soft-reboot is enough for what is pending on a node: a new kernel never starts with one.

use crate::snapshot::{Node, RebootMethod};

/// What `SoftReboot` needs, for a node that does not have it.
const CANNOT_COUNT: &str = "it cannot count the host's soft-reboots, which would prove one; reboot.method: SoftReboot needs a \
                            systemd that counts them (property SoftRebootsCount), logind and an agent of this version; \
                            reboot.method: Auto reboots such a host as usual";

/// The soft-reboots of the node's boot before an operation that begins now, if it is to end with one more; `None` if it must
/// end with a new boot, or if the soft-reboots cannot be counted. `in_vain` is whether a reboot for the same cause has not
/// cleared it a short time ago.
pub(crate) fn soft_reboots_before(node: &Node, method: RebootMethod, in_vain: bool) -> Option<i32> {
    match method {
        RebootMethod::Auto if in_vain || !is_enough(node) => None,
        RebootMethod::Auto | RebootMethod::SoftReboot => node.soft_reboots(),
        RebootMethod::Reboot | RebootMethod::Kexec | RebootMethod::External => None,
    }
}

/// Whether everything that is pending is known to concern the userspace only. What a person wants is not known.
pub(crate) fn is_enough(node: &Node) -> bool {
    let host = node.trusted_host();
    let known = host.is_some_and(|host| host.required && host.userspace_only && host.soft_reboots.is_some());
    known && node.requested.is_none()
}

impl Node {
    /// Why the agent cannot reboot the host with this method; `None` if it can, or has not reported from the present boot.
    pub fn incapable_of(&self, method: RebootMethod) -> Option<&str> {
        let host = self.trusted_host()?;
        match method {
            RebootMethod::External => None,
            RebootMethod::SoftReboot if host.incapable.is_none() && host.soft_reboots.is_none() => Some(CANNOT_COUNT),
            RebootMethod::SoftReboot | RebootMethod::Auto | RebootMethod::Reboot | RebootMethod::Kexec => {
                host.incapable.as_deref()
            }
        }
    }
}
