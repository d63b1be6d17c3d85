//! Changes of an input: of its bytes, or, if it is JSON, of one of its values.

use serde_json::{Value, json};

use crate::random::Random;

/// Pieces that parsers of this project treat in their own ways.
const PIECES: &[&[u8]] = &[
    b"\x1b[2J",
    "\u{202e}".as_bytes(),
    b"\\u202e",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"null",
    b"-1",
    b"9223372036854775808",
    b"1e400",
    b"%",
    b"*/0",
    b"60",
    b"L",
    b"#",
    b"2026-11-21T12:00:00Ztrailing words",
    b"+99:99",
];

/// An input of the corpus with one to four changes.
pub(crate) fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(corpus).clone();
    for _ in 0..=random.below(4) {
        input = match serde_json::from_slice::<Value>(&input) {
            Ok(value) if random.below(3) > 0 => changed_value(value, random).to_string().into_bytes(),
            Ok(_) | Err(_) => changed_bytes(input, corpus, random),
        };
    }
    input
}

fn changed_bytes(mut input: Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(8)).min(input.len());
    match random.below(6) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        3 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        4 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        _ => drop(input.splice(at..at, random.pick(PIECES).iter().copied())),
    }
    input
}

/// Replaces one of the values in it, or removes it.
fn changed_value(mut value: Value, random: &mut Random) -> Value {
    let mut place = &mut value;
    loop {
        let inner = match place {
            Value::Array(values) => values.len(),
            Value::Object(fields) => fields.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        // Values near the root are rarer than those below them.
        if inner == 0 || random.below(6) == 0 {
            *place = other_value(random);
            return value;
        }
        let chosen = random.below(inner);
        if random.below(12) == 0 {
            remove(place, chosen);
            return value;
        }
        place = match place {
            Value::Array(values) => &mut values[chosen],
            Value::Object(fields) => match fields.values_mut().nth(chosen) {
                Some(field) => field,
                None => return value,
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return value,
        };
    }
}

fn remove(place: &mut Value, chosen: usize) {
    match place {
        Value::Array(values) => drop(values.remove(chosen)),
        Value::Object(fields) => {
            let name = fields.keys().nth(chosen).cloned();
            name.map(|name| fields.remove(&name));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn other_value(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(i64::MAX),
        4 => json!(u64::MAX),
        5 => json!(0.5),
        6 => json!(""),
        7 => json!("x".repeat(1 + random.below(3000))),
        8 => json!("\u{1b}[2J\u{202e}\r\n\u{7}"),
        9 => json!("2026-11-21T12:00:00Ztrailing words"),
        10 => json!([]),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_of_json_are_mostly_json_and_mostly_different() {
        let corpus = vec![br#"{"a": [1, {"b": "c"}], "d": null}"#.to_vec()];
        let mut random = Random::new(0);
        let all: Vec<Vec<u8>> = (0..1000).map(|_| mutated(&corpus, &mut random)).collect();
        let json = all
            .iter()
            .filter(|input| serde_json::from_slice::<Value>(input).is_ok());
        assert!(json.count() > 300);
        let distinct: std::collections::BTreeSet<&Vec<u8>> = all.iter().collect();
        assert!(distinct.len() > 500, "{}", distinct.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_mutations() {
        let corpus = vec![b"0 22 * * MON".to_vec(), b"x".to_vec()];
        let all = || {
            let mut random = Random::new(7);
            (0..100).map(|_| mutated(&corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(all(), all());
    }
}
