//! The requests of each format, as docs/notifications.md shows them.

use std::time::Duration;

use expect_test::{Expect, expect};
use lockkeeper_notify::Event;
use tokio::time::sleep;

use crate::world::{World, event};

/// The requests that a receiver of this format gets for these Events.
async fn requests(fields: &str, events: Vec<Event>, expected: Expect) {
    let world = World::new(&format!(
        "cluster: prod\nreceivers:\n- name: receiver\n  url: http://h/\n  events: [RolloutStarted, Failed]\n{fields}"
    ));
    for event in events {
        world.notify(event);
    }
    sleep(Duration::from_mins(1)).await;
    let mut text = String::new();
    for (content_type, body) in world.bodies() {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        text += &[&content_type, "\n", &serde_json::to_string_pretty(&body).unwrap(), "\n"].concat();
    }
    expected.assert_eq(&text);
}

fn failed() -> Event {
    event("Failed", "w-02", "w-02 rebooted but was not healthy within 15 min")
}

fn started() -> Event {
    Event {
        node: None,
        operation: None,
        ..event("RolloutStarted", "", "rollout 5b1d: 5 of 12 nodes are not up to date")
    }
}

#[tokio::test(start_paused = true)]
async fn slack_gets_one_line_for_one_event() {
    requests(
        "  format: Slack\n",
        vec![failed()],
        expect![[r#"
        application/json
        {
          "text": "[prod] Warning: Failed node w-02 (policy workers): w-02 rebooted but was not healthy within 15 min"
        }
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn slack_gets_the_events_that_need_a_person_first() {
    requests("  format: Slack\n", vec![started(), failed()], expect![[r#"
        application/json
        {
          "text": "[prod] 2 events: 1 Failed, 1 RolloutStarted\nWarning: Failed node w-02 (policy workers): w-02 rebooted but was not healthy within 15 min\nRolloutStarted policy workers: rollout 5b1d: 5 of 12 nodes are not up to date"
        }
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn what_slack_would_obey_is_escaped_also_in_a_template() {
    let call = event("Failed", "w-02", "<!channel> & <http://example.com|click>");
    requests("  format: Slack\n", vec![call.clone()], expect![[r#"
        application/json
        {
          "text": "[prod] Warning: Failed node w-02 (policy workers): &lt;!channel&gt; &amp; &lt;http://example.com|click&gt;"
        }
    "#]]).await;
    let template = "  format: Slack\n  template: '*{{ cluster }}* {{ events[0].message }}'\n";
    requests(
        template,
        vec![call],
        expect![[r#"
        application/json
        {
          "text": "*prod* &lt;!channel&gt; &amp; &lt;http://example.com|click&gt;"
        }
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn json_has_all_fields() {
    requests("  format: JSON\n", vec![started(), failed()], expect![[r#"
        application/json
        {
          "cluster": "prod",
          "count": 2,
          "events": [
            {
              "message": "rollout 5b1d: 5 of 12 nodes are not up to date",
              "node": null,
              "operation": null,
              "policy": "workers",
              "reason": "RolloutStarted",
              "severity": "Normal",
              "time": "2026-11-24T22:10:00Z"
            },
            {
              "message": "w-02 rebooted but was not healthy within 15 min",
              "node": "w-02",
              "operation": "7f3c",
              "policy": "workers",
              "reason": "Failed",
              "severity": "Warning",
              "time": "2026-11-24T22:10:00Z"
            }
          ],
          "omitted": 0,
          "severity": "Warning",
          "text": "[prod] 2 events: 1 Failed, 1 RolloutStarted\nWarning: Failed node w-02 (policy workers): w-02 rebooted but was not healthy within 15 min\nRolloutStarted policy workers: rollout 5b1d: 5 of 12 nodes are not up to date"
        }
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_template_makes_the_document_that_another_service_expects() {
    let template = r#"  format: JSON
  template: |
    {"content": {{ text }}, "nodes": [{% for event in events if event.node %}{{ event.node }}{% if not loop.last %}, {% endif %}{% endfor %}]}
"#;
    let quoted = event("Failed", "w-02", "container \"db\" is waiting");
    requests(
        template,
        vec![quoted],
        expect![[r#"
        application/json
        {
          "content": "[prod] Warning: Failed node w-02 (policy workers): container \"db\" is waiting",
          "nodes": [
            "w-02"
          ]
        }
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn cloud_events_are_sent_one_by_one_and_in_a_batch() {
    requests(
        "  format: CloudEvents\n",
        vec![started(), failed()],
        expect![[r#"
        application/cloudevents+json
        {
          "data": {
            "message": "rollout 5b1d: 5 of 12 nodes are not up to date",
            "node": null,
            "operation": null,
            "policy": "workers",
            "reason": "RolloutStarted",
            "severity": "Normal"
          },
          "datacontenttype": "application/json",
          "id": "1a20f9bd2c0-6e6d428e0d8c9dfe",
          "source": "/lockkeeper/prod",
          "specversion": "1.0",
          "subject": "rebootpolicies/workers",
          "time": "2026-11-24T22:10:00.000Z",
          "type": "dev.lockkeeper.RolloutStarted"
        }
        application/cloudevents+json
        {
          "data": {
            "message": "w-02 rebooted but was not healthy within 15 min",
            "node": "w-02",
            "operation": "7f3c",
            "policy": "workers",
            "reason": "Failed",
            "severity": "Warning"
          },
          "datacontenttype": "application/json",
          "id": "1a20f9bd2c0-0fda7b8db9d6162e",
          "source": "/lockkeeper/prod",
          "specversion": "1.0",
          "subject": "nodes/w-02",
          "time": "2026-11-24T22:10:00.000Z",
          "type": "dev.lockkeeper.Failed"
        }
    "#]],
    )
    .await;
    requests(
        "  format: CloudEventsBatch\n",
        vec![started(), failed()],
        expect![[r#"
        application/cloudevents-batch+json
        [
          {
            "data": {
              "message": "rollout 5b1d: 5 of 12 nodes are not up to date",
              "node": null,
              "operation": null,
              "policy": "workers",
              "reason": "RolloutStarted",
              "severity": "Normal"
            },
            "datacontenttype": "application/json",
            "id": "1a20f9bd2c0-6e6d428e0d8c9dfe",
            "source": "/lockkeeper/prod",
            "specversion": "1.0",
            "subject": "rebootpolicies/workers",
            "time": "2026-11-24T22:10:00.000Z",
            "type": "dev.lockkeeper.RolloutStarted"
          },
          {
            "data": {
              "message": "w-02 rebooted but was not healthy within 15 min",
              "node": "w-02",
              "operation": "7f3c",
              "policy": "workers",
              "reason": "Failed",
              "severity": "Warning"
            },
            "datacontenttype": "application/json",
            "id": "1a20f9bd2c0-0fda7b8db9d6162e",
            "source": "/lockkeeper/prod",
            "specversion": "1.0",
            "subject": "nodes/w-02",
            "time": "2026-11-24T22:10:00.000Z",
            "type": "dev.lockkeeper.Failed"
          }
        ]
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_template_that_does_not_end_is_refused() {
    let endless = "receivers: [{name: a, format: Slack, url: 'http://h/', template: '{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}'}]";
    let errors = crate::world::parsed(endless).errors;
    assert_eq!(
        errors,
        ["receivers[0].template takes more than 200000 steps in line 1; shorten its loops"]
    );
}
