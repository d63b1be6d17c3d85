//! A hook that waits for an annotation, as its Node says: in an annotation of our own, as JSON.

use lockkeeper_crds::names;
use lockkeeper_planner::{Handshake, HandshakeKeys};
use serde_json::{Value, json};

use crate::handshake_annotation::HandshakeAnnotation;
use crate::slim::{self, annotation};

/// The value that answers a hook, and that its label has.
const TRUE: &str = "true";

/// The hook that a Node says waits. A value that cannot be read belongs to no hook, so that it is removed.
pub fn on(node: &slim::Node) -> Option<Handshake> {
    let wire = HandshakeAnnotation::parse(annotation(node, names::HOOK)?);
    let answered = !wire.annotation.is_empty() && annotation(node, &wire.annotation) == Some(TRUE);
    Some(Handshake {
        id: wire.id,
        keys: HandshakeKeys {
            annotation: wire.annotation,
            label: wire.label,
        },
        answered,
    })
}

/// The metadata of a Node on which the hook with this id begins to wait: an answer from before is removed.
pub fn begin(id: &str, keys: &HandshakeKeys) -> Value {
    let wire = HandshakeAnnotation {
        id: id.to_owned(),
        annotation: keys.annotation.clone(),
        label: keys.label.clone(),
    };
    let text = json!(wire).to_string();
    metadata(keys, &json!(text), &json!(TRUE))
}

/// The metadata of a Node on which it waits no more.
pub fn end(keys: &HandshakeKeys) -> Value {
    metadata(keys, &Value::Null, &Value::Null)
}

fn metadata(keys: &HandshakeKeys, ours: &Value, label: &Value) -> Value {
    let mut annotations = json!({});
    // The answer first, so that our own annotation wins if a person has named it as the answer.
    if !keys.annotation.is_empty() {
        annotations[keys.annotation.as_str()] = Value::Null;
    }
    annotations[names::HOOK] = ours.clone();
    let mut metadata = json!({"annotations": annotations});
    if let Some(key) = &keys.label {
        metadata["labels"] = json!({key: label});
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> HandshakeKeys {
        HandshakeKeys {
            annotation: "example.com/moved".to_owned(),
            label: Some("example.com/before-reboot".to_owned()),
        }
    }

    fn node(annotations: &Value) -> slim::Node {
        let mut node: slim::Node =
            serde_json::from_value(json!({"metadata": {"name": "w-01", "annotations": annotations}})).unwrap();
        node.prune();
        node
    }

    #[test]
    fn a_hook_that_begins_sets_its_keys_and_removes_an_old_answer() {
        let patch = begin("7f3c-0/beforeDrain/move", &keys());
        let ours =
            r#"{"annotation":"example.com/moved","id":"7f3c-0/beforeDrain/move","label":"example.com/before-reboot"}"#;
        let expected = json!({
            "annotations": {"example.com/moved": null, "lockkeeper.dev/hook": ours},
            "labels": {"example.com/before-reboot": "true"},
        });
        assert_eq!(patch, expected);
        let waiting = on(&node(&json!({"lockkeeper.dev/hook": ours, "other": "true"}))).unwrap();
        assert_eq!(
            (waiting.id.as_str(), &waiting.keys),
            ("7f3c-0/beforeDrain/move", &keys())
        );
        assert!(!waiting.answered);
        for (answer, answered) in [("true", true), ("false", false), ("", false)] {
            let node = node(&json!({"lockkeeper.dev/hook": ours, "example.com/moved": answer}));
            assert_eq!(on(&node).unwrap().answered, answered, "{answer}");
        }
    }

    #[test]
    fn a_hook_that_ends_removes_keys_and_answer() {
        let expected = json!({
            "annotations": {"example.com/moved": null, "lockkeeper.dev/hook": null},
            "labels": {"example.com/before-reboot": null},
        });
        assert_eq!(end(&keys()), expected);
        let without_label = HandshakeKeys { label: None, ..keys() };
        assert_eq!(end(&without_label).get("labels"), None);
    }

    #[test]
    fn a_value_that_cannot_be_read_belongs_to_no_hook() {
        for text in ["", "{", "true", r#"{"id": 7}"#] {
            let found = on(&node(&json!({"lockkeeper.dev/hook": text}))).unwrap();
            assert_eq!((found.id.as_str(), found.answered), ("", false), "{text}");
            assert_eq!(end(&found.keys), json!({"annotations": {"lockkeeper.dev/hook": null}}));
        }
        assert_eq!(on(&node(&json!({}))), None);
    }
}
