//! What to do about an order, as a pure function of what is known.
//!
//! An order counts for exactly one boot. What was answered for good in this boot stays answered, so that an agent that
//! starts anew, or loses its directory, asks the host at most once for each order.

use lockkeeper_crds::{Order, OrderAction, OrderAnswer, OrderState, RebootMethod};

use crate::channel::{AnswerState, HostAction, HostAnswer, HostFacts, HostOrder};
use crate::text::{MESSAGE, bounded};

/// Everything the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The boot we are in.
    pub boot_id: &'a str,
    /// The order that stands, if one does.
    pub order: Option<&'a Order>,
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
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to tell the operator.
    pub answer: Option<OrderAnswer>,
    /// What the actuator shall hold; none withdraws what it holds.
    pub host_order: Option<HostOrder>,
    /// The order that fresh facts are wanted for.
    pub ask_facts: Option<String>,
}

/// Decides.
pub fn decide(inputs: &Inputs) -> Decision {
    let Some(order) = inputs.order else {
        return Decision::keep(going_down(inputs).or_else(|| withdrawn(inputs.reported)));
    };
    if order.boot_id != inputs.boot_id {
        return other_boot(order, inputs);
    }
    if let Some(answer) = actuator_said(order, inputs) {
        return Decision::keep(Some(answer));
    }
    if let Some(answer) = said_for_good(order, inputs) {
        return Decision::keep(Some(answer));
    }
    match order.method {
        RebootMethod::Auto => {}
        RebootMethod::Unknown => {
            return Decision::refuse(order, "this agent is older than the order's method; update the agent");
        }
    }
    match order.action {
        OrderAction::Prepare => prepare(order, inputs),
        OrderAction::Reboot => Decision {
            answer: inputs.reported.cloned(),
            host_order: Some(HostOrder {
                id: order.id.clone(),
                action: HostAction::Reboot,
                boot_id: order.boot_id.clone(),
            }),
            ask_facts: None,
        },
        OrderAction::Unknown => {
            Decision::refuse(order, "this agent is older than the order's action; update the agent")
        }
    }
}

impl Decision {
    fn keep(answer: Option<OrderAnswer>) -> Self {
        Self {
            answer,
            host_order: None,
            ask_facts: None,
        }
    }

    fn refuse(order: &Order, message: &str) -> Self {
        Self::keep(Some(answer(order, OrderState::Refused, message)))
    }
}

/// The host has accepted an order of this boot. This is reported even if the order was withdrawn or the object was created
/// again, so that the operator does not expect the node to stay up.
fn going_down(inputs: &Inputs) -> Option<OrderAnswer> {
    let said = inputs.answer.filter(|said| said.boot_id == inputs.boot_id)?;
    (said.state == AnswerState::Rebooting).then(|| OrderAnswer {
        id: said.id.clone(),
        state: OrderState::Rebooting,
        message: bounded(&said.message, MESSAGE),
    })
}

/// The order is gone: say so, but leave the words of a refusal or a failure for people to read.
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

/// The order is for another boot: nothing is done for it.
fn other_boot(order: &Order, inputs: &Inputs) -> Decision {
    match order.action {
        // It was for the boot before and is done, however it came about; the new boot id says so.
        OrderAction::Reboot | OrderAction::Unknown => Decision::keep(inputs.reported.cloned()),
        OrderAction::Prepare => Decision::refuse(
            order,
            &format!(
                "the order is for boot {}, this host is in boot {}; the operator gives a new order",
                order.boot_id, inputs.boot_id
            ),
        ),
    }
}

fn actuator_said(order: &Order, inputs: &Inputs) -> Option<OrderAnswer> {
    let said = inputs.answer?;
    if said.id != order.id || said.boot_id != inputs.boot_id {
        return None;
    }
    let state = match said.state {
        AnswerState::Rebooting => OrderState::Rebooting,
        AnswerState::Refused => OrderState::Refused,
        AnswerState::Failed => OrderState::Failed,
    };
    Some(answer(order, state, &said.message))
}

/// What the API server holds, if it leaves nothing to do for this order.
fn said_for_good(order: &Order, inputs: &Inputs) -> Option<OrderAnswer> {
    let reported = inputs.reported?;
    if reported.id != order.id || inputs.reported_boot_id != inputs.boot_id {
        return None;
    }
    let for_good = match reported.state {
        OrderState::Refused | OrderState::Rebooting | OrderState::Failed => true,
        OrderState::Ready => order.action == OrderAction::Prepare,
        OrderState::Withdrawn | OrderState::Unknown => false,
    };
    for_good.then(|| reported.clone())
}

/// A Prepare tests both containers: only facts that the actuator published for this very order count.
fn prepare(order: &Order, inputs: &Inputs) -> Decision {
    let fresh = inputs
        .facts
        .filter(|facts| facts.order_id == order.id && facts.boot_id == inputs.boot_id);
    let Some(facts) = fresh else {
        if inputs.facts_overdue {
            return Decision::refuse(
                order,
                "the actuator does not answer; look at the log of container actuator of this node's agent pod",
            );
        }
        return Decision {
            answer: inputs.reported.cloned(),
            host_order: None,
            ask_facts: Some(order.id.clone()),
        };
    };
    if !facts.reboot_capable {
        return Decision::refuse(order, &facts.message);
    }
    if let Some(inhibitor) = facts.inhibitors.first() {
        return Decision::refuse(
            order,
            &format!(
                "{} asks not to shut down: {}; wait for it, or end it",
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
        message: bounded(message, MESSAGE),
    }
}
