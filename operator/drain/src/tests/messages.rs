//! The messages that people read.

use chrono::DateTime;
use expect_test::{Expect, expect};
use lockkeeper_reasons::ReasonName;

use crate::cause::group_by_cause;
use crate::{Blocker, BudgetNumbers, BudgetOutlook, PodName};

fn check(blocker: &Blocker, reason: ReasonName, expected: &Expect) {
    assert_eq!(blocker.reason(), reason);
    expected.assert_eq(&blocker.to_string());
}

fn db() -> PodName {
    PodName::new("shop", "db-0")
}

#[test]
fn a_message_names_the_pod_the_cause_and_the_numbers() {
    let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let numbers = Some(BudgetNumbers {
        allowed: 0,
        healthy: 2,
        desired: 3,
        total: 3,
    });
    let budget = Blocker::Budget {
        pod: db(),
        budget: Some(PodName::new("shop", "db")),
        numbers,
        outlook: BudgetOutlook::MayAllow,
        message: String::new(),
    };
    check(
        &budget,
        ReasonName::EvictionBlocked,
        &expect!["pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)"],
    );
    let unmanaged = Blocker::Unmanaged { pod: db() };
    check(
        &unmanaged,
        ReasonName::EvictionBlocked,
        &expect!["pod shop/db-0: no controller would recreate it (the policy's drain.unmanagedPods is Block)"],
    );
    let terminating = Blocker::Terminating {
        pod: db(),
        until: at,
        grace: 30,
    };
    check(
        &terminating,
        ReasonName::PodTerminating,
        &expect!["pod shop/db-0 is shutting down; its grace period of 30 s ends at 2026-11-18T11:06:40Z"],
    );
    let stuck = Blocker::Stuck {
        pod: db(),
        since: at,
        cause: "held by finalizer a/b".to_owned(),
    };
    check(
        &stuck,
        ReasonName::PodStuck,
        &expect!["pod shop/db-0 has been past its grace period since 2026-11-18T11:06:40Z: held by finalizer a/b"],
    );
    let refused = Blocker::Refused {
        pod: db(),
        code: 422,
        message: "denied".to_owned(),
    };
    check(
        &refused,
        ReasonName::EvictionBlocked,
        &expect!["pod shop/db-0: the API server refuses the eviction (422): denied"],
    );
}

#[test]
fn causes_that_need_a_person_come_first() {
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
            outlook: BudgetOutlook::MayAllow,
            message: String::new(),
        },
        Blocker::Unmanaged { pod: db() },
    ];
    all.sort();
    assert_eq!(all.map(|blocker| blocker.until().is_some()), [false, false, true]);
    assert!(matches!(Blocker::Unmanaged { pod: db() }.pod(), Some(pod) if *pod == db()));
}

fn lines(blockers: Vec<Blocker>) -> String {
    let lines: Vec<String> = group_by_cause(blockers)
        .iter()
        .map(|cause| format!("{}: {cause}\n", cause.reason()))
        .collect();
    lines.concat()
}

fn web(number: u32) -> PodName {
    PodName::new("shop", format!("web-{number}"))
}

#[test]
fn pods_with_the_same_cause_share_a_line_with_three_names_and_a_count() {
    let budget = |pod| Blocker::Budget {
        pod,
        budget: Some(PodName::new("shop", "web")),
        numbers: None,
        outlook: BudgetOutlook::MayAllow,
        message: "full".to_owned(),
    };
    let mut all: Vec<Blocker> = (0..5).rev().map(|number| budget(web(number))).collect();
    all.push(Blocker::Unmanaged { pod: db() });
    all.push(Blocker::Webhook {
        pod: web(9),
        message: "no".to_owned(),
    });
    let expected = expect![[r#"
        EvictionBlocked: pod shop/db-0: no controller would recreate it (the policy's drain.unmanagedPods is Block)
        EvictionBlocked: pod shop/web-9: no
        EvictionBlocked: pods shop/web-0, shop/web-1, shop/web-2 and 2 more: budget shop/web: full
    "#]];
    expected.assert_eq(&lines(all.clone()));
    all.reverse();
    expected.assert_eq(&lines(all));
}

#[test]
fn shutting_down_pods_show_the_latest_end_and_stuck_pods_the_earliest() {
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
    let causes = group_by_cause(all.clone());
    assert_eq!(causes[1].until(), Some(at(60)));
    expect![[r#"
        PodStuck: pods shop/web-2, shop/web-3 have been past their grace period since 2026-11-18T11:06:43Z: held by finalizer a/b
        PodTerminating: pods shop/web-0, shop/web-1 are shutting down; the last grace period ends at 2026-11-18T11:07:40Z
    "#]]
    .assert_eq(&lines(all));
}

#[test]
fn a_protected_pod_names_the_policy_field_that_protects_it() {
    let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let all = vec![
        Blocker::EmptyDir { pod: db() },
        Blocker::OptedOut {
            pod: db(),
            annotation: "karpenter.sh/do-not-disrupt".to_owned(),
            until: None,
        },
        Blocker::OptedOut {
            pod: web(1),
            annotation: "karpenter.sh/do-not-disrupt".to_owned(),
            until: Some(at - chrono::TimeDelta::hours(1)),
        },
        Blocker::OptedOut {
            pod: db(),
            annotation: "karpenter.sh/do-not-disrupt".to_owned(),
            until: Some(at),
        },
        Blocker::Rule { pod: db(), rule: 2 },
        Blocker::Responder {
            pod: db(),
            active: None,
            asked: at,
            failure: None,
        },
        Blocker::MayComplete { pod: db(), rule: 0 },
        Blocker::VolumesAttached {
            names: vec!["pv-1".to_owned(), "pv-2".to_owned()],
            count: 4,
            until: at,
        },
        Blocker::LoadBalancerDelay { from: at },
    ];
    expect![[r#"
        EvictionBlocked: pod shop/db-0: data in an emptyDir would be lost (the policy's drain.emptyDirData is Block)
        EvictionBlocked: pod shop/db-0 opts out of eviction (annotation karpenter.sh/do-not-disrupt; the policy's drain.podOptOuts is Respect)
        EvictionBlocked: pods shop/db-0, shop/web-1 opt out of eviction until 2026-11-18T11:06:40Z (annotation karpenter.sh/do-not-disrupt; the policy's drain.podOptOuts is Respect)
        EvictionBlocked: pod shop/db-0: the policy's drain.rules[2] blocks the eviction
        ResponderActive: pod shop/db-0: waiting for an eviction responder (asked at 2026-11-18T11:06:40Z)
        PodRunning: pod shop/db-0 may complete first (the policy's drain.rules[0])
        VolumesAttached: volumes pv-1, pv-2 and 2 more are still attached
        LoadBalancerDelay: waiting for load balancers; evictions start at 2026-11-18T11:06:40Z
    "#]]
    .assert_eq(&lines(all));
}

#[test]
fn a_budget_without_computed_numbers_may_allow_disruptions_later() {
    let numbers = |allowed, healthy, desired, total| BudgetNumbers {
        allowed,
        healthy,
        desired,
        total,
    };
    assert!(!numbers(0, 0, 0, 0).never_allow());
    assert!(numbers(0, 1, 1, 1).never_allow());
    assert!(!numbers(0, 1, 1, 2).never_allow());
    assert!(numbers(0, 1, 2, 2).never_allow(), "whatever is healthy now");
    assert!(numbers(0, 0, 3, 2).never_allow());
}
