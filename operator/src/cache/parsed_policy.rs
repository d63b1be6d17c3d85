//! A policy as it was read, or what can be said of one that cannot be.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use lockkeeper_crds::RebootPolicy;
use lockkeeper_crds::condition::Condition;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A policy that a watch delivers; one that cannot be decoded does not break the watch.
///
/// `kube::core::DeserializeGuard` does as much, but says neither which field it is nor what the status holds.
#[derive(Clone, Debug)]
pub struct ParsedPolicy(pub Result<RebootPolicy, InvalidPolicy>);

/// A policy that cannot be decoded: its definition is of another version, or was by-passed.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidPolicy {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Which field, and what is wrong with it.
    pub cause: String,
    /// `status.conditions`, as far as they can be read.
    pub conditions: Vec<Condition>,
    /// `status.observedGeneration`.
    pub observed_generation: Option<i64>,
}

impl<'de> Deserialize<'de> for ParsedPolicy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        match serde_path_to_error::deserialize::<_, RebootPolicy>(&value) {
            Ok(policy) => Ok(Self(Ok(policy))),
            Err(error) => InvalidPolicy::of(&value, &error)
                .map(|unreadable| Self(Err(unreadable)))
                .map_err(D::Error::custom),
        }
    }
}

impl InvalidPolicy {
    fn of(value: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> Result<Self, serde_json::Error> {
        let field = error.path().to_string();
        let status = value.get("status");
        let of_status = |key| status.and_then(|status| status.get(key));
        let conditions = of_status("conditions").and_then(Value::as_array);
        let readable = |condition: &Value| Condition::deserialize(condition).ok();
        Ok(Self {
            metadata: value
                .get("metadata")
                .map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)?,
            cause: if field == "." {
                error.inner().to_string()
            } else {
                format!("{field}: {}", error.inner())
            },
            conditions: conditions.into_iter().flatten().filter_map(readable).collect(),
            observed_generation: of_status("observedGeneration").and_then(Value::as_i64),
        })
    }
}

impl Resource for ParsedPolicy {
    type DynamicType = ();
    type Scope = <RebootPolicy as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        RebootPolicy::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        RebootPolicy::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        RebootPolicy::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        RebootPolicy::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|unreadable| &unreadable.metadata, RebootPolicy::meta)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|unreadable| &mut unreadable.metadata, RebootPolicy::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_decoded_says_which_field_and_keeps_its_conditions() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "UpToDate", "message": "",
            "lastTransitionTime": "2026-11-21T12:00:00Z"});
        let policy: ParsedPolicy = serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "general", "generation": 7},
            "spec": {"windows": [{"schedule": "0 22 * * *", "durationSeconds": "two hours"}]},
            "status": {"observedGeneration": 6, "conditions": [ready, {"type": 5}]},
        }))
        .unwrap();
        let unreadable = policy.0.unwrap_err();
        assert_eq!(
            unreadable.cause,
            "spec.windows[0].durationSeconds: invalid type: string \"two hours\", expected i32"
        );
        assert_eq!(unreadable.metadata.name.as_deref(), Some("general"));
        assert_eq!(unreadable.observed_generation, Some(6));
        let types: Vec<&str> = unreadable.conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types, ["Ready"]);
    }

    #[test]
    fn what_can_be_decoded_is_a_policy() {
        let policy: ParsedPolicy = serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "general"}, "spec": {"suspend": true},
        }))
        .unwrap();
        assert!(policy.0.unwrap().spec.suspend);
    }
}
