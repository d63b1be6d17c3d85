//! What a node's own past says against a reboot: released, rebooted in vain, deferred.

use chrono::TimeDelta;
use lockkeeper_reasons::{ReasonName, WaitReason};

use crate::Instant;
use crate::recorded::{is_ahead, unless_ahead, wait_end};
use crate::snapshot::{Deferred, LastReboot, Node, Operation, RebootSeries, Record, Released};

/// How long a node that was rebooted and still requires it for the same cause is left alone; it doubles with each reboot in
/// vain. A requirement that begins later is a new one: the names of packages come again with each update.
const STILL_REQUIRED: TimeDelta = TimeDelta::hours(24);
/// So many reboots within [`SERIES_TIME`] without a person's request are a loop, whatever they are for: some detectors name
/// another reason after each boot.
const MAX_REBOOTS: i32 = 3;
const SERIES_TIME: TimeDelta = TimeDelta::hours(24);
/// The longest time for which such a node is left alone.
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(28);
/// How many reasons a host lists at most, the first ones in alphabetical order.
const MAX_REASONS: usize = 32;
/// How many deferrals because of an inhibitor end together with it. Then the back-off counts: a program that inhibits each
/// attempt would otherwise have the pods evicted again and again.
const SHORTENED_DEFERRALS: i32 = 3;

/// Checks a node's own past, in the order of the wait reasons.
pub fn check_history(node: &Node, record: &Record, now: Instant) -> Result<(), WaitReason> {
    check_released(node, record)?;
    check_still_required(node, record, now)?;
    check_back_off(node, record, now)
}

/// Checks that no person released the node after a failure for the same cause.
pub(crate) fn check_released(node: &Node, record: &Record) -> Result<(), WaitReason> {
    match released(node, record) {
        Some(released) => Err(WaitReason::Released {
            failure: released.failure.clone(),
        }),
        None => Ok(()),
    }
}

/// Checks that the node was not rebooted for the same cause a short time ago, nor too often for whatever causes.
pub(crate) fn check_still_required(node: &Node, record: &Record, now: Instant) -> Result<(), WaitReason> {
    match still_required(node, record, now) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// The longer one of the two pauses.
fn still_required(node: &Node, record: &Record, now: Instant) -> Option<WaitReason> {
    let in_vain = rebooted_in_vain(node, record, now);
    let in_series = rebooted_in_series(node, record, now);
    let pause = in_vain.map(|(_, until)| until);
    let (last, until, since, reboots) = match in_series.filter(|(.., until)| Some(*until) > pause) {
        Some((last, series, until)) => (last, until, Some(series.since), series.reboots),
        None => in_vain.map(|(last, until)| (last, until, None, last.repeats + 1))?,
    };
    Some(WaitReason::StillRequired {
        reboots: usize::try_from(reboots).unwrap_or_default(),
        since,
        rebooted: last.time,
        until,
    })
}

/// Checks that the back-off of a deferred operation is over, by time or because its cause has ended.
pub(crate) fn check_back_off(node: &Node, record: &Record, now: Instant) -> Result<(), WaitReason> {
    let Some(deferred) = &record.deferred else {
        return Ok(());
    };
    match wait_end(deferred.until, back_off(deferred.count), now) {
        Some(until) if now < until && !inhibitor_has_ended(node, deferred) => Err(WaitReason::BackingOff {
            count: deferred.count,
            cause: deferred.cause.clone(),
            message: deferred.message.clone(),
            until,
        }),
        Some(_) | None => Ok(()),
    }
}

/// How long a node is left alone after it was deferred for the `count`th time: 10 min, doubling, at most 6 h.
pub(crate) fn back_off(count: i32) -> TimeDelta {
    const FIRST_MINUTES: i64 = 10;
    const LONGEST: TimeDelta = TimeDelta::hours(6);
    let doublings = u32::try_from(count - 1).unwrap_or(0).min(16);
    TimeDelta::minutes(FIRST_MINUTES << doublings).min(LONGEST)
}

/// Whether the node is left alone until a person acts or a day has passed: it does not count as pending.
pub(crate) fn is_set_aside(node: &Node, record: &Record, now: Instant) -> bool {
    released(node, record).is_some() || still_required(node, record, now).is_some()
}

fn released<'a>(node: &Node, record: &'a Record) -> Option<&'a Released> {
    let released = record.released.as_ref()?;
    is_same_cause(node, &released.reasons).then_some(released)
}

