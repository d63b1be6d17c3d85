//! Reads the clock of the API server off its answers.

use chrono::{DateTime, Utc};
use http::header::DATE;
use http::{Method, Response, Uri};
use tokio::time::Instant;
use tower::BoxError;

use super::layer::Inspect;
use crate::server_clock::ServerClock;

/// Compares the answers of a connection with our clock.
#[derive(Clone, Debug)]
pub(crate) struct Dated {
    pub(crate) server_clock: ServerClock,
}

/// When a request was sent, by both clocks: how long the answer took is measured by one that cannot be set meanwhile.
#[derive(Debug)]
pub(crate) struct Sent {
    server_clock: ServerClock,
    time: DateTime<Utc>,
    begin: Instant,
}

impl Inspect for Dated {
    type Pending = Sent;

    fn request(&self, _: &Method, _: &Uri) -> Result<Sent, BoxError> {
        Ok(Sent {
            server_clock: self.server_clock.clone(),
            time: self.server_clock.now(),
            begin: Instant::now(),
        })
    }

    fn answer<B>(sent: Sent, answer: Option<&Response<B>>) {
        // A server error may be the answer of a proxy, with a clock of its own.
        let Some(answer) = answer.filter(|answer| !answer.status().is_server_error()) else {
            return;
        };
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date {
            sent.server_clock.observe(sent.time, sent.begin.elapsed(), date);
        }
    }
}
