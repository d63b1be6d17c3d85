//! The answers of the server: objects, and refusals as `Status` objects.

use std::io;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::response::Builder;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};

/// The body of an answer.
pub(crate) type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The reason in one word, as Kubernetes has it.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub message: String,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
    /// Further details: `causes` and the like.
    pub details: Value,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            retry_after: None,
            details: Value::Null,
        }
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(crate) fn unsupported_patch(content_type: &str) -> Self {
        let message = format!("the body of the request was in an unknown format: {content_type:?}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A version that is too old to go on from.
    pub(crate) fn expired(message: &str) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        if let Some(seconds) = self.retry_after {
            status["details"]["retryAfterSeconds"] = json!(seconds);
        }
        status
    }

    /// The whole answer.
    pub(crate) fn response(&self, now: DateTime<Utc>) -> Response<Body> {
        let builder = head(self.code, now);
        let builder = match self.retry_after {
            Some(seconds) => builder.header(RETRY_AFTER, seconds),
            None => builder,
        };
        with_body(builder, &self.status())
    }
}

/// An answer with an object.
pub(crate) fn object(code: u16, object: &Value, now: DateTime<Utc>) -> Response<Body> {
    with_body(head(code, now), object)
}

/// An answer whose body goes on.
pub(crate) fn stream(lines: BoxStream<'static, io::Result<Frame<Bytes>>>, now: DateTime<Utc>) -> Response<Body> {
    finish(head(200, now), StreamBody::new(lines))
}

/// One line of a body that goes on.
pub(crate) fn line(value: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{value}\n")))
}

fn head(code: u16, now: DateTime<Utc>) -> Builder {
    Response::builder()
        .status(code)
        .header(CONTENT_TYPE, "application/json")
        .header(DATE, now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

fn with_body(builder: Builder, value: &Value) -> Response<Body> {
    let frame = Ok(Frame::data(Bytes::from(value.to_string())));
    finish(builder, StreamBody::new(stream::iter([frame]).boxed()))
}

fn finish(builder: Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|_| {
        // Only a status or a header that is none gets here.
        let mut response = Response::new(StreamBody::new(stream::empty().boxed()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
