//! Every query of the dashboard returns data from a real Prometheus that has scraped a rollout.

use std::time::Duration;

use chrono::{Timelike, Utc};
use lockkeeper_e2e::prometheus::Monitoring;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

use super::{dashboard, panels};

const LONG: Duration = Duration::from_mins(3);
/// Covers the whole rollout.
const SEEN: &str = "[15m:1s]";

#[tokio::test]
async fn every_query_returns_data_after_a_rollout() {
    let mut stack = Stack::start("dashboard", 3, 1).await.unwrap();
    let monitoring = Monitoring::start(stack.plane.binaries(), stack.workdir.path(), "groups: []", None);
    let monitoring = monitoring.await.unwrap();
    monitoring.scrape(&stack.targets()).unwrap();
    workload::start(&stack.plane.client(), 3, 2).await.unwrap();
    // A window that is open now, that closes, and that opens again.
    let schedule = format!("0 {} * * *", Utc::now().hour());
    let windows = json!({"windows": [{"schedule": schedule, "durationSeconds": 7200}]});
    stack.plane.policy("general", windows).await.unwrap();
    for name in stack.nodes.names().to_vec() {
        stack.stage_update(&name).await.unwrap();
    }
    stack.wait_all_rebooted(LONG).await.unwrap();
    let done = r#"lockkeeper_nodes{state="UpToDate"}"#;
    let all_done = monitoring.wait(done, LONG, |found| found.iter().any(|one| one.value > 2.5));
    all_done.await.unwrap();

    let mut empty = Vec::new();
    for (title, expression) in queries(&dashboard()) {
        // At any time during the rollout: series of drained nodes are gone at the end.
        let seen = format!("last_over_time(({expression}){SEEN})");
        let found = monitoring
            .query(&seen)
            .await
            .unwrap_or_else(|error| panic!("{title}: {error:#}"));
        if !found.iter().any(|sample| sample.value.is_finite()) {
            empty.push(format!("{title}: {expression}: {found:?}"));
        }
    }
    assert_eq!(empty, Vec::<String>::new(), "these return no data");
    stack.workdir.passed();
}

/// All queries of panels, annotations and variables, with the variables replaced.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let fill = |expression: &str| expression.replace("$policy", "(.*)").replace("$__rate_interval", "10s");
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let name = format!(
                "{} {}",
                panel["title"].as_str().unwrap(),
                target["refId"].as_str().unwrap()
            );
            found.push((name, fill(target["expr"].as_str().unwrap())));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        let expression = annotation["target"]["expr"].as_str().unwrap();
        found.push((format!("annotation {}", annotation["name"]), fill(expression)));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else {
            continue;
        };
        let inner = query
            .strip_prefix("label_values(")
            .and_then(|query| query.strip_suffix(')'));
        let (metric, label) = inner
            .and_then(|inner| inner.split_once(", "))
            .expect("label_values(METRIC, LABEL)");
        found.push((
            format!("variable {}", variable["name"]),
            format!("count by ({label}) ({metric})"),
        ));
    }
    assert!(found.len() > 30, "{} queries", found.len());
    found
}
