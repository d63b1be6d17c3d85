//! docs/notifications.md shows what is so.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::world::{World, event, known, read};

const PAGE: &str = include_str!("../../../../docs/notifications.md");

/// The blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn each_file_of_the_page_is_valid() {
    let mut known = known();
    known.all.extend(["BreakerOpened", "PlanRefused"]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notifications.yaml");
    let mut receivers = 0;
    for block in blocks("yaml")
        .into_iter()
        .filter(|block| block.starts_with("# notifications.yaml"))
    {
        std::fs::write(&path, block).unwrap();
        let config = lockkeeper_notify::Config::read(&path, &known);
        assert_eq!(config.errors, [""; 0], "{block}");
        receivers += config.receivers.len();
    }
    assert_eq!(receivers, 4);
    assert_eq!(read(&path).errors.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_format_of_the_page_is_what_a_receiver_gets() {
    let mut got = Vec::new();
    for format in ["Slack", "JSON", "CloudEvents"] {
        let world = World::new(&format!(
            "cluster: prod\nreceivers: [{{name: a, format: {format}, url: 'http://h/', events: [Failed]}}]"
        ));
        world.notify(event(
            "Failed",
            "w-02",
            "w-02 rebooted but was not healthy within 15 min",
        ));
        sleep(Duration::from_mins(1)).await;
        let (_, body) = world.bodies().pop().unwrap();
        got.push(serde_json::from_str::<Value>(&body).unwrap());
    }
    let shown: Vec<Value> = blocks("json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap())
        .collect();
    assert_eq!(shown, got);
}
