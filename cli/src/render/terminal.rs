//! Writes to the terminal, or to a file or pipe.

use std::io::{IsTerminal, Write};
use std::process::exit;

use rustix::termios::{Winsize, tcgetwinsize};
use serde::Serialize;

use super::line::Line;

/// Whether to use colour: only in a terminal, and without `NO_COLOR`.
pub(crate) fn use_colour() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !is_refused && !is_dumb && std::io::stdout().is_terminal()
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(Winsize { ws_col, ws_row, .. }) if ws_col > 0 && ws_row > 0 => (ws_col.into(), ws_row.into()),
        _ => (80, 24),
    }
}

pub(crate) fn print(lines: &[Line]) {
    let colour = use_colour();
    let text: Vec<String> = lines.iter().map(|line| line.coloured(colour)).collect();
    write(&format!("{}\n", text.join("\n")));
}

pub(crate) fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => write(&format!("{text}\n")),
        Err(error) => print_error(&format!("write JSON: {error}")),
    }
}

/// Writes without a buffer; a closed pipe (`| head`) ends the command without a message.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

/// Prints one line to standard error; an error of that is ignored.
pub(crate) fn print_error(message: &str) {
    let _ = writeln!(std::io::stderr(), "kubectl lockkeeper: {message}");
}
