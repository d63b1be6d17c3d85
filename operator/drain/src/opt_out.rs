//! The annotations of other programs by which a pod opts out of eviction.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// cluster-autoscaler's annotation: every value but `true` keeps the pod where it is.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Karpenter's annotation: a duration since the start of the pod, or for good with every other value but `false`.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

/// How a pod opts out of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptOut {
    /// The annotation.
    pub annotation: &'static str,
    /// When it ends by itself; `None` means not at all, or not before the pod has started.
    pub until: Option<DateTime<Utc>>,
}

impl OptOut {
    /// Reads the annotations of a pod that started at `started`. The opt-out that lasts longest counts.
    ///
    /// A value that is not known counts as the one that keeps the pod: who set it meant something by it.
    pub(crate) fn read(annotations: &BTreeMap<String, String>, started: Option<DateTime<Utc>>) -> Option<Self> {
        let value = |key| annotations.get(key).map(|value| value.trim());
        let for_good = |annotation| OptOut {
            annotation,
            until: None,
        };
        let safe_to_evict = value(SAFE_TO_EVICT).filter(|value| !value.eq_ignore_ascii_case("true"));
        let do_not_disrupt = value(DO_NOT_DISRUPT).filter(|value| !value.eq_ignore_ascii_case("false"));
        if safe_to_evict.is_some() {
            return Some(for_good(SAFE_TO_EVICT));
        }
        let until = |duration: TimeDelta| started?.checked_add_signed(duration);
        do_not_disrupt.map(|value| Self {
            annotation: DO_NOT_DISRUPT,
            until: duration(value).and_then(until),
        })
    }

    /// Whether it is in force.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A duration as Go writes it, such as `4h`, `1h30m` or `1.5h`; `None` if it is none, or negative.
fn duration(text: &str) -> Option<TimeDelta> {
    if text == "0" {
        return Some(TimeDelta::zero());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        rest = &rest[unit_at..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    let duration = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    TimeDelta::from_std(duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("4h", Some(14_400)),
            ("1h30m", Some(5400)),
            ("1.5h", Some(5400)),
            ("90m", Some(5400)),
            ("300s", Some(300)),
            ("1h0m0.0s", Some(3600)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("true", None),
            ("", None),
            ("4", None),
            ("4d", None),
            ("h", None),
            ("-4h", None),
            ("4 h", None),
            ("1.2.3h", None),
            ("99999999999999999999h", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text).map(|duration| duration.num_seconds()), seconds, "{text}");
        }
    }

    #[test]
    fn an_unknown_value_of_an_opt_out_keeps_the_pod() {
        let started = Some(at("2026-11-24T20:00:00Z"));
        let read =
            |key: &str, value: &str| OptOut::read(&BTreeMap::from([(key.to_owned(), value.to_owned())]), started);
        for value in ["true", "True", "yes", "", "4 hours", "on-completion"] {
            let found = read(DO_NOT_DISRUPT, value).unwrap();
            assert_eq!((found.annotation, found.until), (DO_NOT_DISRUPT, None), "{value}");
        }
        for value in ["false", "False", "no", "", "on-completion"] {
            assert_eq!(read(SAFE_TO_EVICT, value).unwrap().annotation, SAFE_TO_EVICT, "{value}");
        }
        assert_eq!(read(DO_NOT_DISRUPT, "false"), None);
        assert_eq!(read(SAFE_TO_EVICT, "true"), None);
        assert_eq!(read("example.com/other", "true"), None);
    }

    #[test]
    fn a_duration_counts_from_the_start_of_the_pod() {
        let four_hours = BTreeMap::from([(DO_NOT_DISRUPT.to_owned(), "4h".to_owned())]);
        let started = at("2026-11-24T20:00:00Z");
        let found = OptOut::read(&four_hours, Some(started)).unwrap();
        assert_eq!(found.until, Some(at("2026-11-25T00:00:00Z")));
        assert!(found.holds(at("2026-11-24T23:59:59Z")) && !found.holds(at("2026-11-25T00:00:00Z")));
        let not_started = OptOut::read(&four_hours, None).unwrap();
        assert!(not_started.until.is_none() && not_started.holds(started));
        let mut both = four_hours;
        both.insert(SAFE_TO_EVICT.to_owned(), "false".to_owned());
        assert_eq!(OptOut::read(&both, Some(started)).unwrap().until, None);
    }
}