/// Whether the node was deferred because of an inhibitor, and its host could reboot now.
fn inhibitor_has_ended(node: &Node, deferred: &Deferred) -> bool {
    let inhibited = ReasonName::parse(&deferred.cause) == Some(ReasonName::Inhibited);
    let host = node.trusted_host();
    let could_reboot = host.is_some_and(|host| host.incapable.is_none() && host.inhibitors.is_empty());
    inhibited && deferred.count <= SHORTENED_DEFERRALS && could_reboot
}

/// The last reboot, if the node still requires one for the same cause, and until when it is left alone.
fn rebooted_in_vain<'a>(node: &Node, record: &'a Record, now: Instant) -> Option<(&'a LastReboot, Instant)> {
    let last = record.last_reboot.as_ref()?;
    let until = unless_ahead(last.time, now)? + pause(last.repeats);
    let required = node.trusted_host().and_then(|host| host.required_since);
    let recent = now < until && outlived(last, required);
    (recent && is_same_cause(node, &last.reasons)).then_some((last, until))
}

/// The last reboot, if it was one of too many, its series, and until when the node is left alone.
fn rebooted_in_series<'a>(
    node: &Node,
    record: &'a Record,
    now: Instant,
) -> Option<(&'a LastReboot, RebootSeries, Instant)> {
    let last = record.last_reboot.as_ref()?;
    let series = last.series.filter(|series| series.reboots >= MAX_REBOOTS)?;
    let until = unless_ahead(last.time, now)? + series_pause(series);
    (node.requested.is_none() && now < until).then_some((last, series, until))
}

/// The series with the reboot of this operation, which is proven now; `None` if a person requested it.
pub(crate) fn series(last: Option<&LastReboot>, operation: &Operation, now: Instant) -> Option<RebootSeries> {
    let last = last.filter(|last| !is_ahead(last.time, now));
    let continues = |(series, ended): &(RebootSeries, Instant)| {
        let ends = if series.reboots < MAX_REBOOTS {
            series.since + SERIES_TIME
        } else {
            *ended + series_pause(*series) + SERIES_TIME
        };
        operation.started < ends
    };
    let before = last.and_then(|last| Some((last.series?, last.time)));
    let series = match before.filter(continues) {
        Some((series, _)) => RebootSeries {
            reboots: series.reboots.saturating_add(1),
            ..series
        },
        None => RebootSeries {
            since: operation.started,
            reboots: 1,
        },
    };
    operation.requested.is_none().then_some(series)
}

/// How long a node is left alone after so many reboots in a series.
fn series_pause(series: RebootSeries) -> TimeDelta {
    pause(series.reboots - MAX_REBOOTS)
}

/// Until when the node was rebooted only a short time ago: it queues behind those that were not.
pub(crate) fn recently_rebooted_until(record: &Record, now: Instant) -> Option<Instant> {
    let last = record.last_reboot.as_ref()?;
    let until = unless_ahead(last.time, now)? + SERIES_TIME;
    (now < until).then_some(until)
}

/// How many reboots in a row before this operation were for its cause and did not clear it.
pub(crate) fn repeats(last: Option<&LastReboot>, operation: &Operation, now: Instant) -> i32 {
    let in_vain = |last: &&LastReboot| {
        let same = operation.requested.is_none() && contains_all(&last.reasons, &operation.reasons);
        same && !is_ahead(last.time, now) && outlived(last, operation.required)
    };
    last.filter(in_vain).map_or(0, |last| last.repeats.saturating_add(1))
}

/// Whether a requirement since then is what the reboot should have cleared.
fn outlived(last: &LastReboot, required: Option<Instant>) -> bool {
    required.is_none_or(|since| since < last.time + STILL_REQUIRED)
}

/// How long a node is left alone after a reboot in vain that repeated so many others.
fn pause(repeats: i32) -> TimeDelta {
    let doublings = u32::try_from(repeats).unwrap_or(0).min(16);
    (STILL_REQUIRED * 2_i32.pow(doublings)).min(LONGEST_PAUSE)
}

/// Whether the host requires a reboot for these reasons or some of them, in whatever order; a person's request is always
/// another cause.
fn is_same_cause(node: &Node, reasons: &[String]) -> bool {
    let host = node.trusted_host();
    let current = host.map(|host| host.reasons.as_slice()).unwrap_or_default();
    node.requested.is_none() && contains_all(reasons, current)
}

/// Whether the earlier reasons contain all current ones. Unknown reasons are the same only as unknown ones.
fn contains_all(earlier: &[String], current: &[String]) -> bool {
    // A list of full length may have been cut after its last reason.
    let cut_after = earlier.get(MAX_REASONS - 1);
    let known = |reason: &String| earlier.contains(reason) || cut_after.is_some_and(|last| last < reason);
    current.is_empty() == earlier.is_empty() && current.iter().all(known)
}
