//! What the agent does about an order, as a table of texts.

// The helper that reads the tables is not a test in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use chrono::DateTime;
use expect_test::{Expect, expect};
use lockkeeper_channel::{AnswerState, HostAnswer, HostFacts, Inhibitor};
use lockkeeper_crds::{Order, OrderAction, OrderAnswer, OrderState, RebootMethod};
use lockkeeper_node_agent::decide::{Decision, Inputs, decide};
use lockkeeper_node_agent::report::OwnOperation;
use serde_json::json;

/// A case in words: the host is in boot `b`, orders have the id `1-0` unless they say so, and an order to reboot has its
/// operation.
#[derive(Default)]
struct Case {
    order: Option<Order>,
    operation: Option<OwnOperation>,
    reported: Option<OrderAnswer>,
    reported_boot_id: String,
    facts: Option<HostFacts>,
    answer: Option<HostAnswer>,
    overdue: bool,
    just_booted: bool,
}

/// Reads words such as `prepare`, `reboot@a`, `said:Ready`, `said:Rebooting@a`, `capable`, `actuator:Failed`, `overdue`.
fn case(text: &str) -> Case {
    let mut case = Case::default();
    for word in text.split_whitespace() {
        let (word, boot) = word.split_once('@').unwrap_or((word, "b"));
        let (word, id) = word.split_once('#').unwrap_or((word, "1-0"));
        let order = |action, method| {
            Some(Order {
                id: id.into(),
                action,
                boot_id: boot.into(),
                method,
                not_after_time: None,
            })
        };
        let facts = |capable, inhibitors: &[&str]| {
            Some(HostFacts {
                boot_id: boot.into(),
                order_id: id.into(),
                reboot_capable: capable,
                message: if capable { "" } else { "polkit asks; run as uid 0" }.into(),
                inhibitors: inhibitors
                    .iter()
                    .map(|who| Inhibitor {
                        who: (*who).into(),
                        why: "mid-update".into(),
                    })
                    .collect(),
                min_uptime_seconds: 600,
            })
        };
        match word.split_once(':').unwrap_or((word, "")) {
            ("prepare", _) => case.order = order(OrderAction::Prepare, RebootMethod::Auto),
            ("reboot", _) => {
                case.order = order(OrderAction::Reboot, RebootMethod::Auto);
                case.operation = Some(operation(id, "Rebooting"));
            }
            ("forged-reboot", _) => case.order = order(OrderAction::Reboot, RebootMethod::Auto),
            ("operation", phase) => case.operation = Some(operation(id, phase)),
            ("ending", _) => {
                let ending = json!({"id": "1", "phase": "Rebooting", "pendingOutcome": {"outcome": "Deferred"}});
                case.operation = Some(serde_json::from_value(ending).unwrap());
            }
            ("strange-action", _) => case.order = order(OrderAction::Unknown, RebootMethod::Auto),
            ("strange-method", _) => case.order = order(OrderAction::Reboot, RebootMethod::Unknown),
            ("said", state) => {
                case.reported = Some(OrderAnswer {
                    id: id.into(),
                    state: serde_json::from_value(state.into()).unwrap(),
                    message: String::new(),
                });
                case.reported_boot_id = boot.into();
            }
            ("capable", _) => case.facts = facts(true, &[]),
            ("incapable", _) => case.facts = facts(false, &[]),
            ("inhibited", who) => case.facts = facts(true, &[who]),
            ("actuator", state) => {
                case.answer = Some(HostAnswer {
                    id: id.into(),
                    boot_id: boot.into(),
                    state: match state {
                        "Requested" => AnswerState::Requested,
                        "Rebooting" => AnswerState::Rebooting,
                        "Refused" => AnswerState::Refused,
                        "Failed" => AnswerState::Failed,
                        other => panic!("no such answer: {other}"),
                    },
                    message: "the actuator's words".into(),
                });
            }
            ("overdue", _) => case.overdue = true,
            ("just-booted", _) => case.just_booted = true,
            ("expires", second) => {
                let time = DateTime::from_timestamp(second.parse().unwrap(), 0);
                case.order.as_mut().unwrap().not_after_time = time;
            }
            other => panic!("no such word: {other:?}"),
        }
    }
    case
}

/// The operation whose order has this id.
fn operation(order_id: &str, phase: &str) -> OwnOperation {
    let (id, attempt) = order_id.rsplit_once('-').unwrap();
    let attempt: i32 = attempt.parse().unwrap();
    serde_json::from_value(json!({"id": id, "attempt": attempt, "phase": phase})).unwrap()
}

fn decision(text: &str) -> Decision {
    let case = case(text);
    decide(&Inputs {
        boot_id: "b",
        order: case.order.as_ref(),
        operation: case.operation.as_ref(),
        reported: case.reported.as_ref(),
        reported_boot_id: &case.reported_boot_id,
        facts: case.facts.as_ref(),
        answer: case.answer.as_ref(),
        facts_overdue: case.overdue,
        reboot_refused_for: case.just_booted.then_some(Duration::from_secs(419)),
        now: DateTime::from_timestamp(1000, 0).unwrap(),
    })
}

