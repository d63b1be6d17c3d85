//! Writes to the terminal, or to a file or pipe.

use std::io::{IsTerminal, Write};
use std::process::exit;

use lockkeeper_kube_util::{is_printable, single_line};
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
        Ok(text) => write(&format!("{}\n", escaped(&text))),
        Err(error) => print_error(&format!("write JSON: {error}")),
    }
}

/// A JSON document whose strings have `\uXXXX` for each character that a terminal obeys; it means the same.
fn escaped(document: &str) -> String {
    // JSON has control characters between its values only as line breaks, and other such characters in strings alone.
    let escape = |character: char| match character {
        '\n' => character.to_string(),
        shown if is_printable(shown) => shown.to_string(),
        obeyed => format!("\\u{:04x}", u32::from(obeyed)),
    };
    document.chars().map(escape).collect()
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
    let _ = writeln!(std::io::stderr(), "kubectl lockkeeper: {}", single_line(message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_escapes_is_valid_and_means_the_same() {
        let value = serde_json::json!({"message": "\u{1b}[2J\u{9b}2J \u{202e}öl\n\u{7f}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let printed = escaped(&text);
        assert!(
            printed.chars().all(|shown| shown == '\n' || is_printable(shown)),
            "{printed:?}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }
}
