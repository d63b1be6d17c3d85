//! A schedule as anybody may write it.

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_fuzz::fuzz;
use lockkeeper_planner::{Opening, Schedule, Window};

#[test]
fn a_schedule_is_refused_in_a_short_sentence_or_opens_in_the_future() {
    let now: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    fuzz("window", |input| {
        let text = String::from_utf8_lossy(input);
        for zone in ["UTC", "Europe/Berlin"] {
            match Window::parse(&text, 3600, zone) {
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        !error.is_empty() && error.chars().count() < 400 + text.chars().count(),
                        "{error}"
                    );
                }
                Ok(window) => {
                    let schedule = Schedule {
                        windows: vec![window],
                        exclusions: vec![],
                    };
                    match schedule.opening(now) {
                        Opening::Open { closes } => assert!(closes.is_none_or(|closes| closes > now)),
                        Opening::Closed { opens: Some(opens) } => {
                            assert!(
                                opens > now && schedule.is_open(opens),
                                "{text:?} does not open at {opens}"
                            );
                        }
                        Opening::Closed { opens: None } => {}
                        Opening::Excluded { .. } => unreachable!("there is no exclusion"),
                    }
                }
            }
        }
    });
}
