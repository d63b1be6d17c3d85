//! Text of foreign origin: printable, in one line, and short enough for its field.
//!
//! Whoever writes a host report, an annotation or a webhook's answer chooses its characters, and a terminal obeys some of
//! them: it moves the cursor, changes its title, or shows text in another order.

#![warn(missing_docs)]

/// A text in one line of at most `limit` characters; the last one is an ellipsis if the text is longer.
pub fn bounded(text: &str, limit: usize) -> String {
    let line = single_line(text);
    if line.len() <= limit || line.chars().count() <= limit {
        return line;
    }
    line.chars()
        .take(limit.saturating_sub(1))
        .chain(std::iter::once('…'))
        .collect()
}

/// A text in one line, without white space around it and without characters that a terminal obeys.
pub fn single_line(text: &str) -> String {
    printable(text.trim())
}

/// The text with its line breaks and tabs as spaces, and with `�` for every other character that a terminal obeys.
pub fn printable(text: &str) -> String {
    // Nearly every text is plain, and a pass of the operator cleans thousands.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    text.chars().map(replaced).collect()
}

/// Whether a terminal shows this character instead of obeying it: it is no control character, no line separator, and no
/// mark that changes the direction of the text.
pub fn is_printable(character: char) -> bool {
    !matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        && !character.is_control()
}

fn replaced(character: char) -> char {
    match character {
        '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        shown if is_printable(shown) => shown,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_ends_with_an_ellipsis() {
        assert_eq!(bounded("äöü", 3), "äöü");
        assert_eq!(bounded("äöüß", 3), "äö…");
        assert_eq!(bounded("x", 0), "…");
    }

    #[test]
    fn a_text_of_several_lines_becomes_one_line() {
        assert_eq!(single_line(" a\r\nb\u{2028}c\td\n"), "a  b c d");
    }

    #[test]
    fn a_terminal_obeys_no_character_of_a_cleaned_text() {
        let title = "\u{1b}]0;owned\u{7}";
        assert_eq!(single_line(title), "�]0;owned�");
        assert_eq!(
            single_line("\u{9b}2J"),
            "�2J",
            "the control sequence introducer in one character"
        );
        assert_eq!(single_line("ab\u{202e}dc\u{202c} \u{2067}e\u{2069}"), "ab�dc� �e�");
        assert_eq!(single_line("Grüße, 日本語, 👩‍🚀"), "Grüße, 日本語, 👩‍🚀");
    }

    #[test]
    fn a_printable_text_keeps_the_white_space_around_it() {
        assert_eq!(printable("  w-01 \u{1b}[2J "), "  w-01 �[2J ");
    }
}
