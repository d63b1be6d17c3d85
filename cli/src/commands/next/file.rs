//! Policies from YAML: one or several documents; objects of other kinds are ignored.

use std::io::Read;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use lockkeeper_crds::names::GROUP;
use lockkeeper_crds::{RebootPolicy, RebootPolicySpec};
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
    let schema = schema().ok_or("the definition of RebootPolicy has no schema")?;
    if let Some(field) = unknown(object, &schema, "") {
        let see = see(&field);
        return Err(format!("RebootPolicy {name}: there is no field {field}; {see}"));
    }
    let parsed: RebootPolicySpec =
        serde_path_to_error::deserialize(spec.clone()).map_err(|error| unreadable(&name, &error))?;
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
    let parent = field.rsplit_once('.').map_or("", |(parent, _)| parent);
    let plain: String = parent
        .split('[')
        .map(|part| part.split_once(']').map_or(part, |(_, rest)| rest))
        .collect();
    let path = if plain.is_empty() { plain } else { format!(".{plain}") };
    format!("see: kubectl explain rbp{path}")
}

/// The fields of a policy as the API server knows them.
fn schema() -> Option<JSONSchemaProps> {
    let version = RebootPolicy::crd().spec.versions.into_iter().next()?;
    let mut schema = version.schema?.open_api_v3_schema?;
    let properties = schema.properties.get_or_insert_default();
    for name in ["apiVersion", "kind"] {
        properties.insert(name.to_owned(), JSONSchemaProps::default());
    }
    let any = JSONSchemaProps {
        x_kubernetes_preserve_unknown_fields: Some(true),
        ..JSONSchemaProps::default()
    };
    // The operator writes the status, and every object has the same metadata.
    properties.insert("metadata".to_owned(), any.clone());
    properties.insert("status".to_owned(), any);
    Some(schema)
}

/// The first field that a policy does not have, also if it is empty.
fn unknown(written: &Value, schema: &JSONSchemaProps, path: &str) -> Option<String> {
    match written {
        Value::Mapping(_) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => None,
        Value::Mapping(fields) => fields.iter().find_map(|(key, value)| {
            let name = key.as_str().unwrap_or("?");
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            let property = schema.properties.as_ref().and_then(|all| all.get(name));
            match (property, &schema.additional_properties) {
                (Some(property), _) => unknown(value, property, &path),
                (None, Some(JSONSchemaPropsOrBool::Schema(any))) => unknown(value, any, &path),
                (None, Some(JSONSchemaPropsOrBool::Bool(true))) => None,
                (None, Some(JSONSchemaPropsOrBool::Bool(false)) | None) => Some(path),
            }
        }),
        Value::Sequence(items) => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(each)) => {
                let mut items = items.iter().enumerate();
                items.find_map(|(index, item)| unknown(item, each, &format!("{path}[{index}]")))
            }
            Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => None,
    }
}
