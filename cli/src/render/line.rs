//! Lines of text, coloured by the action that they require and folded to the width of a terminal.

use lockkeeper_kube_util::printable;

use crate::view::ActionRequired;

/// One line, and the action that it requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) action_required: ActionRequired,
    /// The column where the text continues if the line is folded.
    pub(crate) indent: usize,
}

impl Line {
    pub(crate) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, ActionRequired::None)
    }

    /// Whatever the text quotes, a terminal obeys no character of it.
    pub(crate) fn new(text: impl AsRef<str>, action_required: ActionRequired) -> Self {
        Self {
            text: printable(text.as_ref()),
            action_required,
            indent: 4,
        }
    }

    /// With the column where a folded line continues.
    pub(crate) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// The text as it is sent to a terminal; nothing relies on the colour.
    pub(crate) fn coloured(&self, colour: bool) -> String {
        let code = match self.action_required {
            ActionRequired::None => return self.text.clone(),
            ActionRequired::Wait => "90",
            ActionRequired::Manual => "33",
            ActionRequired::Repair => "31",
        };
        if colour {
            format!("\x1b[{code}m{}\x1b[0m", self.text)
        } else {
            self.text.clone()
        }
    }

    /// The line in pieces of at most `width` characters, broken at spaces where that is possible.
    pub(crate) fn folded(&self, width: usize) -> Vec<Self> {
        // A narrow terminal has no room for the column.
        let indent = if self.indent + 24 > width { 4 } else { self.indent };
        let mut pieces = Vec::new();
        let mut rest: Vec<char> = self.text.chars().collect();
        while rest.len() > width.max(indent + 1) {
            let used = rest.iter().take_while(|letter| **letter == ' ').count();
            let fits = &rest[..width.max(indent + 1)];
            let at = fits
                .iter()
                .rposition(|letter| *letter == ' ')
                .filter(|at| *at > used.max(indent));
            let at = at.unwrap_or(fits.len());
            let tail: Vec<char> = rest.split_off(at);
            pieces.push(rest.iter().collect::<String>());
            let tail: String = tail.iter().collect();
            rest = format!("{:indent$}{}", "", tail.trim_start()).chars().collect();
        }
        pieces.push(rest.iter().collect());
        let line = |text: String| Self::new(text.trim_end(), self.action_required);
        pieces.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str, indent: usize, width: usize) -> String {
        let pieces = Line::plain(text).indented(indent).folded(width);
        let pieces: Vec<String> = pieces.into_iter().map(|line| line.text).collect();
        assert!(pieces.iter().all(|piece| piece.chars().count() <= width), "{pieces:?}");
        pieces.join("\n")
    }

    #[test]
    fn a_long_line_continues_below_its_own_column() {
        expect_test::expect![[r#"
              w-02   Draining   pod shop/db-0: budget
                                shop/db allows 0
                                disruptions"#]]
        .assert_eq(&folded(
            "w-02   Draining   pod shop/db-0: budget shop/db allows 0 disruptions",
            18,
            44,
        ));
    }

    #[test]
    fn folding_to_a_narrow_terminal_loses_no_text() {
        assert_eq!(folded("  w-02   größer", 20, 10), "  w-02\n    größer");
        assert_eq!(folded("abcdefghijklmnop", 20, 10), "abcdefghij\n    klmnop");
        assert_eq!(folded("short", 4, 10), "short");
    }

    #[test]
    fn a_line_contains_no_character_that_a_terminal_obeys() {
        let line = Line::plain("  w-01  \u{1b}[2J\u{1b}]0;owned\u{7}\nw-02 UpToDate\u{202e}");
        assert_eq!(line.text, "  w-01  �[2J�]0;owned� w-02 UpToDate�");
    }

    #[test]
    fn only_lines_that_require_an_action_are_coloured() {
        assert_eq!(Line::plain("x").coloured(true), "x");
        assert_eq!(
            Line::new("x", ActionRequired::Repair).coloured(true),
            "\x1b[31mx\x1b[0m"
        );
        assert_eq!(Line::new("x", ActionRequired::Repair).coloured(false), "x");
    }
}
