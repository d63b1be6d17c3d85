//! `/metrics`, `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::{self, Metrics};

/// Connections at a time; the next ones wait, so that clients cannot exhaust our memory.
const MAX_CONNECTIONS: usize = 32;
/// A peer that has not sent its request by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Listens on an address such as `0.0.0.0:8080`.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError {
        address: address.to_owned(),
        source,
    })
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --http-address")]
pub struct ListenError {
    address: String,
    source: std::io::Error,
}

/// Answers until `stop`; requests that are on their way then are answered still.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else {
            break;
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, metrics.clone(), health.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some come free again.
                tracing::warn!("accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    // All places are free when the last connection has ended.
    let _ = places.acquire_many(MAX_CONNECTIONS as u32).await;
}

async fn serve_connection(stream: TcpStream, metrics: Arc<Metrics>, health: Health, stop: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &metrics, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("HTTP connection: {error}");
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
    }
    match path {
        "/metrics" => match metrics.text() {
            Ok(page) => text(StatusCode::OK, page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/healthz" => verdict(health.alive()),
        "/readyz" => verdict(health.ready()),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n".into(),
        ),
    }
}

fn verdict(health: Result<(), String>) -> Response<Full<Bytes>> {
    match health {
        Ok(()) => text(StatusCode::OK, "ok\n".into()),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn text(status: StatusCode, page: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Running {
        address: std::net::SocketAddr,
        health: Health,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Running {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let task = tokio::spawn(serve(listener, metrics, health.clone(), stop.clone()));
        Running {
            address,
            health,
            stop,
            task,
        }
    }

    async fn get(server: &Running, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_come_with_the_type_that_prometheus_asks_for() {
        let server = start().await;
        let answer = get(&server, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\nlockkeeper_leader 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_part_that_is_not_ready_fails_readiness_and_not_liveness() {
        let server = start().await;
        let component = server.health.component("views", Duration::from_mins(1));
        component.is_not_ready("the watch on Nodes has not listed them");
        let answer = get(&server, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.ends_with("views: the watch on Nodes has not listed them\n"),
            "{answer}"
        );
        assert!(get(&server, "/healthz").await.starts_with("HTTP/1.1 200"));
        component.is_ready();
        assert!(get(&server, "/readyz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn another_path_says_what_there_is() {
        let server = start().await;
        let answer = get(&server, "/").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(
            answer.ends_with("there are /metrics, /healthz and /readyz\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_connection_that_stays_open_does_not_hold_up_the_end() {
        let server = start().await;
        let idle = TcpStream::connect(server.address).await.unwrap();
        get(&server, "/healthz").await;
        server.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), server.task)
            .await
            .unwrap()
            .unwrap();
        drop(idle);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named_with_the_flag() {
        let server = start().await;
        let error = listen(&server.address.to_string()).await.unwrap_err().to_string();
        assert!(
            error.contains(&server.address.to_string()) && error.contains("--http-address"),
            "{error}"
        );
    }
}
