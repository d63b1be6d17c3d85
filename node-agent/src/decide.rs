//! Decides what to do about an order, as a pure function.
//!
//! An order applies to exactly one boot. A final answer of this boot stays, so that an agent that restarts or loses its
//! directory requests each reboot at most once.
//!
//! A Reboot order is obeyed only for the operation in the status, in phase Rebooting: many may write the spec of a
//! NodeReboot, the status only the operator. Both are in one object, so neither is older than the other. The operator writes
//! the operation, then the order, then the phase; until then the agent waits. A Prepare changes nothing on the host and is
//! answered in any case.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_channel::text::{MESSAGE, fit};
use lockkeeper_channel::{AnswerState, HostAction, HostAnswer, HostFacts, HostOrder};
use lockkeeper_crds::reasons::format_time;
use lockkeeper_crds::{Order, OrderAction, OrderAnswer, OrderState, Phase, RebootMethod};

use crate::report::OwnOperation;

mod soft_reboot;

/// The inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The present boot.
    pub boot_id: &'a str,
    /// The order, if there is one.
    pub order: Option<&'a Order>,
    /// The operation in progress, of the same object.
    pub operation: Option<&'a OwnOperation>,
    /// The answer that the API server holds.
    pub reported: Option<&'a OrderAnswer>,
    /// The boot in which that answer was given.
    pub reported_boot_id: &'a str,
    /// What the actuator published last.
    pub facts: Option<&'a HostFacts>,
    /// What the actuator answered last.
    pub answer: Option<&'a HostAnswer>,
    /// Whether the facts for this order are overdue.
    pub facts_overdue: bool,
    /// For how long the actuator still refuses to reboot the host because it has just booted.
    pub reboot_refused_for: Option<Duration>,
    /// The time by the clock of this host.
    pub now: DateTime<Utc>,
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The answer to report to the operator.
    pub answer: Option<OrderAnswer>,
    /// The order for the actuator; `None` withdraws the present one.
    pub host_order: Option<HostOrder>,
    /// The order for which fresh facts are requested.
    pub request_facts: Option<String>,
}

/// Decides what to do about the order.
pub fn decide(inputs: &Inputs) -> Decision {
    let Some(order) = inputs.order else {
        return Decision::keep(accepted_reboot(inputs).or_else(|| withdrawn(inputs.reported)));
    };
    if order.boot_id != inputs.boot_id {
        return other_boot(order, inputs);
    }
    if let Some(answer) = actuator_answer(order, inputs) {
        return Decision::keep(Some(answer));
    }
    if let Some(answer) = final_answer(order, inputs) {
        return Decision::keep(Some(answer));
    }
    match order.method {
        RebootMethod::SoftReboot => return soft_reboot::decide(order, inputs),
        RebootMethod::Auto | RebootMethod::Reboot | RebootMethod::Kexec => {}
        RebootMethod::External => return external(order, inputs),
        RebootMethod::Unknown => {
            return Decision::refuse(
                order,
                "this agent does not support the method of the order; upgrade the agent",
            );
        }
    }
    act(order, inputs)
}

/// Prepares or reboots, through the actuator.
fn act(order: &Order, inputs: &Inputs) -> Decision {
    match order.action {
        OrderAction::Prepare => prepare(order, inputs),
        OrderAction::Reboot => reboot(order, inputs),
        OrderAction::Unknown => Decision::refuse(
            order,
            "this agent does not support the action of the order; upgrade the agent",
        ),
    }
}

impl Decision {
    /// No order for the actuator.
    pub(crate) fn keep(answer: Option<OrderAnswer>) -> Self {
        Self {
            answer,
            host_order: None,
            request_facts: None,
        }
    }

    fn refuse(order: &Order, message: &str) -> Self {
        Self::keep(Some(answer(order, OrderState::Refused, message)))
    }
}

/// The host has accepted an order of this boot, or may have. This is reported even if the order was withdrawn or the object
/// was created again, so that the operator does not expect the node to stay up.
fn accepted_reboot(inputs: &Inputs) -> Option<OrderAnswer> {
    let given = inputs.answer.filter(|given| given.boot_id == inputs.boot_id)?;
    if soft_reboot::is_done(given.soft_reboots, inputs) {
        return None;
    }
    let message = match given.state {
        AnswerState::Rebooting => &given.message,
        AnswerState::Requested => "the reboot was requested and is not confirmed yet",
        AnswerState::Refused | AnswerState::Failed => return None,
    };
    Some(OrderAnswer {
        id: given.id.clone(),
        state: OrderState::Rebooting,
        message: fit(message, MESSAGE),
    })
}

