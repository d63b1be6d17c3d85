//! JSON merge patch, RFC 7386.

use serde_json::{Map, Value};

/// Changes `target` by a merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// An object with a change laid over it.
#[must_use]
pub fn merged(mut object: Value, change: &Value) -> Value {
    merge(&mut object, change);
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_removes_and_a_list_replaces() {
        let object = json!({"a": {"b": 1, "c": [1, 2]}, "d": 4});
        let patch = json!({"a": {"b": null, "c": [3], "e": {"f": null}}});
        assert_eq!(merged(object, &patch), json!({"a": {"c": [3], "e": {}}, "d": 4}));
    }
}
