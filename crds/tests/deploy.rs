//! What is shipped beside the chart uses the types as they are. The manifest itself is rendered from the chart:
//! `e2e/tests/manifests.rs`.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use lockkeeper_crds::RebootPolicy;
use serde::Deserialize;
use serde_json::Value;

#[test]
fn the_manifest_holds_the_definitions_as_they_are_generated() {
    let manifest = documents(&read("deploy/lockkeeper.yaml"));
    for file in files("crds/generated") {
        let generated = &documents(&fs::read_to_string(&file).unwrap())[0];
        let name = &generated["metadata"]["name"];
        let shipped = manifest
            .iter()
            .find(|document| document["kind"] == "CustomResourceDefinition" && document["metadata"]["name"] == *name)
            .unwrap_or_else(|| panic!("deploy/lockkeeper.yaml lacks {name}"));
        assert_eq!(
            shipped["spec"], generated["spec"],
            "{name} in deploy/lockkeeper.yaml is out of date: make generate"
        );
    }
}

#[test]
fn samples_use_only_fields_that_exist() {
    for sample in files("deploy/samples") {
        let written = &documents(&fs::read_to_string(&sample).unwrap())[0];
        let policy: RebootPolicy = serde_json::from_value(written.clone()).unwrap();
        let understood = serde_json::to_value(&policy).unwrap();
        assert_contains(&understood, written, &sample.display().to_string());
    }
}

/// Each field of the sample is present after parsing: a field that is not in the type would be lost.
fn assert_contains(understood: &Value, written: &Value, path: &str) {
    match written {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert_contains(&understood[key], value, &format!("{path}.{key}"));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                assert_contains(&understood[index], item, &format!("{path}[{index}]"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => assert_eq!(understood, written, "{path}"),
    }
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// The YAML files of a folder, by name, without kustomize's own.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| path.file_name().is_some_and(|name| name != "kustomization.yaml"))
        .collect();
    files.sort();
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
