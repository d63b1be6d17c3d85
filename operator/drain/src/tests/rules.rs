//! The policy's rules, the orders they make, and what the other fields of a drain decide.

use std::collections::BTreeMap;

use chrono::DateTime;
use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::{pod, settings, view, with};
use crate::{Behavior, Deletion, EmptyDir, Error, Namespaces, PodOptOuts, Rule, Settings, Stage, Unmanaged, decide};

fn labels(pairs: &Value) -> LabelSelector {
    serde_json::from_value(json!({"matchLabels": pairs})).unwrap()
}

fn rule(pods: &Value, behavior: Behavior) -> Rule {
    Rule::parse(0, Some(labels(pods)), None, behavior, 0).unwrap()
}

fn ruled(rules: Vec<Rule>) -> Settings {
    Settings { rules, ..settings() }
}

fn namespaces() -> Namespaces {
    let team = |name: &str| BTreeMap::from([("team".to_owned(), name.to_owned())]);
    Namespaces::from([("shop".to_owned(), team("web")), ("lab".to_owned(), team("science"))])
}

#[expect(clippy::needless_pass_by_value, reason = "reads better with literals")]
fn check(change: Value, settings: &Settings, expected: Expect) {
    let pod = view(with(pod("shop/web-0"), &change));
    let verdict = decide(&pod, &namespaces(), settings, DateTime::UNIX_EPOCH);
    expected.assert_eq(&format!("{:?} at {}", verdict.decision, verdict.tier));
}

fn daemon() -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true});
    json!({"metadata": {"ownerReferences": [owner]}})
}

#[test]
fn each_behavior_of_a_rule_has_its_decision() {
    let web = json!({"app": "web"});
    for (behavior, expected) in [
        (Behavior::Evict, expect!["Evict at order 0"]),
        (Behavior::Skip, expect!["Skip(Rule(0)) at order 0"]),
        (Behavior::WaitCompleted, expect!["Complete(0) at order 0"]),
        (Behavior::Block, expect!["Block([Rule(0)]) at order 0"]),
    ] {
        check(json!({}), &ruled(vec![rule(&web, behavior)]), expected);
    }
}

#[test]
fn the_first_rule_that_matches_applies() {
    let rules = vec![
        rule(&json!({"app": "db"}), Behavior::Block),
        rule(&json!({"app": "web"}), Behavior::Skip),
        rule(&json!({}), Behavior::WaitCompleted),
    ];
    check(json!({}), &ruled(rules.clone()), expect!["Skip(Rule(1)) at order 0"]);
    check(
        json!({"metadata": {"labels": {"app": "other"}}}),
        &ruled(rules.clone()),
        expect!["Complete(2) at order 0"],
    );
    check(
        json!({"metadata": {"labels": {"app": "db"}}}),
        &ruled(rules),
        expect!["Block([Rule(0)]) at order 0"],
    );
}

#[test]
fn a_rule_without_selectors_matches_every_pod() {
    let all = Rule::parse(0, None, None, Behavior::Skip, 0).unwrap();
    check(json!({}), &ruled(vec![all]), expect!["Skip(Rule(0)) at order 0"]);
}

#[test]
fn both_selectors_must_match() {
    let rule = |app: &str, team: &str| {
        let (pods, namespaces) = (labels(&json!({"app": app})), labels(&json!({"team": team})));
        ruled(vec![
            Rule::parse(0, Some(pods), Some(namespaces), Behavior::Skip, 0).unwrap(),
        ])
    };
    check(json!({}), &rule("web", "web"), expect!["Skip(Rule(0)) at order 0"]);
    check(json!({}), &rule("web", "science"), expect!["Evict at order 0"]);
    check(json!({}), &rule("db", "web"), expect!["Evict at order 0"]);
}

#[test]
fn a_pod_is_undecided_while_a_rule_needs_unknown_namespace_labels() {
    let by_team = Rule::parse(0, None, Some(labels(&json!({"team": "web"}))), Behavior::Skip, 0).unwrap();
    let elsewhere = json!({"metadata": {"namespace": "unseen"}});
    check(
        elsewhere.clone(),
        &ruled(vec![by_team.clone()]),
        expect!["Unknown at order 0"],
    );
    let before = rule(&json!({"app": "web"}), Behavior::Evict);
    check(
        elsewhere.clone(),
        &ruled(vec![before, by_team]),
        expect!["Evict at order 0"],
    );
    let any = Rule::parse(0, None, Some(labels(&json!({}))), Behavior::Skip, 0).unwrap();
    check(elsewhere, &ruled(vec![any]), expect!["Skip(Rule(0)) at order 0"]);
}

