//! What is different about an order for a soft-reboot: the boot stays the same, so it is valid for one number of soft-reboots.
//!
//! A host whose soft-reboots cannot be counted is not soft-rebooted: nothing would prove it, and nothing would keep an order
//! from being executed a second time.

use lockkeeper_crds::{Order, OrderAction, RebootMethod};

use super::{Decision, Inputs, accepted_reboot, act};

const CANNOT_COUNT: &str = "the soft-reboots of this host cannot be counted, which would prove one: reboot.method: SoftReboot \
                            needs a systemd with the property SoftRebootsCount, and logind, which the actuator reaches over the \
                            system bus; or set reboot.method: Auto";

/// Decides about an order of method `SoftReboot` for this boot that has no final answer yet.
pub(super) fn decide(order: &Order, inputs: &Inputs) -> Decision {
    let facts = inputs.facts.filter(|facts| facts.boot_id == inputs.boot_id);
    let Some(facts) = facts.filter(|facts| order.action != OrderAction::Prepare || facts.order_id == order.id) else {
        return match order.action {
            // It asks for facts first.
            OrderAction::Prepare => act(order, inputs),
            // The directory was lost: until the actuator has reported again, the order may have been executed already.
            OrderAction::Reboot | OrderAction::Unknown => Decision::keep(inputs.reported.cloned()),
        };
    };
    match (ordered(order), facts.soft_reboots.map(|counted| counted.count)) {
        (Some(ordered), Some(counted)) if ordered == counted => act(order, inputs),
        // It is done: the report shows the count.
        (Some(ordered), Some(counted)) if counted > ordered && order.action == OrderAction::Reboot => {
            Decision::keep(inputs.reported.cloned())
        }
        (ordered, Some(counted)) => {
            let ordered = ordered.map_or_else(|| "an unknown number of".to_owned(), |ordered| ordered.to_string());
            refuse(
                order,
                inputs,
                &format!(
                    "the order is for a host with {ordered} soft-reboots since its boot, this one had {counted}; the operator \
                     will send a new order"
                ),
            )
        }
        (_, None) if !facts.reboot_capable => refuse(order, inputs, &facts.message),
        (_, None) => refuse(order, inputs, CANNOT_COUNT),
    }
}

/// A request that may have left is no refusal.
fn refuse(order: &Order, inputs: &Inputs, message: &str) -> Decision {
    match accepted_reboot(inputs) {
        Some(accepted) => Decision::keep(Some(accepted)),
        None => Decision::refuse(order, message),
    }
}

/// The number of soft-reboots that the order is for, if it is for a soft-reboot.
pub(super) fn ordered(order: &Order) -> Option<u32> {
    let counts = order.method == RebootMethod::SoftReboot;
    order.soft_reboots.filter(|_| counts)?.try_into().ok()
}

/// Whether the host has soft-rebooted since it had been soft-rebooted so many times.
pub(super) fn is_done(before: Option<u32>, inputs: &Inputs) -> bool {
    let facts = inputs.facts.filter(|facts| facts.boot_id == inputs.boot_id);
    let counted = facts.and_then(|facts| facts.soft_reboots).map(|counted| counted.count);
    before.zip(counted).is_some_and(|(before, counted)| counted > before)
}
