//! What Lockkeeper writes most: its Lease, its lock and its records.

use serde_json::{Value, json};

use super::{JSON, NAMESPACE, REFUSAL, Recorder};

pub(super) async fn leases(recorder: &mut Recorder) -> Result<(), String> {
    let all = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let lease = |holder: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
    let holder = ["/spec/holderIdentity"];
    recorder
        .send(
            "create a Lease in a namespace that does not exist",
            "POST",
            &all("none"),
            JSON,
            &lease("a"),
            REFUSAL,
        )
        .await?;
    let path = format!("{}/l", all(NAMESPACE));
    let created = recorder
        .send("create a Lease", "POST", &all(NAMESPACE), JSON, &lease("a"), &holder)
        .await?;
    recorder
        .send(
            "replace a Lease without a version",
            "PUT",
            &path,
            JSON,
            &lease("b"),
            &holder,
        )
        .await?;
    recorder
        .send(
            "replace the present version of a Lease",
            "PUT",
            &path,
            JSON,
            &created,
            REFUSAL,
        )
        .await?;
    Ok(())
}

pub(super) async fn locks(recorder: &mut Recorder) -> Result<(), String> {
    let all = "/apis/lockkeeper.dev/v1alpha1/rebootlocks";
    let path = format!("{all}/cluster/status");
    let holder = json!({
        "node": "exchange-1", "nodeUID": "u", "policy": "p", "operationID": "op", "acquiredTime": "2026-11-24T12:00:00Z",
    });
    let lock = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"}, "spec": {},
        "status": {"holders": [holder]},
    });
    let read = ["/status/holders/0/node", "/metadata/generation"];
    let created = recorder
        .send("create a lock: its status is dropped", "POST", all, JSON, &lock, &read)
        .await?;
    recorder
        .send(
            "replace the status of a lock without a version",
            "PUT",
            &path,
            JSON,
            &lock,
            REFUSAL,
        )
        .await?;
    let mut next = created.clone();
    next["status"] = lock["status"].clone();
    next["spec"] = json!({"maxInProgress": 5});
    let read = ["/status/holders/0/node", "/spec/maxInProgress", "/metadata/generation"];
    let written = recorder
        .send(
            "replace the status of a lock: its spec stays",
            "PUT",
            &path,
            JSON,
            &next,
            &read,
        )
        .await?;
    recorder
        .send(
            "replace the status of an older lock",
            "PUT",
            &path,
            JSON,
            &next,
            REFUSAL,
        )
        .await?;
    let mut other = written.clone();
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    recorder
        .send(
            "replace the status of another lock",
            "PUT",
            &path,
            JSON,
            &other,
            REFUSAL,
        )
        .await?;
    Ok(())
}

pub(super) async fn records(recorder: &mut Recorder) -> Result<(), String> {
    let all = "/apis/lockkeeper.dev/v1alpha1/nodereboots";
    let path = format!("{all}/exchange-1");
    let kind =
        json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "metadata": {"name": "exchange-1"}});
    let report = |boot: &str| {
        let mut report = kind.clone();
        report["status"] = json!({"host": {"bootID": boot}});
        report
    };
    let agent = format!("{path}/status?fieldManager=lockkeeper-agent&force=true");
    recorder
        .apply(
            "report to a record that does not exist",
            &agent,
            &report("b-1"),
            REFUSAL,
        )
        .await?;
    let mut record = kind.clone();
    record["spec"] = json!({"policy": "p"});
    recorder
        .send(
            "create a record",
            "POST",
            all,
            JSON,
            &record,
            &["/spec/policy", "/metadata/generation"],
        )
        .await?;
    let read = [
        "/status/host/bootID",
        "/status/state",
        "/spec/order/id",
        "/metadata/generation",
    ];
    let reported = recorder.apply("report", &agent, &report("b-1"), &read).await?;
    let version = &reported["metadata"]["resourceVersion"];
    let status = format!("{path}/status?fieldManager=lockkeeper-operator");
    let state =
        json!({"metadata": {"resourceVersion": version}, "status": {"state": "Pending"}, "spec": {"policy": "q"}});
    let written = recorder
        .merge("patch the status of a record", &status, &state, &read)
        .await?;
    recorder
        .merge("patch an older status of a record", &status, &state, REFUSAL)
        .await?;
    let repeated = recorder
        .apply("report the same again", &agent, &report("b-1"), &read)
        .await?;
    // A write that changes nothing makes no new version.
    let is_same = written["metadata"]["resourceVersion"] == repeated["metadata"]["resourceVersion"];
    if let Some(exchange) = recorder.exchanges.last_mut() {
        exchange.read.insert("same version".to_owned(), json!(is_same));
    }
    let order =
        json!({"spec": {"order": {"id": "o", "action": "Prepare", "bootID": "b-1"}}, "status": {"state": "Failed"}});
    recorder.merge("order", &path, &order, &read).await?;
    recorder
        .merge("withdraw the order", &path, &json!({"spec": {"order": null}}), &read)
        .await?;
    recorder
        .send("delete a record", "DELETE", &path, JSON, &Value::Null, &["/status"])
        .await?;
    recorder.get("read a deleted record", &path, REFUSAL).await?;
    Ok(())
}
