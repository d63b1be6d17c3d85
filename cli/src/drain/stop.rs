//! Ctrl-C: the first one undoes, the second one ends at once.

use std::process::exit;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::screen;

/// Whether somebody wants this to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::error(format!("listen for Ctrl-C: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (to, asked) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if to.send_replace(true) {
                    screen::complain("stopped at once; marks may still be on: kubectl lockkeeper drain --cancel NODE");
                    exit(1);
                }
                screen::complain("stopping: no more pods are asked, the marks are lifted; once more ends at once");
            }
        });
        Ok(Self(asked))
    }

    /// Whether it is wanted.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is wanted.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody listens any more, so nobody can ask.
            std::future::pending::<()>().await;
        }
    }
}
