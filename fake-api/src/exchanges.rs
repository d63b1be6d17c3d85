//! The requests by which this server is compared with a real one: `tests/recorded/exchanges.json` has a real one's answers.

mod evictions;
mod lockkeeper;
mod nodes;

use std::collections::BTreeMap;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The namespace of the objects that are in one.
pub const NAMESPACE: &str = "exchanges";

const JSON: &str = "application/json";

const MERGE: &str = "application/merge-patch+json";

const APPLY: &str = "application/apply-patch+yaml";

/// What is read of a refusal.
const REFUSAL: &[&str] = &[
    "/reason",
    "/details/kind",
    "/details/causes/0/reason",
    "/details/causes/0/field",
];

/// One request and what was read of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What is asked, in words.
    pub what: String,
    /// The method and the path.
    pub request: String,
    /// The HTTP status.
    pub code: u16,
    /// The fields that were read, by their JSON pointer; those that are absent are left out.
    pub read: BTreeMap<String, Value>,
}

/// Makes all requests on a server that has Lockkeeper's kinds, and no Node.
pub async fn exchanges(client: Client) -> Result<Vec<Exchange>, String> {
    let mut recorder = Recorder {
        client,
        exchanges: Vec::new(),
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    recorder
        .send(
            "create a namespace",
            "POST",
            "/api/v1/namespaces",
            JSON,
            &namespace,
            &["/kind"],
        )
        .await?;
    nodes::nodes(&mut recorder).await?;
    nodes::cordons(&mut recorder).await?;
    nodes::lists(&mut recorder).await?;
    lockkeeper::leases(&mut recorder).await?;
    lockkeeper::locks(&mut recorder).await?;
    lockkeeper::records(&mut recorder).await?;
    evictions::evictions(&mut recorder).await?;
    Ok(recorder.exchanges)
}

struct Recorder {
    client: Client,
    exchanges: Vec<Exchange>,
}

impl Recorder {
    /// Sends one request; returns the whole body.
    async fn send(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
        read: &[&str],
    ) -> Result<Value, String> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type);
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| format!("{what}: {error}"))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| format!("{what}: {error}"))?;
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await;
        let body = body.map_err(|error| format!("{what}: {error}"))?;
        // Where the path is unknown the real server answers in plain text.
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let read = read.iter().filter_map(|pointer| {
            let value = body.pointer(pointer).filter(|value| !value.is_null())?;
            Some(((*pointer).to_owned(), value.clone()))
        });
        self.exchanges.push(Exchange {
            what: what.to_owned(),
            request: format!("{method} {path}"),
            code,
            read: read.collect(),
        });
        Ok(body)
    }

    async fn get(&mut self, what: &str, path: &str, read: &[&str]) -> Result<Value, String> {
        self.send(what, "GET", path, JSON, &Value::Null, read).await
    }

    async fn merge(&mut self, what: &str, path: &str, body: &Value, read: &[&str]) -> Result<Value, String> {
        self.send(what, "PATCH", path, MERGE, body, read).await
    }

    async fn apply(&mut self, what: &str, path: &str, body: &Value, read: &[&str]) -> Result<Value, String> {
        self.send(what, "PATCH", path, APPLY, body, read).await
    }
}
