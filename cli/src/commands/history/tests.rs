use expect_test::expect;
use serde_json::json;

use super::*;
use crate::fixture::{clock, objects, reboot};

const NOW: &str = "2026-11-24T21:48:00Z";

fn two_nodes() -> History {
    let done = json!({"operationID": "7f3c", "outcome": "Succeeded", "reasons": ["linux-image-6.1.0-28", "libc6"],
        "startedTime": "2026-11-24T20:00:00Z", "endedTime": "2026-11-24T20:02:00Z", "waitedSeconds": 57,
        "drainedSeconds": 11, "downSeconds": 43, "verifiedSeconds": 5, "podsMoved": 23,
        "bootIDBefore": "b-0", "bootIDAfter": "b-1", "kernelBefore": "6.1.0-27", "kernelAfter": "6.1.0-28"});
    let back = json!({"operationID": "0aa1", "outcome": "Deferred", "reasons": ["libc6"], "podsMoved": 2,
        "message": "EvictionBlocked: pod shop/db-0: budget shop/db allows 0 disruptions",
        "startedTime": "2026-11-23T20:00:00Z", "endedTime": "2026-11-24T21:15:00Z", "waitedSeconds": 7200,
        "kernelBefore": "6.1.0-27"});
    let nodes = vec![
        reboot("w-01", json!({"history": [done]})),
        reboot("w-02", json!({"history": [back]})),
    ];
    history(&objects(vec![], nodes).reboots)
}

#[test]
fn the_newest_operation_comes_first_with_cause_durations_and_kernel() {
    let lines = render(&two_nodes(), &clock(NOW));
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    expect![[r#"
        NODE   ENDED                 OUTCOME     WAITED   DRAINED   DOWN   VERIFIED   PODS   KERNEL                 WHY
        w-02   21:15 (33 min ago)    Deferred    120:00   -         -      -          2      6.1.0-27               libc6; ended: EvictionBlocked: pod shop/db-0: budget shop/db allows 0 disruptions
        w-01   20:02 (106 min ago)   Succeeded   0:57     0:11      0:43   0:05       23     6.1.0-27 -> 6.1.0-28   linux-image-6.1.0-28, libc6"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn json_has_the_entries_of_the_status_with_their_node() {
    let value = serde_json::to_value(two_nodes()).unwrap();
    assert_eq!(value["entries"][1]["node"], "w-01");
    assert_eq!(value["entries"][1]["downSeconds"], 43);
}

#[test]
fn an_empty_history_is_one_line() {
    let lines = render(&history(&BTreeMap::new()), &clock(NOW));
    assert_eq!(lines[0].text, "no operation has ended yet");
}
