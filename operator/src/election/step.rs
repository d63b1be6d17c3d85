//! What an elector does next, from what it has seen and when; no clock and no request in here.
//!
//! Time is this process's own monotonic clock: a Lease expires so long after *we* saw it change, whatever its
//! timestamps say, so clocks of different machines need not agree.

use std::time::Duration;

use tokio::time::Instant;

/// How long a Lease that is not renewed belongs to its holder.
const DURATION: Duration = Duration::from_secs(8);
/// How long after a renewal the next one is sent.
const RENEW: Duration = Duration::from_secs(3);
/// How long after a request that failed the next one is sent, at the earliest.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// A leader that could not renew for so long stops leading, 2 s before anybody else may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(6);
/// A Lease that has not changed for so long after its renewal was due should have: the watch may be dead, so it is read.
const SILENCE: Duration = Duration::from_secs(1);
/// A replica whose clock is wrong reads the Lease this often, to see whether the clock has been set right.
pub(super) const CLOCK_RETRY: Duration = Duration::from_secs(10);

/// How often a leader renews the Lease, and how long it leads without. By default another replica takes over within 8 s;
/// a test of a month need not renew each 3 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long after a renewal the next one is sent.
    pub renew: Duration,
    /// A leader that could not renew for so long stops leading.
    pub deadline: Duration,
    /// How long a Lease that is not renewed belongs to its holder; longer than the deadline.
    pub duration: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            renew: RENEW,
            deadline: RENEW_DEADLINE,
            duration: DURATION,
        }
    }
}

/// All that an elector knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) pace: Pace,
    pub(super) view: LeaseView,
    /// We lead, and our last write that succeeded was *sent* then: no replica saw it earlier.
    pub(super) renewed: Option<Instant>,
    /// A request failed: no other before this.
    pub(super) not_before: Option<Instant>,
    /// Why we must not lead, by the clock of the last answer.
    pub(super) clock_error: Option<String>,
}

/// The Lease as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseView {
    /// Not read yet, or our write was refused because it has changed.
    Unknown,
    /// There is none.
    Absent,
    /// It has no holder.
    Free,
    /// We hold it.
    Ours,
    /// Another replica holds it.
    Theirs {
        /// Who.
        holder: String,
        /// When we saw it change last.
        seen: Instant,
        /// How long it is theirs from then on.
        duration: Duration,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the Lease.
    Read,
    /// Make the Lease, with us in it.
    Create,
    /// Write us into it.
    Take,
    /// Write into it that we are still here.
    Renew,
    /// Stop leading, for this reason.
    Yield(String),
    /// Stop leading for this reason and let another replica lead at once.
    HandOver(String),
    /// Nothing before this, unless the Lease changes.
    Wait(Instant),
}

/// The next step.
pub(super) fn step(state: &State, now: Instant) -> Step {
    match state.renewed {
        Some(renewed) => lead(state, renewed, now),
        None => follow(state, now),
    }
}

fn lead(state: &State, renewed: Instant, now: Instant) -> Step {
    if let Some(error) = &state.clock_error {
        return Step::HandOver(error.clone());
    }
    let end = renewed + state.pace.deadline;
    if now >= end {
        return Step::Yield(format!(
            "the Lease could not be renewed for {} s",
            state.pace.deadline.as_secs()
        ));
    }
    let (due, next) = match &state.view {
        LeaseView::Ours => (renewed + state.pace.renew, Step::Renew),
        LeaseView::Unknown => (now, Step::Read),
        LeaseView::Absent => return Step::Yield("the Lease was deleted".into()),
        LeaseView::Free => return Step::Yield("another client removed the holder of the Lease".into()),
        LeaseView::Theirs { holder, .. } => return Step::Yield(format!("{holder} has the Lease")),
    };
    let due = state.not_before.map_or(due, |pause| due.max(pause));
    if now >= due { next } else { Step::Wait(due.min(end)) }
}

