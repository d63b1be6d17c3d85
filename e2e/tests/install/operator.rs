//! The operator's token can change what the operator changes, and nothing else.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, RebootLock, RebootLockSpec, names};
use lockkeeper_e2e::control_plane::{ControlPlane, client};
use lockkeeper_e2e::tokens::{Account, Bound};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ENFORCED, file, kubectl};

const OPERATOR: Account<'static> = Account {
    namespace: names::NAMESPACE,
    name: "lockkeeper-operator",
};

pub(crate) async fn limits_the_operator_to_what_it_changes(plane: &ControlPlane) {
    let kubeconfig = plane
        .token_kubeconfig("operator", OPERATOR, Bound::Nothing)
        .await
        .unwrap();
    let operator = client(&kubeconfig, "an-operator").await.unwrap();
    make_objects(plane.client()).await;
    refused_in_time("a foreign label", |attempt| {
        change_node(
            &operator,
            json!({"metadata": {"labels": {"role": format!("db-{attempt}")}}}),
        )
    })
    .await;
    changes_the_cordon_and_its_own_taints_of_a_node(&operator).await;
    changes_nothing_else_of_a_node(&operator).await;
    changes_its_own_condition_of_a_node_and_no_other_status(&plane.client(), &operator).await;
    gives_no_more_slots_than_the_lock_allows(&plane.client(), &operator).await;
    orders_a_reboot_only_for_a_node_with_a_slot(&operator).await;
    deletes_pods_only_if_allowed_and_on_nodes_with_a_slot(plane, &operator).await;
    people_are_not_limited(&plane.client()).await;
}

async fn changes_the_cordon_and_its_own_taints_of_a_node(operator: &Client) {
    let nodes: Api<Node> = Api::all(operator.clone());
    let cordon = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "w-1", "labels": {names::EXCLUDE_FROM_LOAD_BALANCERS: "true"}, "annotations": {
            names::OPERATION: "7f3c", names::KARPENTER_DO_NOT_DISRUPT: "true",
            names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED: "true",
        }},
        "spec": {"unschedulable": true},
    });
    let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w-1"}});
    let held =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w-1"}, "spec": {"unschedulable": true}});
    for (what, manager, patch) in [
        ("the cordon", names::OPERATOR_MANAGER, &cordon),
        ("the cordon of a node on hold", names::HOLD_MANAGER, &held),
        ("the uncordon", names::OPERATOR_MANAGER, &bare),
    ] {
        let params = PatchParams::apply(manager);
        let done = nodes.patch("w-1", &params, &Patch::Apply(patch)).await;
        assert!(done.is_ok(), "{what}: {done:?}");
    }
    let ours = [
        json!({"key": names::TAINT_REBOOTING, "effect": "NoSchedule"}),
        json!({"key": names::TAINT_REBOOT_PENDING, "effect": "PreferNoSchedule"}),
    ];
    for (what, more) in [("its own taints", &ours[..]), ("without them", &[])] {
        // The controller manager may change the taints at the same moment.
        allowed_in_time(what, || async {
            let mut all = taints(&nodes).await;
            all.retain(|taint| !ours.iter().any(|own| own["key"] == taint["key"]));
            all.extend(more.iter().cloned());
            change_node(operator, json!({"spec": {"taints": all}})).await
        })
        .await;
    }
    let fulfilled = json!({"metadata": {"annotations": {names::REBOOT_REQUESTED: null, names::APPROVED: null}}});
    change_node(operator, fulfilled).await.unwrap();
}

async fn changes_nothing_else_of_a_node(operator: &Client) {
    let annotation = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    let all = taints(&Api::all(operator.clone())).await;
    let with = |more: Value| json!({"spec": {"taints": all.iter().chain([&more]).collect::<Vec<_>>()}});
    let without = |key: &str| {
        all.iter()
            .filter(|taint| taint["key"] != key)
            .cloned()
            .collect::<Vec<_>>()
    };
    let others = without("gpu");
    let changed = [
        without("gpu"),
        vec![json!({"key": "gpu", "value": "all", "effect": "NoSchedule"})],
    ]
    .concat();
    for (what, change) in [
        (
            "a label that draws pods",
            json!({"metadata": {"labels": {"role": "db"}}}),
        ),
        (
            "a label of its own group",
            json!({"metadata": {"labels": {"lockkeeper.dev/x": "y"}}}),
        ),
        (
            "a role removed",
            json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": null}}}),
        ),
        ("a taint that evicts", with(json!({"key": "x", "effect": "NoExecute"}))),
        (
            "its own taint with another effect",
            with(json!({"key": names::TAINT_REBOOTING, "effect": "NoExecute"})),
        ),
        ("a taint of others removed", json!({"spec": {"taints": others}})),
        ("a taint of others changed", json!({"spec": {"taints": changed}})),
        ("the provider's id", json!({"spec": {"providerID": "x://y"}})),
        ("a request", annotation(names::REBOOT_REQUESTED, json!("me"))),
        ("an approval", annotation(names::APPROVED, json!("me"))),
        ("a hold removed", annotation(names::HOLD, Value::Null)),
        ("a foreign annotation", annotation("example.com/x", json!("y"))),
        ("a finalizer", json!({"metadata": {"finalizers": ["example.com/x"]}})),
    ] {
        assert_refused(what, change_node(operator, change).await);
    }
}

