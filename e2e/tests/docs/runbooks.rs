//! Every alert has a runbook, and every runbook belongs to an alert.

use std::collections::BTreeSet;

use lockkeeper_e2e::install::repository;

use super::alerts;

const SECTIONS: [&str; 4] = ["Meaning", "Impact", "Diagnosis", "Mitigation"];

#[test]
fn every_alert_has_a_runbook_and_every_runbook_has_an_alert() {
    let folder = repository().join("docs/runbooks");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let runbooks: BTreeSet<String> = files
        .map(|name| name.into_string().unwrap().replace(".md", ""))
        .collect();
    let alerts: BTreeSet<String> = alerts().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        alerts.difference(&runbooks).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "without a runbook"
    );
    assert_eq!(
        runbooks.difference(&alerts).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "without an alert"
    );
}

#[test]
fn every_runbook_has_meaning_impact_diagnosis_and_mitigation() {
    for name in alerts().as_object().unwrap().keys() {
        let path = repository().join(format!("docs/runbooks/{name}.md"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().next(), Some(format!("# {name}").as_str()));
        let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(titles, SECTIONS, "{name}");
        let sections = text.split("\n## ").skip(1);
        for (section, title) in sections.zip(SECTIONS) {
            let words = section.split_whitespace().count();
            assert!(words > 8, "{name}: {title} is too short");
            if title == "Diagnosis" {
                assert!(section.contains("$ kubectl "), "{name}: the diagnosis has no command");
            }
        }
    }
}
