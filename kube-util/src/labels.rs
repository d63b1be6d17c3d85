//! Short texts that are derived from longer ones, the same in each version.

/// How long the value of a label may be.
const MAX_LABEL: usize = 63;

/// A hash that is the same with each program and version (FNV-1a). It is no protection against collisions on purpose.
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The value of a label for this text: the text, or sixteen hex digits of its hash if it cannot be a value.
pub fn label_value(text: &str) -> String {
    if is_label_value(text) {
        text.to_owned()
    } else {
        format!("{:016x}", stable_hash(text.bytes()))
    }
}

fn is_label_value(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= MAX_LABEL
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_can_be_a_label_value_is_kept() {
        for text in ["", "w-01", "ip-10-0-0-1.eu.example", &"a".repeat(63)] {
            assert_eq!(label_value(text), text);
        }
    }

    #[test]
    fn any_other_text_becomes_its_hash() {
        assert_eq!(label_value("-w"), "07d05107b498481d");
        let long = "a".repeat(64);
        for text in [&long, "w.", "a b", "ä"] {
            assert_eq!(label_value(text).len(), 16, "{text}");
        }
        assert_ne!(label_value("-w"), label_value("w-"));
    }
}
