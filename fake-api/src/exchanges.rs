//! The requests by which this server is compared with a real one: `tests/recorded/exchanges.json` has a real one's answers.

use std::collections::BTreeMap;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The namespace of the objects that are in one.
pub const NAMESPACE: &str = "exchanges";

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// What is read of a refusal.
const REFUSAL: &[&str] = &[
    "/reason",
    "/details/kind",
    "/details/causes/0/reason",
    "/details/causes/0/field",
];

/// One request and what was read of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What is asked, in words.
    pub what: String,
    /// The method and the path.
    pub request: String,
    /// The HTTP status.
    pub code: u16,
    /// The fields that were read, by their JSON pointer; those that are absent are left out.
    pub read: BTreeMap<String, Value>,
}

/// Makes all requests on a server that has Lockkeeper's kinds, and no Node.
pub async fn exchanges(client: Client) -> Result<Vec<Exchange>, String> {
    let mut recorder = Recorder {
        client,
        exchanges: Vec::new(),
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    recorder
        .send(
            "create a namespace",
            "POST",
            "/api/v1/namespaces",
            JSON,
            &namespace,
            &["/kind"],
        )
        .await?;
    nodes(&mut recorder).await?;
    cordons(&mut recorder).await?;
    lists(&mut recorder).await?;
    leases(&mut recorder).await?;
    locks(&mut recorder).await?;
    records(&mut recorder).await?;
    evictions(&mut recorder).await?;
    Ok(recorder.exchanges)
}

struct Recorder {
    client: Client,
    exchanges: Vec<Exchange>,
}

impl Recorder {
    /// Sends one request; returns the whole body.
    async fn send(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
        read: &[&str],
    ) -> Result<Value, String> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type);
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| format!("{what}: {error}"))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| format!("{what}: {error}"))?;
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await;
        let body = body.map_err(|error| format!("{what}: {error}"))?;
        // Where the path is unknown the real server answers in plain text.
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let read = read.iter().filter_map(|pointer| {
            let value = body.pointer(pointer).filter(|value| !value.is_null())?;
            Some(((*pointer).to_owned(), value.clone()))
        });
        self.exchanges.push(Exchange {
            what: what.to_owned(),
            request: format!("{method} {path}"),
            code,
            read: read.collect(),
        });
        Ok(body)
    }

    async fn get(&mut self, what: &str, path: &str, read: &[&str]) -> Result<Value, String> {
        self.send(what, "GET", path, JSON, &Value::Null, read).await
    }

    async fn merge(&mut self, what: &str, path: &str, body: &Value, read: &[&str]) -> Result<Value, String> {
        self.send(what, "PATCH", path, MERGE, body, read).await
    }

    async fn apply(&mut self, what: &str, path: &str, body: &Value, read: &[&str]) -> Result<Value, String> {
        self.send(what, "PATCH", path, APPLY, body, read).await
    }
}

const NODE: &str = "/api/v1/nodes/exchange-1";

async fn nodes(recorder: &mut Recorder) -> Result<(), String> {
    let nodes = "/api/v1/nodes?fieldManager=kubelet";
    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    for name in ["exchange-1", "exchange-2", "exchange-3"] {
        recorder
            .send(
                "create a Node",
                "POST",
                nodes,
                JSON,
                &node(name),
                &["/kind", "/metadata/name"],
            )
            .await?;
    }
    recorder
        .send(
            "create a Node that exists",
            "POST",
            nodes,
            JSON,
            &node("exchange-1"),
            REFUSAL,
        )
        .await?;
    recorder
        .get("read a Node that does not exist", "/api/v1/nodes/none", REFUSAL)
        .await?;
    recorder
        .get(
            "read a kind that does not exist",
            "/apis/lockkeeper.dev/v1alpha1/none",
            &[],
        )
        .await?;
    let found = recorder.get("read a Node", NODE, &["/metadata/name"]).await?;
    let version = &found["metadata"]["resourceVersion"];
    let annotate = |version: &Value| json!({"metadata": {"resourceVersion": version, "annotations": {"a": "1"}}});
    recorder
        .merge("patch a Node", NODE, &annotate(version), &["/metadata/annotations/a"])
        .await?;
    recorder
        .merge("patch an older version of a Node", NODE, &annotate(version), REFUSAL)
        .await?;
    let other = json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000", "annotations": {"a": "2"}}});
    recorder
        .merge("patch a Node with another uid", NODE, &other, REFUSAL)
        .await?;
    let status = json!({"status": {"nodeInfo": {"bootID": "b-1"}}, "spec": {"unschedulable": true}});
    let read = ["/status/nodeInfo/bootID", "/spec/unschedulable"];
    recorder
        .merge(
            "patch the status of a Node on its own path",
            &format!("{NODE}/status"),
            &status,
            &read,
        )
        .await?;
    recorder
        .merge(
            "uncordon a Node",
            NODE,
            &json!({"spec": {"unschedulable": null}}),
            &read,
        )
        .await?;
    Ok(())
}

