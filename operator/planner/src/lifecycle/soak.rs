//! After the uncordon: the checks of the policy pass without a break, for as long as it wants.
//!
//! The checks and times are those of the policy as it is now, so that a check that was wrong can be corrected. A policy that
//! is gone checks nothing.

use lockkeeper_reasons::{WaitReason, format_duration};

use super::active::{ActiveOperation, Step};
use crate::Instant;
use crate::policy_checks::{Checked, check_rebooted};
use crate::recorded::{MAX_CLOCK_DIFFERENCE, unless_ahead};
use crate::snapshot::{Checks, Operation};

/// Whether the policy wants anything to hold after the uncordon.
pub(super) fn awaits_checks(active: &ActiveOperation) -> bool {
    checks(active).is_some()
}

/// The next step while the checks do not pass, or have not passed for long enough; none once they have.
pub(super) fn next_step(active: &ActiveOperation, uncordoned: Instant) -> Option<Step> {
    let snapshot = active.assessment.context.snapshot;
    // A policy that cannot be decoded is not gone.
    if !snapshot.policies.contains_key(&active.operation.policy)
        && let Some(gap) = snapshot.view_gaps.iter().min()
    {
        return Some(Step::wait(WaitReason::ViewIncomplete(gap.clone()), None));
    }
    let checks = checks(active)?;
    let now = active.now();
    let until = active.judged_at(uncordoned + checks.timeout);
    let checked = check_rebooted(checks, active.operation, active.name, uncordoned, until, now);
    let why = match checked {
        Checked::Passing => return soak(active, checks, uncordoned),
        Checked::Pending(job) => WaitReason::ChecksPending {
            job,
            until: Some(until),
        },
        Checked::Refused(why) | Checked::RefusedByJob(why) => {
            if let Some(step) = restart(active) {
                return Some(step);
            }
            why
        }
    };
    if now < until {
        return Some(Step::wait(why, Some(until)));
    }
    Some(active.fail(format!(
        "{} rebooted and was uncordoned, but its checks did not pass {} of the uncordon: {}; repair that, then retry or release the \
         node",
        active.name,
        within(checks),
        found(&why),
    )))
}

/// A failure starts the time anew; none if it has not begun.
pub(super) fn restart(active: &ActiveOperation) -> Option<Step> {
    active.operation.healthy_since.map(|_| {
        active.advance(Operation {
            healthy_since: None,
            ..active.operation.clone()
        })
    })
}

/// All checks pass: the time counts from the moment that was recorded, or from the uncordon or the moment at which the node
/// last became Ready, if that was later.
fn soak(active: &ActiveOperation, checks: &Checks, uncordoned: Instant) -> Option<Step> {
    if checks.soak.is_zero() {
        return None;
    }
    let (now, ready) = (active.now(), active.node.ready.since);
    let Some(since) = active.operation.healthy_since else {
        return Some(active.advance(Operation {
            healthy_since: Some(now),
            ..active.operation.clone()
        }));
    };
    let until = since.max(uncordoned).max(unless_ahead(ready, now).unwrap_or(since)) + checks.soak;
    // A time that is left out because it lies ahead counts later.
    let counts_at = Some(ready - MAX_CLOCK_DIFFERENCE).filter(|time| *time > now);
    let recheck_at = counts_at.map_or(until, |time| time.min(until));
    (now < until).then(|| Step::wait(WaitReason::Soaking { until }, Some(recheck_at)))
}

/// What the policy wants to hold after the uncordon, if anything.
fn checks<'a>(active: &ActiveOperation<'a>) -> Option<&'a Checks> {
    active.checks().filter(|checks| checks.after || !checks.soak.is_zero())
}

fn within(checks: &Checks) -> String {
    let timeout = format_duration(checks.timeout);
    if checks.soak.is_zero() {
        format!("within {timeout}")
    } else {
        format!("for {} within {timeout}", format_duration(checks.soak))
    }
}

/// What the checks found, without the time of the failure.
fn found(why: &WaitReason) -> String {
    match why {
        WaitReason::CheckFailing { check, what, .. } => format!("check {check} fails: {what}"),
        WaitReason::CheckUnavailable { check, error, .. } => format!("check {check} could not be evaluated: {error}"),
        other => other.to_string(),
    }
}
