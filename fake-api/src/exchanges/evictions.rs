//! Evictions under a disruption budget.

use serde_json::{Value, json};

use super::{JSON, NAMESPACE, Recorder};

pub(super) async fn evictions(recorder: &mut Recorder) -> Result<(), String> {
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let budgets = format!("/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets");
    let pod = |name: &str, app: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
            "spec": {
                "nodeName": "exchange-1", "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "i"}],
            },
        })
    };
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    for (name, app) in [("free", "free"), ("kept", "kept")] {
        recorder
            .send(
                "create a pod",
                "POST",
                &pods,
                JSON,
                &pod(name, app),
                &["/spec/nodeName"],
            )
            .await?;
        recorder
            .merge(
                "a pod runs",
                &format!("{pods}/{name}/status"),
                &running,
                &["/status/phase"],
            )
            .await?;
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}},
    });
    recorder
        .send("create a budget", "POST", &budgets, JSON, &budget, &["/kind"])
        .await?;
    // As its controller does; where there is one, both write the same.
    let counted = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    }});
    recorder
        .merge(
            "count the pods of a budget",
            &format!("{budgets}/kept/status"),
            &counted,
            &["/status/expectedPods"],
        )
        .await?;
    let eviction = |name: &str, uid: &Value| {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": NAMESPACE, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        })
    };
    let found = recorder
        .get("read a pod", &format!("{pods}/free"), &["/status/phase"])
        .await?;
    let (uid, other) = (&found["metadata"]["uid"], json!("00000000-0000-0000-0000-000000000000"));
    let read = [
        "/status",
        "/reason",
        "/details/causes/0/reason",
        "/details/causes/0/message",
    ];
    for (what, name, query, uid) in [
        ("evict a pod that does not exist", "none", "", uid),
        ("evict a pod with another uid", "free", "", &other),
        ("evict a pod as a dry run", "free", "?dryRun=All", uid),
        ("evict a pod", "free", "", uid),
        ("evict a pod whose budget is exhausted", "kept", "", &Value::Null),
        ("evict that pod as a dry run", "kept", "?dryRun=All", &Value::Null),
    ] {
        let path = format!("{pods}/{name}/eviction{query}");
        recorder
            .send(what, "POST", &path, JSON, &eviction(name, uid), &read)
            .await?;
    }
    recorder
        .get(
            "read an evicted pod",
            &format!("{pods}/free"),
            &["/metadata/deletionGracePeriodSeconds"],
        )
        .await?;
    Ok(())
}