/// Another system reboots the host: nothing is passed to the actuator, which need not even be there.
fn external(order: &Order, inputs: &Inputs) -> Decision {
    let standing = standing(order, inputs);
    let (state, message) = match (order.action, standing) {
        (OrderAction::Prepare, _) => match expired(order, inputs.now) {
            Some(message) => (OrderState::Refused, message),
            None => (OrderState::Ready, String::new()),
        },
        (OrderAction::Reboot, Standing::Valid) => {
            (OrderState::Rebooting, "another system reboots this host".to_owned())
        }
        (OrderAction::Reboot, Standing::NotYet) => return Decision::keep(inputs.reported.cloned()),
        (OrderAction::Reboot, Standing::Invalid(message)) => (OrderState::Refused, message),
        (OrderAction::Unknown, _) => {
            return Decision::refuse(
                order,
                "this agent does not support the action of the order; upgrade the agent",
            );
        }
    };
    Decision::keep(Some(answer(order, state, &message)))
}

/// Whether the order may be executed, or why it is refused.
enum Standing {
    Valid,
    /// The operator writes the phase after the order.
    NotYet,
    Invalid(String),
}

fn reboot(order: &Order, inputs: &Inputs) -> Decision {
    match standing(order, inputs) {
        Standing::Valid => Decision {
            answer: inputs.reported.cloned(),
            host_order: Some(HostOrder {
                id: order.id.clone(),
                action: HostAction::Reboot,
                boot_id: order.boot_id.clone(),
                kexec: order.method == RebootMethod::Kexec,
                soft_reboots: soft_reboot::ordered(order),
                not_after: order.not_after_time.map(|time| time.timestamp()),
            }),
            request_facts: None,
        },
        Standing::NotYet => Decision::keep(inputs.reported.cloned()),
        // A request that may have left is no refusal.
        Standing::Invalid(message) => {
            Decision::keep(accepted_reboot(inputs).or_else(|| Some(answer(order, OrderState::Refused, &message))))
        }
    }
}

/// Whether a reboot order may be executed.
fn standing(order: &Order, inputs: &Inputs) -> Standing {
    match expired(order, inputs.now) {
        Some(message) => Standing::Invalid(message),
        None => check_operation(order, inputs.operation),
    }
}

/// Why the order is too old to be executed, if it is.
fn expired(order: &Order, now: DateTime<Utc>) -> Option<String> {
    let not_after = order.not_after_time.filter(|not_after| *not_after < now)?;
    let (not_after, now) = (format_time(not_after), format_time(now));
    Some(format!(
        "order {} expired at {not_after}, and the clock of this host shows {now}: the API server was away \
         meanwhile, or that clock or the operator's is wrong",
        order.id
    ))
}

/// Whether the order is that of the operation, and the phase allows it.
fn check_operation(order: &Order, operation: Option<&OwnOperation>) -> Standing {
    let Some(operation) = operation else {
        return Standing::Invalid(format!(
            "order {} belongs to no operation of this node: only a reboot that the operator has begun is executed",
            order.id
        ));
    };
    if operation.order_id() != order.id {
        return Standing::Invalid(format!(
            "order {} is not that of the operation of this node, {}: only the operator's order is executed",
            order.id,
            operation.order_id()
        ));
    }
    if operation.pending_outcome.is_some() {
        return Standing::Invalid(format!("operation {} is being ended", operation.id));
    }
    match operation.phase {
        Phase::Rebooting => Standing::Valid,
        Phase::Preparing | Phase::Draining => Standing::NotYet,
        phase @ (Phase::Verifying | Phase::Failed) => Standing::Invalid(format!(
            "operation {} is in phase {phase:?}: no reboot is expected any more",
            operation.id
        )),
        Phase::Unknown => {
            Standing::Invalid("this agent does not know the phase of the operation; upgrade the agent".to_owned())
        }
    }
}

