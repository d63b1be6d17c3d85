//! What is found before anything is touched.

use expect_test::{Expect, expect};
use serde_json::json;

use super::fake::{Fake, Fault};
use super::{budget, pod, settings, with};
use crate::{DryRunCache, Error, preflight, preflight_with_cache, quick_preflight};

pub(super) async fn check(fake: &Fake, expected: &Expect) {
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    let mut lines: Vec<String> = found.blockers.iter().map(ToString::to_string).collect();
    lines.push(String::new());
    expected.assert_eq(&lines.join("\n"));
    assert_eq!(fake.count("POST"), 0, "the node is not touched");
    assert_eq!(fake.count("WATCH"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_finds_permanent_blockers_and_their_numbers() {
    let fake = Fake::new();
    fake.put_pod(with(pod("shop/pet-0"), &json!({"metadata": {"ownerReferences": null}})));
    fake.put_pod(pod("shop/single-0"));
    fake.put_budget(budget("shop/single", 0, 1, 1, 1));
    fake.put_pod(pod("shop/twice-0"));
    fake.put_budget(budget("shop/twice", 1, 2, 1, 2));
    let same = json!({"spec": {"selector": {"matchLabels": {"app": "twice"}}}});
    fake.put_budget(with(budget("shop/extra", 1, 2, 1, 2), &same));
    check(
        &fake,
        &expect![[r#"
            pod shop/pet-0: no controller would recreate it (the policy's drain.unmanagedPods is Block)
            pod shop/twice-0: more than one budget selects it (shop/extra, shop/twice), so it cannot be evicted
            pod shop/single-0: budget shop/single allows 0 disruptions (1 of 1 ready, 1 needed) and never will: run more replicas or relax the budget
        "#]],
    )
    .await;
    assert_eq!(fake.count("DRY"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_decoded_is_named_and_blocks() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let grace = json!({"spec": {"terminationGracePeriodSeconds": "an hour"}});
    fake.put_pod(with(pod("shop/odd-0"), &grace));
    check(
        &fake,
        &expect![[r#"
            pod shop/odd-0 cannot be decoded (spec.terminationGracePeriodSeconds: invalid type: string "an hour", expected i64)
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_cannot_be_decoded_leaves_the_decision_to_the_api_server() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.put_budget(with(
        budget("shop/web", 0, 1, 1, 1),
        &json!({"status": {"expectedPods": "one"}}),
    ));
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    assert_eq!(found.pods[0].budget, None);
    assert_eq!(fake.count("DRY"), 1, "the API server is asked");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_exhausted_now_is_no_permanent_blocker() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.put_budget(budget("shop/web", 0, 2, 2, 3));
    check(&fake, &expect![""]).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_never_allows_blocks_whatever_is_healthy_now() {
    for healthy in 0..=2 {
        let fake = Fake::new();
        fake.put_pod(pod("shop/web-0"));
        fake.put_budget(budget("shop/web", 0, healthy, 2, 2));
        let expected = format!(
            "pod shop/web-0: budget shop/web allows 0 disruptions ({healthy} of 2 ready, 2 needed) and never will: run more replicas or relax the budget"
        );
        assert_eq!(permanent(&fake).await, [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_allows_no_disruption_blocks_whatever_the_numbers_are() {
    let zero = "and never will, as its maxUnavailable is 0: relax the budget";
    let all = "and never will, as its minAvailable is 100%: relax the budget";
    let cases = [
        (json!({"maxUnavailable": 0}), Some(zero)),
        (json!({"maxUnavailable": "0%"}), Some(zero)),
        (json!({"minAvailable": "100%"}), Some(all)),
        (json!({"maxUnavailable": 1}), None),
        (json!({"maxUnavailable": "1%"}), None),
        (json!({"minAvailable": "99%"}), None),
        (json!({"minAvailable": 0}), None),
    ];
    // The controller has not counted the pods yet, or counts one that is not healthy.
    for (healthy, desired, total) in [(0, 0, 0), (1, 1, 3)] {
        for (spec, expected) in &cases {
            let fake = Fake::new();
            fake.put_pod(pod("shop/web-0"));
            fake.put_budget(with(
                budget("shop/web", 0, healthy, desired, total),
                &json!({"spec": spec}),
            ));
            let found = permanent(&fake).await;
            assert_eq!(found.len(), usize::from(expected.is_some()), "{spec}: {found:?}");
            assert!(found.iter().all(|line| line.ends_with(expected.unwrap())), "{found:?}");
        }
    }
}

/// What a preflight finds that waiting does not solve.
async fn permanent(fake: &Fake) -> Vec<String> {
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    found.blockers.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_its_controller_cannot_compute_is_a_blocker() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let broken = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed",
        "message": "found no controllers for pod \"web-0\""}]);
    fake.put_budget(with(
        budget("shop/web", 0, 0, 0, 0),
        &json!({"status": {"conditions": broken}}),
    ));
    check(
        &fake,
        &expect![[r#"
            pod shop/web-0: budget shop/web allows 0 disruptions (0 of 0 ready, 0 needed): found no controllers for pod "web-0"
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_preflight_sends_a_dry_run_for_each_eviction() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let body = json!({"message": "admission webhook \"x\" denied the request: not this one"});
    fake.world().faults.push_back(Fault::Answer {
        code: 403,
        retry_after: None,
        body,
    });
    check(
        &fake,
        &expect![[r#"
            pod shop/web-0: admission webhook "x" denied the request: not this one
        "#]],
    )
    .await;
    check(&fake, &expect![""]).await;
    assert_eq!(fake.count("DRY"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_quick_preflight_sends_one_dry_run_for_each_namespace() {
    let fake = Fake::new();
    for name in ["shop/web-0", "shop/web-1", "shop/web-2", "blog/post-0"] {
        fake.put_pod(pod(name));
    }
    let found = quick_preflight(&fake.client(), &settings()).await.unwrap();
    assert_eq!((found.pods.len(), found.blockers.len()), (4, 0));
    assert_eq!((fake.count("DRY"), fake.count("POST")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_preflight_without_an_api_server_is_an_error() {
    let fake = Fake::new();
    fake.go_down();
    let error = preflight(&fake.client(), &settings()).await.unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    expect!["cannot read the pods of node n1"].assert_eq(&error.to_string());
}

/// What a preflight of one pod finds whose dry run is answered so: permanent blockers, and doubts.
async fn after_answer(code: u16, message: &str) -> [Vec<String>; 2] {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.world().faults.push_back(Fault::Answer {
        code,
        retry_after: None,
        body: json!({"message": message}),
    });
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    [found.blockers.clone(), found.doubts()].map(|causes| causes.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn a_webhook_blocks_permanently_only_if_it_forbids() {
    for code in [403, 400, 422] {
        let [blockers, doubts] = after_answer(code, "admission webhook \"x\" denied the request: not this one").await;
        assert_eq!((blockers.len(), doubts.len()), (1, 0), "{code}");
    }
    let [blockers, doubts] = after_answer(400, "admission webhook \"x\" does not support dry run").await;
    assert_eq!((blockers.len(), doubts.len()), (0, 0), "the drain itself asks it");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_refuses_for_now_is_a_doubt_with_its_message() {
    let mut found = String::new();
    for (code, message) in [
        (429, "admission webhook \"x\" denied the request: migrating"),
        (429, "wait for the replication"),
        (500, "admission webhook \"x\" denied the request: no leader"),
    ] {
        let [blockers, doubts] = after_answer(code, message).await;
        assert!(blockers.is_empty(), "{code}: {blockers:?}");
        found += &(doubts.concat() + "\n");
    }
    expect![[r#"
        pod shop/web-0: admission webhook "x" denied the request: migrating (429: the drain requests the eviction again until the webhook allows it)
        pod shop/web-0: wait for the replication (429: the drain requests the eviction again until the webhook allows it)
        pod shop/web-0: admission webhook "x" denied the request: no leader (500: the drain requests the eviction again until the webhook allows it)
    "#]]
    .assert_eq(&found);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_shows_decision_tier_and_budget_of_each_pod() {
    let fake = Fake::new();
    let critical = json!({"spec": {"priorityClassName": "system-cluster-critical"}});
    fake.put_pod(with(pod("shop/dns-0"), &critical));
    fake.put_pod(pod("shop/web-0"));
    fake.put_pod(with(pod("shop/pet-0"), &json!({"metadata": {"ownerReferences": null}})));
    fake.put_pod(with(pod("shop/job-0"), &json!({"status": {"phase": "Succeeded"}})));
    fake.put_budget(budget("shop/web", 0, 2, 2, 3));
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    let lines: Vec<String> = found
        .pods
        .iter()
        .map(|line| {
            let allowed = line
                .budget
                .as_ref()
                .map(|(name, numbers)| format!("{name} allows {}", numbers.allowed));
            let (decision, tier) = (&line.decision, line.tier);
            format!(
                "{}: {decision:?}, {tier}, {allowed:?}, {}\n",
                line.pod,
                line.blockers.len()
            )
        })
        .collect();
    expect![[r#"
        shop/job-0: Skip(Finished), order 0, None, 0
        shop/pet-0: Block([Unmanaged]), order 0, None, 1
        shop/web-0: Evict, order 0, Some("shop/web allows 0"), 0
        shop/dns-0: Evict, order 0, critical, None, 0
    "#]]
    .assert_eq(&lines.concat());
    assert_eq!(fake.count("DRY"), 1, "of a closed budget the answer is known");
    assert_eq!(fake.world().requests.len(), 3, "two lists and one question");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_costs_at_most_one_dry_run_for_each_pod() {
    let fake = Fake::new();
    for number in 0..110 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    assert_eq!((found.pods.len(), found.blockers.len()), (110, 0));
    assert_eq!(fake.world().requests.len(), 112);
    assert_eq!(fake.world().granted.len(), 0);
}

fn denial(words: &str) -> Fault {
    let message = format!("admission webhook \"x\" denied the request: {words}");
    Fault::Answer {
        code: 403,
        retry_after: None,
        body: json!({"message": message}),
    }
}

/// 110 pods in two namespaces that a webhook refuses, each in words of its own; asked once.
async fn full_node() -> (Fake, DryRunCache) {
    let fake = Fake::new();
    for number in 0..110 {
        let namespace = if number < 55 { "shop" } else { "blog" };
        fake.put_pod(pod(&format!("{namespace}/web-{number}")));
    }
    let words = (0..110).map(|number| denial(&format!("not number {number}")));
    fake.world().faults.extend(words);
    let mut answers = DryRunCache::default();
    assert_eq!(look_again(&fake, &mut answers).await, 110);
    assert_eq!(fake.count("DRY"), 110);
    (fake, answers)
}

/// How many pods are blocked.
async fn look_again(fake: &Fake, answers: &mut DryRunCache) -> usize {
    let found = preflight_with_cache(&fake.client(), &settings(), answers)
        .await
        .unwrap();
    found.blockers.iter().map(|cause| cause.count).sum()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_blocked_costs_one_dry_run_for_each_namespace() {
    let (fake, mut answers) = full_node().await;
    for _ in 0..9 {
        tokio::time::sleep(std::time::Duration::from_mins(1)).await;
        fake.world().faults.extend([denial("still not"), denial("still not")]);
        assert_eq!(look_again(&fake, &mut answers).await, 110);
    }
    assert_eq!(fake.count("DRY"), 110 + 9 * 2);
    fake.put_pod(pod("shop/new-0"));
    fake.world().faults.extend(std::iter::repeat_n(denial("still not"), 3));
    assert_eq!(look_again(&fake, &mut answers).await, 111);
    assert_eq!(fake.count("DRY"), 110 + 9 * 2 + 3, "and one for a pod that is new");
}

#[tokio::test(start_paused = true)]
async fn one_changed_answer_repeats_all_dry_runs() {
    let (fake, mut answers) = full_node().await;
    assert_eq!(look_again(&fake, &mut answers).await, 0, "the webhook agrees now");
    assert_eq!(fake.count("DRY"), 110 + 110);
    assert_eq!(look_again(&fake, &mut answers).await, 0);
    assert_eq!(fake.count("DRY"), 110 + 110 + 2);
    fake.world().faults.push_back(denial("no more"));
    fake.world().faults.extend(std::iter::repeat_n(denial("no more"), 109));
    assert_eq!(look_again(&fake, &mut answers).await, 110);
    assert_eq!(fake.count("DRY"), 110 + 110 + 2 + 110);
}

#[tokio::test(start_paused = true)]
async fn all_dry_runs_are_repeated_after_ten_minutes() {
    let (fake, mut answers) = full_node().await;
    tokio::time::sleep(std::time::Duration::from_mins(10)).await;
    assert_eq!(look_again(&fake, &mut answers).await, 0);
    assert_eq!(fake.count("DRY"), 220);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_webhook_is_an_error_of_the_preflight() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let message = "Internal error occurred: failed calling webhook \"x\": failed to call webhook: connection refused";
    let down = Fault::Answer {
        code: 500,
        retry_after: None,
        body: json!({"message": message}),
    };
    fake.world().faults.push_back(down.clone());
    let error = preflight(&fake.client(), &settings()).await.unwrap_err();
    expect![[
        r#"the dry run of an eviction of pod shop/web-0 failed: Internal error occurred: failed calling webhook "x": failed to call webhook: connection refused"#
    ]]
    .assert_eq(&error.to_string());
    assert!(
        error
            .remedy()
            .is_some_and(|remedy| remedy.starts_with("repair that webhook"))
    );
    // What is in the way at any rate is said all the same.
    fake.put_pod(with(pod("shop/pet-0"), &json!({"metadata": {"ownerReferences": null}})));
    fake.world().faults.push_back(down);
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    assert_eq!(found.blockers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_answer_is_an_error_of_the_preflight() {
    for (fault, words) in [
        (Fault::Reset, "connection reset"),
        (Fault::Hang, "no answer within 15 s"),
        (
            Fault::Answer {
                code: 429,
                retry_after: Some(1),
                body: json!({"message": "Too many requests, please try again later."}),
            },
            "too many requests",
        ),
    ] {
        let fake = Fake::new();
        fake.put_pod(pod("shop/web-0"));
        fake.world().faults.push_back(fault);
        let error = preflight(&fake.client(), &settings()).await.unwrap_err();
        assert!(
            matches!(error, Error::DryRun { .. }) && error.to_string().contains(words),
            "{error}"
        );
        assert_eq!(fake.world().granted.len(), 0);
    }
}
