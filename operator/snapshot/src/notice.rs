//! The advance notice of a drain: a condition of the Node, which other programs read.

use chrono::TimeDelta;
use lockkeeper_crds::names;
use lockkeeper_crds::reasons::format_time;
use lockkeeper_crds::time::{to_kubernetes, whole_seconds};
use lockkeeper_planner::{GivenNotice, Instant, NoticeCondition};
use serde_json::{Value, json};

use crate::slim;

/// What stands before the id at the end of the message.
const ID: &str = " (operation ";

/// The notice that a Node shows. One of ours that cannot be read belongs to no operation, so that it is removed.
pub fn on(node: &slim::Node) -> NoticeCondition {
    let Some(condition) = node.status.maintenance_planned.as_deref() else {
        return NoticeCondition::Absent;
    };
    if condition.reason != names::NOTICE_REASON {
        let reason = condition.reason.clone();
        return NoticeCondition::Foreign { reason };
    }
    let id = condition
        .message
        .rsplit_once(ID)
        .and_then(|(_, id)| id.strip_suffix(')'));
    let read = id
        .filter(|_| condition.status == "True")
        .zip(condition.last_transition_time);
    NoticeCondition::Ours(match read {
        Some((id, given)) => GivenNotice {
            id: id.to_owned(),
            given,
        },
        None => GivenNotice {
            id: String::new(),
            given: Instant::default(),
        },
    })
}

/// The status of a Node that gives notice now, as a strategic merge patch: other conditions stay.
///
/// Times of conditions have whole seconds. The next one counts, so that the notice is not shortened by a part of one.
pub fn give(id: &str, now: Instant, lasts: TimeDelta) -> Value {
    let whole = whole_seconds(now);
    let given = if whole < now {
        whole + TimeDelta::seconds(1)
    } else {
        whole
    };
    let time = to_kubernetes(given);
    let until = format_time(given + lasts);
    condition(&json!({
        "type": names::MAINTENANCE_PLANNED, "status": "True", "reason": names::NOTICE_REASON,
        "message": format!("Lockkeeper evicts the pods of this node from {until} on and then reboots it{ID}{id})"),
        "lastHeartbeatTime": time, "lastTransitionTime": time,
    }))
}

/// The status of a Node without the notice, as a strategic merge patch.
pub fn end() -> Value {
    condition(&json!({"type": names::MAINTENANCE_PLANNED, "$patch": "delete"}))
}

fn condition(condition: &Value) -> Value {
    json!({"conditions": [condition]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn node(status: &Value) -> slim::Node {
        serde_json::from_value(json!({"metadata": {"name": "w-01"}, "status": status})).unwrap()
    }

    fn given() -> Value {
        give("7f3c-0", at("2026-12-01T13:59:59.2Z"), TimeDelta::seconds(600))
    }

    /// What a Node shows whose condition has this instead of what the operator has set.
    fn changed(field: &str, value: &Value) -> NoticeCondition {
        let mut status = given();
        status["conditions"][0][field] = value.clone();
        on(&node(&status))
    }

    #[test]
    fn a_notice_that_was_given_is_read_as_it_was_given() {
        let expected = GivenNotice {
            id: "7f3c-0".to_owned(),
            given: at("2026-12-01T14:00:00Z"),
        };
        assert_eq!(on(&node(&given())), NoticeCondition::Ours(expected));
        assert_eq!(
            given()["conditions"][0]["message"],
            "Lockkeeper evicts the pods of this node from 2026-12-01T14:10:00Z on and then reboots it (operation 7f3c-0)"
        );
        assert_eq!(on(&node(&json!({"conditions": []}))), NoticeCondition::Absent);
    }

    #[test]
    fn a_notice_that_was_edited_belongs_to_no_operation() {
        for (field, value) in [
            ("message", json!("soon")),
            ("status", json!("False")),
            ("lastTransitionTime", Value::Null),
        ] {
            let found = changed(field, &value);
            assert_eq!(found.ours().map(|notice| notice.id.as_str()), Some(""), "{field}");
        }
    }

    #[test]
    fn a_condition_of_another_client_is_not_ours() {
        let reason = "Recycling".to_owned();
        assert_eq!(
            changed("reason", &json!("Recycling")),
            NoticeCondition::Foreign { reason }
        );
    }
}
