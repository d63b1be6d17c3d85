//! Tests of the shipped alerts with promtool: each alert fires when it should, and only then.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_e2e::helm::{Version, documents};
use lockkeeper_e2e::prometheus::{promtool, rules};
use lockkeeper_operator::metrics::Metrics;
use serde_json::Value;

use super::{binaries, file, helm};

/// The rules with the chart's defaults.
fn shipped() -> String {
    let (helm, _home) = helm(Version::Four);
    rules(&helm, &[]).unwrap()
}

/// Each alert of the chart and its rule.
fn alerts(rules: &str) -> BTreeMap<String, Value> {
    let groups = documents(rules).unwrap().remove(0);
    let rules = groups["groups"].as_array().unwrap().iter();
    let rules = rules.flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules
        .map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule))
        .collect()
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let rules = shipped();
    std::fs::write(dir.path().join("rules.yaml"), &rules).unwrap();
    promtool(
        binaries(),
        dir.path(),
        &["check", "rules", "--lint-fatal", "rules.yaml"],
    )
    .unwrap();
    let mut tests = BTreeSet::new();
    for entry in std::fs::read_dir(file("charts/lockkeeper/tests/alerts")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        std::fs::copy(&path, dir.path().join(format!("{name}.yaml"))).unwrap();
        has_positive_and_negative_cases(&name, &std::fs::read_to_string(&path).unwrap());
        promtool(binaries(), dir.path(), &["test", "rules", &format!("{name}.yaml")]).unwrap();
        tests.insert(name);
    }
    let alerts: BTreeSet<String> = alerts(&rules).into_keys().collect();
    assert_eq!(tests, alerts, "one file of tests for each alert");
}

/// Every file of tests needs cases in which the alert fires and cases in which it does not.
fn has_positive_and_negative_cases(alert: &str, text: &str) {
    let file = documents(text).unwrap().remove(0);
    let cases = file["tests"].as_array().unwrap().iter();
    let evaluations: Vec<Value> = cases
        .flat_map(|case| case["alert_rule_test"].as_array().unwrap().clone())
        .collect();
    assert!(
        evaluations.iter().all(|evaluation| evaluation["alertname"] == alert),
        "{alert}"
    );
    for fires in [true, false] {
        let found = evaluations.iter().any(|evaluation| {
            evaluation["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| alerts.is_empty() != fires)
        });
        assert!(found, "{alert}: no case in which firing is {fires}");
    }
}

#[test]
fn each_alert_has_a_severity_a_summary_a_description_and_a_runbook() {
    for (name, rule) in alerts(&shipped()) {
        let text = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(
            ["info", "warning", "critical"].contains(&severity),
            "{name}: {severity}"
        );
        assert!(text("summary").ends_with('.'), "{name}: {}", text("summary"));
        assert!(text("description").len() > text("summary").len(), "{name}");
        assert!(!rule.to_string().contains("${"), "{name}: a parameter without a value");
        assert_eq!(text("runbook_url"), format!("docs/runbooks/{name}.md"));
    }
}

#[test]
fn alerts_use_only_metrics_that_the_operator_exports() {
    let metrics = Metrics::new().unwrap();
    let has: BTreeSet<String> = metrics
        .described()
        .iter()
        .map(|metric| format!("lockkeeper_{}", metric.name))
        .collect();
    for (alert, rule) in alerts(&shipped()) {
        let used = names(rule["expr"].as_str().unwrap());
        assert!(!used.is_empty(), "{alert}");
        for name in used {
            assert!(has.contains(&name), "{alert}: no metric {name}");
        }
    }
}

/// The metrics of Lockkeeper in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expression.split(|character| !word(character));
    words
        .filter(|word| word.starts_with("lockkeeper_"))
        .map(str::to_owned)
        .collect()
}
