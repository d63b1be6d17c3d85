use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::fixture::{clock, reboot};

const NOW: &str = "2026-11-24T22:08:00Z";

fn check(name: &str, status: Value, expected: &Expect) {
    expected.assert_eq(&shown(name, status));
}

fn shown(name: &str, status: Value) -> String {
    let mut installation = Installation::in_namespace("ops");
    installation.agent_pod = Some("lockkeeper-node-agent-x7k2p".to_owned());
    let lines = render(name, &reboot(name, status), None, None, &installation, &clock(NOW));
    let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    text.join("\n")
}

fn host() -> Value {
    json!({"rebootCapable": true, "rebootRequired": {"required": true, "since": "2026-11-24T19:12:00Z",
        "reasons": ["libc6", "linux-image-6.1.0-28"], "source": "Debian sentinel"}})
}

fn operation(phase: &str) -> Value {
    json!({"id": "7f3c", "phase": phase, "policy": "workers", "bootIDBefore": "826de3c9-aaaa",
        "startedTime": "2026-11-24T22:04:00Z", "askedTime": "2026-11-24T22:04:00Z",
        "cordonedTime": "2026-11-24T22:04:00Z",
        "deadlineTime": "2026-11-24T22:19:00Z", "onDeadline": "Defer",
        "settings": {"drain": {"timeoutSeconds": 900}, "reboot": {"timeoutSeconds": 900}, "requireAgentSeconds": 60}})
}

