//! What is done for each verb.

use serde_json::Value;

use crate::answer::Refusal;
use crate::request::{Request, Verb};
use crate::state::State;
use crate::watch::Subscription;
use crate::{apply, evict, write};

/// What a request is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A status and an object.
    Object(u16, Value),
    /// A watch begins.
    Watch(Subscription),
}

/// Carries a request out.
pub(crate) fn handle(state: &mut State, request: &Request) -> Result<Reply, Refusal> {
    let (code, object) = match request.verb {
        Verb::Get => (200, state.existing(request)?.clone()),
        Verb::List => (200, state.pages.list(&state.store, request)?),
        Verb::Watch => return state.watchers.begin(&state.store, request).map(Reply::Watch),
        Verb::Create => (201, write::create(state, request)?),
        Verb::Replace => (200, write::replace(state, request)?),
        Verb::Merge => (200, write::merge(state, request)?),
        Verb::Apply => apply::apply(state, request)?,
        Verb::Delete => (200, write::delete(state, request)?),
        Verb::Evict => (201, evict::evict(state, request)?),
    };
    Ok(Reply::Object(code, object))
}