async fn changes_its_own_condition_of_a_node_and_no_other_status(admin: &Client, operator: &Client) {
    let conditions = |condition: Value| json!({"status": {"conditions": [condition]}});
    let notice =
        |reason: &str| conditions(json!({"type": names::MAINTENANCE_PLANNED, "status": "True", "reason": reason}));
    let without = conditions(json!({"type": names::MAINTENANCE_PLANNED, "$patch": "delete"}));
    let ready = conditions(json!({"type": "Ready", "status": "True", "reason": "KubeletReady"}));
    let own = notice(names::NOTICE_REASON);
    refused_in_time("a Node that is Ready", |attempt| {
        let message = format!("attempt {attempt}");
        let ready = conditions(json!({"type": "Ready", "status": "True", "message": message}));
        change_node_status(operator, ready)
    })
    .await;
    change_node_status(admin, ready).await.unwrap();
    for (what, change) in [
        ("its notice", &own),
        ("its notice removed", &without),
        ("its notice again", &own),
    ] {
        let done = change_node_status(operator, change.clone()).await;
        assert!(done.is_ok(), "{what}: {done:?}");
    }
    for (what, change) in [
        (
            "a condition of others removed",
            conditions(json!({"type": "Ready", "$patch": "delete"})),
        ),
        (
            "a condition of others",
            conditions(json!({"type": "Ready", "status": "False"})),
        ),
        (
            "a new condition",
            conditions(json!({"type": "Drained", "status": "True"})),
        ),
        ("its notice with another reason", notice("Recycling")),
        ("the capacity", json!({"status": {"capacity": {"cpu": "64"}}})),
        (
            "a label with the status",
            json!({"metadata": {"labels": {"role": "db"}}}),
        ),
        (
            "an annotation with the status",
            json!({"metadata": {"annotations": {"example.com/x": "y"}}}),
        ),
        (
            "a finalizer with the status",
            json!({"metadata": {"finalizers": ["example.com/x"]}}),
        ),
    ] {
        assert_refused(what, change_node_status(operator, change).await);
    }
    change_node_status(admin, notice("Recycling")).await.unwrap();
    assert_refused("a notice of others replaced", change_node_status(operator, own).await);
    assert_refused(
        "a notice of others removed",
        change_node_status(operator, without).await,
    );
}

async fn gives_no_more_slots_than_the_lock_allows(admin: &Client, operator: &Client) {
    limit(admin, Some(1)).await;
    assert_refused("two slots of one", set_holders(operator, &["w-1", "w-2"]).await);
    set_holders(operator, &["w-1"]).await.unwrap();
    limit(admin, Some(2)).await;
    set_holders(operator, &["w-1", "w-2"]).await.unwrap();
    limit(admin, Some(0)).await;
    // Nodes in progress finish although the limit was lowered.
    set_holders(operator, &["w-2"]).await.unwrap();
    assert_refused("a slot while paused", set_holders(operator, &["w-1", "w-2"]).await);
    limit(admin, None).await;
    set_holders(operator, &["w-1"]).await.unwrap();
}

async fn orders_a_reboot_only_for_a_node_with_a_slot(operator: &Client) {
    let attempt = |_| async {
        // Back to what it was, if the attempt before was admitted.
        order(operator, "w-2", "Prepare").await.unwrap();
        order(operator, "w-2", "Reboot").await
    };
    refused_in_time("a reboot without a slot", attempt).await;
    allowed_in_time("a reboot with a slot", || order(operator, "w-1", "Reboot")).await;
    set_holders(operator, &[]).await.unwrap();
    for node in ["w-1", "w-2"] {
        // Without a slot, an order is withdrawn.
        let withdrawn = patch_reboot(operator, node, json!({"spec": {"order": null}})).await;
        withdrawn.unwrap();
    }
}

async fn deletes_pods_only_if_allowed_and_on_nodes_with_a_slot(plane: &ControlPlane, operator: &Client) {
    let pods: Api<Pod> = Api::namespaced(operator.clone(), "default");
    let delete = |name: &'static str| {
        let pods = pods.clone();
        async move {
            let params = DeleteParams {
                dry_run: true,
                ..DeleteParams::default()
            };
            pods.delete(name, &params).await.map(drop)
        }
    };
    set_holders(operator, &["w-1"]).await.unwrap();
    assert_refused("a pod, without the permission", delete("on-w-1").await);
    kubectl(
        plane,
        &["apply", "--server-side", "-k", &file("deploy/kustomize/delete-pods")],
    );
    allowed_in_time("a pod of a node with a slot", || delete("on-w-1")).await;
    refused_in_time("a pod of another node", |_| delete("on-w-2")).await;
    let policy = file("deploy/kustomize/delete-pods/delete-pods.yaml");
    // A missing lock keeps no other user from deleting pods.
    let locks: Api<RebootLock> = Api::all(plane.client());
    locks.delete(names::LOCK, &DeleteParams::default()).await.unwrap();
    let admins: Api<Pod> = Api::namespaced(plane.client(), "default");
    for pod in ["on-w-1", "on-w-2"] {
        admins
            .delete(pod, &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
    }
    kubectl(plane, &["delete", "-f", &policy]);
}

