//! How a command ends that could not do its work.

use std::error::Error;
use std::process::ExitCode;

use kube::config::KubeconfigError;

/// The reason in one line, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// The exit codes that every command shares; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Error,
    /// The same code as clap's for an invalid command line.
    Usage,
    TimedOut,
    Blocked,
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::TimedOut => 3,
            Exit::Blocked => 4,
            Exit::Refused => 5,
        })
    }
}

impl Failure {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(Exit::Error, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Exit::TimedOut, message)
    }

    pub(crate) fn blocked(message: impl Into<String>) -> Self {
        Self::new(Exit::Blocked, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Explains the error of a request to the API server, with its remedy.
    pub(crate) fn of_request(step: &str, server: &str, error: &kube::Error) -> Self {
        Self::error(match error {
            kube::Error::Api(status) => match status.code {
                // A list is empty rather than 404 if there are no objects, so the kind does not exist.
                404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => format!(
                    "{step}: Lockkeeper is not installed in this cluster ({server} does not know its kinds); \
                     install it: kubectl apply --server-side -f deploy/lockkeeper.yaml"
                ),
                401 => format!(
                    "{step}: {server} rejected your credentials: {}; renew the credentials of this kubeconfig context",
                    status.message
                ),
                403 => format!(
                    "{step}: not permitted: {}; ClusterRole lockkeeper-view allows reading, lockkeeper-admin also commands",
                    status.message
                ),
                code => format!("{step}: {server} answered {code} {}: {}", status.reason, status.message),
            },
            kube::Error::Auth(_) => format!("{step}: no credentials for {server}: {}", chain(error)),
            kube::Error::SerdeError(_) => format!(
                "{step}: cannot decode the answer of {server}: {}; this plugin may be older than the Lockkeeper of the cluster",
                chain(error)
            ),
            _ => format!(
                "{step}: cannot reach {server}: {}; check --kubeconfig, --context and whether the API server is running",
                chain(error)
            ),
        })
    }

    pub(crate) fn of_kubeconfig(file: &str, error: &KubeconfigError) -> Self {
        Self::error(format!("{file}: {}; see: kubectl config get-contexts", chain(error)))
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into().replace('\n', " "),
        }
    }
}

/// The error and its sources in one line, without a source that its parent already contains.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    // The name of the wrapper does not help a reader.
    text.trim_start_matches("ServiceError: ").to_owned()
}
