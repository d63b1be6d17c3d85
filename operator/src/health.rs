//! Whether the operator works, for the probes of its pod.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What each part of the operator says of itself.
///
/// An idle operator does nothing, so silence is no sign of illness: a part is ill when it began something and then makes
/// no progress. How long the work takes in all does not matter: a pass over a large cluster with a slow API server may
/// take many minutes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

#[derive(Debug)]
struct State {
    limit: Duration,
    /// While the part is at work: when it began, or when it last got on.
    progress: Option<Instant>,
    not_ready: Option<String>,
}

/// One part that reports its health.
#[derive(Clone, Debug)]
pub struct Component {
    health: Health,
    name: &'static str,
}

/// The part is at work until this is dropped.
#[derive(Debug)]
pub struct BusyGuard<'a> {
    component: &'a Component,
}

impl Health {
    /// A part that makes progress at least once in `limit` while it works; it is not ready until it says so.
    pub fn component(&self, name: &'static str, limit: Duration) -> Component {
        let state = State {
            limit,
            progress: None,
            not_ready: Some("starting".into()),
        };
        self.lock().insert(name, state);
        Component {
            health: self.clone(),
            name,
        }
    }

    /// Fails, with the reason, if a part is stuck: the process should be started again.
    pub fn alive(&self) -> Result<(), String> {
        let now = Instant::now();
        for (name, state) in &*self.lock() {
            let silent = state.progress.map(|last| now.saturating_duration_since(last));
            if let Some(silent) = silent.filter(|silent| *silent > state.limit) {
                return Err(format!(
                    "{name} has made no progress for {} s, longer than {} s",
                    silent.as_secs(),
                    state.limit.as_secs()
                ));
            }
        }
        Ok(())
    }

    /// Fails, with the reason, if a part is stuck or cannot do its work yet.
    pub fn ready(&self) -> Result<(), String> {
        self.alive()?;
        for (name, state) in &*self.lock() {
            if let Some(reason) = &state.not_ready {
                return Err(format!("{name}: {reason}"));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// The work begins; it ends when the guard is dropped.
    pub fn busy(&self) -> BusyGuard<'_> {
        self.update(|state| state.progress = Some(Instant::now()));
        BusyGuard { component: self }
    }

    /// The work got on by one step; says nothing if the part is not at work.
    pub fn progress(&self) {
        self.update(|state| {
            if let Some(last) = &mut state.progress {
                *last = Instant::now();
            }
        });
    }

    /// The part can do its work.
    pub fn is_ready(&self) {
        self.update(|state| state.not_ready = None);
    }

    /// The part cannot do its work, for this reason.
    pub fn is_not_ready(&self, reason: &str) {
        self.update(|state| state.not_ready = Some(reason.to_owned()));
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.health.lock().get_mut(self.name) {
            change(state);
        }
    }
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        self.component.update(|state| state.progress = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn idling_for_ever_is_healthy() {
        let health = Health::default();
        let component = health.component("pass", Duration::from_mins(1));
        component.is_ready();
        drop(component.busy());
        advance(Duration::from_hours(24)).await;
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_makes_no_progress_is_ill() {
        let health = Health::default();
        let component = health.component("pass", Duration::from_mins(1));
        let busy = component.busy();
        advance(Duration::from_secs(61)).await;
        assert_eq!(
            health.alive(),
            Err("pass has made no progress for 61 s, longer than 60 s".into())
        );
        drop(busy);
        assert_eq!(health.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_that_gets_on_is_healthy() {
        let health = Health::default();
        let component = health.component("pass", Duration::from_mins(1));
        let _busy = component.busy();
        for _ in 0..100 {
            advance(Duration::from_secs(59)).await;
            component.progress();
            assert_eq!(health.alive(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_part_stays_idle_when_a_late_answer_comes() {
        let health = Health::default();
        let component = health.component("pass", Duration::from_mins(1));
        component.progress();
        advance(Duration::from_hours(1)).await;
        assert_eq!(health.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_is_ready_when_it_says_so() {
        let health = Health::default();
        let component = health.component("views", Duration::from_mins(1));
        assert_eq!(health.ready(), Err("views: starting".into()));
        component.is_not_ready("the watch on Nodes has not listed them");
        assert_eq!(
            health.ready(),
            Err("views: the watch on Nodes has not listed them".into())
        );
        component.is_ready();
        assert_eq!(health.ready(), Ok(()));
    }
}
