//! Why a Job cannot be run, or its state cannot be read.

use lockkeeper_kube_util::{bounded, error_chain};

/// How long the answer of the API server may be.
const ANSWER: usize = 300;

/// Why a Job cannot be run, or its state cannot be read: the step, the object and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template does not exist.
    #[error("CronJob {template} does not exist; create it with suspend: true, or correct the name of the template")]
    NoTemplate {
        /// `namespace/name`.
        template: String,
    },
    /// A right is missing.
    #[error("cannot {what}: not permitted; {remedy}")]
    NotPermitted {
        /// The request.
        what: String,
        /// What helps.
        remedy: String,
    },
    /// A quota of the namespace is used up.
    #[error("cannot create Job {job}: {answer}; raise the quota of the namespace, or delete Jobs that are not needed")]
    Quota {
        /// `namespace/name`.
        job: String,
        /// What the API server answered.
        answer: String,
    },
    /// The API server does not accept the Job.
    #[error("cannot create Job {job}: {answer}; correct the jobTemplate of CronJob {template}")]
    Invalid {
        /// `namespace/name`.
        job: String,
        /// What the API server answered.
        answer: String,
        /// `namespace/name`.
        template: String,
    },
    /// An admission policy or a webhook refuses the Job.
    #[error(
        "cannot create Job {job}: {answer}; correct the jobTemplate of CronJob {template}, or what refuses the Job"
    )]
    Refused {
        /// `namespace/name`.
        job: String,
        /// What the API server answered.
        answer: String,
        /// `namespace/name`.
        template: String,
    },
    /// A Job of another origin has the name.
    #[error("Job {job} has the name of a Job of Lockkeeper, but not its label {label}={value}; delete it")]
    Foreign {
        /// `namespace/name`.
        job: String,
        /// The key of the label.
        label: &'static str,
        /// The value that it should have.
        value: String,
    },
    /// Another failure of a request.
    #[error("cannot {what}: {cause}")]
    Request {
        /// The request.
        what: String,
        /// What went wrong.
        cause: String,
    },
}

impl Error {
    /// A read or a deletion that failed.
    pub(crate) fn request(what: String, error: &kube::Error, remedy: &str) -> Self {
        if is_rbac(error) {
            let remedy = remedy.to_owned();
            return Self::NotPermitted { what, remedy };
        }
        let cause = answer(error);
        Self::Request { what, cause }
    }

    /// The creation of a Job that failed.
    pub(crate) fn create(job: String, template: String, error: &kube::Error, remedy: &str) -> Self {
        let answer = answer(error);
        match error {
            kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
                Self::Quota { job, answer }
            }
            kube::Error::Api(status) if status.code == 422 || status.reason == "Invalid" => {
                Self::Invalid { job, answer, template }
            }
            kube::Error::Api(status) if !is_rbac(error) && matches!(status.code, 400 | 403) => {
                Self::Refused { job, answer, template }
            }
            _ => Self::request(format!("create Job {job}"), error, remedy),
        }
    }
}

/// Whether a right is missing. An admission plugin answers 403 too, but says nothing of what a user cannot do.
fn is_rbac(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 403 && status.message.contains("User \"") && status.message.contains(" cannot ")
        }
        _ => false,
    }
}

fn answer(error: &kube::Error) -> String {
    bounded(&error_chain(error), ANSWER)
}
