//! Parses the dashboard into the types of Grafana's SDK: it has no unknown fields and no values of a wrong type.

use std::path::Path;
use std::process::Command;

use lockkeeper_e2e::binaries::cluster_dir;
use lockkeeper_e2e::install::repository;
use serde_json::{Value, json};

use super::dashboard;

/// Errors that Grafana's types report for a dashboard, one per line.
fn complaints(file: &Path) -> String {
    let tool = cluster_dir().join("dashboard");
    let installed = Command::new(tool.join("install.sh")).output().unwrap();
    let stderr = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert!(installed.status.success(), "install.sh: {stderr}");
    let lint = Command::new("python3")
        .arg("-B")
        .arg(tool.join("lint.py"))
        .arg(file)
        .env("PYTHONPATH", String::from_utf8(installed.stdout).unwrap().trim())
        .output()
        .unwrap();
    let (errors, stderr) = (
        String::from_utf8(lint.stdout).unwrap(),
        String::from_utf8_lossy(&lint.stderr),
    );
    assert_eq!(stderr, "", "lint.py itself fails");
    assert_eq!(lint.status.success(), errors.is_empty(), "{errors}");
    errors
}

#[test]
fn grafanas_types_accept_the_dashboard() {
    let path = repository().join("charts/lockkeeper/files/dashboard.json");
    assert_eq!(complaints(&path), "");
}

/// The first panel of a type.
fn panel(kind: &str) -> usize {
    let dashboard = dashboard();
    let mut panels = dashboard["panels"].as_array().unwrap().iter();
    panels.position(|panel| panel["type"] == kind).unwrap()
}

#[test]
fn fields_that_grafana_would_ignore_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (lines, table) = (panel("timeseries"), panel("table"));
    let line = |rest: &str| format!("/panels/{lines}/{rest}");
    let cell = |rest: &str| format!("/panels/{table}/{rest}");
    for (place, key, value, expected) in [
        (line("options"), "legnd", json!({}), "legnd: there is no such field"),
        (
            line("fieldConfig/defaults/custom"),
            "showPoints",
            json!("some"),
            "'some' is not one of",
        ),
        (
            line("fieldConfig/defaults/custom"),
            "lineWidth",
            json!("1"),
            "'1' is not float",
        ),
        (
            line("fieldConfig/defaults"),
            "unit",
            json!("second"),
            "second is no unit",
        ),
        (line(""), "type", json!("timeserie"), "no panel of type timeserie"),
        (
            line("targets/0"),
            "expression",
            json!("up"),
            "expression: there is no such field",
        ),
        (
            line("targets/0/datasource"),
            "type",
            json!("promotheus"),
            "no data source of type",
        ),
        (
            cell("fieldConfig/overrides/0/properties/0"),
            "id",
            json!("custom.cell"),
            "override.cell: there is no",
        ),
        (
            cell("transformations/0"),
            "option",
            json!({}),
            "option: there is no such field",
        ),
        (cell("gridPos"), "width", json!(3), "width: there is no such field"),
        (
            "/annotations/list/0/target".into(),
            "query",
            json!("up"),
            "query: there is no such field",
        ),
        ("/templating/list/1".into(), "refresh", json!(7), "7 is not one of"),
        (
            String::new(),
            "refreshRate",
            json!("5s"),
            "refreshRate: there is no such field",
        ),
    ] {
        let mut broken = dashboard();
        let place = place.trim_end_matches('/');
        set(&mut broken, place, key, value);
        let file = dir.path().join("broken.json");
        std::fs::write(&file, broken.to_string()).unwrap();
        let all = complaints(&file);
        assert!(
            all.contains(expected),
            "{place}/{key}: {all:?} does not contain {expected:?}"
        );
    }
}

fn set(dashboard: &mut Value, place: &str, key: &str, value: Value) {
    let object = dashboard.pointer_mut(place).unwrap_or_else(|| panic!("{place}"));
    object[key] = value;
}
