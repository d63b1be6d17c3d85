//! `docs/reference/messages.md`: every message that people read, with sample data, in one file for review.
//!
//! A change of any wording shows here; `make generate` writes the file anew.

use std::fmt::Write as _;

use expect_test::expect_file;
use lockkeeper_crds::names;
use lockkeeper_crds::reasons::{Installation, ReasonName, samples};
use lockkeeper_e2e::install::repository;
use lockkeeper_operator::metrics::Metrics;
use lockkeeper_operator::{report, status};
use lockkeeper_planner::command_answer_samples;

use super::alerts;

const HEAD: &str = "\
# Message reference

Every message that Lockkeeper prints, each variant with sample data. Generated from the code by `make generate`; a test fails
on drift, so that a change of wording is reviewed here. Times are in UTC as the API stores them; the plugin shows them in
your time zone.
";

#[test]
fn the_reference_shows_every_message() {
    let mut text = HEAD.to_owned();
    wait_reasons(&mut text);
    section(&mut text, "Events", &events());
    section(&mut text, "Conditions", &conditions());
    section(&mut text, "Answers to commands", &command_answer_samples());
    section(&mut text, "The plugin", &kubectl_lockkeeper::messages::samples());
    metrics(&mut text);
    alert_texts(&mut text);
    expect_file![repository().join("docs/reference/messages.md")].assert_eq(&text);
}

fn events() -> Vec<(String, String)> {
    let render = |event: report::event::Event| {
        let topic = format!("{} {:?}", event.reason.as_str(), event.severity);
        (topic, event.message)
    };
    report::samples::samples().into_iter().map(render).collect()
}

fn conditions() -> Vec<(String, String)> {
    let render = |draft: status::condition::ConditionDraft| {
        let topic = format!(
            "{} {} {}",
            draft.type_.as_str(),
            draft.status.as_str(),
            draft.reason.as_str()
        );
        (topic, draft.message)
    };
    status::samples::samples().into_iter().map(render).collect()
}

fn wait_reasons(text: &mut String) {
    text.push_str("\n## Wait reasons\n\n`status.waiting` of a NodeReboot, Events about the Node, the plugin.\n");
    let samples = samples();
    let installation = Installation::in_namespace(names::NAMESPACE);
    for reason in ReasonName::ALL {
        let actor = reason.actor().as_str();
        let _ = write!(
            text,
            "\n### {reason}\n\n{:?}; who acts: {actor}.\n\n",
            reason.severity()
        );
        for sample in samples.iter().filter(|sample| sample.name() == reason) {
            let _ = writeln!(text, "- {sample}");
        }
        if let Some(advice) = reason.advice("w-01", "workers", &installation) {
            let _ = writeln!(text, "- you can: {advice}");
        }
    }
}

fn section(text: &mut String, title: &str, samples: &[(String, String)]) {
    let _ = write!(text, "\n## {title}\n\n");
    for (topic, message) in samples {
        if message.contains('\n') {
            let indented = message.trim_end().replace('\n', "\n  ");
            let _ = writeln!(text, "- `{topic}`:\n\n  ```text\n  {indented}\n  ```\n");
        } else {
            let _ = writeln!(text, "- `{topic}`: {message}");
        }
    }
}

fn metrics(text: &mut String) {
    text.push_str("\n## Metrics\n\n");
    let metrics = Metrics::new().unwrap();
    let mut all = metrics.described().to_vec();
    all.sort_by_key(|metric| metric.name);
    for metric in all {
        let _ = writeln!(text, "- `lockkeeper_{}`: {}", metric.name, metric.help);
    }
}

fn alert_texts(text: &mut String) {
    text.push_str("\n## Alerts\n\n");
    for (name, alert) in alerts().as_object().unwrap() {
        let text_of = |key: &str| alert[key].as_str().unwrap_or_default().trim_end();
        let _ = writeln!(text, "- `{name}`: {} {}", text_of("summary"), text_of("description"));
    }
}
