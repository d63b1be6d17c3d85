//! Lines on their way to the reader.

use std::io::{IsTerminal, Write};
use std::process::exit;

use rustix::termios::{Winsize, tcgetwinsize};
use serde::Serialize;

use crate::reasons::Needs;

/// One line, and who must act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) needs: Needs,
    /// The column where the text goes on if the line is folded.
    pub(crate) hang: usize,
}

impl Line {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Needs::Nothing)
    }

    pub(crate) fn new(text: impl Into<String>, needs: Needs) -> Self {
        Self {
            text: text.into(),
            needs,
            hang: 4,
        }
    }

    /// With the column where a folded line goes on.
    pub(crate) fn hanging(self, hang: usize) -> Self {
        Self { hang, ..self }
    }

    /// As it is sent to a terminal; nothing relies on the colour.
    pub(crate) fn painted(&self, colour: bool) -> String {
        let code = match self.needs {
            Needs::Nothing => return self.text.clone(),
            Needs::Time => "90",
            Needs::Person => "33",
            Needs::Repair => "31",
        };
        if colour {
            format!("\x1b[{code}m{}\x1b[0m", self.text)
        } else {
            self.text.clone()
        }
    }

    /// The line in pieces of at most `width` characters, broken between words where that is possible.
    pub(crate) fn folded(&self, width: usize) -> Vec<Self> {
        // On a narrow screen the column gives way to the words.
        let hang = if self.hang + 24 > width { 4 } else { self.hang };
        let mut pieces = Vec::new();
        let mut rest: Vec<char> = self.text.chars().collect();
        while rest.len() > width.max(hang + 1) {
            let used = rest.iter().take_while(|letter| **letter == ' ').count();
            let fits = &rest[..width.max(hang + 1)];
            let at = fits
                .iter()
                .rposition(|letter| *letter == ' ')
                .filter(|at| *at > used.max(hang));
            let at = at.unwrap_or(fits.len());
            let tail: Vec<char> = rest.split_off(at);
            pieces.push(rest.iter().collect::<String>());
            let tail: String = tail.iter().collect();
            rest = format!("{:hang$}{}", "", tail.trim_start()).chars().collect();
        }
        pieces.push(rest.iter().collect());
        let line = |text: String| Self::new(text.trim_end(), self.needs);
        pieces.into_iter().map(line).collect()
    }
}

/// Whether the reader wants colour: a terminal, and no `NO_COLOR`.
pub(crate) fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb && std::io::stdout().is_terminal()
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(Winsize { ws_col, ws_row, .. }) if ws_col > 0 && ws_row > 0 => (ws_col.into(), ws_row.into()),
        _ => (80, 24),
    }
}

pub(crate) fn print(lines: &[Line]) {
    let colour = colour();
    let text: Vec<String> = lines.iter().map(|line| line.painted(colour)).collect();
    write(&format!("{}\n", text.join("\n")));
}

pub(crate) fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => write(&format!("{text}\n")),
        Err(error) => complain(&format!("write JSON: {error}")),
    }
}

/// Writes at once; a reader that has gone away (`| head`) ends the command without a word.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

/// One line to standard error; there is nobody to tell if that fails.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "kubectl lockkeeper: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str, hang: usize, width: usize) -> String {
        let pieces = Line::plain(text).hanging(hang).folded(width);
        let pieces: Vec<String> = pieces.into_iter().map(|line| line.text).collect();
        assert!(pieces.iter().all(|piece| piece.chars().count() <= width), "{pieces:?}");
        pieces.join("\n")
    }

    #[test]
    fn a_long_line_goes_on_below_its_own_column() {
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
    fn a_narrow_screen_and_a_word_without_end_lose_nothing() {
        assert_eq!(folded("  w-02   größer", 20, 10), "  w-02\n    größer");
        assert_eq!(folded("abcdefghijklmnop", 20, 10), "abcdefghij\n    klmnop");
        assert_eq!(folded("short", 4, 10), "short");
    }

    #[test]
    fn only_what_waits_or_failed_is_coloured() {
        assert_eq!(Line::plain("x").painted(true), "x");
        assert_eq!(Line::new("x", Needs::Repair).painted(true), "\x1b[31mx\x1b[0m");
        assert_eq!(Line::new("x", Needs::Repair).painted(false), "x");
    }
}
