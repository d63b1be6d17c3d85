//! A connection for watches: they may be silent for as long as nothing changes, but nothing else may be.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use kube::Config;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::connection::{HttpService, http_service};

/// Sends watches and everything else over connections of their own.
#[derive(Debug)]
pub struct Patient<S> {
    /// For requests that are no watches; it has a time-out of its own.
    answers: S,
    /// For watches, without a time-out.
    watches: S,
    /// How long a watch may take to begin.
    patience: Duration,
}

/// A service for watches: a watch has to begin within `patience`, and an answer of any other request, such as the list
/// before a watch, must not stall for so long. The time-outs of the config do not count.
pub fn patient_service(mut config: Config, patience: Duration) -> kube::Result<Patient<HttpService>> {
    // An idle connection that is used again must not count its idle time against the next answer.
    config.reset_reader_on_write = true;
    config.read_timeout = None;
    let watches = http_service(&config)?;
    config.read_timeout = Some(patience);
    config.write_timeout = Some(patience);
    Ok(Patient {
        answers: http_service(&config)?,
        watches,
        patience,
    })
}

/// Whether a request asks for a watch.
pub fn is_watch(uri: &Uri) -> bool {
    let parameters = uri.query().unwrap_or_default().split('&');
    parameters
        .into_iter()
        .any(|one| matches!(one, "watch=true" | "watch=1"))
}

impl<S, In, Out> Service<Request<In>> for Patient<S>
where
    S: Service<Request<In>, Response = Response<Out>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.answers.poll_ready(context) {
            Poll::Ready(Ok(())) => self.watches.poll_ready(context),
            other => other,
        }
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        if !is_watch(request.uri()) {
            return Box::pin(self.answers.call(request));
        }
        let (begins, patience) = (self.watches.call(request), self.patience);
        Box::pin(async move {
            timeout(patience, begins).await.unwrap_or_else(|_| {
                let message = format!("the watch did not begin within {} s", patience.as_secs());
                Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message).into())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use kube::Client;
    use kube::api::{ListParams, WatchParams};
    use kube::core::{ApiResource, DynamicObject};

    const LONG: Duration = Duration::from_secs(20);

    /// A server that reads a request, answers with this, and then says nothing more.
    async fn server(answer: &'static str) -> Config {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open: Vec<TcpStream> = vec![];
            while let Ok((mut stream, _)) = listener.accept().await {
                let _request = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        let mut config = Config::new(url.parse().unwrap());
        config.default_retry = false;
        config
    }

    async fn api(answer: &'static str) -> kube::Api<DynamicObject> {
        let service = patient_service(server(answer).await, Duration::from_millis(100)).unwrap();
        let kind = ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&());
        kube::Api::all_with(Client::new(service, "default"), &kind)
    }

    #[tokio::test]
    async fn a_list_that_is_never_answered_times_out() {
        let list = api("").await;
        let list = timeout(LONG, list.list(&ListParams::default())).await;
        assert!(list.expect("in time").is_err());
    }

    #[tokio::test]
    async fn a_list_that_stalls_half_way_times_out() {
        let list = api("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\": [").await;
        let list = timeout(LONG, list.list(&ListParams::default())).await;
        assert!(list.expect("in time").is_err());
    }

    #[tokio::test]
    async fn a_watch_that_does_not_begin_times_out() {
        let watch = api("").await;
        let watch = timeout(LONG, watch.watch(&WatchParams::default(), "1")).await;
        let error = watch.expect("in time").err().unwrap();
        let error = crate::error_chain(&error);
        assert!(error.contains("the watch did not begin"), "{error}");
    }

    #[tokio::test]
    async fn a_watch_that_has_begun_may_be_silent() {
        use futures::StreamExt;
        let watch = api("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut events = Box::pin(watch.watch(&WatchParams::default(), "1").await.unwrap());
        // Five times as long as anything else may take.
        let silent = timeout(Duration::from_millis(500), events.next()).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}
