//! Errors that end a drain or a read, with the step that failed.

use kube::core::ParseExpressionError;
use lockkeeper_kube_util::error_chain;

use crate::pod::PodName;

/// What ends a drain or a read. An unavailable API server does not end a drain; the progress shows it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The eviction client cannot be created.
    #[error("cannot create the client for evictions (check the kubeconfig or the service account of the pod)")]
    Client(#[source] Box<kube::Error>),
    /// A selector of a rule is invalid.
    #[error("drain.rules[{index}].{field} is invalid and must be corrected in the policy")]
    Rule {
        /// The index of the rule.
        index: usize,
        /// The field of the selector.
        field: &'static str,
        /// Why it is invalid.
        #[source]
        source: ParseExpressionError,
    },
    /// The selector of pods that are exempt from deletion is invalid.
    #[error("drain.deleteExempt.podSelector is invalid and must be corrected in the policy")]
    Exempt {
        /// Why it is invalid.
        #[source]
        source: ParseExpressionError,
    },
    /// The node was deleted, or replaced by another one of the same name.
    #[error("node {node} was deleted; there is nothing left to drain")]
    NodeDeleted {
        /// The node.
        node: String,
    },
    /// A list or get failed.
    #[error("cannot read {what}")]
    Read {
        /// What was requested.
        what: String,
        /// The error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A list or get timed out.
    #[error("cannot read {what}: no answer within {seconds} s")]
    ReadTimeout {
        /// What was requested.
        what: String,
        /// The timeout.
        seconds: u64,
    },
    /// A request to eviction responders cannot be withdrawn.
    #[error("cannot withdraw the eviction request {request}: {message}")]
    Withdraw {
        /// Its namespace and name.
        request: String,
        /// Why not.
        message: String,
    },
    /// A dry run had no conclusive answer.
    #[error("the dry run of an eviction of pod {pod} failed: {message}")]
    DryRun {
        /// The pod.
        pod: PodName,
        /// The API server's message.
        message: String,
    },
    /// A watch stream ended, which it never should.
    #[error("the watch on the node's pods ended; start the drain again")]
    WatchEnded,
}

impl Error {
    /// What a person can do about it; `None` if only time helps or the message says it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } if is_forbidden(source) => {
                Some("grant the permission: apply the chart, or deploy/lockkeeper.yaml, of this version again")
            }
            Self::DryRun { message, .. } if message.contains("failed calling webhook") => {
                Some("repair that webhook, or remove its ValidatingWebhookConfiguration")
            }
            Self::DryRun { .. }
            | Self::Withdraw { .. }
            | Self::Read { .. }
            | Self::ReadTimeout { .. }
            | Self::Client(_)
            | Self::Rule { .. }
            | Self::Exempt { .. }
            | Self::NodeDeleted { .. }
            | Self::WatchEnded => None,
        }
    }

    /// The message with its sources.
    pub(crate) fn full_message(&self) -> String {
        error_chain(self)
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}
