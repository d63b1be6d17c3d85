//! Words for people: bounded, one line.

/// What the custom resource holds of a message.
pub const MESSAGE: usize = 1024;
/// What the custom resource holds of a name or a cause.
pub const NAME: usize = 256;

/// At most `limit` characters of a text, without line breaks and other control characters.
pub fn bounded(text: &str, limit: usize) -> String {
    let line = text.trim().replace(char::is_control, " ");
    if line.chars().count() <= limit {
        return line;
    }
    let mut short: String = line.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// An error and everything it came from, as one line.
pub fn chain(error: &anyhow::Error) -> String {
    bounded(&format!("{error:#}"), MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("äöü", 3), "äöü");
        assert_eq!(bounded("äöüß", 3), "äö…");
    }

    #[test]
    fn a_text_of_several_lines_becomes_one() {
        assert_eq!(bounded(" a\nb\n", 10), "a b");
    }
}
