//! How a command ends that did not do what it was asked.

use std::error::Error;
use std::process::ExitCode;

use kube::config::KubeconfigError;

/// Why, in one line, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// The exit codes that every command shares; 0 is done, 2 is clap's for a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Error,
    /// As clap's for a wrong command line.
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

    /// Says what a request to the API server came to, and what to do about it.
    pub(crate) fn of_request(step: &str, server: &str, error: &kube::Error) -> Self {
        Self::error(match error {
            kube::Error::Api(status) => match status.code {
                // A list never answers 404 for want of objects: the kind is not there.
                404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => format!(
                    "{step}: Lockkeeper is not installed in this cluster (its kinds are unknown to {server}); \
                     install it: kubectl apply --server-side -f deploy/lockkeeper.yaml"
                ),
                401 => format!(
                    "{step}: {server} does not know who you are: {}; renew the credentials of this kubeconfig context",
                    status.message
                ),
                403 => format!(
                    "{step}: no permission: {}; ClusterRole lockkeeper-view lets you read, lockkeeper-admin also command",
                    status.message
                ),
                code => format!("{step}: {server} answered {code} {}: {}", status.reason, status.message),
            },
            kube::Error::Auth(_) => format!("{step}: no credentials for {server}: {}", chain(error)),
            kube::Error::SerdeError(_) => format!(
                "{step}: cannot read what {server} sent: {}; this plugin may be older than the cluster's Lockkeeper",
                chain(error)
            ),
            _ => format!(
                "{step}: cannot reach {server}: {}; check --kubeconfig, --context and that the API server runs",
                chain(error)
            ),
        })
    }

    pub(crate) fn of_kubeconfig(what: &str, error: &KubeconfigError) -> Self {
        Self::error(format!("{what}: {}; see: kubectl config get-contexts", chain(error)))
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into().replace('\n', " "),
        }
    }
}

/// The error and its sources in one line, leaving out a source that its parent already says.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = error.source();
    }
    // The wrapper's own name tells a reader nothing.
    text.trim_start_matches("ServiceError: ").to_owned()
}
