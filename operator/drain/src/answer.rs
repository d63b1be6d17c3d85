//! Classifies the API server's answers to eviction requests.

use std::time::Duration;

use lockkeeper_kube_util::single_line;
use serde::Deserialize;

/// What an answer means for the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EvictionAnswer {
    /// The eviction was accepted; the pod is shutting down.
    Granted,
    /// The responders of the pod were asked.
    RespondersAsked,
    /// The API server does not serve the API by which responders are asked.
    RespondersNotServed,
    /// The pod with that UID does not exist any more.
    Gone,
    /// Its budget allows no disruption now, or is being recomputed.
    Budget {
        /// The budget, if the answer names it.
        name: Option<String>,
        /// The API server's message.
        message: String,
        /// The earliest time for the next request.
        retry_after: Option<Duration>,
    },
    /// More than one budget selects it.
    TwoBudgets,
    /// An admission webhook refuses, or whatever else answers 429 with a message of its own.
    Webhook {
        /// The HTTP status. 429 and 5xx mean that the webhook is moving the pod itself, or fails.
        code: u16,
        /// The webhook's message.
        message: String,
    },
    /// Its namespace is being deleted.
    NamespaceTerminating,
    /// Lockkeeper lacks a permission.
    Forbidden {
        /// The API server's message: user, verb, resource.
        message: String,
    },
    /// The API server refuses the request for another reason, such as an admission policy.
    Refused {
        /// The HTTP status.
        code: u16,
        /// The API server's message.
        message: String,
    },
    /// The API server is busy; this does not concern the pod.
    Busy {
        /// The earliest time for the next request.
        retry_after: Option<Duration>,
    },
    /// No answer, or an internal error of the server.
    Unavailable {
        /// The error.
        message: String,
        /// The earliest time for the next request.
        retry_after: Option<Duration>,
    },
}

/// Classifies an HTTP answer.
///
/// The text of a message decides only where nothing else tells two cases apart; tests against a real API server check
/// these texts.
pub(crate) fn classify(code: u16, retry_after: Option<Duration>, body: &[u8]) -> EvictionAnswer {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if status.message.is_empty() {
        format!("HTTP status {code}")
    } else {
        single_line(&status.message)
    };
    let webhook = message.contains("admission webhook") || message.contains("failed calling webhook");
    match code {
        200..=299 => EvictionAnswer::Granted,
        404 => EvictionAnswer::Gone,
        409 if !webhook && message.contains("UID") => EvictionAnswer::Gone,
        // A webhook may answer in the form of an exhausted budget; its own message is the one that helps.
        429 if !webhook => match status.cause("DisruptionBudget") {
            Some(cause) => budget(cause, message, retry_after),
            None if status.is_overload() => EvictionAnswer::Busy { retry_after },
            // Not the API server's own message, so it is that of a webhook, or of a proxy before it.
            None => EvictionAnswer::Webhook { code, message },
        },
        _ if webhook => EvictionAnswer::Webhook { code, message },
        403 if status.cause("NamespaceTerminating").is_some() => EvictionAnswer::NamespaceTerminating,
        403 if status.details.kind == "poddisruptionbudgets" => EvictionAnswer::Budget {
            name: Some(status.details.name),
            message,
            retry_after,
        },
        403 if message.contains(" cannot ") && message.contains(" resource ") => EvictionAnswer::Forbidden { message },
        500 if message.contains("more than one PodDisruptionBudget") => EvictionAnswer::TwoBudgets,
        // 401: a rotated token; 408 and 5xx: an error of the server; 409: a conflict with another write.
        401 | 408 | 409 | 500..=599 => EvictionAnswer::Unavailable { message, retry_after },
        _ => EvictionAnswer::Refused { code, message },
    }
}

/// The details are in the cause; the message of the status only says that the pod cannot be evicted now.
fn budget(cause: &Cause, message: String, retry_after: Option<Duration>) -> EvictionAnswer {
    let name = cause
        .message
        .split_once("disruption budget ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
    let message = if cause.message.is_empty() {
        message
    } else {
        single_line(&cause.message)
    };
    EvictionAnswer::Budget {
        name,
        message,
        retry_after,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    kind: String,
    causes: Vec<Cause>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

impl Status {
    /// Whether the API server says that it has too many requests of all kinds, as status or as plain text.
    fn is_overload(&self) -> bool {
        let message = self.message.to_lowercase();
        message.is_empty() || message.contains("too many requests") || message.contains("(re)initializing")
    }

    fn cause(&self, reason: &str) -> Option<&Cause> {
        self.details.causes.iter().find(|cause| cause.reason == reason)
    }
}
