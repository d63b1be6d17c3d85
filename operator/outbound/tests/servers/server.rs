//! Servers that give one connection one answer.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// At the end of an answer: the connection stays open.
pub(crate) const HOLD: &str = "\0hold";

/// A private certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An answer that ends with its connection.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")
}

/// The port, and what the first connection asked for.
pub(crate) async fn serve(answer: String) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        reply(stream, &answer).await
    });
    (port, seen)
}

/// As [`serve`], with a certificate for this name.
pub(crate) async fn serve_tls(authority: &Authority, name: &str, answer: String) -> (u16, JoinHandle<String>) {
    let acceptor = authority.acceptor(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match acceptor.accept(stream).await {
            Ok(stream) => reply(stream, &answer).await,
            Err(error) => error.to_string(),
        }
    });
    (port, seen)
}

async fn reply(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut seen = String::new();
    while !is_complete(&seen) {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        if length == 0 {
            break;
        }
        seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    let text = answer.strip_suffix(HOLD);
    // A client that has read enough closes the connection.
    let _ = stream.write_all(text.unwrap_or(answer).as_bytes()).await;
    let _ = stream.flush().await;
    if text.is_some() {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
    seen
}

/// Whether a request with its body was read.
fn is_complete(seen: &str) -> bool {
    let Some((head, body)) = seen.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
