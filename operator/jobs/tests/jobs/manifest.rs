//! What the Job of a run contains.

use expect_test::{expect, expect_file};
use lockkeeper_jobs::JobRun;
use serde_json::{Value, json};
use std::time::Duration;

use super::run;
use super::server::Server;

/// The Job that a run creates of the template `fsck`, after a change of its Job's spec.
async fn created(run: &JobRun, change: impl FnOnce(&mut Value)) -> Value {
    let server = Server::new();
    {
        let mut state = server.state();
        let template = state.cron_jobs.get_mut("fsck").unwrap();
        change(&mut template["spec"]["jobTemplate"]["spec"]);
    }
    server.jobs().run(run).await.unwrap();
    let mut job = server.state().jobs.values().next().unwrap().clone();
    job["metadata"].as_object_mut().unwrap().remove("uid");
    job
}

#[tokio::test]
async fn the_job_on_the_node_keeps_its_template_and_names_what_it_runs_for() {
    let job = created(&run(), |_| {}).await;
    expect_file!["on_node.json"].assert_eq(&format!("{job:#}\n"));
}

#[tokio::test]
async fn a_job_off_the_node_runs_on_any_other_and_tolerates_no_cordon() {
    let run = JobRun {
        on_node: false,
        ..run()
    };
    let job = created(&run, |_| {}).await;
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["tolerations"], Value::Null);
    expect![[r#"{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"NotIn","values":["w-01"]}]}]}}}"#]].assert_eq(&pod["affinity"].to_string());
}

#[tokio::test]
async fn the_affinity_of_the_template_still_holds() {
    let required = json!({"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["w-02"]}]},
    ]});
    let job = created(&run(), |spec| {
        spec["template"]["spec"]["nodeName"] = json!("w-09");
        spec["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            required;
        spec["template"]["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
    })
    .await;
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["nodeName"], Value::Null);
    assert_eq!(pod["tolerations"][0]["key"], "gpu");
    let affinity = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    expect![[r#"
        [
          {
            "matchExpressions": [
              {
                "key": "disk",
                "operator": "Exists"
              }
            ],
            "matchFields": [
              {
                "key": "metadata.name",
                "operator": "In",
                "values": [
                  "w-01"
                ]
              }
            ]
          },
          {
            "matchFields": [
              {
                "key": "metadata.name",
                "operator": "NotIn",
                "values": [
                  "w-02"
                ]
              },
              {
                "key": "metadata.name",
                "operator": "In",
                "values": [
                  "w-01"
                ]
              }
            ]
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&affinity["nodeSelectorTerms"]).unwrap());
}

#[tokio::test]
async fn the_shorter_deadline_and_the_longer_retention_count() {
    let limits = async |deadline: Option<i64>, ttl: Option<i64>| {
        let job = created(&run(), |spec| {
            spec["activeDeadlineSeconds"] = json!(deadline);
            spec["ttlSecondsAfterFinished"] = json!(ttl);
        })
        .await;
        let field = |name: &str| job["spec"][name].as_i64().unwrap();
        (field("activeDeadlineSeconds"), field("ttlSecondsAfterFinished"))
    };
    assert_eq!(limits(None, None).await, (300, 172_800));
    assert_eq!(limits(Some(60), Some(10)).await, (60, 172_800));
    assert_eq!(limits(Some(900), Some(1_000_000)).await, (300, 1_000_000));
    let run = JobRun {
        timeout: Duration::ZERO,
        ..run()
    };
    let job = created(&run, |_| {}).await;
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 1);
}

#[tokio::test]
async fn a_name_that_is_too_long_for_a_label_is_there_in_full_as_an_annotation() {
    let long = format!("{}.example.com", "w".repeat(60));
    let run = JobRun {
        node: long.clone(),
        ..run()
    };
    let job = created(&run, |_| {}).await;
    for metadata in [&job["metadata"], &job["spec"]["template"]["metadata"]] {
        assert_eq!(metadata["annotations"]["lockkeeper.dev/node"], long);
        let label = metadata["labels"]["lockkeeper.dev/node"].as_str().unwrap();
        assert_eq!(label.len(), 16, "{label}");
    }
}
