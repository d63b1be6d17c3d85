//! Recorded times against a clock that may be wrong: the one place that says what a time ahead of now means.
//!
//! Times are recorded by the leaders of the past, by kubelets and by agents, each by its own clock. A time that lies
//! further ahead of now than two clocks may differ was recorded by a wrong clock: it counts as now, or not at all, and where
//! something waits for it the operator records it anew. A smaller difference is left as it is.

use chrono::TimeDelta;

use crate::Instant;
use crate::snapshot::{
    CurrentHook, EndedHook, Failure, Holder, MAX_GRACE_WAIT, Operation, OrderedReboot, PendingOutcome, Stage,
};

/// How far two clocks may differ.
pub(crate) const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(2);

/// Whether a time lies so far ahead of now that a wrong clock has recorded it.
pub fn is_ahead(recorded: Instant, now: Instant) -> bool {
    recorded.signed_duration_since(now) > MAX_CLOCK_DIFFERENCE
}

/// The time as it was recorded; `None` if a wrong clock has recorded it.
pub(crate) fn unless_ahead(recorded: Instant, now: Instant) -> Option<Instant> {
    (!is_ahead(recorded, now)).then_some(recorded)
}

/// The time as it was recorded, or now if a wrong clock has recorded it.
pub(crate) fn or_now(recorded: Instant, now: Instant) -> Instant {
    unless_ahead(recorded, now).unwrap_or(now)
}

/// When a wait of this length ends that was recorded to end at `until`; `None` if a wrong clock has recorded it. So it
/// ends no later from now than its length and the difference that two clocks may have.
pub(crate) fn wait_end(until: Instant, length: TimeDelta, now: Instant) -> Option<Instant> {
    unless_ahead(until - length, now).map(|_| until)
}

/// The operation with its times ahead of now recorded anew as now; `None` if it has none.
pub(crate) fn correct_operation(operation: &Operation, now: Instant) -> Option<Operation> {
    let corrected = |time: Instant| or_now(time, now);
    let latest_grace = now + operation.settings.drain_timeout + MAX_GRACE_WAIT;
    let after = Operation {
        started: corrected(operation.started),
        asked: corrected(operation.asked),
        cordoned: operation.cordoned.map(corrected),
        stage: operation.stage.map(|stage| Stage {
            since: corrected(stage.since),
            ..stage
        }),
        extended_until: operation.extended_until.filter(|until| !is_ahead(*until, latest_grace)),
        reboot_ordered: operation.reboot_ordered.map(corrected),
        refused: operation.refused.map(corrected),
        rebooted: operation.rebooted.map(corrected),
        uncordoned: operation.uncordoned.map(corrected),
        healthy_since: operation.healthy_since.map(corrected),
        noticed: operation.noticed.map(corrected),
        hook: operation.hook.clone().map(|hook| CurrentHook {
            since: corrected(hook.since),
            ..hook
        }),
        ended_hooks: operation
            .ended_hooks
            .iter()
            .map(|hook| EndedHook {
                ended: corrected(hook.ended),
                ..hook.clone()
            })
            .collect(),
        failure: operation.failure.as_ref().map(|failure| Failure {
            time: corrected(failure.time),
            ..failure.clone()
        }),
        pending_outcome: operation.pending_outcome.as_ref().map(|pending| PendingOutcome {
            time: corrected(pending.time),
            ..pending.clone()
        }),
        ..operation.clone()
    };
    (after != *operation).then_some(after)
}

/// The holder with its times ahead of now recorded anew as now; `None` if it has none.
pub(crate) fn correct_holder(holder: &Holder, now: Instant) -> Option<Holder> {
    let after = Holder {
        acquired: or_now(holder.acquired, now),
        reboot: holder.reboot.as_ref().map(|reboot| {
            let time = or_now(reboot.time, now);
            OrderedReboot {
                time,
                deadline: time + (reboot.deadline - reboot.time),
                ..reboot.clone()
            }
        }),
        ..holder.clone()
    };
    (after != *holder).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    #[test]
    fn a_time_further_ahead_than_two_clocks_may_differ_does_not_count() {
        let seconds = |seconds| now() + TimeDelta::seconds(seconds);
        assert_eq!(unless_ahead(seconds(-5), now()), Some(seconds(-5)));
        assert_eq!(unless_ahead(seconds(120), now()), Some(seconds(120)));
        assert_eq!(unless_ahead(seconds(121), now()), None);
        assert_eq!(or_now(seconds(121), now()), now());
    }

    #[test]
    fn a_wait_that_ends_later_than_its_own_length_from_now_does_not_count() {
        let minutes = |minutes| now() + TimeDelta::minutes(minutes);
        let ten = TimeDelta::minutes(10);
        assert_eq!(wait_end(minutes(4), ten, now()), Some(minutes(4)));
        assert_eq!(wait_end(minutes(12), ten, now()), Some(minutes(12)));
        assert_eq!(wait_end(minutes(13), ten, now()), None);
    }
}
