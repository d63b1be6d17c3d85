//! Nodes with a write that failed, and the lock: each is tried again after a pause of its own, while the others continue.
//!
//! Losing this in a restart costs one more attempt for each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_snapshot::Filling;
use tokio::time::Instant;

use crate::execute::{Error, LOCK, Retry};

/// The first pause after an API server in trouble, or after a refusal; doubled with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause after such failures.
const MAX_PAUSE: Duration = Duration::from_mins(5);
/// The first pause after a conflict; doubled with each conflict in a row.
const FIRST_CONFLICT_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after conflicts.
const MAX_CONFLICT_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a precondition that did not hold: pods may land on a node for this long after its cordon.
const STALE_PAUSE: Duration = Duration::from_secs(1);
/// A refusal is valid for this long after the next attempt was due: a node of which nothing is written meanwhile, because it
/// got no slot for it, is then tried again.
const VALID_FOR: Duration = Duration::from_secs(10);
/// From so many refusals in a row on, the planner learns of them: an object may be changed while it is written.
const LASTING: u32 = 2;
/// From so many answers in a row on that the object is invalid, a schema or a CEL rule is taken to refuse the write. The
/// pauses between them give a watch that lags 6 s to show that the object was replaced.
const LASTING_INVALID: u32 = 6;

/// The nodes whose last write failed, and the lock, which is called [`LOCK`] here.
#[derive(Debug, Default)]
pub struct FailedWrites(BTreeMap<String, FailedWrite>);

#[derive(Debug)]
struct FailedWrite {
    /// How many failed in a row.
    count: u32,
    /// How many of them were answered in a row with the object being invalid.
    invalid: u32,
    /// How many of them were refusals in a row.
    refused: u32,
    retry_at: Instant,
    /// What refuses the write, if the API server answered that it is not allowed.
    refusal: Option<String>,
}

impl FailedWrites {
    /// Records the failure of a write about this node; returns the pause until the next attempt.
    pub fn record(&mut self, node: &str, error: &Error, now: Instant) -> Duration {
        let before = self.0.get(node);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        let invalid = before.map_or(0, |failed| failed.invalid).saturating_add(1);
        let invalid = if error.is_invalid() { invalid } else { 0 };
        let lasting = || error.answer().filter(|_| invalid >= LASTING_INVALID);
        let refusal = error.refusal().or_else(lasting);
        let refused = before.map_or(0, |failed| failed.refused).saturating_add(1);
        let refused = if refusal.is_some() { refused } else { 0 };
        let pause = pause_after(error, if refused > 0 { refused } else { count }, refused > 0);
        let failed = FailedWrite {
            count,
            invalid,
            refused,
            retry_at: now + pause,
            refusal,
        };
        self.0.insert(node.to_owned(), failed);
        pause
    }

    /// Forgets the failures of a node, because a write about it was made.
    pub fn clear(&mut self, node: &str) {
        self.0.remove(node);
    }

    /// Whether writes about this object wait for their next attempt.
    pub fn is_waiting(&self, node: &str, now: Instant) -> bool {
        self.0.get(node).is_some_and(|failed| now < failed.retry_at)
    }

    /// When the next attempt of any node is due, or a refusal expires.
    pub fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let times = |failed: &FailedWrite| [failed.retry_at, failed.retry_at + VALID_FOR];
        let times = self.0.values().flat_map(times);
        times.filter(|time| *time > now).min()
    }

    /// Puts lasting refusals into the snapshot, and forgets nodes that are gone.
    pub fn fill(&mut self, filling: &mut Filling, now: Instant) {
        self.0
            .retain(|name, _| name == LOCK || filling.nodes().contains_key(name) || filling.is_unmanaged(name));
        for (name, failed) in &self.0 {
            let Some(refusal) = failed.lasting_refusal(now) else {
                continue;
            };
            if name == LOCK {
                filling.refuse_lock_write(refusal.clone());
            } else if let Some(node) = filling.node(name) {
                node.refused_write.get_or_insert_with(|| refusal.clone());
            }
        }
    }
}

impl FailedWrite {
    /// The refusal, if it has lasted and the next attempt is not overdue.
    fn lasting_refusal(&self, now: Instant) -> Option<&String> {
        let is_valid = self.count >= LASTING && now < self.retry_at + VALID_FOR;
        self.refusal.as_ref().filter(|_| is_valid)
    }
}

