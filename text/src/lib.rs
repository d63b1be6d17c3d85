//! Text that fits into fields of limited length.

#![warn(missing_docs)]

/// At most `limit` characters of a text; the last one is an ellipsis if the text is longer.
pub fn bounded(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars()
        .take(limit.saturating_sub(1))
        .chain(std::iter::once('…'))
        .collect()
}

/// A text in one line: line breaks and other control characters become spaces.
pub fn single_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_ends_with_an_ellipsis() {
        assert_eq!(bounded("äöü", 3), "äöü");
        assert_eq!(bounded("äöüß", 3), "äö…");
    }

    #[test]
    fn a_text_of_several_lines_becomes_one_line() {
        assert_eq!(single_line(" a\nb\n"), "a b");
    }
}
