//! Numbers with their nouns.

/// A number with commas: `3,912`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with commas and its noun: `1 node`, `3,912 nodes`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas_and_nouns_agree_with_them() {
        assert_eq!(
            [0, 12, 999, 1_000, 3_912, 1_234_567].map(thousands).join(" "),
            "0 12 999 1,000 3,912 1,234,567"
        );
        assert_eq!(
            [0, 1, 2_000].map(|number| counted(number, "pod")).join(", "),
            "0 pods, 1 pod, 2,000 pods"
        );
    }
}
