//! What ends a drain or a list, with the step that failed.

/// What ends a drain or a list. An API server that is away ends no drain: that is progress, not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The eviction client could not be made.
    #[error("making the client for evictions: check the kubeconfig or the pod's service account")]
    Client(#[source] Box<kube::Error>),
    /// A list failed.
    #[error("listing {what}")]
    List {
        /// What was to be listed.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// A list did not come.
    #[error("listing {what}: no answer within {seconds} s")]
    ListHangs {
        /// What was to be listed.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A watch that never ends ended.
    #[error("the watch of the node's pods ended: start the drain again")]
    WatchEnded,
}

impl Error {
    /// The message with its causes.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Client(source) | Self::List { source, .. } => format!("{self}: {}", crate::evict::words(source)),
            Self::ListHangs { .. } | Self::WatchEnded => self.to_string(),
        }
    }
}
