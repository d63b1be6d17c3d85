//! A check of a Prometheus server: its alerts, or a query.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use lockkeeper_crds::{AlertStates, AlertsCheck, PrometheusCheck, QueryCheck, QueryResult};
use lockkeeper_kube_util::bounded;
use lockkeeper_planner::Finding;
use serde::Deserialize;

use crate::error::Error;
use crate::finding::finding;
use crate::server::target;
use crate::sources::Sources;

/// Alerts that fire always, by their design.
const ALWAYS_FIRING: [&str; 2] = ["Watchdog", "InfoInhibitor"];
/// Our own alerts must not keep us from ending what they are about.
const OWN_PREFIX: &str = "Lockkeeper";
/// A finding names so many labels.
const NAMED_LABELS: usize = 4;

pub(crate) async fn findings(sources: &Sources, name: &str, check: &PrometheusCheck) -> Result<Vec<Finding>, Error> {
    let query = match (&check.alerts, &check.query) {
        (Some(alerts), _) => alerts_query(alerts),
        (None, Some(query)) => query.expression.clone(),
        (None, None) => return Err(Error::NewerVersion("prometheus")),
    };
    let target = target(sources, &check.server).await?;
    let target = target.join("api/v1/query", &[("query", &query)]);
    let sent = sources.outbound.send(Method::GET, &target, None, &[], Bytes::new());
    let response = sent.await?;
    if let Ok(answer) = serde_json::from_slice(&response.body) {
        return judge(name, check, answer);
    }
    // A status says more than a body that is none of Prometheus.
    response.success(&target)?;
    Err(Error::Answer(target.url().to_string()))
}

fn judge(name: &str, check: &PrometheusCheck, answer: Answer) -> Result<Vec<Finding>, Error> {
    let data = answer.data().map_err(Error::Query)?;
    match (&check.alerts, &check.query) {
        (Some(alerts), _) => judge_alerts(name, alerts, data),
        (None, Some(query)) => judge_query(name, query, data),
        (None, None) => Err(Error::NewerVersion("prometheus")),
    }
}

/// The series of the alerts that count, except for those that are left out by name.
fn alerts_query(alerts: &AlertsCheck) -> String {
    let states = match alerts.states {
        AlertStates::Firing => "firing",
        AlertStates::FiringOrPending | AlertStates::Unknown => "firing|pending",
    };
    let matchers = alerts.matchers.iter().map(|matcher| format!(",{}", matcher.0));
    format!("ALERTS{{alertstate=~\"{states}\"{}}}", matchers.collect::<String>())
}

/// The answer of `/api/v1/query`.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Answer {
    fn data(self) -> Result<Data, String> {
        match self {
            Self::Success { data } => Ok(data),
            Self::Error { error } => Err(bounded(&error, 300)),
        }
    }
}

fn judge_alerts(check: &str, alerts: &AlertsCheck, data: Data) -> Result<Vec<Finding>, Error> {
    let Data::Vector(series) = data else {
        return Err(Error::Query("the matchers do not select alerts".to_owned()));
    };
    let counts = |name: &str| {
        let ignored = alerts.ignore.iter().any(|ignored| ignored.0 == name);
        !(ignored || ALWAYS_FIRING.contains(&name) || name.starts_with(OWN_PREFIX))
    };
    let found = series.into_iter().filter_map(|one| {
        let mut labels = one.metric;
        labels.remove("__name__");
        let state = labels.remove("alertstate").unwrap_or_default();
        // An alert that was pending and fires now is the same alert.
        let identity = labels_in_braces(&labels, usize::MAX);
        let alert = labels.remove("alertname").unwrap_or_default();
        let verb = if state == "pending" { "is pending" } else { "fires" };
        let text = format!("alert {alert} {verb} {}", labels_in_braces(&labels, NAMED_LABELS));
        counts(&alert).then(|| finding(check, &identity, text.trim_end_matches(" {}")))
    });
    Ok(found.collect())
}

fn judge_query(check: &str, query: &QueryCheck, data: Data) -> Result<Vec<Finding>, Error> {
    let values: Vec<(String, String)> = match (query.expect, data) {
        (QueryResult::Unknown, _) => return Err(Error::NewerVersion("prometheus.query.expect")),
        (QueryResult::Empty | QueryResult::True, Data::Vector(series)) => series
            .into_iter()
            .map(|one| (labels_in_braces(&one.metric, usize::MAX), one.value.1))
            .collect(),
        (QueryResult::True, Data::Scalar((_, value))) => vec![(String::new(), value)],
        (QueryResult::Empty, Data::Scalar(_)) => {
            return Err(Error::Query(
                "the result is a scalar, which is never empty; use expect: True".to_owned(),
            ));
        }
        (QueryResult::Empty | QueryResult::True, Data::Matrix(_) | Data::String(_)) => {
            return Err(Error::Query(
                "the result is not an instant vector or a scalar".to_owned(),
            ));
        }
    };
    if query.expect == QueryResult::True && values.is_empty() {
        return Ok(vec![finding(check, "empty", "the query returned nothing")]);
    }
    let is_true = |value: &str| value.parse::<f64>().is_ok_and(|value| value != 0.0 && !value.is_nan());
    let failing = values
        .iter()
        .filter(|(_, value)| query.expect == QueryResult::Empty || !is_true(value));
    let found =
        failing.map(|(labels, value)| finding(check, labels, format!("the query returned {labels} {value}").trim()));
    Ok(found.collect())
}

