use expect_test::{Expect, expect};
use kube::api::ObjectMeta;
use lockkeeper_kube_util::Undecodable;
use lockkeeper_snapshot::guarded::{GuardedRecord, PolicyRest};
use serde_json::{Value, json};

use super::*;
use crate::cluster::objects::Objects;
use crate::fixture::{clock, objects, policy, reboot};
use crate::view::view;

const NOW: &str = "2026-11-24T21:48:00Z";

fn check(objects: &Objects, expected: &Expect) {
    let lines = render(&view(objects, None).unwrap(), &clock(NOW));
    let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    expected.assert_eq(&text.join("\n"));
}

fn waiting(reason: &str, message: &str, since: &str) -> Value {
    json!({"state": "Pending", "waiting": {"reason": reason, "message": message, "sinceTime": since}})
}

fn draining() -> Value {
    json!({
        "state": "Draining",
        "waiting": {"reason": "EvictionBlocked", "sinceTime": "2026-11-24T21:45:00Z",
            "message": "pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)"},
        "operation": {"id": "7f3c", "phase": "Draining", "policy": "workers", "bootIDBefore": "b0",
            "startedTime": "2026-11-24T21:43:50Z", "cordonedTime": "2026-11-24T21:44:00Z",
            "settings": {"drain": {"timeoutSeconds": 900}, "reboot": {"timeoutSeconds": 900}, "requireAgentSeconds": 60}},
    })
}

fn workers() -> lockkeeper_crds::RebootPolicy {
    let spec = json!({"windows": [{"schedule": "0 22 * * *", "durationSeconds": 21600}]});
    policy(
        "workers",
        spec,
        json!({"window": "Open", "windowClosesTime": "2026-11-25T01:00:00Z",
            "estimatedCompletionTime": "2026-11-24T23:40:00Z"}),
    )
}