/// The same changes by another user.
async fn people_are_not_limited(admin: &Client) {
    change_node(
        admin,
        json!({"metadata": {"labels": {"role": "db"}}, "spec": {"taints": null}}),
    )
    .await
    .unwrap();
    order(admin, "w-2", "Reboot").await.unwrap();
}

/// The taints of the Node: those of the test, and what the API server adds.
async fn taints(nodes: &Api<Node>) -> Vec<Value> {
    let node = serde_json::to_value(nodes.get("w-1").await.unwrap()).unwrap();
    node["spec"]["taints"].as_array().unwrap().clone()
}

async fn make_objects(admin: Client) {
    for name in ["w-1", "w-2"] {
        let node = json!({
            "metadata": {"name": name, "labels": {"node-role.kubernetes.io/worker": ""},
                "annotations": {names::REBOOT_REQUESTED: "me", names::HOLD: "me"}},
            "spec": {"taints": [{"key": "gpu", "value": "only", "effect": "NoSchedule"}]},
        });
        let node = serde_json::from_value(node).unwrap();
        Api::<Node>::all(admin.clone())
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        let reboot = NodeReboot::new(name, NodeRebootSpec::default());
        Api::<NodeReboot>::all(admin.clone())
            .create(&PostParams::default(), &reboot)
            .await
            .unwrap();
        let pod = json!({
            "metadata": {"name": format!("on-{name}")},
            "spec": {"nodeName": name, "containers": [{"name": "c", "image": "example.invalid/none"}]},
        });
        let pod = serde_json::from_value(pod).unwrap();
        let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    let lock = RebootLock::new(names::LOCK, RebootLockSpec::default());
    Api::<RebootLock>::all(admin)
        .create(&PostParams::default(), &lock)
        .await
        .unwrap();
}

async fn change_node(client: &Client, change: Value) -> Result<(), kube::Error> {
    let params = PatchParams {
        field_manager: Some(names::OPERATOR_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch("w-1", &params, &Patch::Merge(&change)).await.map(drop)
}

async fn change_node_status(client: &Client, change: Value) -> Result<(), kube::Error> {
    let params = PatchParams {
        field_manager: Some(names::OPERATOR_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .patch_status("w-1", &params, &Patch::Strategic(&change))
        .await
        .map(drop)
}

async fn patch_reboot(client: &Client, node: &str, change: Value) -> Result<(), kube::Error> {
    let reboots: Api<NodeReboot> = Api::all(client.clone());
    reboots
        .patch(node, &PatchParams::default(), &Patch::Merge(&change))
        .await
        .map(drop)
}

async fn order(client: &Client, node: &str, action: &str) -> Result<(), kube::Error> {
    let order = json!({"spec": {"order": {"id": "7f3c", "action": action, "bootID": "b"}}});
    patch_reboot(client, node, order).await
}

async fn limit(admin: &Client, slots: Option<i32>) {
    let locks: Api<RebootLock> = Api::all(admin.clone());
    let patch = json!({"spec": {"maxInProgress": slots}});
    locks
        .patch(names::LOCK, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

/// Writes the whole status, as the operator does.
async fn set_holders(client: &Client, nodes: &[&str]) -> Result<(), kube::Error> {
    let locks: Api<RebootLock> = Api::all(client.clone());
    let mut lock = locks.get(names::LOCK).await?;
    let holders: Vec<Value> = nodes
        .iter()
        .map(|node| {
            json!({"node": node, "nodeUID": "u", "policy": "p", "operationID": "7f3c",
                "acquiredTime": "2026-11-30T09:00:00Z"})
        })
        .collect();
    lock.status = Some(serde_json::from_value(json!({"holders": holders})).unwrap());
    lock.managed_fields_mut().clear();
    locks
        .replace_status(names::LOCK, &PostParams::default(), &lock)
        .await
        .map(drop)
}

fn assert_refused(what: &str, answer: Result<(), kube::Error>) {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        other => panic!("{what}: {other:?}"),
    }
}

/// A policy and its parameter are enforced a moment after they are made or changed. Each attempt, which gets its number, must
/// change something: what was admitted before is no change any more.
async fn refused_in_time<F: Future<Output = Result<(), kube::Error>>>(what: &str, attempt: impl Fn(u32) -> F) {
    let begin = Instant::now();
    for number in 1.. {
        match attempt(number).await {
            Err(kube::Error::Api(status)) if status.code == 403 => return,
            answer if begin.elapsed() > ENFORCED => panic!("{what}: {answer:?}"),
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn allowed_in_time<F: Future<Output = Result<(), kube::Error>>>(what: &str, attempt: impl Fn() -> F) {
    let begin = Instant::now();
    while let Err(error) = attempt().await {
        assert!(begin.elapsed() < ENFORCED, "{what}: {error}");
        sleep(Duration::from_millis(100)).await;
    }
}
