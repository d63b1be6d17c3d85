//! What went wrong in a request, and what to do about it.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use crate::address::Refused;
use crate::url::Url;

/// The step of a request that was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The name of the host is looked up.
    Resolve,
    /// The connection is opened.
    Connect,
    /// The server proves who it is.
    Tls,
    /// The server answers.
    Answer,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up its host",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Answer => "waiting for its answer",
        })
    }
}

/// Why there is no answer, or none that counts. No variant shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host has no address.
    #[error(
        "cannot look up the host of {url}: {cause}; check the name, and that the operator may use the cluster's DNS"
    )]
    Resolve {
        /// Where the request was to go.
        url: Url,
        /// What the resolver says.
        cause: String,
    },
    /// All addresses of the host are refused.
    #[error("no request is sent to {url}: {address} is {reason}; use the name of a server")]
    Address {
        /// Where the request was to go.
        url: Url,
        /// The address of the host.
        address: IpAddr,
        /// Why none is sent there.
        reason: Refused,
    },
    /// No connection.
    #[error(
        "cannot connect to {url}: {cause}; check that the server runs and that network policies let the operator reach it"
    )]
    Connect {
        /// Where the request was to go.
        url: Url,
        /// What the network says.
        cause: String,
    },
    /// No TLS, or a certificate that is not accepted.
    #[error("cannot use TLS with {url}: {cause}; check the server's certificate and the CA bundle that is set for it")]
    Tls {
        /// Where the request was to go.
        url: Url,
        /// What rustls says.
        cause: String,
    },
    /// The credential has characters that a header must not have.
    #[error("the credential for {url} contains a character that an HTTP header cannot carry; check its Secret")]
    Credential {
        /// Where the request was to go.
        url: Url,
    },
    /// The whole request took too long.
    #[error("no answer of {url} within {} s, while {step}; check that the server is reachable and not overloaded", .after.as_secs_f32())]
    Timeout {
        /// Where the request was to go.
        url: Url,
        /// What took too long.
        step: Step,
        /// The limit.
        after: Duration,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("{url} sent no valid HTTP answer: {cause}; check that the URL names the server's HTTP port")]
    Protocol {
        /// Where the request was to go.
        url: Url,
        /// What the client says.
        cause: String,
    },
    /// A redirect, which is not followed.
    #[error("{url} redirects ({status}); redirects are not followed, so set the URL of the server itself")]
    Redirect {
        /// Where the request was to go.
        url: Url,
        /// The status of the answer.
        status: StatusCode,
    },
    /// An answer that is no success.
    #[error("{url} answered {status}{}", sentence(.body))]
    Status {
        /// Where the request was to go.
        url: Url,
        /// The status of the answer.
        status: StatusCode,
        /// How the server's text begins, printable and without the request's secrets.
        body: String,
        /// When to ask again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// An answer that is longer than the limit.
    #[error("the answer of {url} is longer than {limit} bytes; check that the URL is right, or narrow the query")]
    BodyTooLarge {
        /// Where the request was to go.
        url: Url,
        /// The limit.
        limit: usize,
    },
}

/// What the server said after its status.
fn sentence(body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!(": {body}")
    }
}

impl Error {
    /// Whether the same request may succeed later without a change by a person.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Address { .. } | Self::Credential { .. } | Self::Redirect { .. } | Self::BodyTooLarge { .. } => false,
        }
    }
}
