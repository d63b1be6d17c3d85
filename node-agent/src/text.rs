//! Errors in one line that fits into a message.

use lockkeeper_channel::text::{MESSAGE, fit};
use lockkeeper_kube_util::error_chain;

/// An error and its sources in one line that fits into a message.
pub fn describe(error: &anyhow::Error) -> String {
    fit(&error_chain(error.as_ref()), MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_an_error_is_named_once() {
        let error = anyhow::anyhow!("no route")
            .context("connect: no route")
            .context("report");
        assert_eq!(describe(&error), "report: connect: no route");
    }
}