/// `{a="1", b="2"}`, with at most so many labels.
fn labels_in_braces(labels: &BTreeMap<String, String>, limit: usize) -> String {
    let shown = labels
        .iter()
        .take(limit)
        .map(|(name, value)| format!("{name}={value:?}"));
    let mut shown: Vec<String> = shown.collect();
    if labels.len() > limit {
        shown.push("...".to_owned());
    }
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use lockkeeper_crds::{AlertName, Matcher};
    use lockkeeper_fuzz::fuzz;
    use lockkeeper_kube_util::is_printable;

    use super::*;

    const ALERTS: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
        {"metric":{"__name__":"ALERTS","alertname":"Watchdog","alertstate":"firing"},"value":[1.5,"1"]},
        {"metric":{"__name__":"ALERTS","alertname":"LockkeeperRebootBlocked","alertstate":"firing"},"value":[1.5,"1"]},
        {"metric":{"__name__":"ALERTS","alertname":"Known","alertstate":"firing"},"value":[1.5,"1"]},
        {"metric":{"__name__":"ALERTS","alertname":"KubePodCrashLooping","alertstate":"pending","namespace":"shop","pod":"db-0"},"value":[1.5,"1"]}]}}"#;

    fn data(json: &str) -> Result<Data, String> {
        serde_json::from_str::<Answer>(json).unwrap().data()
    }

    fn vector(values: &[&str]) -> Data {
        let series = values.iter().enumerate().map(|(index, value)| Series {
            metric: [("pool".to_owned(), index.to_string())].into(),
            value: (1.5, (*value).to_owned()),
        });
        Data::Vector(series.collect())
    }

    fn texts(expect: QueryResult, data: Data) -> Vec<String> {
        let query = QueryCheck {
            expression: "up".to_owned(),
            expect,
        };
        let found = judge_query("q", &query, data).unwrap();
        found.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn alerts_are_asked_for_by_state_and_matchers() {
        let mut alerts = AlertsCheck::default();
        assert_eq!(alerts_query(&alerts), r#"ALERTS{alertstate=~"firing"}"#);
        alerts.states = AlertStates::FiringOrPending;
        alerts.matchers = vec![Matcher(r#"severity="critical""#.to_owned())];
        assert_eq!(
            alerts_query(&alerts),
            r#"ALERTS{alertstate=~"firing|pending",severity="critical"}"#
        );
    }

    #[test]
    fn alerts_that_always_fire_those_of_lockkeeper_and_ignored_ones_do_not_count() {
        let alerts = AlertsCheck {
            ignore: vec![AlertName("Known".to_owned())],
            ..AlertsCheck::default()
        };
        let found = judge_alerts("alerts", &alerts, data(ALERTS).unwrap()).unwrap();
        let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            texts,
            [r#"alert KubePodCrashLooping is pending {namespace="shop", pod="db-0"}"#]
        );
        let fires = ALERTS.replace(r#""pending""#, r#""firing""#);
        let later = judge_alerts("alerts", &alerts, data(&fires).unwrap()).unwrap();
        assert_eq!(
            found[0].id, later[0].id,
            "an alert that was pending and fires is the same"
        );
    }

    #[test]
    fn a_query_passes_if_it_returns_nothing_or_if_nothing_of_it_is_zero() {
        assert_eq!(texts(QueryResult::Empty, vector(&[])), [] as [&str; 0]);
        assert_eq!(
            texts(QueryResult::Empty, vector(&["0"])),
            [r#"the query returned {pool="0"} 0"#]
        );
        assert_eq!(texts(QueryResult::True, vector(&["1", "2"])), [] as [&str; 0]);
        assert_eq!(
            texts(QueryResult::True, vector(&["1", "0", "NaN"])),
            [
                r#"the query returned {pool="1"} 0"#,
                r#"the query returned {pool="2"} NaN"#
            ]
        );
        assert_eq!(texts(QueryResult::True, vector(&[])), ["the query returned nothing"]);
        let scalar = || Data::Scalar((1.5, "1".to_owned()));
        assert_eq!(texts(QueryResult::True, scalar()), [] as [&str; 0]);
        let empty = QueryCheck::default();
        assert!(judge_query("q", &empty, scalar()).is_err());
    }

    #[test]
    fn whatever_prometheus_answers_what_is_shown_of_it_is_printable_and_short() {
        let alerts = PrometheusCheck {
            alerts: Some(AlertsCheck::default()),
            ..PrometheusCheck::default()
        };
        let query = |expect| PrometheusCheck {
            query: Some(QueryCheck {
                expression: "up".to_owned(),
                expect,
            }),
            ..PrometheusCheck::default()
        };
        let checks = [alerts, query(QueryResult::Empty), query(QueryResult::True)];
        fuzz("prometheus-answer", |body| {
            for check in &checks {
                let Ok(answer) = serde_json::from_slice(body) else {
                    return;
                };
                let shown = match judge("shop", check, answer) {
                    Ok(findings) => findings.into_iter().map(|finding| finding.text).collect(),
                    Err(error) => vec![error.to_string()],
                };
                for text in shown {
                    assert!(text.chars().all(is_printable), "{text}");
                    assert!(text.chars().count() <= 400, "{text}");
                }
            }
        });
    }

    #[test]
    fn a_query_that_prometheus_refuses_is_an_error_with_its_words() {
        let refused = r#"{"status":"error","errorType":"bad_data","error":"1:8: parse error: unexpected }"}"#;
        assert_eq!(data(refused).unwrap_err(), "1:8: parse error: unexpected }");
    }
}