#[test]
fn an_invalid_selector_names_its_rule() {
    let bad: LabelSelector = serde_json::from_value(json!({
        "matchExpressions": [{"key": "app", "operator": "Matches", "values": ["x"]}]
    }))
    .unwrap();
    let error = Rule::parse(3, None, Some(bad), Behavior::Skip, 0).unwrap_err();
    assert!(matches!(error, Error::Rule { index: 3, .. }));
    expect!["drain.rules[3].namespaceSelector is invalid and must be corrected in the policy"]
        .assert_eq(&error.to_string());
}

#[test]
fn rules_do_not_apply_to_pods_that_stay_anyway() {
    let block = ruled(vec![Rule::parse(0, None, None, Behavior::Block, 0).unwrap()]);
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
    check(mirror, &block, expect!["Skip(Mirror) at order 0"]);
    check(daemon(), &block, expect!["Skip(DaemonSet) at DaemonSets"]);
    check(
        json!({"status": {"phase": "Succeeded"}}),
        &block,
        expect!["Skip(Finished) at order 0"],
    );
    let own = json!({
        "metadata": {"namespace": "lockkeeper-system", "labels": {"app.kubernetes.io/part-of": "lockkeeper"}}
    });
    check(own, &block, expect!["Skip(Own) at order 0"]);
}

#[test]
fn a_rule_with_evict_does_not_override_the_protection_of_data() {
    let settings = Settings {
        empty_dir: EmptyDir::Block,
        ..ruled(vec![rule(&json!({"app": "web"}), Behavior::Evict)])
    };
    check(
        json!({"metadata": {"ownerReferences": null}, "spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}),
        &settings,
        expect!["Block([Unmanaged, EmptyDir]) at order 0"],
    );
}

#[test]
fn a_protected_pod_that_is_shutting_down_is_waited_for() {
    let terminating = json!({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}});
    for (behavior, expected) in [
        (Behavior::Block, expect!["Wait at order 0"]),
        (Behavior::WaitCompleted, expect!["Wait at order 0"]),
        (Behavior::Skip, expect!["Skip(Rule(0)) at order 0"]),
    ] {
        check(terminating.clone(), &ruled(vec![rule(&json!({}), behavior)]), expected);
    }
}

#[test]
fn the_tier_is_the_order_of_the_rule_and_then_the_criticality() {
    let ordered = |order| ruled(vec![Rule::parse(0, None, None, Behavior::Evict, order).unwrap()]);
    check(json!({}), &ordered(-5), expect!["Evict at order -5"]);
    for class in ["system-cluster-critical", "system-node-critical"] {
        let critical = json!({"spec": {"priorityClassName": class}});
        check(critical.clone(), &settings(), expect!["Evict at order 0, critical"]);
        check(critical, &ordered(7), expect!["Evict at order 7, critical"]);
    }
    check(
        json!({"spec": {"priorityClassName": "high"}}),
        &settings(),
        expect!["Evict at order 0"],
    );
}

#[test]
fn a_pod_with_an_empty_dir_is_evicted_unless_empty_dir_data_is_block() {
    let scratch =
        json!({"spec": {"volumes": [{"name": "a", "configMap": {"name": "x"}}, {"name": "b", "emptyDir": {}}]}});
    let block = Settings {
        empty_dir: EmptyDir::Block,
        ..settings()
    };
    check(scratch.clone(), &settings(), expect!["Evict at order 0"]);
    check(scratch.clone(), &block, expect!["Block([EmptyDir]) at order 0"]);
    check(json!({}), &block, expect!["Evict at order 0"]);
    let over = with(scratch.clone(), &json!({"status": {"phase": "Failed"}}));
    check(over, &block, expect!["Skip(Finished) at order 0"]);
    check(
        with(scratch, &daemon()),
        &block,
        expect!["Skip(DaemonSet) at DaemonSets"],
    );
}

#[test]
fn an_opt_out_is_respected_unless_pod_opt_outs_is_ignore() {
    let asks = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let ignore = Settings {
        pod_opt_outs: PodOptOuts::Ignore,
        ..settings()
    };
    let autoscaler = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    check(
        asks(autoscaler, "false"),
        &settings(),
        expect![[
            r#"Block([OptedOut(OptOut { annotation: "cluster-autoscaler.kubernetes.io/safe-to-evict", until: None })]) at order 0"#
        ]],
    );
    check(asks(autoscaler, "true"), &settings(), expect!["Evict at order 0"]);
    check(asks(autoscaler, "false"), &ignore, expect!["Evict at order 0"]);
    check(
        asks("karpenter.sh/do-not-disrupt", "true"),
        &settings(),
        expect![[r#"Block([OptedOut(OptOut { annotation: "karpenter.sh/do-not-disrupt", until: None })]) at order 0"#]],
    );
    check(
        asks("karpenter.sh/do-not-disrupt", "false"),
        &settings(),
        expect!["Evict at order 0"],
    );
}

#[test]
fn daemon_sets_last_keeps_node_critical_and_all_tolerating_pods() {
    let last = Settings {
        daemon_sets_last: true,
        empty_dir: EmptyDir::Block,
        ..settings()
    };
    check(daemon(), &last, expect!["Evict at DaemonSets"]);
    let with_data = json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}});
    check(with(daemon(), &with_data), &last, expect!["Evict at DaemonSets"]);
    let terminating = json!({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}});
    check(with(daemon(), &terminating), &last, expect!["Wait at DaemonSets"]);
    let cluster = json!({"spec": {"priorityClassName": "system-cluster-critical"}});
    check(with(daemon(), &cluster), &last, expect!["Evict at DaemonSets"]);
    for stays in [
        json!({"spec": {"priorityClassName": "system-node-critical"}}),
        json!({"spec": {"tolerations": [{"operator": "Exists"}]}}),
        json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}}),
        json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}}),
    ] {
        check(with(daemon(), &stays), &last, expect!["Skip(DaemonSet) at DaemonSets"]);
    }
    for evicted in [
        json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}}),
        json!({"spec": {"tolerations": [{"key": "disk", "operator": "Exists"}]}}),
    ] {
        check(with(daemon(), &evicted), &last, expect!["Evict at DaemonSets"]);
    }
    let own = json!({
        "metadata": {"namespace": "lockkeeper-system", "labels": {"app.kubernetes.io/part-of": "lockkeeper"}}
    });
    check(with(daemon(), &own), &last, expect!["Skip(Own) at DaemonSets"]);
}

