//! Text that fits into the fields of the custom resource.

use lockkeeper_text::{bounded, single_line};

/// The longest message that the custom resource accepts.
pub const MESSAGE: usize = 1024;
/// The longest name or cause that the custom resource accepts.
pub const NAME: usize = 256;

/// At most `limit` characters of a text, in one line.
pub fn fit(text: &str, limit: usize) -> String {
    bounded(&single_line(text), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_of_several_lines_becomes_one_short_line() {
        assert_eq!(fit(" a\nb\n", 10), "a b");
        assert_eq!(fit("äöüß", 3), "äö…");
    }
}
