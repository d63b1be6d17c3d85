//! How a command ends that could not do its work.

use std::process::ExitCode;

use kube::config::KubeconfigError;
use lockkeeper_kube_util::{Remedies, error_chain, explain, single_line};

/// What a person can do about a failed request of the plugin.
const REMEDIES: Remedies = Remedies {
    not_installed: "Lockkeeper is not installed in this cluster; install it: kubectl apply --server-side -f deploy/lockkeeper.yaml",
    unauthorized: "renew the credentials of this kubeconfig context",
    forbidden: "ClusterRole lockkeeper-view lets you read, lockkeeper-admin also command",
    undecodable: "this plugin may be older than the cluster's Lockkeeper",
    unreachable: "check --kubeconfig, --context and that the API server runs",
};

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

    /// The step that failed, why, and what helps.
    pub(crate) fn of_request(step: &str, server: &str, error: &kube::Error) -> Self {
        Self::error(format!("{step}: {}", explain(error, server, &REMEDIES)))
    }

    pub(crate) fn of_kubeconfig(file: &str, error: &KubeconfigError) -> Self {
        Self::error(format!(
            "{file}: {}; see: kubectl config get-contexts",
            error_chain(error)
        ))
    }

    /// Both in one line, with the exit code of the first.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self::new(self.exit, format!("{}; {}", self.message, other.message))
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: single_line(&message.into()),
        }
    }
}
