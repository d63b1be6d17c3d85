//! Text that fits into the fields of the custom resource.

use lockkeeper_kube_util::{bounded, error_chain, single_line};

/// The longest message that the custom resource accepts.
pub const MESSAGE: usize = 1024;
/// The longest name or cause that the custom resource accepts.
pub const NAME: usize = 256;

/// At most `limit` characters of a text, in one line.
pub fn fit(text: &str, limit: usize) -> String {
    bounded(&single_line(text), limit)
}

/// An error and its sources in one line that fits into a message.
pub fn describe(error: &anyhow::Error) -> String {
    fit(&error_chain(error.as_ref()), MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_of_several_lines_becomes_one_short_line() {
        assert_eq!(fit(" a\nb\n", 10), "a b");
        assert_eq!(fit("äöüß", 3), "äö…");
    }

    #[test]
    fn each_cause_of_an_error_is_named_once() {
        let error = anyhow::anyhow!("no route")
            .context("connect: no route")
            .context("report");
        assert_eq!(describe(&error), "report: connect: no route");
    }
}
