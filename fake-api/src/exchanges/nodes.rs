//! Nodes: create, read and patch them, cordon them by server-side apply, list them in pages.

use serde_json::{Value, json};

use super::{JSON, REFUSAL, Recorder};

const NODE: &str = "/api/v1/nodes/exchange-1";

pub(super) async fn nodes(recorder: &mut Recorder) -> Result<(), String> {
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

pub(super) async fn cordons(recorder: &mut Recorder) -> Result<(), String> {
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

pub(super) async fn lists(recorder: &mut Recorder) -> Result<(), String> {
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
