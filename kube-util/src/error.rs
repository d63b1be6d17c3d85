//! Errors as one line for people: the step, the cause, the remedy.

use std::error::Error;

use lockkeeper_text::single_line;

/// What a person can do about each kind of failed request; it depends on the program that sent it.
#[derive(Clone, Copy, Debug)]
pub struct Remedies {
    /// Lockkeeper's kinds are not installed.
    pub not_installed: &'static str,
    /// The API server does not accept the credentials.
    pub unauthorized: &'static str,
    /// The credentials lack a permission.
    pub forbidden: &'static str,
    /// The answer cannot be decoded.
    pub undecodable: &'static str,
    /// There is no answer.
    pub unreachable: &'static str,
}

/// Explains in one line why a request failed, and what helps.
///
/// `server` names the API server, such as `the API server`. The line does not say what was requested.
pub fn explain(error: &kube::Error, server: &str, remedies: &Remedies) -> String {
    single_line(&explanation(error, server, remedies))
}

fn explanation(error: &kube::Error, server: &str, remedies: &Remedies) -> String {
    match error {
        kube::Error::Api(status) => {
            let message = status.message.trim();
            // A list never answers 404 for lack of objects: the kind is missing.
            let missing_kind = status.details.as_ref().is_none_or(|details| details.name.is_empty());
            match status.code {
                404 if missing_kind => with_remedy(
                    &format!("{server} does not know this kind ({message})"),
                    remedies.not_installed,
                ),
                401 => with_remedy(
                    &format!("{server} does not accept the credentials ({message})"),
                    remedies.unauthorized,
                ),
                403 => with_remedy(&format!("not permitted ({message})"), remedies.forbidden),
                code => format!("{server} answered {code} {}: {message}", status.reason),
            }
        }
        kube::Error::Auth(_) => with_remedy(
            &format!("no credentials for {server}: {}", error_chain(error)),
            remedies.unauthorized,
        ),
        kube::Error::SerdeError(_) => with_remedy(
            &format!("cannot decode the answer of {server}: {}", error_chain(error)),
            remedies.undecodable,
        ),
        _ => with_remedy(
            &format!("cannot reach {server}: {}", error_chain(error)),
            remedies.unreachable,
        ),
    }
}

fn with_remedy(problem: &str, remedy: &str) -> String {
    if remedy.is_empty() {
        problem.to_owned()
    } else {
        format!("{problem}; {remedy}")
    }
}

/// An error and its sources in one line, each once; for an error of the API server its message and code.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let (message, last) = message_of(cause);
        if !text.contains(&message) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&message);
        }
        next = cause.source().filter(|_| !last);
    }
    single_line(&text)
}

/// The message of one error without its sources, and whether the sources only repeat it.
fn message_of(error: &(dyn Error + 'static)) -> (String, bool) {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => (format!("{} ({})", status.message.trim(), status.code), true),
        // The name of kube's wrapper tells a reader nothing.
        Some(kube::Error::Service(source)) => (source.to_string(), false),
        Some(other) => (other.to_string(), false),
        None => (error.to_string(), false),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    const REMEDIES: Remedies = Remedies {
        not_installed: "install it",
        unauthorized: "renew them",
        forbidden: "check the ClusterRole",
        undecodable: "upgrade",
        unreachable: "",
    };

    fn refused(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    fn check(error: &kube::Error, expected: &str) {
        assert_eq!(explain(error, "the API server", &REMEDIES), expected);
    }

    #[test]
    fn a_failed_request_is_explained_with_its_remedy() {
        check(
            &refused(403, "nodes is forbidden"),
            "not permitted (nodes is forbidden); check the ClusterRole",
        );
        check(
            &refused(401, "Unauthorized"),
            "the API server does not accept the credentials (Unauthorized); renew them",
        );
        check(
            &refused(404, "the server could not find the requested resource"),
            "the API server does not know this kind (the server could not find the requested resource); install it",
        );
        check(&refused(500, "etcd"), "the API server answered 500 Reason: etcd");
    }

    #[test]
    fn an_object_that_does_not_exist_is_not_a_missing_kind() {
        let details = StatusDetails {
            name: "w-1".to_owned(),
            group: String::new(),
            kind: "nodes".to_owned(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        let status = Status::failure("nodes \"w-1\" not found", "NotFound").with_code(404);
        check(
            &kube::Error::Api(Box::new(status.with_details(details))),
            "the API server answered 404 NotFound: nodes \"w-1\" not found",
        );
    }

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<dyn Error>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let inner = Layer("no route", None);
        let middle = Layer("connect: no route", Some(Box::new(inner)));
        let outer = Layer("report", Some(Box::new(middle)));
        assert_eq!(error_chain(&outer), "report: connect: no route");
    }

    #[test]
    fn the_words_of_a_webhook_cannot_write_to_the_terminal() {
        let denied = refused(
            400,
            "admission webhook \"w\" denied the request: \u{1b}[2Jall nodes are up to date\nreally",
        );
        check(
            &denied,
            "the API server answered 400 Reason: admission webhook \"w\" denied the request: �[2Jall nodes are up to date really",
        );
        assert!(!error_chain(&denied).contains(char::is_control));
    }

    #[test]
    fn an_error_of_the_api_server_is_its_message_and_code() {
        let outer = Layer("read node w-1", Some(Box::new(refused(403, "nodes is forbidden\n"))));
        assert_eq!(error_chain(&outer), "read node w-1: nodes is forbidden (403)");
    }

    #[test]
    fn a_broken_connection_is_named_without_the_name_of_the_wrapper() {
        let error = kube::Error::Service("connection refused".into());
        assert_eq!(error_chain(&error), "connection refused");
        check(&error, "cannot reach the API server: connection refused");
    }
}