#[test]
fn a_blocked_drain_names_the_pod_the_budget_the_deadline_and_the_advice() {
    let message = "pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)";
    let status = json!({"state": "Draining", "host": host(), "operation": operation("Draining"),
        "waiting": {"reason": "EvictionBlocked", "message": message, "sinceTime": "2026-11-24T22:05:00Z"}});
    check(
        "w-02",
        status,
        &expect![[r#"
        w-02 is being drained for a reboot under policy workers (operation 7f3c, started 22:04, 4 min ago).
          why          reboot required since 19:12 by libc6, linux-image-6.1.0-28 (source: Debian sentinel)
          blocked by   pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)
          next         it reboots once it is drained; if the drain has not finished by 22:19 (in 11 min), the node is uncordoned and retried later
          you can      repair the workload or raise its budget, or defer the node: kubectl lockkeeper cancel w-02"#]],
    );
}

#[test]
fn a_failed_node_shows_the_failure_and_the_two_commands() {
    let mut operation = operation("Failed");
    operation["failure"] =
        json!({"time": "2026-11-24T22:06:00Z", "message": "no new boot within 900 s; check its console"});
    check(
        "w-02",
        json!({"state": "Failed", "host": host(), "operation": operation}),
        &expect![[r#"
        w-02 has failed and keeps its slot under policy workers (operation 7f3c, started 22:04, 4 min ago).
          why          reboot required since 19:12 by libc6, linux-image-6.1.0-28 (source: Debian sentinel)
          blocked by   no new boot within 900 s; check its console
          next         no automatic action; it keeps its slot until you run retry or release
          you can      check the node, then: kubectl lockkeeper retry w-02, or: kubectl lockkeeper release w-02"#]],
    );
}

#[test]
fn a_waiting_node_shows_since_when_and_for_what() {
    let status = json!({"state": "Pending", "host": host(),
        "waiting": {"reason": "OutsideWindow", "message": "the next window opens at 2026-11-25T21:00:00Z",
            "sinceTime": "2026-11-24T20:00:00Z", "untilTime": "2026-11-25T21:00:00Z"}});
    check(
        "w-03",
        status,
        &expect![[r#"
        w-03 waits for a reboot under policy workers, required since 19:12, 2 h 56 min ago.
          why          reboot required since 19:12 by libc6, linux-image-6.1.0-28 (source: Debian sentinel)
          now          the next window opens at Wed 21:00 (in 22 h 52 min)
          next         checked again at Wed 21:00 (in 22 h 52 min)"#]],
    );
}

#[test]
fn an_up_to_date_node_shows_its_last_reboot() {
    let record = json!({"operationID": "7f3c", "outcome": "Succeeded", "startedTime": "2026-11-24T20:00:00Z",
        "endedTime": "2026-11-24T20:02:00Z", "waitedSeconds": 57, "drainedSeconds": 11, "downSeconds": 43, "verifiedSeconds": 5,
        "bootIDBefore": "826de3c9-aaaa", "bootIDAfter": "29156efd-bbbb"});
    check(
        "w-01",
        json!({"state": "UpToDate", "history": [record]}),
        &expect![[r#"
            w-01 requires no reboot under policy workers.
              last time    rebooted 20:02, 2 h 6 min ago: waited 57 s, drained 11 s, down 43 s, verified 5 s, boot 826de3c9 -> 29156efd
              you can      request a reboot: kubectl annotate node w-01 lockkeeper.dev/reboot-requested='<reason>'"#]],
    );
}

#[test]
fn an_agent_that_cannot_reboot_is_shown_before_a_reboot_is_required() {
    let status = json!({"state": "UpToDate", "host": {"rebootCapable": false,
        "rebootCapableMessage": "logind asks for a password; allow login1.reboot for uid 0"}});
    check(
        "w-01",
        status,
        &expect![[r#"
        w-01 requires no reboot under policy workers.
          agent        cannot reboot this host: logind asks for a password; allow login1.reboot for uid 0
          you can      request a reboot: kubectl annotate node w-01 lockkeeper.dev/reboot-requested='<reason>'"#]],
    );
}

#[test]
fn a_node_whose_detectors_fail_is_unknown() {
    let status = json!({"state": "Unknown", "host": {"rebootCapable": true,
        "rebootRequired": {"required": false, "failing": ["apt: exit 3"]}}});
    check(
        "w-01",
        status,
        &expect![[r#"
        It is not known whether w-01 requires a reboot under policy workers.
          why          failing checks of the agent: apt: exit 3
          blocked by   it is not known whether a reboot is required: apt: exit 3
          you can      check its agent: kubectl -n ops describe pod lockkeeper-node-agent-x7k2p, and its log: kubectl -n ops logs lockkeeper-node-agent-x7k2p -c agent --tail=100"#]],
    );
}

#[test]
fn a_node_that_is_not_ready_is_unknown_and_may_be_deleted() {
    let condition = json!({"type": "RebootRequired", "status": "Unknown", "reason": "NodeNotReady",
        "message": "the node is not Ready, so the last report of its agent may be outdated (NodeStatusUnknown: silent)",
        "lastTransitionTime": "2026-11-24T20:00:00Z"});
    let status = json!({"state": "Unknown", "conditions": [condition],
        "host": {"rebootCapable": true, "rebootRequired": {"required": false}}});
    check(
        "w-01",
        status,
        &expect![[r#"
        It is not known whether w-01 requires a reboot under policy workers.
          blocked by   it is not known whether a reboot is required: the node is not Ready, so the last report of its agent may be outdated (NodeStatusUnknown: silent)
          you can      bring w-01 back, or, if it will not return, delete its Node: kubectl delete node w-01"#]],
    );
}

#[test]
fn a_terminal_obeys_no_character_of_a_host_report() {
    let host = json!({"rebootCapable": true, "rebootRequired": {"required": true, "source": "Debian\u{9b}2J",
        "reasons": ["\u{1b}[2J\u{1b}]0;owned\u{7}\r\n node h-002 UpToDate", "\u{202e}6cbil"]}});
    let waiting = json!({"reason": "Inhibited", "message": "shutdown inhibited by apt\u{1b}[8m: \u{2067}upgrade",
        "sinceTime": "2026-11-24T22:05:00Z"});
    let status = json!({"state": "Pending", "host": host, "waiting": waiting});
    check(
        "w-02",
        status,
        &expect![[r#"
            w-02 waits for a reboot under policy workers.
              why          reboot required by �[2J�]0;owned�   node h-002 UpToDate, �6cbil (source: Debian�2J)
              blocked by   shutdown inhibited by apt�[8m: �upgrade
              you can      let that program on w-02 finish, or stop it"#]],
    );
}

#[test]
fn each_detector_is_listed_under_what_it_saw() {
    let mut host = host();
    host["rebootRequired"]["failing"] = json!(["SUSE sentinel cannot be read: not a regular file"]);
    host["rebootRequired"]["detectors"] = json!([
        {"name": "Debian sentinel", "state": "Required", "message": "libc6, linux-image-6.1.0-28"},
        {"name": "SUSE sentinel", "state": "Failing", "message": "SUSE sentinel cannot be read: not a regular file"},
        {"name": "drop directory", "state": "NotRequired"},
        {"name": "kernel", "state": "NotRequired"},
        {"name": "astrology", "state": "Ominous"},
    ]);
    check(
        "w-02",
        json!({"state": "Unknown", "host": host}),
        &expect![[r#"
        It is not known whether w-02 requires a reboot under policy workers.
          why          reboot required since 19:12 by libc6, linux-image-6.1.0-28 (source: Debian sentinel); failing checks of the agent: SUSE sentinel cannot be read: not a regular file
          detectors    reboot required: Debian sentinel; failing: SUSE sentinel; no reboot required: drop directory, kernel; unknown to this version of the plugin: astrology
          blocked by   it is not known whether a reboot is required: SUSE sentinel cannot be read: not a regular file
          you can      check its agent: kubectl -n ops describe pod lockkeeper-node-agent-x7k2p, and its log: kubectl -n ops logs lockkeeper-node-agent-x7k2p -c agent --tail=100"#]],
    );
}

#[test]
fn each_of_several_detectors_that_require_a_reboot_is_shown_with_its_reasons() {
    let mut host = host();
    host["rebootRequired"]["detectors"] = json!([
        {"name": "Debian sentinel", "state": "Required", "message": "libc6"},
        {"name": "update_engine", "state": "Required", "message": "update_engine installed version 4152.2.0"},
        {"name": "kernel", "state": "NotRequired"},
    ]);
    let text = shown("w-02", json!({"state": "Pending", "host": host}));
    let line = "reboot required: Debian sentinel (libc6), update_engine (update_engine installed version 4152.2.0); \
                no reboot required: kernel";
    assert!(text.contains(line), "{text}");
}

mod of_deadlines {
    use chrono::TimeDelta;
    use lockkeeper_planner::{Override, PendingDeadline, Policy, Rung, Snapshot, Urgent};
    use lockkeeper_snapshot::{Local, ObservedObjects, slim, snapshot};

    use super::super::deadline::{Outlook, describe};
    use super::*;
    use crate::fixture::{policy, time};

    /// A node that requires a reboot since two days.
    fn cluster() -> Snapshot {
        let boot = json!({"bootID": "b0", "kernelVersion": "6.1", "operatingSystem": "linux"});
        let node = json!({"metadata": {"name": "w-02", "uid": "u", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "status": {"nodeInfo": boot}});
        let node: slim::Node = serde_json::from_value(node).unwrap();
        let mut reboot = reboot(
            "w-02",
            json!({"host": {"bootID": "b0", "rebootCapable": true,
                "rebootRequired": {"required": true, "since": "2026-11-22T22:00:00Z"}}}),
        );
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "w-02", "uid": "u"}]);
        reboot.metadata.owner_references = serde_json::from_value(owner).unwrap();
        snapshot(
            &ObservedObjects {
                nodes: [("w-02".to_owned(), std::sync::Arc::new(node))].into(),
                reboots: [("w-02".to_owned(), std::sync::Arc::new(reboot))].into(),
                policies: [(
                    "workers".to_owned(),
                    std::sync::Arc::new(policy("workers", json!({}), json!({}))),
                )]
                .into(),
                ..ObservedObjects::default()
            },
            &Local::default(),
        )
    }

    fn shown(days: i64, outlook: Outlook) -> String {
        let rung = |hours, kind| Rung {
            after: TimeDelta::hours(hours),
            kind,
            window: None,
        };
        let policy = Policy {
            deadline: Some(PendingDeadline {
                max_pending: TimeDelta::days(days),
                ladder: vec![rung(36, Override::IgnoreWindows), rung(60, Override::DeletePods)],
            }),
            urgent: Some(Urgent {
                reason: "CVE-2026-1234".to_owned(),
                from: time("2026-11-24T22:00:00Z"),
                until: time("2026-11-25T00:08:00Z"),
                rollout: None,
                overrides: vec![Override::IgnoreChecks],
            }),
            ..Policy::default()
        };
        describe(&policy, &cluster().nodes["w-02"], outlook, &clock(NOW)).unwrap()
    }

    #[test]
    fn a_deadline_shows_its_rungs_and_whether_the_forecast_meets_it() {
        let done = Outlook::Done(time("2026-11-25T23:00:00Z"));
        expect![[r#"overdue at Wed 22:00 (in 23 h 52 min); done by Wed 23:00 if nothing blocks, 1 h too late; IgnoreWindows since 10:00; DeletePods from Wed 10:00 (in 11 h 52 min) on; urgent until Wed 00:08 (in 2 h): IgnoreChecks (CVE-2026-1234)"#]]
            .assert_eq(&shown(3, done));
        assert!(shown(4, done).contains("done by Wed 23:00 if nothing blocks, in time"));
        assert!(shown(2, Outlook::Never).starts_with("overdue since 22:00, 8 min ago; not rebooted unless you act; "));
    }
}
