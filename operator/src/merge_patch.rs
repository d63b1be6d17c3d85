//! The merge patch that turns one status into another.

use serde::Serialize;
use serde_json::{Map, Value};

/// The JSON merge patch (RFC 7386) from `before` to `after`; nothing if they are equal.
///
/// Both are written by the same type, so fields that this version does not know are in neither and stay as they are.
pub fn difference<T: Serialize>(before: &T, after: &T) -> Option<Value> {
    let value = |from: &T| serde_json::to_value(from).unwrap_or(Value::Null);
    between(&value(before), &value(after))
}

fn between(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, new) in after {
        let changed = match before.get(key) {
            None => Some(new.clone()),
            Some(old) => between(old, new),
        };
        patch.extend(changed.map(|changed| (key.clone(), changed)));
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_names_what_changed_and_nulls_what_is_gone() {
        let before = json!({"state": "Pending", "waiting": {"reason": "A", "until": 1}, "host": {"kernel": "6"}});
        let after = json!({"state": "Pending", "waiting": {"reason": "B"}, "host": {"kernel": "6"}, "new": [1]});
        assert_eq!(
            difference(&before, &after),
            Some(json!({"waiting": {"reason": "B", "until": null}, "new": [1]}))
        );
        assert_eq!(difference(&after, &after), None);
    }
}