#[test]
fn shows_the_nodes_in_progress_and_why_the_others_wait() {
    let slot = "no free slot: w-02 in progress (1 of 1, policy limit)";
    let nodes = vec![
        reboot("w-01", json!({"state": "UpToDate"})),
        reboot("w-02", draining()),
        reboot("w-03", waiting("NoFreeSlot", slot, "2026-11-24T19:48:00Z")),
        reboot(
            "w-05",
            waiting(
                "NoFreeSlot",
                &format!("{slot}; 1 node ahead in the queue"),
                "2026-11-24T19:50:00Z",
            ),
        ),
        reboot(
            "w-04",
            waiting(
                "Held",
                "held by annotation: \"debugging the NIC\", until 2026-11-30T00:00:00Z",
                "2026-11-19T10:00:00Z",
            ),
        ),
    ];
    check(
        &objects(vec![workers()], nodes),
        &expect![[r#"
            workers   window open, closes Wed 01:00 (in 3 h 12 min)   1 of 5 up to date, 1 in progress, 3 waiting   done by 23:40 if nothing blocks
              w-02   Draining    4 min     pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)
              w-04   held        5 d       held by annotation: "debugging the NIC", until Mon 00:00 (in 5 d 2 h)
              w-03   waits       2 h       no free slot: w-02 in progress (1 of 1, policy limit)
              w-05   waits       118 min   no free slot: w-02 in progress (1 of 1, policy limit); 1 node ahead in the queue"#]],
    );
}

#[test]
fn many_nodes_that_wait_for_one_reason_become_one_line() {
    let message = |before: usize| match before {
        0 => "no free slot: n-000, n-001 in progress (2 of 2, policy limit)".to_owned(),
        before => {
            format!("no free slot: n-000, n-001 in progress (2 of 2, policy limit); {before} nodes ahead in the queue")
        }
    };
    let nodes = (0..3912).map(|index| {
        reboot(
            &format!("n-{index:04}"),
            waiting("NoFreeSlot", &message(index), "2026-11-24T19:48:00Z"),
        )
    });
    check(
        &objects(vec![workers()], nodes.collect()),
        &expect![[r#"
            workers   window open, closes Wed 01:00 (in 3 h 12 min)   0 of 3,912 up to date, 3,912 waiting   done by 23:40 if nothing blocks
              3,912 wait: no free slot: n-000, n-001 in progress (2 of 2, policy limit) (n-0000, n-0001, n-0002 and 3,909 more, the first for 2 h)"#]],
    );
}

#[test]
fn a_failed_node_and_a_policy_that_is_not_ready_stand_out() {
    let failed = json!({
        "state": "Failed",
        "operation": {"id": "9a1b", "phase": "Failed", "policy": "workers", "bootIDBefore": "b0",
            "startedTime": "2026-11-24T21:00:00Z",
            "settings": {"drain": {"timeoutSeconds": 900}, "reboot": {"timeoutSeconds": 900}, "requireAgentSeconds": 60},
            "failure": {"time": "2026-11-24T21:30:00Z", "message": "no new boot within 900 s; check the console"}},
    });
    let ready = json!([{"type": "Ready", "status": "False", "reason": "NodeFailed", "message": "1 node failed: w-01",
        "lastTransitionTime": NOW}]);
    let general = policy("general", json!({}), json!({"conditions": ready}));
    let mut node = reboot("w-01", failed);
    node.spec.policy = Some("general".to_owned());
    let objects = objects(vec![general], vec![node]);
    check(
        &objects,
        &expect![[r#"
            general   any time   0 of 1 up to date, 1 failed
              not ready: 1 node failed: w-01
              w-01   Failed      18 min    no new boot within 900 s; check the console"#]],
    );
    let lines = render(&view(&objects, None).unwrap(), &clock(NOW));
    assert_eq!(
        lines.iter().map(|line| line.action_required).collect::<Vec<_>>(),
        [ActionRequired::None, ActionRequired::Repair, ActionRequired::Repair]
    );
}

#[test]
fn a_policy_that_cannot_be_decoded_is_shown_and_does_not_hide_the_others() {
    let mut objects = objects(vec![policy("general", json!({}), json!({}))], vec![]);
    let odd = Undecodable {
        metadata: ObjectMeta::default(),
        cause: "invalid type: string \"soon\", expected i32".to_owned(),
        rest: PolicyRest::default(),
    };
    objects.undecodable.policies.insert("odd".to_owned(), odd);
    check(
        &objects,
        &expect![[r#"
            policy odd cannot be decoded (invalid type: string "soon", expected i32); no node of any policy starts until it is fixed; see: kubectl describe rbp odd
            general   any time   0 of 0 up to date"#]],
    );
}

#[test]
fn a_record_that_cannot_be_decoded_is_named_and_does_not_hide_the_others() {
    let waiting = json!({"reason": "NoFreeSlot", "message": "no free slot", "sinceTime": "2026-11-24T20:08:00Z"});
    let good = reboot("w-02", json!({"state": "Pending", "waiting": waiting}));
    let mut objects = objects(vec![policy("workers", json!({}), json!({}))], vec![good]);
    let poisoned = json!({"metadata": {"name": "w-01"}, "spec": {},
        "status": {"host": {"bootTime": "2026-11-21T12:00:00Ztrailing words"}}});
    let poisoned: GuardedRecord = serde_json::from_value(poisoned).unwrap();
    let poisoned = poisoned.0.unwrap_err();
    objects.undecodable.reboots.insert("w-01".to_owned(), poisoned);
    let view = view(&objects, None).unwrap();
    let lines: Vec<String> = render(&view, &clock(NOW)).into_iter().map(|line| line.text).collect();
    let named = "NodeReboot w-01 cannot be decoded (status.host.bootTime: ";
    assert!(lines[0].starts_with(named), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("w-02   waits")), "{lines:?}");
    assert_eq!(view.undecodable, [lines[0].clone()], "as -o json prints it");
}

#[test]
fn a_schedule_that_is_too_tight_is_a_warning() {
    let tight = json!([
        {"type": "Ready", "status": "True", "reason": "UpToDate", "message": "", "lastTransitionTime": NOW},
        {"type": "ScheduleTooTight", "status": "True", "reason": "InsufficientWindowTime",
            "message": "nodes may start for 1 h in the next 32 days, less than 4 h", "lastTransitionTime": NOW},
    ]);
    let general = policy("general", json!({}), json!({"conditions": tight}));
    check(
        &objects(vec![general], vec![]),
        &expect![[r#"
            general   any time   0 of 0 up to date
              warning: nodes may start for 1 h in the next 32 days, less than 4 h"#]],
    );
}

#[test]
fn a_closed_window_shows_when_it_opens() {
    let spec = json!({"windows": [{"schedule": "0 22 * * *", "durationSeconds": 21600}]});
    let closed = policy(
        "workers",
        spec,
        json!({"window": "Closed", "nextWindowTime": "2026-11-24T22:00:00Z"}),
    );
    let node = reboot(
        "w-01",
        waiting(
            "OutsideWindow",
            "the next window opens at 2026-11-24T22:00:00Z",
            "2026-11-24T21:47:00Z",
        ),
    );
    check(
        &objects(vec![closed], vec![node]),
        &expect![[r#"
            workers   window closed, opens 22:00 (in 12 min)   0 of 1 up to date, 1 waiting
              w-01   waits       60 s      the next window opens at 22:00 (in 12 min)"#]],
    );
}

#[test]
fn a_cluster_without_a_policy_shows_how_to_create_one() {
    let mut node = reboot("w-01", waiting("NoPolicy", "no policy selects this node", NOW));
    node.spec.policy = None;
    check(
        &objects(vec![], vec![node]),
        &expect![[r#"
            no RebootPolicy, so 1 node is never rebooted; create a first one: kubectl apply -f deploy/samples/general.yaml
            no policy   1 node without exactly one policy is never rebooted
              w-01   waits       0 s       no policy selects this node"#]],
    );
    check(
        &objects(vec![], vec![]),
        &expect![
            "no RebootPolicy and no NodeReboot yet; if this lasts, check the operator: kubectl get pods -A -l app.kubernetes.io/part-of=lockkeeper"
        ],
    );
}

#[test]
fn a_node_that_the_operator_has_not_observed_is_not_up_to_date() {
    let fresh = serde_json::from_value(json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "general"}, "spec": {}}))
    .unwrap();
    let mut node = reboot("w-01", json!({}));
    node.spec.policy = Some("general".to_owned());
    check(
        &objects(vec![fresh], vec![node]),
        &expect![[r#"
            general   any time   0 of 1 up to date, 1 unknown
              not ready: the operator has not observed this policy yet
              w-01   Unknown               the operator has not reported a state for this node yet"#]],
    );
}

#[test]
fn nodes_whose_detectors_fail_are_counted_as_unknown() {
    let report = json!({"rebootCapable": true, "rebootRequired": {"required": false, "failing": ["apt: exit 3"]}});
    let nodes = vec![
        reboot("w-01", json!({"state": "Unknown", "host": report})),
        reboot("w-02", json!({"state": "UpToDate"})),
    ];
    let objects = objects(vec![workers()], nodes);
    check(
        &objects,
        &expect![[r#"
            workers   window open, closes Wed 01:00 (in 3 h 12 min)   1 of 2 up to date, 1 unknown   done by 23:40 if nothing blocks
              w-01   Unknown               it is not known whether a reboot is required: apt: exit 3"#]],
    );
    assert!(!view(&objects, None).unwrap().is_done());
}

#[test]
fn a_common_prefix_ends_at_the_end_of_a_clause() {
    let texts = [
        "a b; 1 before".to_owned(),
        "a b; 12 before".to_owned(),
        "a b".to_owned(),
    ];
    assert_eq!(common_prefix(&texts), "a b");
    assert_eq!(common_prefix(&texts[..2]), "a b");
    let far = [
        "no free slot: a in progress; 9 ahead".to_owned(),
        "no free slot (1); 10 or more ahead".to_owned(),
    ];
    assert_eq!(common_prefix(&far), "no free slot");
    assert_eq!(common_prefix(&["x y".to_owned(), "z".to_owned()]), "");
}

#[test]
fn a_policy_with_a_deadline_says_whether_it_will_be_met_and_what_it_overrides() {
    let condition = |type_: &str, message: &str| {
        json!({"type": type_, "status": "True", "reason": "R", "message": message,
            "lastTransitionTime": "2026-11-01T00:00:00Z"})
    };
    let spec = json!({"deadline": {"maxPendingSeconds": 604_800}});
    let ready = condition("Ready", "");
    let in_time = json!({"deadline": {"nextOverdueTime": "2026-11-26T21:00:00Z"}, "conditions": [ready.clone()]});
    check(
        &objects(vec![policy("workers", spec.clone(), in_time)], vec![]),
        &expect![[r#"
            workers   any time   0 of 0 up to date
              deadline: every node is rebooted within 7 d if nothing blocks; the first one is overdue at Thu 21:00 (in 1 d 23 h)"#]],
    );
    let late = json!({"deadline": {"overdue": 2, "late": 1}, "conditions": [
        ready,
        condition("DeadlineMissed", "2 nodes have required a reboot for longer than 7 d (w-01, w-02)"),
        condition("DeadlineEscalating", "IgnoreWindows applies to 2 nodes (after 6 d)"),
        condition("Urgent", "IgnoreChecks for all nodes until 2026-11-24T23:48:00Z: CVE-2026-1234"),
    ]});
    check(
        &objects(vec![policy("workers", spec, late)], vec![]),
        &expect![[r#"
            workers   any time   0 of 0 up to date
              warning: 2 nodes have required a reboot for longer than 7 d (w-01, w-02)
              deadline: 2 overdue after 7 d, 1 more will be by the forecast
              rungs: IgnoreWindows applies to 2 nodes (after 6 d)
              urgent: IgnoreChecks for all nodes until 23:48 (in 2 h): CVE-2026-1234"#]],
    );
}
