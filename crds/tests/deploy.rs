//! `deploy/` is what its parts, the types and the version say.
//!
//! `UPDATE_EXPECT=1 cargo test -p lockkeeper-crds` writes `deploy/lockkeeper.yaml` anew.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use lockkeeper_crds::{RebootPolicy, names};
use serde::Deserialize;
use serde_json::Value;

/// After the namespace, before what speaks of the kinds.
const DEFINITIONS_BEFORE: &str = "30-admission.yaml";
const HEADER: &str = "\
# Lockkeeper: kubectl apply --server-side -f deploy/lockkeeper.yaml
# Generated from deploy/parts and crds/generated; a test fails on drift. Do not edit.
# No custom resources in here: they can be made once the definitions are Established (see deploy/samples).
";

#[test]
fn the_manifest_is_its_parts_and_the_generated_definitions() {
    let mut text = HEADER.to_owned();
    for part in parts() {
        if part.ends_with(DEFINITIONS_BEFORE) {
            for definition in files("crds/generated") {
                append(&mut text, &definition);
            }
        }
        append(&mut text, &part);
    }
    expect_file![root().join("deploy/lockkeeper.yaml")].assert_eq(&text);
}

#[test]
fn the_manifest_holds_each_definition_once_and_no_custom_resource() {
    let kinds: Vec<String> = documents(&read("deploy/lockkeeper.yaml"))
        .iter()
        .map(|document| {
            assert_ne!(document["apiVersion"], format!("{}/v1alpha1", names::GROUP));
            document["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    let definitions = kinds.iter().filter(|kind| *kind == "CustomResourceDefinition").count();
    assert_eq!(definitions, 3, "{kinds:?}");
    assert_eq!(kinds[0], "Namespace", "everything else lives in it");
}

#[test]
fn images_and_version_labels_carry_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let text = read("deploy/lockkeeper.yaml");
    let tags: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .collect();
    assert_eq!(tags.len(), 3, "operator, agent, actuator");
    for tag in tags {
        assert!(tag.ends_with(&format!(":{version}")), "{tag}");
    }
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("app.kubernetes.io/version: "))
        .collect();
    assert_eq!(labels, vec![version; 4]);
}

#[test]
fn the_part_that_may_reboot_holds_no_token_and_the_agent_no_power() {
    let text = read("deploy/parts/60-node-agent.yaml");
    let pod = &documents(&text)[0]["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(forbidden).is_none(), "{forbidden}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert!(context.get("privileged").is_none());
        let mounts: Vec<&str> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["name"].as_str().unwrap())
            .collect();
        match container["name"].as_str().unwrap() {
            "agent" => {
                assert_eq!(mounts, ["channel", "host-run", "host-os-release", "credential"]);
                assert_eq!(context["runAsUser"], 65532);
            }
            "actuator" => assert_eq!(mounts, ["channel", "bus"]),
            other => panic!("a third container: {other}"),
        }
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

/// Everything that was written came out again: a field that is not in the type would be lost.
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

fn append(text: &mut String, file: &Path) {
    text.push_str("---\n");
    text.push_str(&fs::read_to_string(file).unwrap());
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

fn parts() -> Vec<PathBuf> {
    files("deploy/parts")
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
