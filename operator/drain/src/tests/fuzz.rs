//! Whatever answers an eviction: an API server, a webhook, a proxy.

use std::time::Duration;

use lockkeeper_fuzz::fuzz;
use lockkeeper_kube_util::is_printable;

use crate::answer::{EvictionAnswer, classify};

#[test]
fn only_a_success_grants_an_eviction_and_every_message_is_printable() {
    fuzz("eviction-answer", |body| {
        for code in [200, 201, 400, 403, 404, 409, 422, 429, 500, 503, 599, 999] {
            let answer = classify(code, Some(Duration::from_secs(1)), body);
            let granted = answer == EvictionAnswer::Granted;
            assert_eq!(granted, (200..300).contains(&code), "{code}: {answer:?}");
            let shown = format!("{answer:?}");
            let escaped = ["\\u{", "\\n", "\\r", "\\t", "\\0"];
            assert!(!escaped.iter().any(|escape| shown.contains(escape)), "{shown}");
            assert!(shown.chars().all(is_printable), "{shown}");
        }
    });
}
