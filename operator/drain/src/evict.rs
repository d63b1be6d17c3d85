//! The request for an eviction or deletion, built by hand.
//!
//! `kube::Api::evict` writes its options under a key that the API server ignores: the UID would not be checked, and a
//! dry run would evict.

use std::time::Duration;

use http::Request;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use kube::Client;
use kube::client::Body;
use lockkeeper_kube_util::error_chain;
use serde_json::{Value, json};

use crate::answer::{EvictionAnswer, classify};
use crate::limits::EVICTION_TIMEOUT;
use crate::pod::{PodName, Uid};
use crate::responders;

/// A request for the removal of one pod from its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemovalRequest {
    /// The pod.
    pub(crate) pod: PodName,
    /// Its UID, so that another pod of that name is not evicted.
    pub(crate) uid: Uid,
    /// The node that is drained.
    pub(crate) node: String,
    /// Overrides the pod's grace period.
    pub(crate) grace: Option<i64>,
    /// Whether the pod is evicted or deleted, or its responders are asked.
    pub(crate) method: EvictionMethod,
    /// Whether nothing is changed.
    pub(crate) dry_run: bool,
}

/// How a pod is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionMethod {
    /// Evicted, within its budget.
    Evict,
    /// Deleted, regardless of its budget.
    Delete,
    /// Evicted by its responders, which are asked.
    AskResponders,
}

/// Sends the request once and classifies the answer.
pub(crate) async fn evict(client: &Client, request: &RemovalRequest) -> EvictionAnswer {
    match tokio::time::timeout(EVICTION_TIMEOUT, send(client, request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(message)) => EvictionAnswer::Unavailable {
            message,
            retry_after: None,
        },
        Err(_) => EvictionAnswer::Unavailable {
            message: format!("no answer within {} s", EVICTION_TIMEOUT.as_secs()),
            retry_after: None,
        },
    }
}

async fn send(client: &Client, request: &RemovalRequest) -> Result<EvictionAnswer, String> {
    let method = request.method;
    let request = http_request(request).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| error_chain(&error))?;
    let code = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response
        .into_body()
        .collect_bytes()
        .await
        .map_err(|error| error_chain(&error))?;
    let retry_after = retry_after.map(Duration::from_secs);
    Ok(match method {
        EvictionMethod::Evict | EvictionMethod::Delete => classify(code, retry_after, &body),
        EvictionMethod::AskResponders => responders::classify(code, retry_after, &body),
    })
}

fn http_request(request: &RemovalRequest) -> http::Result<Request<Body>> {
    let PodName { namespace, name } = &request.pod;
    let mut options = json!({"preconditions": {"uid": request.uid.0}});
    if let (Some(grace), Some(map)) = (request.grace, options.as_object_mut()) {
        map.insert("gracePeriodSeconds".to_owned(), json!(grace));
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let dry_run = if request.dry_run { "&dryRun=All" } else { "" };
    let (builder, body) = match request.method {
        EvictionMethod::Evict => {
            let body = json!({
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"namespace": namespace, "name": name},
                "deleteOptions": options,
            });
            let path = format!("{path}/eviction?fieldValidation=Strict{dry_run}");
            (Request::post(path), body)
        }
        EvictionMethod::AskResponders => return responders::http_request(request),
        EvictionMethod::Delete => {
            let body = with(options, &json!({"apiVersion": "v1", "kind": "DeleteOptions"}));
            (Request::delete(format!("{path}?fieldValidation=Strict{dry_run}")), body)
        }
    };
    builder
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string().into_bytes()))
}

fn with(mut object: Value, fields: &Value) -> Value {
    if let (Some(object), Some(fields)) = (object.as_object_mut(), fields.as_object()) {
        object.extend(fields.clone());
    }
    object
}
