//! Ctrl-C: the first one uncordons and ends, the second one ends at once.

use std::process::exit;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::messages;
use crate::failure::Failure;
use crate::render::terminal;

/// Whether the run is to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::error(format!("listen for Ctrl-C: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (sender, requested) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sender.send_replace(true) {
                    terminal::print_error(messages::STOPPED_AT_ONCE);
                    exit(1);
                }
                terminal::print_error(messages::STOPPING);
            }
        });
        Ok(Self(requested))
    }

    /// Whether a stop was requested.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until a stop is requested.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            // The listener has ended, so that no request can arrive.
            std::future::pending::<()>().await;
        }
    }
}
