//! Lists, in pages if the client wants them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::request::Request;
use crate::selection::Selection;
use crate::store::Store;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";

/// The rest of lists that were answered in part: each page shows the objects as they were at the first one.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    rest: BTreeMap<String, (u64, Vec<Value>)>,
    tokens: u64,
}

impl Pages {
    /// Forgets them: the versions that they show are compacted.
    pub(crate) fn clear(&mut self) {
        self.rest.clear();
    }

    /// The selected objects, or the next page of them.
    pub(crate) fn list(&mut self, store: &Store, request: &Request) -> Result<Value, Refusal> {
        let selection = Selection::of(request)?;
        let token = request.parameter("continue");
        let (version, mut items) = if token.is_empty() {
            (store.version(), selection.select(store))
        } else {
            let rest = self.rest.remove(token);
            rest.ok_or_else(|| Refusal::expired(TOO_OLD))?
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        let limit = request.parameter("limit").parse().unwrap_or(0);
        if limit > 0 && items.len() > limit {
            let rest = items.split_off(limit);
            self.tokens += 1;
            let token = format!("page-{}", self.tokens);
            metadata["continue"] = json!(token);
            metadata["remainingItemCount"] = json!(rest.len());
            self.rest.insert(token, (version, rest));
        }
        Ok(json!({
            "kind": format!("{}List", request.resource.kind), "apiVersion": request.resource.api_version,
            "metadata": metadata, "items": items,
        }))
    }
}
