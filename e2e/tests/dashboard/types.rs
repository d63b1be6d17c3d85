//! The dashboard is read into the types of Grafana's own SDK: nothing in it is unknown to Grafana or of the wrong kind.

use std::path::Path;
use std::process::Command;

use lockkeeper_e2e::binaries::cluster_dir;
use lockkeeper_e2e::install::repository;
use serde_json::{Value, json};

use crate::dashboard;

/// What Grafana's types say of a dashboard: one line for each complaint.
fn complaints(file: &Path) -> String {
    let tool = cluster_dir().join("dashboard");
    let installed = Command::new(tool.join("install.sh")).output().unwrap();
    let told = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert!(installed.status.success(), "install.sh: {told}");
    let answer = Command::new("python3")
        .arg("-B")
        .arg(tool.join("lint.py"))
        .arg(file)
        .env("PYTHONPATH", String::from_utf8(installed.stdout).unwrap().trim())
        .output()
        .unwrap();
    let (said, trouble) = (
        String::from_utf8(answer.stdout).unwrap(),
        String::from_utf8_lossy(&answer.stderr),
    );
    assert_eq!(trouble, "", "lint.py itself fails");
    assert_eq!(answer.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn grafanas_own_types_know_everything_in_the_dashboard() {
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
fn what_grafana_would_leave_out_without_a_word_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (lines, table) = (panel("timeseries"), panel("table"));
    let line = |rest: &str| format!("/panels/{lines}/{rest}");
    let cell = |rest: &str| format!("/panels/{table}/{rest}");
    for (place, key, value, said) in [
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
        assert!(all.contains(said), "{place}/{key}: {all:?} does not say {said:?}");
    }
}

fn set(dashboard: &mut Value, place: &str, key: &str, value: Value) {
    let object = dashboard.pointer_mut(place).unwrap_or_else(|| panic!("{place}"));
    object[key] = value;
}
