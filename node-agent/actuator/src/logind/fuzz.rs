//! Whatever logind, or what stands in its place on the bus, answers.

use lockkeeper_fuzz::fuzz;

use super::{InhibitorTuple, is_inhibited, read_answers};

/// An answer to `CanReboot`, and one to `ListInhibitors`.
fn answers(input: &[u8]) -> (String, Vec<InhibitorTuple>) {
    serde_json::from_slice(input).unwrap_or_else(|_| (String::from_utf8_lossy(input).into_owned(), Vec::new()))
}

#[test]
fn only_known_words_permit_a_reboot_and_every_refusal_is_a_short_printable_message() {
    fuzz("logind", |input| {
        let (word, locks) = answers(input);
        let probe = read_answers(&word, &locks);
        assert_eq!(
            probe.capable,
            word == "yes" || is_inhibited(&word),
            "{word:?}: {probe:?}"
        );
        assert_eq!(probe.capable, probe.message.is_empty());
        let blocks = locks.iter().filter(|lock| lock.3 == "block").count();
        assert!(probe.inhibitors.len() <= blocks.max(1), "{probe:?}");
        let texts = probe.inhibitors.iter().flat_map(|one| [&one.who, &one.why]);
        for text in texts.chain([&probe.message]) {
            assert!(text.chars().count() <= 256, "{text:?}");
            assert!(text.chars().all(lockkeeper_text::is_printable), "{text:?}");
        }
    });
}
