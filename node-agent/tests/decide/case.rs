//! A case as words, and the decision about it as words.

use std::time::Duration;

use chrono::DateTime;
use expect_test::Expect;
use lockkeeper_channel::{AnswerState, HostAnswer, HostFacts, Inhibitor, SoftReboots};
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
                soft_reboots: None,
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
                soft_reboots: None,
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
            ("external-prepare", _) => case.order = order(OrderAction::Prepare, RebootMethod::External),
            ("external-reboot", _) => case.order = order(OrderAction::Reboot, RebootMethod::External),
            ("kexec-reboot", _) => {
                case.order = order(OrderAction::Reboot, RebootMethod::Kexec);
                case.operation = Some(operation(id, "Rebooting"));
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
                    soft_reboots: None,
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
            ("soft-prepare", _) => case.order = order(OrderAction::Prepare, RebootMethod::SoftReboot),
            ("soft-reboot", _) => {
                case.order = order(OrderAction::Reboot, RebootMethod::SoftReboot);
                case.operation = Some(operation(id, "Rebooting"));
            }
            ("counted" | "answered-for", _) => {}
            other => panic!("no such word: {other:?}"),
        }
        soft_reboots(&mut case, word);
    }
    case
}

/// The number of soft-reboots that a word names.
fn soft_reboots(case: &mut Case, word: &str) {
    let (what, number) = word.split_once(':').unwrap_or((word, ""));
    let number: Option<u32> = number.parse().ok();
    match what {
        "soft-prepare" | "soft-reboot" => {
            case.order.as_mut().unwrap().soft_reboots = number.map(u32::cast_signed);
        }
        "counted" => {
            case.facts.as_mut().unwrap().soft_reboots = number.map(|count| SoftReboots {
                count,
                started_micros: 0,
            });
        }
        "answered-for" => case.answer.as_mut().unwrap().soft_reboots = number,
        _ => {}
    }
}

/// The operation whose order has this id.
fn operation(order_id: &str, phase: &str) -> OwnOperation {
    let (id, attempt) = order_id.rsplit_once('-').unwrap();
    let attempt: i32 = attempt.parse().unwrap();
    serde_json::from_value(json!({"id": id, "attempt": attempt, "phase": phase})).unwrap()
}

pub fn decision(text: &str) -> Decision {
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

pub fn check(text: &str, expected: &Expect) {
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
        if let Some(count) = order.soft_reboots {
            words.push(format!("only its userspace, after {count} soft-reboots"));
        }
    }
    if let Some(id) = decision.request_facts {
        words.push(format!("ask facts for {id}"));
    }
    expected.assert_eq(&words.join("; "));
}
