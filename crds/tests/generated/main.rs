//! The shipped YAML and the reference are what the types say. `make generate` writes them anew.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used)]

mod reference;

use expect_test::expect_file;
use lockkeeper_crds::generate::definitions;

#[test]
fn the_shipped_definitions_are_those_of_the_types() {
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let plural = name.split('.').next().unwrap().to_owned();
        let yaml = serde_yaml_ng::to_string(&definition).unwrap();
        let text = format!("# Generated from the crate lockkeeper-crds; a test fails on drift. Do not edit.\n{yaml}");
        expect_file![format!("{}/generated/{plural}.yaml", env!("CARGO_MANIFEST_DIR"))].assert_eq(&text);
        // Helm reads nothing outside of a chart's directory.
        expect_file![format!(
            "{}/../charts/lockkeeper/files/crds/{plural}.yaml",
            env!("CARGO_MANIFEST_DIR")
        )]
        .assert_eq(&text);
    }
}

#[test]
fn every_list_and_string_of_the_definitions_has_a_maximum() {
    fn walk(path: &str, schema: &serde_json::Value, bare: &mut Vec<String>) {
        let Some(object) = schema.as_object() else { return };
        let kind = object.get("type").and_then(|kind| kind.as_str());
        let fixed = object.contains_key("enum");
        if kind == Some("array") && !object.contains_key("maxItems")
            || kind == Some("string") && !fixed && !object.contains_key("maxLength")
        {
            bare.push(path.to_owned());
        }
        for (key, value) in object
            .get("properties")
            .and_then(|p| p.as_object())
            .into_iter()
            .flatten()
        {
            walk(&format!("{path}.{key}"), value, bare);
        }
        if let Some(items) = object.get("items") {
            walk(&format!("{path}[]"), items, bare);
        }
        if let Some(values) = object.get("additionalProperties") {
            walk(&format!("{path}{{}}"), values, bare);
        }
    }
    let mut bare = Vec::new();
    for definition in definitions() {
        let value = serde_json::to_value(&definition).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            walk(
                &format!("{}.{part}", definition.spec.names.kind),
                &schema[part],
                &mut bare,
            );
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}
