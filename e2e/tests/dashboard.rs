//! Tests of the chart's dashboard: its layout, Grafana's types, and its queries against a real Prometheus.

mod queries;
mod shape;
mod types;

use lockkeeper_e2e::install::repository;
use serde_json::Value;

fn dashboard() -> Value {
    let path = repository().join("charts/lockkeeper/files/dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// All panels except rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row").collect()
}
