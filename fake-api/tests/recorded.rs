//! The server's answers are those that a real kube-apiserver gave, as `tests/recorded/exchanges.json` has them.
//!
//! A test of the crate `lockkeeper-e2e` compares that file with a real server, and writes it with `UPDATE_EXPECT=1`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use chrono::DateTime;
use lockkeeper_fake_api::FakeApi;
use lockkeeper_fake_api::exchanges::{Exchange, exchanges};
use lockkeeper_kube_util::Clock;

#[tokio::test(start_paused = true)]
async fn the_fake_api_server_answers_as_the_real_one_was_recorded() {
    let api = FakeApi::new(Clock::steady_from(DateTime::UNIX_EPOCH));
    let answered = exchanges(api.client("exchanges", Duration::from_mins(1)))
        .await
        .unwrap();
    let recorded: Vec<Exchange> = serde_json::from_str(include_str!("recorded/exchanges.json")).unwrap();
    for (answered, recorded) in answered.iter().zip(&recorded) {
        assert_eq!(answered, recorded);
    }
    assert_eq!(answered.len(), recorded.len());
}
