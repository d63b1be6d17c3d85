//! Finds RFC 3339 times in text.

use chrono::{DateTime, Utc};

/// `2026-11-24T22:00:00Z`; a fraction and a numeric offset may stand instead of the `Z`.
const SHAPE: &[u8] = b"0000-00-00T00:00:00";

/// Replaces each time in the text. A value to be copied stays: one directly behind a quotation mark or `=`.
pub(super) fn replace(text: &str, show: impl Fn(DateTime<Utc>) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let is_literal = shown.ends_with(|before: char| before.is_ascii_alphanumeric() || "'\"`=".contains(before));
        if let Some((time, length)) = leading_time(rest).filter(|_| !is_literal) {
            shown += &show(time);
            rest = &rest[length..];
        } else {
            shown.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    shown
}

/// The time that the text begins with, and its length in bytes.
fn leading_time(text: &str) -> Option<(DateTime<Utc>, usize)> {
    let bytes = text.as_bytes();
    let has_shape = bytes.len() > SHAPE.len()
        && bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    if !has_shape {
        return None;
    }
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = SHAPE.len();
    if bytes[end] == b'.' {
        end += 1 + digits(end + 1);
    }
    end += match bytes.get(end)? {
        b'Z' => 1,
        b'+' | b'-' => "+00:00".len(),
        _ => return None,
    };
    let time = DateTime::parse_from_rfc3339(text.get(..end)?).ok()?;
    Some((time.to_utc(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> String {
        replace(text, |time| format!("<{}>", time.format("%H:%M:%S")))
    }

    #[test]
    fn fractions_and_offsets_belong_to_a_time() {
        assert_eq!(marked("at 2026-11-24T22:00:00.25Z."), "at <22:00:00>.");
        assert_eq!(marked("2026-11-24T22:00:00-01:00:x"), "<23:00:00>:x");
        assert_eq!(
            marked("2026-11-24T22:00:00Z/2026-11-24T23:00:00Z"),
            "<22:00:00>/<23:00:00>"
        );
    }

    #[test]
    fn text_that_is_no_time_stays_as_it_is() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T22:00:00",
            "2026-99-24T22:00:00Z",
            "größer 2026-11-24T22:00:00+0",
        ] {
            assert_eq!(marked(text), text);
        }
    }

    #[test]
    fn a_value_to_be_copied_stays_as_it_is() {
        let text = "set lockkeeper.dev/hold-until=2026-11-24T22:00:00Z or '2026-11-24T22:00:00Z'";
        assert_eq!(marked(text), text);
    }
}
