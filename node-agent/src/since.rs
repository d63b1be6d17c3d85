//! Since when the host requires a reboot.
//!
//! The time is kept in the report of the node's own `NodeReboot`, with the boot ID beside it. So it outlives the agent, but
//! not the boot.

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::HostReport;
use lockkeeper_crds::time::whole_seconds;

use crate::facts::CLOCK_DRIFT;
use crate::host::HostView;

/// When the requirement was first seen in this boot, never before the boot and never in the future; `None` if there is none.
///
/// The time of a file is the first sight at best: each further package sets it anew. What was `reported` before in this boot
/// therefore stays, as long as the host requires a reboot without a break.
pub fn first_seen(view: &HostView, reported: Option<&HostReport>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !view.reboot_required.required {
        return None;
    }
    let known = reported.and_then(|report| reported_in_this_boot(view, report));
    let since = known.or(view.reboot_required.since).unwrap_or(now);
    let since = view.boot_time.map_or(since, |boot| since.max(boot));
    Some(whole_seconds(since.min(now)))
}

fn reported_in_this_boot(view: &HostView, report: &HostReport) -> Option<DateTime<Utc>> {
    let same_boot = report.boot_id == view.boot_id && report.reboot_required.required;
    let since = report.reboot_required.since.filter(|_| same_boot)?;
    Some(since + clock_change(report.boot_time, view.boot_time))
}

/// How far the host's clock was set since the report: the boot was in the same moment, only its time has changed.
fn clock_change(before: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>) -> TimeDelta {
    match (before, now) {
        (Some(before), Some(now)) if (now - before).abs() >= CLOCK_DRIFT => now - before,
        (Some(_) | None, Some(_) | None) => TimeDelta::zero(),
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_crds::RebootRequired;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 60 * minutes, 0).unwrap()
    }

    /// A host that booted at minute 0 and requires a reboot by a file of this time.
    fn view(since: DateTime<Utc>) -> HostView {
        HostView {
            boot_id: "a".to_owned(),
            boot_time: Some(at(0)),
            reboot_required: required(Some(since)),
            ..HostView::default()
        }
    }

    fn required(since: Option<DateTime<Utc>>) -> RebootRequired {
        RebootRequired {
            required: true,
            since,
            ..RebootRequired::default()
        }
    }

    fn report(view: &HostView, since: DateTime<Utc>) -> HostReport {
        HostReport {
            boot_id: view.boot_id.clone(),
            boot_time: view.boot_time,
            reboot_required: required(Some(since)),
            ..HostReport::default()
        }
    }

    #[test]
    fn a_further_package_does_not_make_the_requirement_younger() {
        let later = view(at(50));
        let reported = report(&later, at(10));
        assert_eq!(first_seen(&later, Some(&reported), at(60)), Some(at(10)));
    }

    #[test]
    fn without_a_report_of_this_boot_the_time_of_the_file_is_the_first_sight() {
        let first = view(at(50));
        assert_eq!(first_seen(&first, None, at(60)), Some(at(50)));
        let other_boot = HostReport {
            boot_id: "before".to_owned(),
            ..report(&first, at(10))
        };
        assert_eq!(first_seen(&first, Some(&other_boot), at(60)), Some(at(50)));
    }

    #[test]
    fn a_requirement_that_ended_in_between_starts_anew() {
        let again = view(at(50));
        let mut ended = report(&again, at(10));
        ended.reboot_required = RebootRequired::default();
        assert_eq!(first_seen(&again, Some(&ended), at(60)), Some(at(50)));
        let over = HostView {
            reboot_required: RebootRequired::default(),
            ..again
        };
        assert_eq!(first_seen(&over, Some(&report(&over, at(10))), at(60)), None);
    }

    #[test]
    fn a_reported_time_before_the_boot_or_in_the_future_is_corrected() {
        let host = view(at(50));
        assert_eq!(first_seen(&host, Some(&report(&host, at(-9))), at(60)), Some(at(0)));
        assert_eq!(first_seen(&host, Some(&report(&host, at(99))), at(60)), Some(at(60)));
    }

    #[test]
    fn the_age_of_the_requirement_stays_when_the_clock_is_set() {
        let day = TimeDelta::days(1);
        let before = view(at(10));
        let reported = report(&before, at(10));
        for change in [day, -day] {
            let after = HostView {
                boot_time: Some(at(0) + change),
                ..before.clone()
            };
            let since = first_seen(&after, Some(&reported), at(60) + change);
            assert_eq!(since, Some(at(10) + change));
        }
    }

    #[test]
    fn a_boot_time_that_drifts_by_seconds_changes_nothing() {
        let before = view(at(10));
        let reported = report(&before, at(10));
        let after = HostView {
            boot_time: Some(at(0) + TimeDelta::seconds(20)),
            ..before
        };
        assert_eq!(first_seen(&after, Some(&reported), at(60)), Some(at(10)));
    }
}
