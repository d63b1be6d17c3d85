//! The words that people read.

use chrono::DateTime;
use expect_test::{Expect, expect};

use crate::{Blocker, Numbers, PodName};

fn check(blocker: &Blocker, reason: &str, expected: &Expect) {
    assert_eq!(blocker.reason(), reason);
    expected.assert_eq(&blocker.to_string());
}

fn db() -> PodName {
    PodName::new("shop", "db-0")
}

#[test]
fn a_blocker_says_pod_cause_and_numbers() {
    let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let numbers = Some(Numbers {
        allowed: 0,
        healthy: 2,
        desired: 3,
        total: 3,
    });
    let budget = Blocker::Budget {
        pod: db(),
        budget: Some(PodName::new("shop", "db")),
        numbers,
        message: String::new(),
    };
    check(
        &budget,
        "EvictionBlocked",
        &expect!["pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)"],
    );
    let unmanaged = Blocker::Unmanaged { pod: db() };
    check(
        &unmanaged,
        "EvictionBlocked",
        &expect!["pod shop/db-0: no controller would create it again (the policy's drain.unmanagedPods is Block)"],
    );
    let terminating = Blocker::Terminating {
        pod: db(),
        until: at,
        grace: 30,
    };
    check(
        &terminating,
        "PodTerminating",
        &expect!["pod shop/db-0 is shutting down, its 30 s grace ends 2026-11-18T11:06:40Z"],
    );
    let stuck = Blocker::Stuck {
        pod: db(),
        since: at,
        cause: "held by finalizer a/b".to_owned(),
    };
    check(
        &stuck,
        "PodStuck",
        &expect!["pod shop/db-0 is past its grace since 2026-11-18T11:06:40Z: held by finalizer a/b"],
    );
    let refused = Blocker::Refused {
        pod: db(),
        code: 422,
        message: "denied".to_owned(),
    };
    check(
        &refused,
        "EvictionBlocked",
        &expect!["pod shop/db-0: the API server refuses the eviction (422): denied"],
    );
}

#[test]
fn what_needs_a_person_is_shown_before_what_time_ends() {
    let at = DateTime::UNIX_EPOCH;
    let mut all = [
        Blocker::Terminating {
            pod: db(),
            until: at,
            grace: 30,
        },
        Blocker::Budget {
            pod: db(),
            budget: None,
            numbers: None,
            message: String::new(),
        },
        Blocker::Unmanaged { pod: db() },
    ];
    all.sort();
    assert_eq!(all.map(|blocker| blocker.until().is_some()), [false, false, true]);
    assert!(matches!(Blocker::Unmanaged { pod: db() }.pod(), Some(pod) if *pod == db()));
}
