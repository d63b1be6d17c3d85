use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::fixture::{clock, objects, policy, reboot, time};

const NOW: &str = "2026-11-24T21:48:00Z";

/// Nodes of the policy `workers` that require a reboot; the first `held` of them are on hold.
fn cluster(nodes: usize, held: usize, spec: serde_json::Value) -> ObservedObjects {
    let name = |index: usize| format!("w-{index:02}");
    let required = |index: usize| {
        let report = json!({"bootID": "b-0", "rebootCapable": true, "confined": true, "agentVersion": "0.1.0", "kernel": "6.1",
            "os": "Debian", "rebootRequired": {"required": true, "since": "2026-11-24T12:00:00Z", "reasons": ["libc6"]}});
        let mut reboot = reboot(&name(index), json!({"host": report}));
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": name(index), "uid": name(index)}]);
        reboot.metadata.owner_references = serde_json::from_value(owner).unwrap();
        reboot
    };
    let node = |index: usize| {
        let annotations = if index < held {
            json!({"lockkeeper.dev/hold": "disk"})
        } else {
            json!({})
        };
        let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": NOW,
            "lastTransitionTime": "2026-11-01T00:00:00Z"});
        let node = json!({
            "metadata": {"name": name(index), "uid": name(index), "annotations": annotations,
                "creationTimestamp": "2026-11-01T00:00:00Z"},
            "status": {"conditions": [ready], "nodeInfo": {"bootID": "b-0", "operatingSystem": "linux"}},
        });
        (name(index), serde_json::from_value(node).unwrap())
    };
    let mut objects = objects(
        vec![policy("workers", spec, json!({}))],
        (0..nodes).map(required).collect(),
    );
    let lock = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"},
        "spec": {}});
    objects.lock = Some(serde_json::from_value(lock).unwrap());
    observed(&objects, (0..nodes).map(node).collect())
}

fn shows(observed: &ObservedObjects, expected: &Expect) {
    let lines = render(&view(observed, None, time(NOW)), &clock(NOW));
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn shows_when_each_node_starts_and_which_do_not_start() {
    let nights = json!({"windows": [{"schedule": "0 23 * * *", "durationSeconds": 3600, "timeZone": "Europe/Berlin"}]});
    shows(
        &cluster(4, 1, nights),
        &expect![[r#"
        workers   done by 22:45 (in 57 min), Tue 23:45 Europe/Berlin if nothing blocks   3 to start, 1 without a start time
          w-01   22:00 (in 12 min) to 22:15
          w-02   22:15 (in 27 min) to 22:30
          w-03   22:30 (in 42 min) to 22:45
          w-00   no start time: held by annotation: "disk""#]],
    );
}

#[test]
fn of_many_nodes_the_first_and_the_last_are_shown() {
    shows(
        &cluster(30, 0, json!({})),
        &expect![[r#"
            workers   done by Wed 05:18 (in 7 h 30 min) if nothing blocks   30 to start
              w-00   may start now, ends at about 22:03
              w-01   22:03 (in 15 min) to 22:18
              w-02   22:18 (in 30 min) to 22:33
              w-03   22:33 (in 45 min) to 22:48
              w-04   22:48 (in 1 h) to 23:03
              ... 20 more nodes, from 23:03 to Wed 03:48
              w-25   Wed 04:03 (in 6 h 15 min) to Wed 04:18
              w-26   Wed 04:18 (in 6 h 30 min) to Wed 04:33
              w-27   Wed 04:33 (in 6 h 45 min) to Wed 04:48
              w-28   Wed 04:48 (in 7 h) to Wed 05:03
              w-29   Wed 05:03 (in 7 h 15 min) to Wed 05:18"#]],
    );
    shows(
        &cluster(30, 30, json!({})),
        &expect![[r#"
        workers   no node will start until you act
          30 nodes without a start time, for example: held by annotation: "disk""#]],
    );
}

#[test]
fn a_policy_without_work_is_one_line() {
    shows(
        &cluster(0, 0, json!({})),
        &expect!["workers   nothing to do: no node requires a reboot"],
    );
    shows(
        &ObservedObjects::default(),
        &expect!["no RebootPolicy, so no node is rebooted"],
    );
}

#[test]
fn json_has_start_and_end_of_each_node() {
    let observed = cluster(2, 1, json!({}));
    let text = serde_json::to_string_pretty(&view(&observed, Some("workers"), time(NOW))).unwrap();
    expect![[r#"
        {
          "time": "2026-11-24T21:48:00Z",
          "estimatedCompletionTime": "2026-11-24T22:03:00Z",
          "cut": false,
          "policies": [
            {
              "name": "workers",
              "timeZones": [],
              "estimatedCompletionTime": "2026-11-24T22:03:00Z",
              "nodes": [
                {
                  "name": "w-01",
                  "startTime": "2026-11-24T21:48:00Z",
                  "endTime": "2026-11-24T22:03:00Z"
                }
              ],
              "never": [
                {
                  "name": "w-00",
                  "reason": "Held",
                  "message": "held by annotation: \"disk\""
                }
              ]
            }
          ]
        }"#]]
    .assert_eq(&text);
}
