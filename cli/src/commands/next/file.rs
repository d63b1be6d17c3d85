//! Policies from YAML: one or several documents; objects of other kinds are ignored.

use std::io::Read;
use std::path::Path;

use lockkeeper_crds::RebootPolicySpec;
use lockkeeper_crds::names::GROUP;
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

use super::Specs;
use crate::failure::Failure;

/// Reads a file, or standard input if it is `-`.
pub(super) fn read(path: &Path) -> Result<Specs, Failure> {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| Failure::error(format!("read {name}: {error}")))?;
    parse(&text).map_err(|error| Failure::error(format!("{name}: {error}")))
}

/// The policies in a text; at least one.
pub(super) fn parse(text: &str) -> Result<Specs, String> {
    let mut specs = Specs::new();
    for document in Deserializer::from_str(text) {
        let document = Value::deserialize(document).map_err(|error| format!("not YAML: {error}"))?;
        collect(&document, &mut specs)?;
    }
    if specs.is_empty() {
        return Err("it contains no RebootPolicy".to_owned());
    }
    Ok(specs)
}

/// Collects a policy, or the policies of a list.
fn collect(object: &Value, specs: &mut Specs) -> Result<(), String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(items) = object.get("items").and_then(Value::as_sequence) {
        return items.iter().try_for_each(|item| collect(item, specs));
    }
    let group = text(object.get("apiVersion"));
    if text(object.get("kind")) != "RebootPolicy" || !group.starts_with(&format!("{GROUP}/")) {
        return Ok(());
    }
    let name = text(object.get("metadata").and_then(|metadata| metadata.get("name")));
    let spec = object
        .get("spec")
        .cloned()
        .unwrap_or_else(|| Value::Mapping(serde_yaml_ng::Mapping::new()));
    let parsed: RebootPolicySpec =
        serde_path_to_error::deserialize(spec.clone()).map_err(|error| unreadable(&name, &error))?;
    let known = serde_yaml_ng::to_value(&parsed).map_err(|error| format!("RebootPolicy {name}: {error}"))?;
    if let Some(field) = unknown(&spec, &known, "spec") {
        return Err(format!(
            "RebootPolicy {name}: there is no field {field}; {}",
            see(&field)
        ));
    }
    specs.push((name, parsed));
    Ok(())
}

fn unreadable(policy: &str, error: &serde_path_to_error::Error<serde_yaml_ng::Error>) -> String {
    let field = match error.path().to_string().as_str() {
        "." => "spec".to_owned(),
        path => format!("spec.{path}"),
    };
    format!("RebootPolicy {policy}: {field}: {}; {}", error.inner(), see(&field))
}

/// The command that explains the parent of a field.
fn see(field: &str) -> String {
    let parent = field.rsplit_once('.').map_or(field, |(parent, _)| parent);
    let plain: String = parent
        .split('[')
        .map(|part| part.split_once(']').map_or(part, |(_, rest)| rest))
        .collect();
    format!("see: kubectl explain rbp.{plain}")
}

/// The first field that is written in the file but not part of the parsed policy.
fn unknown(written: &Value, known: &Value, path: &str) -> Option<String> {
    match written {
        Value::Mapping(fields) => fields.iter().find_map(|(key, value)| {
            let path = format!("{path}.{}", key.as_str().unwrap_or("?"));
            match known.get(key) {
                Some(known) => unknown(value, known, &path),
                // Empty values are not serialized.
                None => (!is_empty(value)).then_some(path),
            }
        }),
        Value::Sequence(items) => {
            let mut pairs = items.iter().zip(known.as_sequence()?).enumerate();
            pairs.find_map(|(index, (item, known))| unknown(item, known, &format!("{path}[{index}]")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => false,
    }
}
