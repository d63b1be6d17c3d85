//! What ends a drain or a list, with the step that failed.

use kube::core::ParseExpressionError;

use crate::pod::PodName;

/// What ends a drain or a list. An API server that is away ends no drain: that is progress, not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The eviction client could not be made.
    #[error("making the client for evictions: check the kubeconfig or the pod's service account")]
    Client(#[source] Box<kube::Error>),
    /// A rule's selector cannot be read.
    #[error("reading drain.rules[{index}].{field}: correct the policy")]
    Rule {
        /// Which rule, counted from 0.
        index: usize,
        /// Which of its selectors.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseExpressionError,
    },
    /// The selector of the pods that are never deleted past their budget cannot be read.
    #[error("reading drain.deleteExempt.podSelector: correct the policy")]
    Exempt {
        /// What is wrong with it.
        #[source]
        source: ParseExpressionError,
    },
    /// The node is gone, or is another one under its name: there is nothing left to drain.
    #[error("node {node} is gone: there is nothing left to drain")]
    NodeGone {
        /// The node.
        node: String,
    },
    /// A list or a look failed.
    #[error("reading {what}")]
    List {
        /// What was to be read.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// A list or a look did not come.
    #[error("reading {what}: no answer within {seconds} s")]
    ListHangs {
        /// What was to be read.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Nobody says whether a pod may be evicted.
    #[error("asking, as a dry run, whether pod {pod} may be evicted: {message}")]
    DryRun {
        /// The pod.
        pod: PodName,
        /// What went wrong, in the API server's words.
        message: String,
    },
    /// A watch that never ends ended.
    #[error("the watch of the node's pods ended: start the drain again")]
    WatchEnded,
}

impl Error {
    /// What a person can do about it; none where waiting does.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::List { source, .. } if refused(source) => {
                Some("grant it: apply the chart, or deploy/lockkeeper.yaml, of this version again")
            }
            Self::DryRun { message, .. } if message.contains("failed calling webhook") => {
                Some("repair that webhook, or remove its ValidatingWebhookConfiguration")
            }
            Self::DryRun { .. } | Self::List { .. } | Self::ListHangs { .. } => None,
            Self::Client(_) | Self::Rule { .. } | Self::Exempt { .. } | Self::NodeGone { .. } | Self::WatchEnded => {
                None
            }
        }
    }

    /// The message with its causes.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Client(source) | Self::List { source, .. } => format!("{self}: {}", crate::evict::words(source)),
            Self::Rule { source, .. } | Self::Exempt { source } => format!("{self}: {source}"),
            Self::NodeGone { .. } | Self::ListHangs { .. } | Self::DryRun { .. } | Self::WatchEnded => self.to_string(),
        }
    }
}

fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}
