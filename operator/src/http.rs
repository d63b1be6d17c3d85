//! `/metrics`, `/healthz` and `/readyz`, for any client that can reach the port.
//!
//! Any pod of the cluster may be such a client. A connection therefore answers one request, lives for a few seconds, and
//! when too many are open the oldest one makes way: clients that send or read nothing never keep a probe from its answer.

use std::collections::VecDeque;
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
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::{self, Metrics};

/// What the clients of the port may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Connections at a time, so that clients cannot exhaust our memory.
    connections: usize,
    /// How long a connection may last in all: to send its request and to read the answer.
    lifetime: Duration,
}

/// The kubelet allows a probe 5 s, Prometheus a scrape 10 s; both are answered within milliseconds.
const LIMITS: Limits = Limits {
    connections: 32,
    lifetime: Duration::from_secs(5),
};
/// At the end of the process, requests that are being answered have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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

/// Answers until `stop`; requests that are on their way then are still answered.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health, stop: CancellationToken) {
    serve_within(LIMITS, listener, metrics, health, stop).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) {
    let mut connections = Connections::default();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, metrics.clone(), health.clone(), stop.clone());
                connections.add(limits.connections, async move {
                    if timeout(limits.lifetime, connection).await.is_err() {
                        tracing::debug!("HTTP connection: not done within {} s", limits.lifetime.as_secs());
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some come free again.
                tracing::warn!("accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    let _ = timeout(LAST_ANSWERS, connections.finish()).await;
}

/// The open connections; the oldest one makes way for a new one.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, max: usize, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|task| !task.is_finished());
        if self.by_age.len() >= max
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(connection));
    }

    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, metrics: Arc<Metrics>, health: Health, stop: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &metrics, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    // The lifetime of the connection limits the time for the headers too.
    server
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(false);
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
        start_within(LIMITS).await
    }

    async fn start_within(limits: Limits) -> Running {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let task = tokio::spawn(serve_within(limits, listener, metrics, health.clone(), stop.clone()));
        Running {
            address,
            health,
            stop,
            task,
        }
    }

    async fn get(server: &Running, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
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

    /// A client that asks for one page after the other and reads none; the server's buffers are full at some time.
    async fn silent_reader(server: &Running) -> TcpStream {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn clients_that_read_nothing_do_not_keep_a_probe_from_its_answer() {
        // No connection ends by itself here: only those that make way do.
        let limits = Limits {
            lifetime: Duration::from_hours(1),
            ..LIMITS
        };
        let server = start_within(limits).await;
        let mut silent = vec![];
        for _ in 0..limits.connections {
            silent.push(TcpStream::connect(server.address).await.unwrap());
            silent.push(silent_reader(&server).await);
        }
        let probe = timeout(Duration::from_secs(5), get(&server, "/healthz")).await;
        assert!(probe.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed_when_its_time_is_over() {
        let server = start_within(Limits {
            lifetime: Duration::from_millis(50),
            ..LIMITS
        })
        .await;
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(b"GET /metr").await.unwrap();
        let closed = timeout(Duration::from_secs(5), silent.read(&mut [0; 16])).await;
        assert_eq!(closed.unwrap().unwrap(), 0);
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