fn follow(state: &State, now: Instant) -> Step {
    if state.clock_error.is_some() {
        // The Lease is not ours to take; the answer to a read shows the clock again.
        return match state.not_before {
            Some(pause) if now < pause => Step::Wait(pause),
            Some(_) | None => Step::Read,
        };
    }
    let (due, next) = match &state.view {
        LeaseView::Unknown => (now, Step::Read),
        LeaseView::Absent => (now, Step::Create),
        LeaseView::Free | LeaseView::Ours => (now, Step::Take),
        LeaseView::Theirs { seen, duration, .. } if now >= *seen + *duration => (now, Step::Take),
        LeaseView::Theirs { seen, duration, .. } => {
            let look = *seen + state.pace.renew + SILENCE;
            let look = state.not_before.map_or(look, |pause| pause.max(look));
            return if now >= look {
                Step::Read
            } else {
                Step::Wait(look.min(*seen + *duration))
            };
        }
    };
    match state.not_before {
        Some(pause) if now < pause => Step::Wait(pause.max(due)),
        _ => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds on the elector's clock.
    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[derive(Clone, Copy)]
    enum Seen {
        Unknown,
        Absent,
        Free,
        Ours,
        TheirsAt(f64),
    }

    fn check(renewed: Option<f64>, seen: Seen, not_before: Option<f64>, now: f64, expected: &str) {
        check_with_clock(renewed, seen, not_before, None, now, expected);
    }

    fn check_with_clock(
        renewed: Option<f64>,
        seen: Seen,
        not_before: Option<f64>,
        clock_error: Option<&str>,
        now: f64,
        expected: &str,
    ) {
        let start = Instant::now();
        let view = match seen {
            Seen::Unknown => LeaseView::Unknown,
            Seen::Absent => LeaseView::Absent,
            Seen::Free => LeaseView::Free,
            Seen::Ours => LeaseView::Ours,
            Seen::TheirsAt(seconds) => LeaseView::Theirs {
                holder: "b".into(),
                seen: at(start, seconds),
                duration: DURATION,
            },
        };
        let time = |seconds: Option<f64>| seconds.map(|seconds| at(start, seconds));
        let state = State {
            pace: Pace::default(),
            view,
            renewed: time(renewed),
            not_before: time(not_before),
            clock_error: clock_error.map(str::to_owned),
        };
        let words = match step(&state, at(start, now)) {
            Step::Read => "look".to_owned(),
            Step::Create => "create".to_owned(),
            Step::Take => "take".to_owned(),
            Step::Renew => "renew".to_owned(),
            Step::Yield(reason) => format!("step down: {reason}"),
            Step::HandOver(reason) => format!("hand over: {reason}"),
            Step::Wait(until) => format!("wait until {}", (until - start).as_secs_f64()),
        };
        assert_eq!(words, expected);
    }

    #[test]
    fn a_new_elector_looks_and_takes_what_is_free() {
        check(None, Seen::Unknown, None, 0.0, "look");
        check(None, Seen::Absent, None, 0.0, "create");
        check(None, Seen::Free, None, 0.0, "take");
        check(None, Seen::Ours, None, 0.0, "take");
    }

    #[test]
    fn a_follower_leaves_a_lease_that_changes_alone() {
        check(None, Seen::TheirsAt(10.0), None, 10.0, "wait until 14");
        check(None, Seen::TheirsAt(10.0), None, 13.9, "wait until 14");
    }

    #[test]
    fn a_follower_reads_a_lease_that_should_have_changed() {
        check(None, Seen::TheirsAt(10.0), None, 14.0, "look");
        check(None, Seen::TheirsAt(10.0), Some(15.0), 14.0, "wait until 15");
        check(None, Seen::TheirsAt(10.0), Some(18.5), 17.6, "wait until 18");
    }

    #[test]
    fn a_follower_takes_a_lease_that_did_not_change_for_its_whole_duration() {
        check(None, Seen::TheirsAt(10.0), None, 18.0, "take");
        check(None, Seen::TheirsAt(10.0), Some(18.5), 18.0, "wait until 18.5");
    }

    #[test]
    fn a_leader_renews_every_three_seconds_and_tries_again_after_one() {
        check(Some(10.0), Seen::Ours, None, 10.0, "wait until 13");
        check(Some(10.0), Seen::Ours, None, 13.0, "renew");
        check(Some(10.0), Seen::Ours, Some(14.2), 13.5, "wait until 14.2");
        check(Some(10.0), Seen::Ours, Some(14.2), 14.2, "renew");
    }

    #[test]
    fn a_leader_that_cannot_renew_steps_down_before_others_may_take_over() {
        let reason = "step down: the Lease could not be renewed for 6 s";
        check(Some(10.0), Seen::Ours, Some(16.4), 15.9, "wait until 16");
        check(Some(10.0), Seen::Ours, Some(16.4), 16.0, reason);
        check(Some(10.0), Seen::Unknown, None, 16.0, reason);
        assert!(RENEW_DEADLINE + Duration::from_secs(2) <= DURATION);
    }

    #[test]
    fn a_leader_looks_when_its_write_was_refused() {
        check(Some(10.0), Seen::Unknown, None, 13.0, "look");
    }

    #[test]
    fn a_leader_whose_clock_is_wrong_hands_the_lease_over() {
        let wrong = Some("45 s ahead");
        let expected = "hand over: 45 s ahead";
        check_with_clock(Some(10.0), Seen::Ours, None, wrong, 10.0, expected);
        check_with_clock(Some(10.0), Seen::Unknown, Some(20.0), wrong, 13.0, expected);
    }

    #[test]
    fn a_replica_whose_clock_is_wrong_takes_nothing_and_looks_again() {
        let wrong = Some("45 s ahead");
        for seen in [Seen::Unknown, Seen::Absent, Seen::Free, Seen::Ours, Seen::TheirsAt(0.0)] {
            check_with_clock(None, seen, None, wrong, 30.0, "look");
            check_with_clock(None, seen, Some(40.0), wrong, 30.0, "wait until 40");
        }
    }

    #[test]
    fn a_leader_steps_down_when_the_lease_is_not_its_own() {
        check(
            Some(10.0),
            Seen::TheirsAt(12.0),
            None,
            12.0,
            "step down: b has the Lease",
        );
        check(Some(10.0), Seen::Absent, None, 12.0, "step down: the Lease was deleted");
        check(
            Some(10.0),
            Seen::Free,
            None,
            12.0,
            "step down: another client removed the holder of the Lease",
        );
    }
}
