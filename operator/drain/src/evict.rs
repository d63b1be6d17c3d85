//! The request that asks a pod to leave, built by hand.
//!
//! `kube::Api::evict` writes its options under a key that the API server ignores: the uid would not be checked, and a
//! dry run would evict.

use std::error::Error as _;
use std::time::Duration;

use http::Request;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::answer::{Answer, classify};
use crate::limits::EVICTION_TIME_OUT;
use crate::pod::{PodName, Uid};

/// One pod to be asked to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The pod.
    pub(crate) pod: PodName,
    /// Its uid; another pod of that name is none of ours.
    pub(crate) uid: Uid,
    /// Overrides the pod's grace.
    pub(crate) grace: Option<i64>,
    /// Whether its budget is asked.
    pub(crate) how: How,
    /// Whether it is only asked what the answer would be.
    pub(crate) dry_run: bool,
}

/// How a pod is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Within its budget.
    Evict,
    /// Past its budget.
    Delete,
}

/// Asks once and says what the answer means.
pub(crate) async fn evict(client: &Client, ask: &Ask) -> Answer {
    match tokio::time::timeout(EVICTION_TIME_OUT, send(client, ask)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(message)) => Answer::Unavailable {
            message,
            retry_after: None,
        },
        Err(_) => Answer::Unavailable {
            message: format!("no answer within {} s", EVICTION_TIME_OUT.as_secs()),
            retry_after: None,
        },
    }
}

async fn send(client: &Client, ask: &Ask) -> Result<Answer, String> {
    let request = request(ask).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| words(&error))?;
    let code = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response
        .into_body()
        .collect_bytes()
        .await
        .map_err(|error| words(&error))?;
    Ok(classify(code, retry_after.map(Duration::from_secs), &body))
}

fn request(ask: &Ask) -> http::Result<Request<Body>> {
    let PodName { namespace, name } = &ask.pod;
    let mut options = json!({"preconditions": {"uid": ask.uid.0}});
    if let (Some(grace), Some(map)) = (ask.grace, options.as_object_mut()) {
        map.insert("gracePeriodSeconds".to_owned(), json!(grace));
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let dry_run = if ask.dry_run { "&dryRun=All" } else { "" };
    let (request, body) = match ask.how {
        How::Evict => {
            let body = json!({
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"namespace": namespace, "name": name},
                "deleteOptions": options,
            });
            let path = format!("{path}/eviction?fieldValidation=Strict{dry_run}");
            (Request::post(path), body)
        }
        How::Delete => {
            let body = with(options, &json!({"apiVersion": "v1", "kind": "DeleteOptions"}));
            (Request::delete(format!("{path}?fieldValidation=Strict{dry_run}")), body)
        }
    };
    request
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string().into_bytes()))
}

fn with(mut object: Value, fields: &Value) -> Value {
    if let (Some(object), Some(fields)) = (object.as_object_mut(), fields.as_object()) {
        object.extend(fields.clone());
    }
    object
}

/// An error with its causes, which is where hyper and rustls say what happened.
pub(crate) fn words(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}