fn check(text: &str, expected: &Expect) {
    let decision = decision(text);
    let mut words = Vec::new();
    if let Some(OrderAnswer { id, state, message }) = decision.answer {
        let state: OrderState = state;
        words.push(format!("say {id} {state:?} {message}").trim_end().to_owned());
    }
    if let Some(order) = decision.host_order {
        words.push(format!(
            "order {:?} {} of boot {}",
            order.action, order.id, order.boot_id
        ));
    }
    if let Some(id) = decision.request_facts {
        words.push(format!("ask facts for {id}"));
    }
    expected.assert_eq(&words.join("; "));
}

#[test]
fn without_an_order_the_agent_does_and_answers_nothing() {
    check("capable", &expect![""]);
}

#[test]
fn a_prepare_asks_the_actuator_first() {
    check("prepare", &expect!["ask facts for 1-0"]);
    check("prepare capable#0-0", &expect!["ask facts for 1-0"]);
    check("prepare capable#", &expect!["ask facts for 1-0"]);
    check("prepare capable@a", &expect!["ask facts for 1-0"]);
}

#[test]
fn a_prepare_is_answered_ready_from_facts_with_its_order_id() {
    check("prepare capable", &expect!["say 1-0 Ready"]);
}

#[test]
fn a_prepare_is_refused_with_the_remedy() {
    check(
        "prepare incapable",
        &expect!["say 1-0 Refused polkit asks; run as uid 0"],
    );
    check(
        "prepare inhibited:dpkg",
        &expect!["say 1-0 Refused shutdown inhibited by dpkg: mid-update; wait for it to finish, or stop it"],
    );
    check(
        "prepare overdue",
        &expect![
            "say 1-0 Refused the actuator does not respond; check the log of container actuator in this node's agent pod, or without that container the service lockkeeper-actuator of the host"
        ],
    );
}

#[test]
fn a_prepare_for_another_boot_is_refused() {
    check(
        "prepare@a capable",
        &expect!["say 1-0 Refused the order is for boot a, this host is in boot b; the operator will send a new order"],
    );
}

#[test]
fn a_prepare_is_answered_once() {
    check("prepare said:Ready", &expect!["say 1-0 Ready"]);
    check("prepare said:Ready incapable", &expect!["say 1-0 Ready"]);
    check("prepare said:Refused capable", &expect!["say 1-0 Refused"]);
}

#[test]
fn an_answer_of_the_previous_boot_does_not_count() {
    check("prepare said:Ready@a", &expect!["say 1-0 Ready; ask facts for 1-0"]);
    check(
        "reboot said:Rebooting@a",
        &expect!["say 1-0 Rebooting; order Reboot 1-0 of boot b"],
    );
}

#[test]
fn a_new_order_requests_facts_again() {
    check(
        "prepare#2-0 said:Failed capable",
        &expect!["say 1-0 Failed; ask facts for 2-0"],
    );
    check("prepare#2-0 said:Failed capable#2-0", &expect!["say 2-0 Ready"]);
    check(
        "reboot#2-0 said:Failed actuator:Failed",
        &expect!["say 1-0 Failed; order Reboot 2-0 of boot b"],
    );
}

#[test]
fn a_reboot_goes_to_the_actuator() {
    check("reboot", &expect!["order Reboot 1-0 of boot b"]);
    check(
        "reboot said:Ready",
        &expect!["say 1-0 Ready; order Reboot 1-0 of boot b"],
    );
}

#[test]
fn a_reboot_order_for_another_boot_does_nothing() {
    check("reboot@a", &expect![""]);
    check("reboot@a said:Rebooting@a", &expect!["say 1-0 Rebooting"]);
    check("reboot@a said:Ready@a", &expect!["say 1-0 Ready"]);
}

#[test]
fn the_answer_of_the_actuator_is_reported_and_the_order_removed() {
    check(
        "reboot actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    check(
        "reboot said:Ready actuator:Failed",
        &expect!["say 1-0 Failed the actuator's words"],
    );
    check(
        "reboot actuator:Refused",
        &expect!["say 1-0 Refused the actuator's words"],
    );
}

#[test]
fn an_answer_to_another_order_or_boot_does_not_count() {
    check("reboot actuator:Rebooting#0-0", &expect!["order Reboot 1-0 of boot b"]);
    check("reboot actuator:Rebooting@a", &expect!["order Reboot 1-0 of boot b"]);
}

#[test]
fn a_lost_directory_does_not_repeat_an_order() {
    check("reboot said:Rebooting", &expect!["say 1-0 Rebooting"]);
    check("reboot said:Failed", &expect!["say 1-0 Failed"]);
    check("reboot said:Refused", &expect!["say 1-0 Refused"]);
}

