//! The annotation that says on a Node which hook waits there, and for what: JSON.

use std::collections::BTreeMap;

use lockkeeper_crds::names;
use serde::{Deserialize, Serialize};

/// The annotation's value; one that cannot be read is empty.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandshakeAnnotation {
    /// The id of the hook's run.
    pub(crate) id: String,
    /// The annotation that answers the hook.
    pub(crate) annotation: String,
    /// The label that is set while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
}

impl HandshakeAnnotation {
    /// The hook that this text says waits.
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// The key of the annotation that answers the hook of a Node with these annotations.
pub(crate) fn answer_key(annotations: &BTreeMap<String, String>) -> Option<String> {
    let waiting = HandshakeAnnotation::parse(annotations.get(names::HOOK)?);
    (!waiting.annotation.is_empty()).then_some(waiting.annotation)
}
