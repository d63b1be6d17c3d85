//! One request, read from its path, its query and its body.

use std::collections::BTreeMap;

use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::answer::Refusal;
use crate::resources::Resource;

/// What a client asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client, as [`crate::FakeApi::client`] was told.
    pub client: String,
    /// What is to be done.
    pub verb: Verb,
    /// The kind.
    pub resource: &'static Resource,
    /// The namespace; empty for none or all.
    pub namespace: String,
    /// The object; empty for a list or a create.
    pub name: String,
    /// Such as `status`; mostly empty.
    pub subresource: String,
    /// The query's parameters.
    pub query: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all that are selected.
    List,
    /// Follow all that are selected.
    Watch,
    /// Make a new object.
    Create,
    /// Put another object in its place.
    Replace,
    /// Change it by a JSON merge patch.
    Merge,
    /// Change it by a server-side apply.
    Apply,
    /// Delete it.
    Delete,
    /// Delete a pod, within its disruption budget.
    Evict,
}

impl Verb {
    /// Whether it changes something.
    pub fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Replace | Self::Merge | Self::Apply | Self::Delete | Self::Evict => true,
        }
    }
}

impl Request {
    /// Reads a request; a path or a patch that the server does not know is refused as the real one does.
    pub fn parse(client: &str, parts: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        let path = parts.uri.path();
        let place = Place::parse(path).ok_or_else(Refusal::unknown_path)?;
        let query = parameters(parts.uri.query().unwrap_or_default());
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let verb = verb(&parts.method, &place, &query, content_type.unwrap_or_default())?;
        let body = match body {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|error| Refusal::bad_request(&error.to_string()))?,
        };
        Ok(Self {
            client: client.to_owned(),
            verb,
            resource: place.resource,
            namespace: place.namespace,
            name: place.name,
            subresource: place.subresource,
            query,
            body,
        })
    }

    /// A parameter of the query; empty if it is not there.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Whether nothing may be stored.
    pub fn is_dry_run(&self) -> bool {
        self.parameter("dryRun") == "All"
    }

    /// The field manager of the write.
    pub fn manager(&self) -> &str {
        match self.parameter("fieldManager") {
            "" => &self.client,
            manager => manager,
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (client, verb, plural) = (&self.client, self.verb, self.resource.plural);
        write!(f, "{client} {verb:?} {plural}")?;
        for part in [&self.namespace, &self.name, &self.subresource] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        if self.is_dry_run() {
            f.write_str(" (dry run)")?;
        }
        Ok(())
    }
}

/// What a path names.
struct Place {
    resource: &'static Resource,
    namespace: String,
    name: String,
    subresource: String,
}

impl Place {
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (api_version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // `namespaces/a` and `namespaces/a/status` name a namespace itself.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *rest != ["status"] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, rest) = rest.split_first()?;
        let resource = Resource::find(&api_version, plural)?;
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Some(Self {
            resource,
            namespace: namespace.to_owned(),
            name: rest.next().unwrap_or_default(),
            subresource: rest.next().unwrap_or_default(),
        })
    }
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

fn verb(method: &Method, place: &Place, query: &BTreeMap<String, String>, content_type: &str) -> Result<Verb, Refusal> {
    let is_watch = query.get("watch").is_some_and(|value| value == "true" || value == "1");
    Ok(
        match (method.as_str(), place.name.as_str(), place.subresource.as_str()) {
            ("GET", "", _) if is_watch => Verb::Watch,
            ("GET", "", _) => Verb::List,
            ("GET", ..) => Verb::Get,
            ("POST", _, "eviction") => Verb::Evict,
            ("POST", "", "") => Verb::Create,
            ("PUT", ..) => Verb::Replace,
            ("DELETE", ..) => Verb::Delete,
            ("PATCH", ..) => match content_type {
                "application/merge-patch+json" => Verb::Merge,
                "application/apply-patch+yaml" => Verb::Apply,
                other => return Err(Refusal::unsupported_patch(other)),
            },
            _ => return Err(Refusal::method_not_allowed()),
        },
    )
}
