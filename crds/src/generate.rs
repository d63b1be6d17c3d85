//! The custom resource definitions as they are shipped.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{NodeReboot, RebootLock, RebootPolicy, names};

/// The longest time that is accepted.
const MAX_TIME: i64 = 40;
/// RFC 3339 in UTC, as every program that writes a status does. The format `date-time` alone accepts more than any program
/// decodes, such as words behind the time.
const TIME: &str = r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$";

/// All three definitions, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = vec![NodeReboot::crd(), RebootLock::crd(), RebootPolicy::crd()];
    for definition in &mut all {
        let labels = definition.metadata.labels.get_or_insert_default();
        labels.insert(names::PART_OF_LABEL.to_owned(), names::PART_OF.to_owned());
        let schemas = definition.spec.versions.iter_mut();
        let schemas = schemas.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
        for (part, schema) in schemas.flat_map(|schema| schema.properties.iter_mut().flatten()) {
            // The times of a spec are written by people, and a rule parses them.
            bound_times(schema, (part == "status").then_some(TIME));
        }
    }
    all
}

/// Limits every time below this schema.
fn bound_times(schema: &mut JSONSchemaProps, pattern: Option<&str>) {
    if schema.format.as_deref() == Some("date-time") {
        schema.max_length = Some(MAX_TIME);
        schema.pattern = pattern.map(str::to_owned);
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        bound_times(property, pattern);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => bound_times(items, pattern),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(|items| bound_times(items, pattern)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        bound_times(values, pattern);
    }
}