fn pause_after(error: &Error, count: u32, is_refused: bool) -> Duration {
    let doubled = 1u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX);
    match (error.retry(), error) {
        (Retry::OnChange, Error::Stale { .. } | Error::NotEmpty { .. }) => STALE_PAUSE,
        (Retry::OnChange, _) if !is_refused => FIRST_CONFLICT_PAUSE.saturating_mul(doubled).min(MAX_CONFLICT_PAUSE),
        (Retry::OnChange | Retry::Later, _) => FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::core::Status;
    use lockkeeper_planner::Snapshot;

    use super::*;

    fn answer(code: u16, message: &str) -> Error {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        Error::Api {
            step: "cordon",
            object: "w-1".to_owned(),
            source: kube::Error::Api(Box::new(status)),
        }
    }

    fn conflict_of_managers() -> Error {
        Error::CordonConflict {
            node: "w-1".to_owned(),
            operation_id: "op".to_owned(),
            manager: "argocd".to_owned(),
            field: ".spec.unschedulable".to_owned(),
        }
    }

    #[test]
    fn each_class_of_errors_has_its_pause_and_is_a_refusal_or_not() {
        let webhook = "admission webhook \"freeze\" denied the request: not today";
        for (error, first, fifth, refusal) in [
            (answer(409, "object has been modified"), 200, 3200, None),
            (answer(404, "not found"), 200, 3200, None),
            (answer(422, "uid mismatch"), 200, 3200, None),
            (answer(429, "too many requests"), 2000, 32_000, None),
            (answer(500, "etcdserver: request timed out"), 2000, 32_000, None),
            (answer(503, "unavailable"), 2000, 32_000, None),
            (
                answer(403, webhook),
                2000,
                32_000,
                Some(
                    "the API server refuses to cordon w-1: admission webhook \"freeze\" denied the request: not today",
                ),
            ),
            (
                answer(400, "bad"),
                2000,
                32_000,
                Some("the API server refuses to cordon w-1: bad"),
            ),
            (
                conflict_of_managers(),
                2000,
                32_000,
                Some("cannot cordon w-1: field .spec.unschedulable is owned by argocd with a different value"),
            ),
        ] {
            assert_eq!(error.refusal().as_deref(), refusal, "{error}");
            let pause = |count| pause_after(&error, count, refusal.is_some());
            assert_eq!(pause(1), Duration::from_millis(first), "{error}");
            assert_eq!(pause(5), Duration::from_millis(fifth), "{error}");
            assert!(pause(99) <= MAX_PAUSE);
        }
        let stale = Error::Stale {
            step: "cordon",
            object: "w-1".to_owned(),
            found: String::new(),
        };
        assert_eq!((pause_after(&stale, 9, false), stale.refusal()), (STALE_PAUSE, None));
    }

    /// What the planner learns of the lock after these failures, and the pause after the last one.
    fn learned(errors: &[Error]) -> (Option<String>, Duration) {
        let (mut failed, mut now) = (FailedWrites::default(), Instant::now());
        let (mut snapshot, mut pause) = (Snapshot::default(), Duration::ZERO);
        for error in errors {
            now += pause;
            pause = failed.record(LOCK, error, now);
        }
        failed.fill(&mut Filling::new(&mut snapshot, &mut BTreeSet::new()), now);
        (snapshot.refused_lock_write, pause)
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_stays_invalid_is_refused_with_the_servers_text() {
        let invalid = || answer(422, "spec.order: Invalid value: the rule of the cluster forbids it");
        let mut errors: Vec<Error> = (1..LASTING_INVALID).map(|_| invalid()).collect();
        assert_eq!(learned(&errors), (None, Duration::from_millis(3200)));
        errors.push(answer(409, "object has been modified"));
        errors.push(invalid());
        assert_eq!(
            learned(&errors),
            (None, MAX_CONFLICT_PAUSE),
            "another writer came between"
        );
        errors.extend((1..LASTING_INVALID).map(|_| invalid()));
        let refusal =
            "the API server refuses to cordon w-1: spec.order: Invalid value: the rule of the cluster forbids it";
        let (learned, pause) = learned(&errors);
        assert_eq!(learned.as_deref(), Some(refusal));
        assert_eq!(pause, FIRST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_of_the_lock_is_known_to_the_planner_after_two_attempts() {
        let refused = || answer(403, "not today");
        assert_eq!(learned(&[refused()]).0, None);
        let (learned, pause) = learned(&[refused(), refused()]);
        assert_eq!(
            learned.as_deref(),
            Some("the API server refuses to cordon w-1: not today")
        );
        assert_eq!(pause, FIRST_PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_with_the_name_of_the_lock_is_not_the_lock() {
        let (mut failed, now) = (FailedWrites::default(), Instant::now());
        failed.record("cluster", &answer(403, "no"), now);
        failed.record("cluster", &answer(403, "no"), now);
        let mut snapshot = Snapshot::default();
        failed.fill(&mut Filling::new(&mut snapshot, &mut BTreeSet::new()), now);
        assert_eq!(snapshot.refused_lock_write, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_waits_for_its_next_attempt_and_others_do_not() {
        let (mut failed, now) = (FailedWrites::default(), Instant::now());
        let pause = failed.record("w-1", &answer(403, "no"), now);
        assert_eq!(pause, FIRST_PAUSE);
        assert!(failed.is_waiting("w-1", now) && !failed.is_waiting("w-2", now));
        assert_eq!(failed.next_attempt(now), Some(now + pause));
        assert!(!failed.is_waiting("w-1", now + pause));
        failed.clear("w-1");
        assert!(!failed.is_waiting("w-1", now));
        failed.record("w-1", &answer(403, "no"), now);
        failed.fill(&mut Filling::new(&mut Snapshot::default(), &mut BTreeSet::new()), now);
        assert_eq!(failed.next_attempt(now), None, "its Node is gone");
    }
}