#[test]
fn a_rules_order_does_not_move_daemon_set_pods_before_others() {
    let ruled = |behavior, order| Settings {
        daemon_sets_last: true,
        ..ruled(vec![Rule::parse(0, None, None, behavior, order).unwrap()])
    };
    check(daemon(), &ruled(Behavior::Evict, -3), expect!["Evict at DaemonSets"]);
    for behavior in [Behavior::Skip, Behavior::WaitCompleted, Behavior::Block] {
        check(daemon(), &ruled(behavior, 0), expect!["Skip(Rule(0)) at DaemonSets"]);
    }
}

#[test]
fn the_delete_stage_does_not_delete_protected_or_exempt_pods() {
    let exempt = labels(&json!({"tier": "storage"})).try_into().unwrap();
    let deletion = Deletion {
        since: chrono::DateTime::UNIX_EPOCH,
        until: None,
        exempt: Some(exempt),
    };
    let delete = |rules| Settings {
        stage: Stage::Delete(deletion.clone()),
        daemon_sets_last: true,
        ..ruled(rules)
    };
    let storage = json!({"metadata": {"labels": {"tier": "storage"}}});
    check(json!({}), &delete(vec![]), expect!["Delete at order 0"]);
    check(daemon(), &delete(vec![]), expect!["Delete at DaemonSets"]);
    check(storage.clone(), &delete(vec![]), expect!["Evict at order 0"]);
    let complete = || vec![rule(&json!({}), Behavior::WaitCompleted)];
    check(json!({}), &delete(complete()), expect!["Delete at order 0"]);
    check(storage, &delete(complete()), expect!["Complete(0) at order 0"]);
    let block = vec![rule(&json!({}), Behavior::Block)];
    check(json!({}), &delete(block), expect!["Block([Rule(0)]) at order 0"]);
    let unmanaged = json!({"metadata": {"ownerReferences": null}});
    check(
        unmanaged.clone(),
        &delete(vec![]),
        expect!["Block([Unmanaged]) at order 0"],
    );
    let opted_out = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}});
    check(
        opted_out,
        &delete(vec![]),
        expect![[r#"Block([OptedOut(OptOut { annotation: "karpenter.sh/do-not-disrupt", until: None })]) at order 0"#]],
    );
    let allowed = Settings {
        unmanaged: Unmanaged::Evict,
        ..delete(vec![])
    };
    check(unmanaged, &allowed, expect!["Delete at order 0"]);
}
