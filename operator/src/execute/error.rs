//! A write that was not made: why, and how to go on.

use thiserror::Error;

/// A write that was not made.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused it, or did not answer.
    #[error("{step} {object}")]
    Api {
        /// The action.
        step: &'static str,
        /// The object.
        object: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// A precondition does not hold any more.
    #[error("{step} {object}: {found}; the next pass plans again")]
    Stale {
        /// The action.
        step: &'static str,
        /// The object.
        object: String,
        /// What was found.
        found: String,
    },
    /// The node has pods again that must be evicted.
    #[error("order the reboot of {node}: {found}; the drain runs again")]
    NotEmpty {
        /// The node.
        node: String,
        /// How many pods, and the first of them.
        found: String,
    },
    /// Another manager's server-side apply owns a field of the cordon.
    #[error("cordon {node}: {manager} holds {field}")]
    CordonConflict {
        /// The node.
        node: String,
        /// The operation that wanted them.
        operation_id: String,
        /// Who holds it.
        manager: String,
        /// The field.
        field: String,
    },
    /// The settings that the operation began with cannot be read.
    #[error("order the reboot of {node}: its drain's settings")]
    Settings {
        /// The node.
        node: String,
        /// Why not.
        #[source]
        source: lockkeeper_drain::Error,
    },
    /// The pods could not be listed.
    #[error("{step} {node}: list its pods")]
    Pods {
        /// The action.
        step: &'static str,
        /// The node.
        node: String,
        /// Why not.
        #[source]
        source: lockkeeper_drain::Error,
    },
}

/// What becomes of a pass whose write was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Another writer was faster: run the next pass as soon as the watches show it.
    OnChange,
    /// The API server is in trouble or refuses the write: plan again after a while.
    Later,
}

impl Error {
    /// What refuses the write, if it is not allowed: a webhook, a quota, missing rights, another field manager. It may
    /// last, so the node does not wait for it in silence.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } if matches!(status.code, 400 | 401 | 403 | 405 | 413 | 415) => self.answer(),
            Self::CordonConflict {
                node, manager, field, ..
            } => Some(format!(
                "cannot cordon {node}: field {field} is owned by {manager} with a different value"
            )),
            Self::Api { .. }
            | Self::Stale { .. }
            | Self::NotEmpty { .. }
            | Self::Settings { .. }
            | Self::Pods { .. } => None,
        }
    }

    /// Whether the API server calls the written object invalid. Another object of that name may be there by now; but the
    /// schema or a CEL rule may refuse the write as well, and then it does so each time.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 422)
    }

    /// The write and the API server's answer, as people read it; `None` if it did not answer.
    pub fn answer(&self) -> Option<String> {
        match self {
            Self::Api {
                step,
                object,
                source: kube::Error::Api(status),
            } => Some(format!("the API server refuses to {step} {object}: {}", status.message)),
            Self::Api { .. }
            | Self::Stale { .. }
            | Self::NotEmpty { .. }
            | Self::CordonConflict { .. }
            | Self::Settings { .. }
            | Self::Pods { .. } => None,
        }
    }

    /// The one place that decides how a failed write goes on.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } if matches!(status.code, 404 | 409 | 422) => Retry::OnChange,
            Self::Stale { .. } | Self::NotEmpty { .. } | Self::CordonConflict { .. } => Retry::OnChange,
            Self::Api { .. } | Self::Pods { .. } | Self::Settings { .. } => Retry::Later,
        }
    }
}

pub(super) fn object_gone(step: &'static str, object: String) -> Error {
    Error::Stale {
        step,
        object,
        found: "it is gone".to_owned(),
    }
}

pub(super) fn api_error(step: &'static str, object: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let object = object.into();
    move |source| Error::Api { step, object, source }
}
