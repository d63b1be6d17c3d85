//! Whether the operator works, for the probes of its pod.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What each part of the operator says of itself.
///
/// An idle operator does nothing, so silence is no sign of illness: a part is ill when it began something and does not
/// get to its end.
#[derive(Clone, Debug, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

#[derive(Debug)]
struct State {
    limit: Duration,
    busy_since: Option<Instant>,
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
    /// A part whose work must never take longer than `limit`; it is not ready until it says so.
    pub fn component(&self, name: &'static str, limit: Duration) -> Component {
        let state = State {
            limit,
            busy_since: None,
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
            let busy = state.busy_since.map(|since| now.saturating_duration_since(since));
            if let Some(busy) = busy.filter(|busy| *busy > state.limit) {
                return Err(format!(
                    "{name} has been at it for {} s, longer than {} s",
                    busy.as_secs(),
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
        self.update(|state| state.busy_since = Some(Instant::now()));
        BusyGuard { component: self }
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
        self.component.update(|state| state.busy_since = None);
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
    async fn work_that_does_not_end_is_ill() {
        let health = Health::default();
        let component = health.component("pass", Duration::from_mins(1));
        let busy = component.busy();
        advance(Duration::from_secs(61)).await;
        assert_eq!(
            health.alive(),
            Err("pass has been at it for 61 s, longer than 60 s".into())
        );
        drop(busy);
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
