//! Reads the clock of the API server off its answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::DATE;
use http::{Request, Response};
use tokio::time::Instant;
use tower::Service;

use crate::server_clock::ServerClock;

/// A connection whose answers are compared with our clock.
#[derive(Clone, Debug)]
pub(crate) struct Dated<S> {
    pub(crate) inner: S,
    pub(crate) server_clock: ServerClock,
}

impl<S, In, Out> Service<Request<In>> for Dated<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // How long the answer took is measured by a clock that cannot be set in the meantime.
        let server_clock = self.server_clock.clone();
        let (sent, begin) = (server_clock.now(), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
            // A server error may be the answer of a proxy, with a clock of its own.
            if let Some(date) = date.filter(|_| !answer.status().is_server_error()) {
                server_clock.observe(sent, begin.elapsed(), date);
            }
            Ok(answer)
        })
    }
}
