//! Mistakes that Grafana accepts but that confuse readers: overlapping panels, missing units, a data source that exists
//! only in one Grafana. Grafana's types (`types`) do not detect them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{dashboard, panels};

/// Width of Grafana's grid.
const COLUMNS: u64 = 24;
const SOURCE: &str = "${datasource}";

#[test]
fn every_panel_has_a_description_a_unit_and_the_selected_data_source() {
    let dashboard = dashboard();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(titles.insert(title), "two panels have the title {title}");
        assert!(
            panel["description"].as_str().is_some_and(|about| about.ends_with('.')),
            "{title}"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title} has no unit"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} has no query");
        let mut references = BTreeSet::new();
        for target in targets {
            assert!(
                references.insert(target["refId"].as_str().unwrap()),
                "{title}: refId twice"
            );
            assert!(
                target["expr"].as_str().is_some_and(|expression| !expression.is_empty()),
                "{title}"
            );
        }
        if panel["type"] == "timeseries" {
            assert!(
                targets.iter().all(|target| target["legendFormat"].is_string()),
                "{title} has no legend"
            );
        }
    }
    let mut sources = BTreeSet::new();
    uids(&dashboard, &mut sources);
    assert_eq!(sources, BTreeSet::from([SOURCE.to_owned()]), "a fixed data source");
}

/// Collects the data sources that are used anywhere.
fn uids(value: &Value, found: &mut BTreeSet<String>) {
    if let Some(uid) = value["datasource"]["uid"].as_str() {
        found.insert(uid.to_owned());
    }
    let below = value.as_object().into_iter().flat_map(|object| object.values());
    for value in below.chain(value.as_array().into_iter().flatten()) {
        uids(value, found);
    }
}

#[test]
fn panels_have_unique_ids_and_do_not_overlap() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title} has the ID of another panel"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(
            at("x") + at("w") <= COLUMNS && at("w") > 0 && at("h") > 0,
            "{title} is outside the grid"
        );
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{title} overlaps another panel at {x}, {y}");
        }
    }
}

#[test]
fn only_defined_variables_are_used() {
    let dashboard = dashboard();
    let own = dashboard["templating"]["list"].as_array().unwrap().iter();
    let mut known: BTreeSet<&str> = own.map(|variable| variable["name"].as_str().unwrap()).collect();
    known.insert("__rate_interval");
    let text = dashboard.to_string();
    for piece in text.split('$').skip(1) {
        let name = piece.trim_start_matches('{');
        let name = name
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .next()
            .unwrap();
        assert!(known.contains(name) || name == "__all", "${name} is not a variable");
    }
    assert_eq!(dashboard["uid"], json!("lockkeeper"), "links and upgrades depend on it");
}
