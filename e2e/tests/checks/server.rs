//! The servers of the test: a gauge for Prometheus, and a TLS server that wants a token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::Result;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockkeeper_e2e::pki::Pki;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The token that the TLS server wants.
pub(super) const TOKEN: &str = "a-token-of-the-shop";

/// A metric `test_gate` that the test sets.
pub(super) struct Gauge {
    value: Arc<AtomicI32>,
    address: SocketAddr,
}

impl Gauge {
    pub(super) async fn start() -> Result<Self> {
        let value = Arc::new(AtomicI32::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = value.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let value = served.clone();
                tokio::spawn(serve(stream, move |_| {
                    let text = format!("test_gate {}\n", value.load(Ordering::SeqCst));
                    (StatusCode::OK, text)
                }));
            }
        });
        Ok(Self { value, address })
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn set(&self, value: i32) {
        self.value.store(value, Ordering::SeqCst);
    }
}

/// A TLS server whose certificate the cluster's own authority has signed.
pub(super) struct TlsServer(SocketAddr);

impl TlsServer {
    pub(super) async fn start(pki: &Pki) -> Result<Self> {
        let identity = pki.server("shop", &["127.0.0.1"])?;
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    serve(stream, |request| {
                        let given = request.headers().get(header::AUTHORIZATION);
                        let expected = format!("Bearer {TOKEN}");
                        let is_known = given.is_some_and(|given| given.as_bytes() == expected.as_bytes());
                        let status = if is_known {
                            StatusCode::NO_CONTENT
                        } else {
                            StatusCode::UNAUTHORIZED
                        };
                        (status, String::new())
                    })
                    .await
                });
            }
        });
        Ok(Self(address))
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/health", self.0)
    }
}

async fn serve<S>(stream: S, answer: impl Fn(&Request<Incoming>) -> (StatusCode, String)) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let (status, text) = answer(&request);
        async move {
            let response = Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "text/plain");
            response.body(Full::new(Bytes::from(text)))
        }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}
