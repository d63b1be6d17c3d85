//! A timer that may be unset.

use tokio::time::{Instant, sleep_until};

/// Sleeps until then; forever without a time.
pub async fn sleep_until_or_forever(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
