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
    /// A percentage of the selected nodes; kept as written, read by [`IntOrPercent::resolve`].
    Percent(String),
}

impl IntOrPercent {
    /// How many of `total` this allows: rounded down, at least 1 unless it says 0; `None` if it cannot be read.
    pub fn resolve(&self, total: usize) -> Option<usize> {
        match self {
            Self::Int(count) => usize::try_from(*count).ok(),
            Self::Percent(text) => match text.strip_suffix('%')?.parse::<usize>().ok()? {
                0 => Some(0),
                percent @ 1..=100 => Some((total * percent / 100).max(1)),
                _ => None,
            },
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, total: usize) -> Option<usize> {
        serde_json::from_str::<IntOrPercent>(text).unwrap().resolve(total)
    }

    #[test]
    fn percents_round_down_to_at_least_one() {
        assert_eq!(resolve("\"10%\"", 39), Some(3));
        assert_eq!(resolve("\"10%\"", 3), Some(1));
        assert_eq!(resolve("\"100%\"", 7), Some(7));
    }

    #[test]
    fn zero_starts_nothing() {
        assert_eq!(resolve("\"0%\"", 40), Some(0));
        assert_eq!(resolve("0", 40), Some(0));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit_at_all() {
        assert_eq!(resolve("\"101%\"", 40), None);
        assert_eq!(resolve("\"ten\"", 40), None);
        assert_eq!(resolve("-1", 40), None);
    }
}
