//! Reads the fields of a protobuf message.
//!
//! A field is a number (its own, and how it is stored), and its content: a number of variable length, 8 bytes, a length and
//! that many bytes, or 4 bytes. The actuator reads two fields of one message, for which a crate would be larger than this.

/// A field with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A number.
    Number(u64, u64),
    /// A text, bytes or another message.
    Bytes(u64, &'a [u8]),
    /// A number of fixed length.
    Other,
}

impl<'a> Field<'a> {
    /// The fields in their order; `None` if the bytes are no such message.
    pub(super) fn parse_all(mut bytes: &'a [u8]) -> Option<Vec<Self>> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            fields.push(Self::take(&mut bytes)?);
        }
        Some(fields)
    }

    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let tag = number(bytes)?;
        match (tag >> 3, tag & 7) {
            (0, _) => None,
            (field, 0) => Some(Self::Number(field, number(bytes)?)),
            (_, 1) => bytes.split_off(..8).map(|_| Self::Other),
            (field, 2) => {
                let length = usize::try_from(number(bytes)?).ok()?;
                bytes.split_off(..length).map(|content| Self::Bytes(field, content))
            }
            (_, 5) => bytes.split_off(..4).map(|_| Self::Other),
            _ => None,
        }
    }
}

/// A number in groups of 7 bits, the lowest ones first; all groups but the last have the highest bit set.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_each_kind_are_read() {
        let message = b"\x08\x96\x01\x12\x03abc\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0";
        assert_eq!(
            Field::parse_all(message),
            Some(vec![
                Field::Number(1, 150),
                Field::Bytes(2, b"abc"),
                Field::Other,
                Field::Other
            ])
        );
    }

    #[test]
    fn a_negative_number_has_ten_bytes_and_none_has_more() {
        let minus_one = b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Field::parse_all(minus_one), Some(vec![Field::Number(3, u64::MAX)]));
        assert_eq!(Field::parse_all(&[[0x18].as_slice(), &[0xff; 11]].concat()), None);
    }

    #[test]
    fn what_is_shorter_than_it_says_is_no_message() {
        for bytes in [
            &b"\x08"[..],
            b"\x12\x03ab",
            b"\x19\0",
            b"\x25\0",
            b"\0\0",
            b"\x0b",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(Field::parse_all(bytes), None, "{bytes:?}");
        }
    }
}
