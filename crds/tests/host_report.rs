//! Whatever the shipped definition accepts as a host report can be decoded: an agent cannot write one that its readers
//! cannot read. `PROPTEST_CASES` makes it longer.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used)]

use chrono::NaiveDate;
use lockkeeper_crds::NodeReboot;
use lockkeeper_crds::generate::definitions;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The schema of `status.host`.
fn schema() -> Value {
    let all = definitions();
    let definition = all.iter().find(|one| one.spec.names.kind == "NodeReboot").unwrap();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap();
    let mut schema = serde_json::to_value(schema).unwrap();
    schema["openAPIV3Schema"]["properties"]["status"]["properties"]["host"].take()
}

/// Values that the API server accepts under this schema.
fn accepted(schema: &Value) -> BoxedStrategy<Value> {
    let value = match schema["type"].as_str().unwrap() {
        "object" => object(schema),
        "array" => {
            let most = schema["maxItems"].as_u64().unwrap().min(4) as usize;
            prop::collection::vec(accepted(&schema["items"]), 0..=most)
                .prop_map(Value::from)
                .boxed()
        }
        "integer" => {
            // Both bounds: a number that the API server stores and no field holds would stop the decoding.
            let [least, most] = ["minimum", "maximum"].map(|bound| schema[bound].as_f64().unwrap() as i64);
            (least..=most).prop_map(Value::from).boxed()
        }
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "string" => string(schema),
        other => unreachable!("a host report has no {other}; teach this test how to make one"),
    };
    if schema["nullable"] == true {
        prop_oneof![9 => value, 1 => Just(Value::Null)].boxed()
    } else {
        value
    }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required = |name: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|all| all.iter().any(|one| one == name))
    };
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, field)| {
            let is_required = required(name);
            let name = name.clone();
            let field = accepted(field).prop_map(move |value| (name.clone(), value));
            if is_required {
                field.prop_map(Some).boxed()
            } else {
                prop::option::weighted(0.8, field).boxed()
            }
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
        .boxed()
}

fn string(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return prop::sample::select(words.clone()).boxed();
    }
    let text = if let Some(pattern) = schema["pattern"].as_str() {
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
        prop::string::string_regex(pattern).unwrap().boxed()
    } else {
        let most = schema["maxLength"].as_u64().unwrap().min(80) as usize;
        prop::collection::vec(any::<char>(), 0..=most)
            .prop_map(String::from_iter)
            .boxed()
    };
    let is_time = schema["format"] == "date-time";
    // The API server checks the date, and of the rest only a part.
    let accepted = move |text: &String| !is_time || text[..10].parse::<NaiveDate>().is_ok();
    text.prop_filter("no such date", accepted).prop_map(Value::from).boxed()
}

proptest! {
    #[test]
    fn whatever_the_definition_accepts_as_a_host_report_is_decoded(host in accepted(&schema())) {
        let reboot = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "metadata": {"name": "w-01"},
            "spec": {}, "status": {"host": host},
        });
        let decoded = serde_json::from_value::<NodeReboot>(reboot);
        prop_assert!(decoded.is_ok(), "{:?}", decoded.err());
    }
}

#[test]
fn a_time_that_cannot_be_decoded_is_refused_by_its_pattern() {
    let schema = schema();
    for time in [
        &schema["properties"]["bootTime"],
        &schema["properties"]["rebootRequired"]["properties"]["since"],
    ] {
        assert_eq!((&time["format"], &time["maxLength"]), (&json!("date-time"), &json!(40)));
        let pattern = time["pattern"].as_str().unwrap();
        assert!(pattern.starts_with('^') && pattern.ends_with("Z$"), "{pattern}");
    }
}
