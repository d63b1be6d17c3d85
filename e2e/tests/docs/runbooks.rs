//! One runbook for each alert, and none without one.

use std::collections::BTreeSet;

use lockkeeper_e2e::install::repository;

use crate::alerts;

const SECTIONS: [&str; 4] = ["Meaning", "Impact", "Diagnosis", "Mitigation"];

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
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
fn each_runbook_says_what_it_means_what_it_does_how_to_look_and_what_to_do() {
    for name in alerts().as_object().unwrap().keys() {
        let path = repository().join(format!("docs/runbooks/{name}.md"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().next(), Some(format!("# {name}").as_str()));
        let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(titles, SECTIONS, "{name}");
        let sections = text.split("\n## ").skip(1);
        for (section, title) in sections.zip(SECTIONS) {
            let words = section.split_whitespace().count();
            assert!(words > 8, "{name}: {title} says nothing");
            if title == "Diagnosis" {
                assert!(section.contains("$ kubectl "), "{name}: what is one to run?");
            }
        }
    }
}
