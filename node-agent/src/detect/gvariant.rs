//! Reads dictionaries in the format `GVariant`, in which ostree writes its files.
//!
//! A dictionary `a{sv}` is its entries, each at a multiple of 8, and then where each entry ends. An entry is its key, its
//! value at a multiple of 8, and where the key ends. A value is its data, a zero byte and its type. All numbers are
//! little-endian, and as wide as the length of the whole requires.
//!
//! The crate `gvariant` would read it as well, but its macro expands to `unsafe` code, which this workspace forbids.

/// What contains the value of an entry, and of which type it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    kind: &'a [u8],
    data: &'a [u8],
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    pub(super) fn text(self) -> Option<&'a str> {
        let text = self.data.strip_suffix(b"\0").filter(|_| self.kind == b"s")?;
        std::str::from_utf8(text).ok()
    }

    /// The truth value, if it is one.
    pub(super) fn truth(self) -> Option<bool> {
        match (self.kind, self.data) {
            (b"b", [0]) => Some(false),
            (b"b", [1]) => Some(true),
            _ => None,
        }
    }

    /// The dictionary, if it is one.
    pub(super) fn dictionary(self) -> Option<Dictionary<'a>> {
        (self.kind == b"a{sv}").then(|| Dictionary::parse(self.data))?
    }
}

/// A dictionary `a{sv}`.
#[derive(Debug)]
pub(super) struct Dictionary<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Dictionary<'a> {
    /// `None` if the bytes are no such dictionary.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut entries = Vec::new();
        let Some(width) = width(bytes.len()) else {
            return Some(Self(entries));
        };
        let end = number(bytes, bytes.len().checked_sub(width)?, width)?;
        let ends = bytes.get(end..)?;
        if ends.len() % width != 0 {
            return None;
        }
        let mut begin = 0;
        for at in (end..bytes.len()).step_by(width) {
            let stop = number(bytes, at, width).filter(|stop| *stop <= end)?;
            entries.push(entry(bytes.get(aligned(begin)..stop)?)?);
            begin = stop;
        }
        Some(Self(entries))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let entry = self.0.iter().find(|entry| entry.0 == key);
        entry.map(|(_, value)| *value)
    }
}

fn entry(bytes: &[u8]) -> Option<(&str, Value<'_>)> {
    let width = width(bytes.len())?;
    let value_end = bytes.len().checked_sub(width)?;
    let key_end = number(bytes, value_end, width)?;
    let key = bytes.get(..key_end)?.strip_suffix(b"\0")?;
    let value = bytes.get(aligned(key_end)..value_end)?;
    let zero = value.iter().rposition(|byte| *byte == 0)?;
    let value = Value {
        data: value.get(..zero)?,
        kind: value.get(zero + 1..)?,
    };
    Some((std::str::from_utf8(key).ok()?, value))
}

/// How many bytes the numbers in something of this length have; `None` if it is empty.
fn width(length: usize) -> Option<usize> {
    match length {
        0 => None,
        1..=0xff => Some(1),
        0x100..=0xffff => Some(2),
        _ => Some(4),
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let digits = bytes.get(at..at.checked_add(width)?)?;
    Some(
        digits
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | usize::from(*byte)),
    )
}

fn aligned(at: usize) -> usize {
    at.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `GLib.Variant('a{sv}', ..)` of `GLib` 2.74: two texts, a truth value and a dictionary.
    const WRITTEN: &[u8] = include_bytes!("../../tests/data/ostree/mixed");

    #[test]
    fn what_glib_wrote_is_read() {
        let read = Dictionary::parse(WRITTEN).unwrap();
        assert_eq!(read.get("name").unwrap().text(), Some("a text"));
        assert_eq!(read.get("empty").unwrap().text(), Some(""));
        assert_eq!(read.get("truth").unwrap().truth(), Some(true));
        let inner = read.get("inner").unwrap().dictionary().unwrap();
        assert_eq!(inner.get("long").unwrap().text(), Some("x".repeat(300).as_str()));
        assert_eq!(read.get("absent"), None);
    }

    #[test]
    fn a_value_of_another_type_is_none() {
        let read = Dictionary::parse(WRITTEN).unwrap();
        let (text, truth) = (read.get("name").unwrap(), read.get("truth").unwrap());
        assert_eq!((text.truth(), truth.text()), (None, None));
        assert!(text.dictionary().is_none());
    }

    #[test]
    fn no_part_of_a_dictionary_is_taken_for_the_whole() {
        assert!(Dictionary::parse(&[]).is_some_and(|read| read.0.is_empty()));
        for length in 1..WRITTEN.len() {
            let part = Dictionary::parse(&WRITTEN[..length]);
            let names: Vec<&str> = part.iter().flat_map(|read| &read.0).map(|entry| entry.0).collect();
            assert!(names.len() < 4, "the first {length} bytes: {names:?}");
        }
    }
}
