//! `docs/reference/metrics.md`, from the operator's registry; `docs/reference/alerts.md`, from the chart's `alerts.yaml`.

use std::fmt::Write as _;

use expect_test::expect_file;
use lockkeeper_e2e::install::repository;
use lockkeeper_operator::metrics::Metrics;

use super::alerts;

const METRICS: &str = "\
# Metric reference

Generated from the operator's registry by `make generate`; a test fails on drift. [monitoring.md](../monitoring.md) explains how
to scrape the metrics, and which of them only the leader exports.

| metric | type | labels | description |
|---|---|---|---|
";

#[test]
fn the_reference_lists_every_metric() {
    let metrics = Metrics::new().unwrap();
    let mut all = metrics.described().to_vec();
    all.sort_by_key(|metric| metric.name);
    let mut text = METRICS.to_owned();
    for metric in all {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels, help) = (metric.name, metric.kind, labels.join(", "), metric.help);
        let _ = writeln!(text, "| `lockkeeper_{name}` | {kind} | {labels} | {help} |");
    }
    expect_file![repository().join("docs/reference/metrics.md")].assert_eq(&text);
}

const ALERTS: &str = "\
# Alert reference

Generated from `charts/lockkeeper/files/alerts.yaml` by `make generate`; a test fails on drift. The chart creates the alerts
if `prometheusRule.enabled` is set. To change `for`, `severity` or the parameters of an alert, or to disable it, use its
name in `prometheusRule.rules`. `${NAME}` in an expression stands for a parameter.
";

#[test]
fn the_reference_lists_every_alert() {
    let mut text = ALERTS.to_owned();
    for (name, alert) in alerts().as_object().unwrap() {
        let text_of = |key: &str| alert[key].as_str().unwrap_or_default();
        let held = if text_of("for").is_empty() {
            "at once".to_owned()
        } else {
            format!("after {}", text_of("for"))
        };
        let _ = write!(text, "\n## {name}\n\n{}\n\n", text_of("summary"));
        let _ = writeln!(
            text,
            "{}, {held}. [Runbook](../runbooks/{name}.md).",
            text_of("severity")
        );
        let _ = write!(text, "\n```promql\n{}\n```\n", text_of("expr").trim_end());
        for (at, (param, value)) in alert["params"].as_object().into_iter().flatten().enumerate() {
            let lead = if at == 0 { "\n" } else { "" };
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "{lead}- `{param}`: `{value}`");
        }
    }
    expect_file![repository().join("docs/reference/alerts.md")].assert_eq(&text);
}
