//! The words that people read.

use chrono::DateTime;
use expect_test::{Expect, expect};

use crate::cause::group;
use crate::{Blocker, Numbers, PodName};

fn check(blocker: &Blocker, reason: &str, expected: &Expect) {
    assert_eq!(blocker.reason().as_str(), reason);
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

fn lines(blockers: Vec<Blocker>) -> String {
    let lines: Vec<String> = group(blockers)
        .iter()
        .map(|cause| format!("{}: {cause}\n", cause.reason()))
        .collect();
    lines.concat()
}

fn web(number: u32) -> PodName {
    PodName::new("shop", format!("web-{number}"))
}

#[test]
fn pods_with_the_same_cause_share_a_line_of_three_names_and_a_count() {
    let budget = |pod| Blocker::Budget {
        pod,
        budget: Some(PodName::new("shop", "web")),
        numbers: None,
        message: "full".to_owned(),
    };
    let mut all: Vec<Blocker> = (0..5).rev().map(|number| budget(web(number))).collect();
    all.push(Blocker::Unmanaged { pod: db() });
    all.push(Blocker::Webhook {
        pod: web(9),
        message: "no".to_owned(),
    });
    let expected = expect![[r#"
        EvictionBlocked: pod shop/db-0: no controller would create it again (the policy's drain.unmanagedPods is Block)
        EvictionBlocked: pod shop/web-9: no
        EvictionBlocked: pods shop/web-0, shop/web-1, shop/web-2 and 2 more: budget shop/web: full
    "#]];
    expected.assert_eq(&lines(all.clone()));
    all.reverse();
    expected.assert_eq(&lines(all));
}

#[test]
fn pods_that_shut_down_share_the_last_end_and_stuck_ones_the_first() {
    let at = |second: i64| DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap();
    let terminating = |number, second, grace| Blocker::Terminating {
        pod: web(number),
        until: at(second),
        grace,
    };
    let stuck = |number, second| Blocker::Stuck {
        pod: web(number),
        since: at(second),
        cause: "held by finalizer a/b".to_owned(),
    };
    let all = vec![terminating(0, 30, 30), terminating(1, 60, 60), stuck(2, 9), stuck(3, 3)];
    let causes = group(all.clone());
    assert_eq!(causes[1].until(), Some(at(60)));
    expect![[r#"
        PodStuck: pods shop/web-2, shop/web-3 are past their grace since 2026-11-18T11:06:43Z: held by finalizer a/b
        PodTerminating: pods shop/web-0, shop/web-1 are shutting down, the last grace ends 2026-11-18T11:07:40Z
    "#]]
    .assert_eq(&lines(all));
}

#[test]
fn what_the_policy_or_the_pod_bars_names_the_field_that_changes_it() {
    let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let all = vec![
        Blocker::EmptyDir { pod: db() },
        Blocker::OptedOut {
            pod: db(),
            annotation: "karpenter.sh/do-not-disrupt".to_owned(),
        },
        Blocker::Rule { pod: db(), rule: 2 },
        Blocker::Running { pod: db(), rule: 0 },
        Blocker::Volumes {
            names: vec!["pv-1".to_owned(), "pv-2".to_owned()],
            count: 4,
            until: at,
        },
        Blocker::Delayed { from: at },
    ];
    expect![[r#"
        EvictionBlocked: pod shop/db-0: data in an emptyDir would be lost (the policy's drain.emptyDirData is Block)
        EvictionBlocked: pod shop/db-0 asks not to be moved (annotation karpenter.sh/do-not-disrupt; the policy's drain.podOptOuts is Respect)
        EvictionBlocked: pod shop/db-0: the policy's drain.rules[2] says Block
        PodRunning: pod shop/db-0 may complete (the policy's drain.rules[0])
        VolumesAttached: volumes pv-1, pv-2 and 2 more are still attached
        LoadBalancerDelay: taken out of load balancers, evicting from 2026-11-18T11:06:40Z
    "#]]
    .assert_eq(&lines(all));
}

#[test]
fn a_budget_that_nobody_has_counted_yet_is_not_one_that_never_opens() {
    let numbers = |allowed, healthy, desired, total| Numbers {
        allowed,
        healthy,
        desired,
        total,
    };
    assert!(!numbers(0, 0, 0, 0).never());
    assert!(numbers(0, 1, 1, 1).never());
    assert!(!numbers(0, 1, 1, 2).never());
}