fn cordon(metadata: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": true}});
    object["metadata"]["name"] = json!("exchange-1");
    object["metadata"]["annotations"] = json!({"lockkeeper.dev/operation": "op"});
    object
}

async fn cordons(recorder: &mut Recorder) -> Result<(), String> {
    let path = |manager: &str| format!("{NODE}?fieldManager={manager}");
    let own = path("lockkeeper-operator");
    let found = recorder.get("read a Node", NODE, &[]).await?;
    let (uid, version) = (&found["metadata"]["uid"], &found["metadata"]["resourceVersion"]);
    let read = ["/spec/unschedulable", "/metadata/annotations/lockkeeper.dev~1operation"];
    let guarded = cordon(&json!({"uid": uid, "resourceVersion": version}));
    recorder.apply("apply a cordon", &own, &guarded, &read).await?;
    recorder
        .apply(
            "apply a cordon to an older version",
            &format!("{own}&force=true"),
            &guarded,
            REFUSAL,
        )
        .await?;
    let other = cordon(&json!({"uid": "00000000-0000-0000-0000-000000000000"}));
    recorder
        .apply("apply a cordon with another uid", &own, &other, REFUSAL)
        .await?;
    let mut open = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "exchange-1"}, "spec": {"unschedulable": false}});
    recorder
        .apply("apply what another manager owns", &path("argocd"), &open, REFUSAL)
        .await?;
    open["spec"]["unschedulable"] = json!(true);
    recorder
        .apply("apply the same value as its owner", &path("argocd"), &open, &read)
        .await?;
    let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "exchange-1", "uid": uid}});
    recorder
        .apply("apply nothing while another manager shares a field", &own, &bare, &read)
        .await?;
    recorder
        .apply("apply nothing as its last owner", &path("argocd"), &bare, &read)
        .await?;
    let gone = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "none", "uid": uid}});
    recorder
        .apply(
            "apply to a Node that is gone",
            "/api/v1/nodes/none?fieldManager=lockkeeper-operator",
            &gone,
            REFUSAL,
        )
        .await?;
    Ok(())
}

async fn lists(recorder: &mut Recorder) -> Result<(), String> {
    let names = [
        "/items/0/metadata/name",
        "/items/1/metadata/name",
        "/items/2/metadata/name",
    ];
    let read = [names[0], names[1], names[2], "/metadata/remainingItemCount"];
    let page = recorder
        .get("list a page of Nodes", "/api/v1/nodes?limit=2", &read)
        .await?;
    let token = page["metadata"]["continue"].as_str().unwrap_or_default();
    let next = format!("/api/v1/nodes?limit=2&continue={token}");
    recorder.get("list the next page", &next, &read).await?;
    // The token is another one each time.
    if let Some(exchange) = recorder.exchanges.last_mut() {
        "GET /api/v1/nodes?limit=2&continue=TOKEN".clone_into(&mut exchange.request);
    }
    recorder
        .merge(
            "cordon a Node",
            "/api/v1/nodes/exchange-2",
            &json!({"spec": {"unschedulable": true}}),
            &[],
        )
        .await?;
    recorder
        .get(
            "list cordoned Nodes",
            "/api/v1/nodes?fieldSelector=spec.unschedulable%3Dtrue",
            &names,
        )
        .await?;
    recorder
        .get(
            "list Nodes by a name",
            "/api/v1/nodes?fieldSelector=metadata.name%3Dexchange-3",
            &names,
        )
        .await?;
    recorder
        .get(
            "select by a field that is not supported",
            "/api/v1/nodes?fieldSelector=spec.none%3D1",
            &["/reason"],
        )
        .await?;
    Ok(())
}

async fn leases(recorder: &mut Recorder) -> Result<(), String> {
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

async fn locks(recorder: &mut Recorder) -> Result<(), String> {
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

async fn records(recorder: &mut Recorder) -> Result<(), String> {
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

async fn evictions(recorder: &mut Recorder) -> Result<(), String> {
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
