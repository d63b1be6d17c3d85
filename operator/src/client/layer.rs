//! The frame of what stands between a client and its connection: it looks at each request and at its answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, Uri};
use tower::{BoxError, Service};

/// Looks at the requests of a connection, and at their answers.
pub(crate) trait Inspect {
    /// What is known of a request until its answer. It is dropped without one if whoever asked loses patience.
    type Pending: Send + 'static;

    /// Looks at a request that is about to be sent; with an error it is not sent.
    fn request(&self, method: &Method, uri: &Uri) -> Result<Self::Pending, BoxError>;

    /// Looks at the answer; there is none if the connection failed.
    fn answer<B>(pending: Self::Pending, answer: Option<&Response<B>>);
}

/// A connection whose requests and answers are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Inspected<S, I> {
    pub(crate) inner: S,
    pub(crate) inspector: I,
}

impl<S, I, In, Out> Service<Request<In>> for Inspected<S, I>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    I: Inspect,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let pending = match self.inspector.request(request.method(), request.uri()) {
            Ok(pending) => pending,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            I::answer(pending, answer.as_ref().ok());
            answer
        })
    }
}