#[test]
fn a_removed_order_is_withdrawn() {
    check("said:Ready", &expect!["say 1-0 Withdrawn"]);
    check("said:Rebooting", &expect!["say 1-0 Withdrawn"]);
    check("said:Withdrawn", &expect!["say 1-0 Withdrawn"]);
}

#[test]
fn an_accepted_reboot_is_reported_even_if_the_order_or_the_object_is_gone() {
    check(
        "said:Rebooting actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
    check("actuator:Rebooting", &expect!["say 1-0 Rebooting the actuator's words"]);
    check("actuator:Rebooting@a", &expect![""]);
    check("actuator:Failed", &expect![""]);
}

#[test]
fn the_message_of_a_refusal_or_failure_outlives_the_order() {
    check("said:Refused", &expect!["say 1-0 Refused"]);
    check("said:Failed", &expect!["say 1-0 Failed"]);
}

#[test]
fn an_order_that_is_set_again_is_checked_again() {
    check("prepare said:Withdrawn capable", &expect!["say 1-0 Ready"]);
}

#[test]
fn an_unknown_order_of_a_newer_operator_is_refused() {
    check(
        "strange-action",
        &expect!["say 1-0 Refused this agent does not support the action of the order; upgrade the agent"],
    );
    check(
        "strange-method",
        &expect!["say 1-0 Refused this agent does not support the method of the order; upgrade the agent"],
    );
}

#[test]
fn a_reboot_without_its_operation_is_refused() {
    check(
        "forged-reboot",
        &expect![
            "say 1-0 Refused order 1-0 belongs to no operation of this node: only a reboot that the operator has begun is executed"
        ],
    );
    check(
        "forged-reboot operation:Rebooting#2-0",
        &expect![
            "say 1-0 Refused order 1-0 is not that of the operation of this node, 2-0: only the operator's order is executed"
        ],
    );
    check(
        "forged-reboot operation:Rebooting#1-1",
        &expect![
            "say 1-0 Refused order 1-0 is not that of the operation of this node, 1-1: only the operator's order is executed"
        ],
    );
}

#[test]
fn a_reboot_waits_until_the_operation_is_in_phase_rebooting() {
    for phase in ["Preparing", "Draining"] {
        check(
            &format!("reboot operation:{phase} said:Ready"),
            &expect!["say 1-0 Ready"],
        );
    }
}

#[test]
fn a_reboot_is_refused_in_a_phase_that_expects_none() {
    check(
        "reboot operation:Failed said:Ready",
        &expect!["say 1-0 Refused operation 1 is in phase Failed: no reboot is expected any more"],
    );
    check(
        "reboot operation:Verifying",
        &expect!["say 1-0 Refused operation 1 is in phase Verifying: no reboot is expected any more"],
    );
    check("reboot ending", &expect!["say 1-0 Refused operation 1 is being ended"]);
    check(
        "reboot operation:Meditating",
        &expect!["say 1-0 Refused this agent does not know the phase of the operation; upgrade the agent"],
    );
}

#[test]
fn a_prepare_needs_no_operation() {
    check("prepare capable", &expect!["say 1-0 Ready"]);
    check("prepare capable operation:Failed#2-0", &expect!["say 1-0 Ready"]);
}

#[test]
fn a_request_under_way_is_no_answer_and_no_refusal() {
    check(
        "reboot said:Ready actuator:Requested",
        &expect!["say 1-0 Ready; order Reboot 1-0 of boot b"],
    );
    check(
        "reboot operation:Failed actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check(
        "said:Ready actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check("said:Ready actuator:Requested@a", &expect!["say 1-0 Withdrawn"]);
}

#[test]
fn an_order_that_has_expired_is_refused() {
    for order in ["prepare expires:999 capable", "reboot expires:999"] {
        check(
            order,
            &expect![
                "say 1-0 Refused order 1-0 expired at 1970-01-01T00:16:39Z, and the clock of this host shows 1970-01-01T00:16:40Z; if the order was new, correct that clock or the operator's"
            ],
        );
    }
    check("prepare expires:1000 capable", &expect!["say 1-0 Ready"]);
    check("reboot expires:1000", &expect!["order Reboot 1-0 of boot b"]);
}

#[test]
fn an_order_that_expires_after_its_request_is_no_refusal() {
    check(
        "reboot expires:999 actuator:Requested",
        &expect!["say 1-0 Rebooting the reboot was requested and is not confirmed yet"],
    );
    check(
        "reboot expires:999 actuator:Rebooting",
        &expect!["say 1-0 Rebooting the actuator's words"],
    );
}

#[test]
fn a_prepare_is_refused_while_the_host_has_just_booted() {
    check(
        "prepare capable just-booted",
        &expect![
            "say 1-0 Refused the host has just booted: its actuator reboots it only after 600 s of uptime, in 420 s (--min-uptime-seconds)"
        ],
    );
}