/// The order was withdrawn: reports that, but keeps the message of a refusal or failure for people to read.
fn withdrawn(reported: Option<&OrderAnswer>) -> Option<OrderAnswer> {
    let reported = reported?;
    match reported.state {
        OrderState::Ready | OrderState::Rebooting => Some(OrderAnswer {
            id: reported.id.clone(),
            state: OrderState::Withdrawn,
            message: String::new(),
        }),
        OrderState::Refused | OrderState::Failed | OrderState::Withdrawn | OrderState::Unknown => {
            Some(reported.clone())
        }
    }
}

/// The order is for another boot and is not executed.
fn other_boot(order: &Order, inputs: &Inputs) -> Decision {
    match order.action {
        // It was for the previous boot and is done; the new boot id shows that. What was answered in that boot ends with it, so
        // that the removal of the order needs no report.
        OrderAction::Reboot | OrderAction::Unknown if inputs.reported_boot_id != inputs.boot_id => {
            Decision::keep(withdrawn(inputs.reported))
        }
        OrderAction::Reboot | OrderAction::Unknown => Decision::keep(inputs.reported.cloned()),
        OrderAction::Prepare => Decision::refuse(
            order,
            &format!(
                "the order is for boot {}, this host is in boot {}; the operator will send a new order",
                order.boot_id, inputs.boot_id
            ),
        ),
    }
}

fn actuator_answer(order: &Order, inputs: &Inputs) -> Option<OrderAnswer> {
    let given = inputs.answer?;
    if given.id != order.id || given.boot_id != inputs.boot_id {
        return None;
    }
    let state = match given.state {
        // Not final: the actuator goes on with the order.
        AnswerState::Requested => return None,
        AnswerState::Rebooting => OrderState::Rebooting,
        AnswerState::Refused => OrderState::Refused,
        AnswerState::Failed => OrderState::Failed,
    };
    Some(answer(order, state, &given.message))
}

/// The reported answer, if it is final for this order.
fn final_answer(order: &Order, inputs: &Inputs) -> Option<OrderAnswer> {
    let reported = inputs.reported?;
    if reported.id != order.id || inputs.reported_boot_id != inputs.boot_id {
        return None;
    }
    let is_final = match reported.state {
        OrderState::Refused | OrderState::Rebooting | OrderState::Failed => true,
        OrderState::Ready => order.action == OrderAction::Prepare,
        OrderState::Withdrawn | OrderState::Unknown => false,
    };
    is_final.then(|| reported.clone())
}

/// A Prepare tests both containers: only facts that the actuator published for this order count.
fn prepare(order: &Order, inputs: &Inputs) -> Decision {
    if let Some(message) = expired(order, inputs.now) {
        return Decision::refuse(order, &message);
    }
    let fresh = inputs
        .facts
        .filter(|facts| facts.order_id == order.id && facts.boot_id == inputs.boot_id);
    let Some(facts) = fresh else {
        if inputs.facts_overdue {
            return Decision::refuse(
                order,
                "the actuator does not respond; check the log of container actuator in this node's agent pod, or without that \
                 container the service lockkeeper-actuator of the host",
            );
        }
        return Decision {
            answer: inputs.reported.cloned(),
            host_order: None,
            request_facts: Some(order.id.clone()),
        };
    };
    if !facts.reboot_capable {
        return Decision::refuse(order, &facts.message);
    }
    if let Some(remaining) = inputs.reboot_refused_for {
        let (min, remaining) = (facts.min_uptime_seconds, remaining.as_secs() + 1);
        return Decision::refuse(
            order,
            &format!(
                "the host has just booted: its actuator reboots it only after {min} s of uptime, in {remaining} s \
                 (--min-uptime-seconds)"
            ),
        );
    }
    if let Some(inhibitor) = facts.inhibitors.first() {
        return Decision::refuse(
            order,
            &format!(
                "shutdown inhibited by {}: {}; wait for it to finish, or stop it",
                inhibitor.who, inhibitor.why
            ),
        );
    }
    Decision::keep(Some(answer(order, OrderState::Ready, "")))
}

fn answer(order: &Order, state: OrderState, message: &str) -> OrderAnswer {
    OrderAnswer {
        id: order.id.clone(),
        state,
        message: fit(message, MESSAGE),
    }
}
