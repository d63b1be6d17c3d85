//! A count or a percentage, as `maxUnavailable` is in a Deployment.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A whole number, or a percentage such as `10%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    /// That many nodes.
    Int(i32),
    /// A percentage of the selected nodes; kept as written; the crate lockkeeper-snapshot parses it.
    Percent(String),
}

impl JsonSchema for IntOrPercent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maxLength": 4,
            "pattern": "^(100|[1-9]?[0-9])%$",
        })
    }
}
