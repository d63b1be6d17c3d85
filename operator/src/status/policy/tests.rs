use lockkeeper_planner::{Exclusion, Schedule};

use super::*;

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-11-24T{time}Z").parse().unwrap()
}

/// Open from 22:00 to 02:00.
fn nightly() -> Policy {
    let window = lockkeeper_planner::Window::parse("0 22 * * *", 4 * 3600, "UTC").unwrap();
    Policy {
        schedule: Ok(Schedule {
            windows: vec![window],
            exclusions: vec![],
        }),
        ..Policy::default()
    }
}

/// What an operator wrote in the window that closes on the 24th at 02:00.
fn open(pending: i32) -> RebootPolicyStatus {
    RebootPolicyStatus {
        window: Some(WindowState::Open),
        window_closes_time: Some(at("02:00:00")),
        pending,
        ..RebootPolicyStatus::default()
    }
}

#[test]
fn a_window_that_closes_while_nodes_wait_is_missed() {
    assert_eq!(missed_window(&open(3), &nightly(), 3, at("01:59:59")), None);
    assert_eq!(
        missed_window(&open(3), &nightly(), 2, at("02:00:00")),
        Some(at("02:00:00"))
    );
    let closed = RebootPolicyStatus {
        window: Some(WindowState::Closed),
        ..open(3)
    };
    assert_eq!(
        missed_window(&closed, &nightly(), 3, at("02:00:01")),
        None,
        "it is known"
    );
}

#[test]
fn a_window_that_closed_without_a_leader_is_missed_even_if_the_next_is_open() {
    assert_eq!(
        missed_window(&open(3), &nightly(), 3, at("09:00:00")),
        Some(at("02:00:00"))
    );
    assert_eq!(
        missed_window(&open(3), &nightly(), 3, at("23:00:00")),
        Some(at("02:00:00"))
    );
}

#[test]
fn a_window_without_waiting_nodes_at_its_end_is_not_missed() {
    assert_eq!(
        missed_window(&open(0), &nightly(), 1, at("02:00:01")),
        None,
        "it began to wait later"
    );
    assert_eq!(
        missed_window(&open(1), &nightly(), 0, at("02:00:01")),
        None,
        "all are done"
    );
}

#[test]
fn a_change_of_the_schedule_closes_a_window_now_or_keeps_it_open() {
    let mut frozen = nightly();
    let freeze = Exclusion::Dated {
        from: at("00:00:00"),
        until: at("23:00:00"),
        reason: "freeze".to_owned(),
    };
    if let Ok(schedule) = &mut frozen.schedule {
        schedule.exclusions.push(freeze);
    }
    assert_eq!(
        missed_window(&open(3), &frozen, 3, at("01:00:00")),
        Some(at("01:00:00"))
    );
    let always = Policy::default();
    assert_eq!(missed_window(&open(3), &always, 3, at("02:30:00")), None);
    let unreadable = Policy {
        schedule: Err("no such zone".to_owned()),
        ..Policy::default()
    };
    assert_eq!(missed_window(&open(3), &unreadable, 3, at("02:30:00")), None);
}
