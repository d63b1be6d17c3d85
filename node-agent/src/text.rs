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

/// An error and everything it came from, as one line; a cause that was already told is not told again.
pub fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    bounded(&told, MESSAGE)
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
    fn each_cause_of_an_error_is_printed_once() {
        let error = anyhow::anyhow!("no route")
            .context("connect: no route")
            .context("report");
        assert_eq!(chain(&error), "report: connect: no route");
    }

    #[test]
    fn a_text_of_several_lines_becomes_one() {
        assert_eq!(bounded(" a\nb\n", 10), "a b");
    }
}
