//! The connection to the API server: kube's own, which cannot be given a connector, with an eye on dead peers.

use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt, DynBody};
use tower::retry::RetryLayer;
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

/// A connection that was silent for this long is probed.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The pause between two probes without an answer, and how many there are.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// A peer that has answered nothing for this long is gone. Half of `requireAgentSeconds`, so that a node agent behind a
/// dead load balancer has time to connect again and to answer its order.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// What sends requests and returns answers.
pub type HttpService = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// Makes connections that are closed when the other end is gone, also while nothing is sent: a watch may be silent for
/// long, and a load balancer that was switched off does not say so.
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // The scheme is checked where TLS is added.
    connector.enforce_http(false);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    connector.set_tcp_user_timeout(Some(PEER_TIMEOUT));
    connector
}

/// What a client of the API server with these settings sends its requests through, connected by [`connector`].
///
/// Fails if the config names a proxy, as kube does without that feature.
pub fn http_service(config: &Config) -> kube::Result<HttpService> {
    if config.proxy_url.is_some() {
        ClientBuilder::try_from(config.clone())?;
    }
    http_service_over(config, connector())
}

/// As [`http_service`], over any connector. What the config says about a proxy is left to the connector.
pub fn http_service_over<C>(config: &Config, connector: C) -> kube::Result<HttpService>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    Ok(ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http)
        .map_response(|response: Response<_>| response.map(boxed))
        .boxed())
}

fn boxed(
    body: impl http_body::Body<Data = bytes::Bytes, Error = hyper::Error> + Send + Unpin + 'static,
) -> Box<DynBody> {
    Box::new(http_body_util::BodyExt::map_err(body, BoxError::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_whose_other_end_is_gone_is_closed_within_30_s() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = format!("http://{address}").parse().unwrap();
        let stream = connector().oneshot(uri).await.unwrap().into_inner();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let silent = sockopt::tcp_keepidle(&stream).unwrap();
        let probes = sockopt::tcp_keepintvl(&stream).unwrap() * sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(silent + probes, PEER_TIMEOUT);
        let unanswered = sockopt::tcp_user_timeout(&stream).unwrap();
        assert_eq!(Duration::from_millis(unanswered.into()), PEER_TIMEOUT);
    }
}
