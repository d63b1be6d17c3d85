//! The request that asks the responders of a pod, and what the API server's answer to it means.

use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::client::Body;
use lockkeeper_crds::names;
use lockkeeper_kube_util::label_value;
use serde::Deserialize;
use serde_json::json;

use super::{API, REQUESTER};
use crate::answer::{self, EvictionAnswer};
use crate::evict::RemovalRequest;

/// The name of our request for a pod. It is the same each time, so that a drain that starts anew finds it.
fn request_name(uid: &str) -> String {
    format!("lockkeeper-{uid}")
}

/// Creates our request for the pod. It belongs to the pod, so that it is deleted with it at the latest.
pub(crate) fn http_request(request: &RemovalRequest) -> http::Result<Request<Body>> {
    let (namespace, name, uid) = (&request.pod.namespace, &request.pod.name, &request.uid.0);
    let body = json!({
        "apiVersion": API.trim_start_matches("/apis/"),
        "kind": "EvictionRequest",
        "metadata": {
            "namespace": namespace,
            "name": request_name(uid),
            "labels": {names::PART_OF_LABEL: names::PART_OF, names::JOB_NODE: label_value(&request.node)},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}],
        },
        "spec": {"target": {"pod": {"name": name, "uid": uid}}, "requester": REQUESTER, "intent": "Eviction"},
    });
    Request::post(format!("{API}/namespaces/{namespace}/evictionrequests"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string().into_bytes()))
}

/// Classifies the answer to the request.
pub(crate) fn classify(code: u16, retry_after: Option<Duration>, body: &[u8]) -> EvictionAnswer {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    match code {
        200..=299 => EvictionAnswer::RespondersAsked,
        // An earlier run of the drain has created it.
        409 if status.reason == "AlreadyExists" => EvictionAnswer::RespondersAsked,
        404 => EvictionAnswer::RespondersNotServed,
        _ => answer::classify(code, retry_after, body),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    reason: String,
}
