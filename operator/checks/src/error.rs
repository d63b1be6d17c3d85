//! Why a check could not be evaluated.

use lockkeeper_kube_util::{bounded, error_chain};

/// What helps if a right is missing that every installation has.
pub(crate) const INSTALLATION: &str = "apply the chart, or deploy/lockkeeper.yaml, of this version again";

/// Why a check could not be evaluated: the step, the object, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL or the certificate authorities of the check cannot be used.
    #[error("{field} {cause}")]
    Field {
        /// The field of the check.
        field: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The server could not be asked.
    #[error(transparent)]
    Server(#[from] lockkeeper_outbound::Error),
    /// Prometheus refused the query.
    #[error("Prometheus refuses the query: {0}; correct the query or the matchers")]
    Query(String),
    /// The answer is not one of Prometheus.
    #[error("the answer of {0} cannot be decoded; check that the URL is one of a Prometheus server")]
    Answer(String),
    /// The API server could not be asked.
    #[error("cannot {what}: {cause}")]
    Kubernetes {
        /// The request.
        what: String,
        /// What went wrong, and what to do about it if a right is missing.
        cause: String,
    },
    /// A Job could not be run.
    #[error(transparent)]
    Job(#[from] lockkeeper_jobs::Error),
    /// A Secret has no such key.
    #[error("Secret {name} has no key {key}; add it, or correct the name of the key")]
    NoKey {
        /// `namespace/name`.
        name: String,
        /// The key.
        key: String,
    },
    /// The kind is not served.
    #[error(
        "the API server does not serve kind {kind} of {api_version}; correct apiVersion and kind, or install the CRD"
    )]
    NoKind {
        /// The group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// The expression cannot be compiled or evaluated.
    #[error("expression: {0}")]
    Expression(String),
    /// The check has a value of a newer version.
    #[error("{0} has a value that this version does not know; upgrade the operator")]
    NewerVersion(&'static str),
}

impl Error {
    /// A request to the API server that failed; `right` names what helps if it was not permitted.
    pub(crate) fn kubernetes(what: String, error: kube::Error, right: &'static str) -> Self {
        let cause = match error {
            // Who is not permitted what is in the request; what is missing is more useful.
            kube::Error::Api(status) if status.code == 403 => format!("not permitted; {right}"),
            error => bounded(&error_chain(&error), 300),
        };
        Self::Kubernetes { what, cause }
    }
}
