//! The client: looks the host up, connects, and exchanges one request, within one time limit.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address::refusal;
use crate::error::{Error, Step};
use crate::exchange::{Message, Response, chain, exchange};
use crate::target::Target;

/// An address that does not answer for this long makes room for the next address of the host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the whole request, from the look-up of the host to the end of the answer.
    pub total: Duration,
    /// How many bytes an answer may have.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(10),
            body: 1024 * 1024,
        }
    }
}

/// Sends requests to targets. Each has a connection of its own, which is closed after it: requests are rare.
#[derive(Clone, Debug)]
pub struct Client {
    limits: Limits,
    user_agent: String,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Client {
    /// A client with these limits, which calls itself `lockkeeper/<version>`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            user_agent: format!("lockkeeper/{}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Reads a document; every status but a success is an error.
    pub async fn get(&self, target: &Target) -> Result<Bytes, Error> {
        self.send(Method::GET, target, None, &[], Bytes::new())
            .await?
            .success(target)
    }

    /// Sends a document; every status but a success is an error.
    pub async fn post(&self, target: &Target, content_type: &str, body: Bytes) -> Result<Bytes, Error> {
        self.send(Method::POST, target, Some(content_type), &[], body)
            .await?
            .success(target)
    }

    /// Sends a request and returns its answer, whatever its status.
    pub async fn send(
        &self,
        method: Method,
        target: &Target,
        content_type: Option<&str>,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Response, Error> {
        let message = Message {
            method,
            content_type,
            headers,
            body,
        };
        let step = Mutex::new(Step::Resolve);
        let request = self.request(target, message, &step);
        match timeout(self.limits.total, request).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::Timeout {
                url: target.url().clone(),
                step: *step.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
                after: self.limits.total,
            }),
        }
    }

    async fn request(&self, target: &Target, message: Message<'_>, step: &Mutex<Step>) -> Result<Response, Error> {
        let begin = |next| *step.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        let url = target.url();
        let addresses = resolve(target).await?;
        begin(Step::Connect);
        let stream = connect(target, &addresses).await?;
        if !url.is_https() {
            begin(Step::Answer);
            return exchange(stream, target, message, &self.user_agent, self.limits.body).await;
        }
        begin(Step::Tls);
        let failed = |cause: String| Error::Tls {
            url: url.clone(),
            cause: target.cleaned(&cause, 300),
        };
        let name = ServerName::try_from(url.host().to_owned()).map_err(|error| failed(error.to_string()))?;
        let connected = TlsConnector::from(target.tls()).connect(name, stream).await;
        let stream = connected.map_err(|error| failed(chain(&error)))?;
        begin(Step::Answer);
        exchange(stream, target, message, &self.user_agent, self.limits.body).await
    }
}

/// The addresses of the host to which a request may be sent. They are judged here, after the look-up, and the connection
/// goes to them, so a name cannot mean another address in between.
async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Error> {
    let url = target.url();
    let unresolved = |cause: String| Error::Resolve {
        url: url.clone(),
        cause,
    };
    let all: Vec<SocketAddr> = if let Ok(address) = url.host().parse::<IpAddr>() {
        vec![SocketAddr::new(address, url.port())]
    } else {
        let found = lookup_host((url.host(), url.port())).await;
        found.map_err(|error| unresolved(chain(&error)))?.collect()
    };
    let allowed: Vec<_> = all
        .iter()
        .copied()
        .filter(|found| refusal(found.ip()).is_none())
        .collect();
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    let refused = all.iter().find_map(|found| Some((found.ip(), refusal(found.ip())?)));
    Err(match refused {
        Some((address, reason)) => Error::Address {
            url: url.clone(),
            address,
            reason,
        },
        None => unresolved("it has no address".to_owned()),
    })
}

/// A connection to the first address that accepts one.
async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut cause = String::new();
    for (index, address) in addresses.iter().enumerate() {
        // The last one may take all the time that is left.
        let is_last = index + 1 == addresses.len();
        let connecting = TcpStream::connect(address);
        let connected = if is_last {
            Ok(connecting.await)
        } else {
            timeout_at(Instant::now() + CONNECT_TIMEOUT, connecting).await
        };
        match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => cause = format!("{}: {error}", address.ip()),
            Err(_) => cause = format!("{}: no answer within {} s", address.ip(), CONNECT_TIMEOUT.as_secs()),
        }
    }
    Err(Error::Connect {
        url: target.url().clone(),
        cause,
    })
}
