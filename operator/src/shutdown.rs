//! The end of the process: on a signal in good order, and at once when one of its tasks is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGTERM or SIGINT cancels; the second one ends the process on the spot.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if !first {
                tracing::warn!("{name} again: ending at once");
                std::process::exit(130);
            }
            tracing::info!("{name}: ending in good order");
            stop.cancel();
        }
    });
    Ok(token)
}

/// Tasks that the process cannot do without.
///
/// A task that panics must not leave a process behind that looks well and does nothing: whoever owns this awaits
/// [`Tasks::ended`] and ends the process. Release builds abort on a panic anyway.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: BTreeMap<Id, &'static str>,
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which one.
    pub name: &'static str,
    /// Whether it panicked; else it returned.
    pub panicked: bool,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.panicked { "panicked" } else { "ended" };
        write!(f, "the task \"{}\" {how}", self.name)
    }
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// The next task that ends; nothing if none is left.
    pub async fn ended(&mut self) -> Option<Ended> {
        let (id, panicked) = match self.set.join_next_with_id().await? {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), JoinError::is_panic(&error)),
        };
        Some(Ended {
            name: self.names.remove(&id).unwrap_or("unnamed"),
            panicked,
        })
    }

    /// Waits for all that are left and answers the names of those that were not done in time; they are dropped.
    pub async fn finish(mut self, patience: Duration) -> Vec<&'static str> {
        let all = async { while self.ended().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return Vec::new();
        }
        self.names.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("loop", async { panic!("as the test wants") });
        let ended = tasks.ended().await.unwrap();
        assert_eq!(ended.to_string(), "the task \"loop\" panicked");
    }

    #[tokio::test]
    async fn a_task_that_returns_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("loop", async {});
        assert_eq!(tasks.ended().await.unwrap().to_string(), "the task \"loop\" ended");
        assert_eq!(tasks.ended().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_are_not_done_in_time_are_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("quick", async {});
        tasks.spawn("slow", std::future::pending());
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, ["slow"]);
    }
}
