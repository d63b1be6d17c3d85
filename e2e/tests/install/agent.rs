//! An agent can speak for its own node alone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, names};
use lockkeeper_e2e::control_plane::{ControlPlane, client};
use lockkeeper_e2e::tokens::{Account, Bound};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::ENFORCED;

const AGENT: Account<'static> = Account {
    namespace: names::NAMESPACE,
    name: "lockkeeper-agent",
};

pub(crate) async fn confines_an_agent_to_the_report_of_its_own_node(plane: &ControlPlane) {
    for name in ["own", "other"] {
        make_node(plane.client(), name).await;
    }
    let agent = |bound: Bound<'static>, name: &'static str| async move {
        let kubeconfig = plane.token_kubeconfig(name, AGENT, bound).await.unwrap();
        Api::<NodeReboot>::all(client(&kubeconfig, "an-agent").await.unwrap())
    };
    let bound = agent(Bound::Node("own"), "agent-own").await;
    let unbound = agent(Bound::Nothing, "agent-unbound").await;
    let enforced = async {
        while report(&bound, "other", "lockkeeper-agent", &host()).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(ENFORCED, enforced)
        .await
        .expect("the admission policy is enforced");
    report(&bound, "own", "lockkeeper-agent", &host()).await.unwrap();

    let state = json!({"host": {"bootID": "b"}, "state": "UpToDate"});
    for (attack, refused) in [
        (
            "another node",
            report(&bound, "other", "lockkeeper-agent", &host()).await,
        ),
        ("another field", report(&bound, "own", "lockkeeper-agent", &state).await),
        (
            "another manager",
            report(&bound, "own", "lockkeeper-operator", &host()).await,
        ),
        (
            "a token of no node",
            report(&unbound, "own", "lockkeeper-agent", &host()).await,
        ),
        (
            "an order",
            merge(&bound, "own", &json!({"spec": {"order": null}})).await,
        ),
        (
            "a command",
            merge(
                &bound,
                "own",
                &json!({"metadata": {"annotations": {names::COMMAND: "retry x"}}}),
            )
            .await,
        ),
        (
            "a new object",
            bound
                .create(
                    &PostParams::default(),
                    &NodeReboot::new("new", NodeRebootSpec::default()),
                )
                .await
                .map(drop),
        ),
        (
            "the end of one",
            bound.delete("own", &DeleteParams::default()).await.map(drop),
        ),
    ] {
        match refused {
            Err(kube::Error::Api(status)) if status.code == 403 => {}
            other => panic!("{attack}: {other:?}"),
        }
    }

    refuses_times_that_no_reader_decodes(&bound).await;

    // A node that is created again under its name is another node: the old token is not valid for it.
    let nodes: Api<Node> = Api::all(plane.client());
    nodes.delete("own", &DeleteParams::default()).await.unwrap();
    let gone = async {
        while Api::<NodeReboot>::all(plane.client())
            .get_opt("own")
            .await
            .unwrap()
            .is_some()
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(ENFORCED, gone)
        .await
        .expect("the NodeReboot goes with its Node");
    make_node(plane.client(), "own").await;
    assert!(
        report(&bound, "own", "lockkeeper-agent", &host()).await.is_err(),
        "the Node before"
    );
}

/// The format `date-time` alone accepts all of them.
async fn refuses_times_that_no_reader_decodes(agent: &Api<NodeReboot>) {
    for time in [
        "2026-11-21T12:00:00Ztrailing words",
        "2026-11-21T12:00:00+99:99",
        "2026-11-21T12:00:00x5Z",
    ] {
        let required = json!({"required": true, "since": time});
        for host in [json!({"bootTime": time}), json!({"rebootRequired": required})] {
            match report(agent, "own", "lockkeeper-agent", &json!({"host": host})).await {
                Err(kube::Error::Api(status)) if status.code == 422 => {}
                other => panic!("{host}: {other:?}"),
            }
        }
    }
}

fn host() -> Value {
    json!({"host": {"bootID": "b"}})
}

/// Applies a status as an agent does.
async fn report(api: &Api<NodeReboot>, name: &str, manager: &str, status: &Value) -> Result<(), kube::Error> {
    let patch = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "status": status});
    let params = PatchParams::apply(manager).force();
    api.patch_status(name, &params, &Patch::Apply(&patch)).await.map(drop)
}

async fn merge(api: &Api<NodeReboot>, name: &str, patch: &Value) -> Result<(), kube::Error> {
    let params = PatchParams {
        field_manager: Some("lockkeeper-agent".to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Merge(patch)).await.map(drop)
}

/// A Node, and the `NodeReboot` that the operator would make for it.
async fn make_node(admin: Client, name: &str) {
    let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let node = Api::<Node>::all(admin.clone())
        .create(&PostParams::default(), &node)
        .await
        .unwrap();
    let mut reboot = NodeReboot::new(name, NodeRebootSpec::default());
    reboot.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: node.metadata.uid.unwrap(),
        ..OwnerReference::default()
    }]);
    Api::<NodeReboot>::all(admin)
        .create(&PostParams::default(), &reboot)
        .await
        .unwrap();
}
