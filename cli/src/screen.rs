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
}

impl Line {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Needs::Nothing)
    }

    pub(crate) fn new(text: impl Into<String>, needs: Needs) -> Self {
        Self {
            text: text.into(),
            needs,
        }
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

    /// The line cut to `width` characters.
    pub(crate) fn cut(&self, width: usize) -> Self {
        let text = if self.text.chars().count() > width {
            let head: String = self.text.chars().take(width.saturating_sub(1)).collect();
            format!("{}…", head.trim_end())
        } else {
            self.text.clone()
        };
        Self {
            text,
            needs: self.needs,
        }
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

    #[test]
    fn a_line_is_cut_by_characters_not_bytes() {
        assert_eq!(Line::plain("grüßende Knoten").cut(9).text, "grüßende…");
        assert_eq!(Line::plain("short").cut(5).text, "short");
    }

    #[test]
    fn only_what_waits_or_failed_is_coloured() {
        assert_eq!(Line::plain("x").painted(true), "x");
        assert_eq!(Line::new("x", Needs::Repair).painted(true), "\x1b[31mx\x1b[0m");
        assert_eq!(Line::new("x", Needs::Repair).painted(false), "x");
    }
}
