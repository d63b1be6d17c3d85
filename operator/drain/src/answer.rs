//! What the API server's answer to an eviction means: the one place where errors are classified.

use std::time::Duration;

use serde::Deserialize;

/// What an answer means for the pod that was asked to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is shutting down.
    Granted,
    /// It, or the pod of that uid, is no longer there.
    Gone,
    /// Its budget has nothing left, or is being counted again.
    Budget {
        /// The budget, if the answer names it.
        name: Option<String>,
        /// The API server's words.
        message: String,
        /// Not before.
        retry_after: Option<Duration>,
    },
    /// More than one budget selects it.
    TwoBudgets,
    /// A webhook says no.
    Webhook {
        /// The HTTP status; 429 and 5xx mean that it has begun to do something about the pod, or has trouble.
        code: u16,
        /// The webhook's words.
        message: String,
    },
    /// Its namespace goes, and it with it.
    NamespaceTerminating,
    /// We lack a permission.
    Forbidden {
        /// The API server's words: who, verb, resource.
        message: String,
    },
    /// The API server does not take the request for a reason that we know no remedy for.
    Refused {
        /// The HTTP status.
        code: u16,
        /// The API server's words.
        message: String,
    },
    /// The API server is busy; this says nothing about the pod.
    Busy {
        /// Not before.
        retry_after: Option<Duration>,
    },
    /// No answer, or the server failed inside.
    Unavailable {
        /// What went wrong.
        message: String,
        /// Not before.
        retry_after: Option<Duration>,
    },
}

/// Reads an HTTP answer.
///
/// A message is looked at only where the API server tells cases apart by nothing else; tests against a real one hold
/// the words in place.
pub(crate) fn classify(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if status.message.is_empty() {
        format!("HTTP status {code}")
    } else {
        status.message.clone()
    };
    let webhook = message.contains("admission webhook") || message.contains("failed calling webhook");
    match code {
        200..=299 => Answer::Granted,
        404 => Answer::Gone,
        409 if !webhook && message.contains("UID") => Answer::Gone,
        429 => match status.cause("DisruptionBudget") {
            Some(cause) => budget(cause, message, retry_after),
            None if webhook => Answer::Webhook { code, message },
            None => Answer::Busy { retry_after },
        },
        _ if webhook => Answer::Webhook { code, message },
        403 if status.cause("NamespaceTerminating").is_some() => Answer::NamespaceTerminating,
        403 if status.details.kind == "poddisruptionbudgets" => Answer::Budget {
            name: Some(status.details.name),
            message,
            retry_after,
        },
        403 if message.contains(" cannot ") && message.contains(" resource ") => Answer::Forbidden { message },
        500 if message.contains("more than one PodDisruptionBudget") => Answer::TwoBudgets,
        // 401: a rotated token; 408 and 5xx: the server's own trouble; 409: somebody else's write came between.
        401 | 408 | 409 | 500..=599 => Answer::Unavailable { message, retry_after },
        _ => Answer::Refused { code, message },
    }
}

/// The cause carries the words that matter; the status' own message only says that eviction is impossible now.
fn budget(cause: &Cause, message: String, retry_after: Option<Duration>) -> Answer {
    let name = cause
        .message
        .split_once("disruption budget ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
    let message = if cause.message.is_empty() {
        message
    } else {
        cause.message.clone()
    };
    Answer::Budget {
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
    fn cause(&self, reason: &str) -> Option<&Cause> {
        self.details.causes.iter().find(|cause| cause.reason == reason)
    }
}
