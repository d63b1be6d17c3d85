//! What `kubectl apply -f deploy/lockkeeper.yaml` gives on a real API server: kinds that refuse nonsense, rights of
//! exactly what is used, and an agent that can speak for its own node alone.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, RebootPolicy, names};
use lockkeeper_e2e::control_plane::{ControlPlane, Options, client};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const AGENT: Account<'static> = Account {
    namespace: names::NAMESPACE,
    name: "lockkeeper-agent",
};
/// An admission policy is enforced some 0.7 s after it is made; this is for a busy machine.
const ENFORCED: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_manifest_installs_kinds_rights_and_a_confined_agent() {
    let mut workdir = Workdir::new("install").unwrap();
    let plane = ControlPlane::start(workdir.path(), Options::default()).await.unwrap();
    installs_twice_and_takes_the_samples(&plane);
    takes_what_is_valid_and_refuses_the_rest_with_a_reason(plane.client()).await;
    gives_the_operator_what_it_uses_and_no_more(plane.client()).await;
    gives_people_what_they_need(plane.client()).await;
    confines_an_agent_to_the_report_of_its_own_node(&plane).await;
    workdir.passed();
}

fn installs_twice_and_takes_the_samples(plane: &ControlPlane) {
    for time in ["first", "second"] {
        let output = kubectl(
            plane,
            &["apply", "--server-side", "-f", &file("deploy/lockkeeper.yaml")],
        );
        assert_eq!(text(&output.stderr), "", "{time} time");
    }
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "-l",
        "app.kubernetes.io/part-of=lockkeeper",
    ];
    kubectl(plane, &wait);
    kubectl(
        plane,
        &[
            "apply",
            "--server-side",
            "--dry-run=server",
            "-f",
            &file("deploy/samples"),
        ],
    );
    for folder in ["deploy/kustomize/base", "deploy/kustomize/registry"] {
        let overlay = kubectl(plane, &["kustomize", &file(folder)]);
        let rendered = plane.dir().join("kustomize.yaml");
        std::fs::write(&rendered, overlay.stdout).unwrap();
        let rendered = rendered.to_str().unwrap().to_owned();
        kubectl(plane, &["apply", "--server-side", "--dry-run=server", "-f", &rendered]);
    }
}

async fn takes_what_is_valid_and_refuses_the_rest_with_a_reason(admin: Client) {
    let window = |schedule: &str, seconds: i32, zone: &str| json!({"windows": [{"schedule": schedule, "durationSeconds": seconds, "timeZone": zone}]});
    for good in [
        json!({}),
        window("0 22 * * MON-THU", 21_600, "Europe/Berlin"),
        window("*/15 0,12 1-7 JAN,JUL 0", 60, "America/Argentina/Buenos_Aires"),
        window("0 2 * * 7", 604_800, "UTC"),
        json!({"disruption": {"maxInProgress": "10%", "maxUnavailable": 0}}),
        json!({"nodeSelector": {"matchLabels": {"pool": ""}}}),
    ] {
        assert_eq!(create(&admin, &good).await, Ok(()), "{good}");
    }
    for (bad, word) in [
        (window("0 22 * * *", 3600, "Europe/Berlim"), "timeZone"),
        (window("0 22 * * *", 3600, "Local"), "IANA"),
        (window("0 22 * *", 3600, "UTC"), "schedule"),
        (window("61 22 * * *", 3600, "UTC"), "schedule"),
        (window("@daily", 3600, "UTC"), "schedule"),
        (window("0 0 22 * * *", 3600, "UTC"), "schedule"),
        (window("0 22 L * *", 3600, "UTC"), "schedule"),
        (window("0 22 * * *", 59, "UTC"), "durationSeconds"),
        (window("0 22 * * *", 604_801, "UTC"), "durationSeconds"),
        (json!({"disruption": {"maxInProgress": "101%"}}), "maxInProgress"),
        (json!({"disruption": {"maxInProgress": "many"}}), "maxInProgress"),
        (json!({"disruption": {"maxInProgress": -1}}), "maxInProgress"),
        (json!({"disruption": {"maxUnavailable": "-1%"}}), "maxUnavailable"),
        (json!({"drain": {"timeoutSeconds": -5}}), "timeoutSeconds"),
        (json!({"drain": {"gracePeriodSeconds": 0}}), "gracePeriodSeconds"),
        (json!({"drain": {"unmanagedPods": "Perhaps"}}), "unmanagedPods"),
        (json!({"reboot": {"timeoutSeconds": -1}}), "timeoutSeconds"),
        (json!({"nodeSelector": {"matchLabels": {"": "x"}}}), "label key"),
        (
            json!({"nodeSelector": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}),
            "key",
        ),
        (
            json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "values",
        ),
        (json!({"windws": []}), "windws"),
    ] {
        let refused = create(&admin, &bad).await.expect_err(&format!("{bad} was taken"));
        assert!(refused.contains(word), "{bad}: {refused}");
    }
}

/// Tries a policy without keeping it; an unknown field is an error as with `kubectl apply`.
async fn create(admin: &Client, spec: &Value) -> Result<(), String> {
    let body = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "tried"}, "spec": spec});
    let request = http::Request::post("/apis/lockkeeper.dev/v1alpha1/rebootpolicies?dryRun=All&fieldValidation=Strict")
        .header("Content-Type", "application/json")
        .body(serde_json::to_vec(&body).unwrap())
        .unwrap();
    match admin.request::<RebootPolicy>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("{other}"),
    }
}

async fn gives_the_operator_what_it_uses_and_no_more(admin: Client) {
    const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper-operator";
    for question in [
        "patch nodes",
        "list pods",
        "watch pods",
        "create pods/eviction",
        "delete pods",
        "watch policy/poddisruptionbudgets",
        "create lockkeeper.dev/nodereboots",
        "patch lockkeeper.dev/nodereboots/status",
        "patch lockkeeper.dev/rebootpolicies/status",
        "create lockkeeper.dev/rebootlocks",
        "update lockkeeper.dev/rebootlocks/status",
        "create events.k8s.io/events in default",
        "create coordination.k8s.io/leases in lockkeeper-system",
        "update coordination.k8s.io/leases named lockkeeper-operator in lockkeeper-system",
    ] {
        assert!(may(&admin, OPERATOR, question).await, "needs to {question}");
    }
    for question in [
        "create nodes",
        "update nodes",
        "delete nodes",
        "patch nodes/status",
        "create pods",
        "get secrets",
        "patch lockkeeper.dev/rebootlocks/status",
        "patch lockkeeper.dev/rebootlocks",
        "patch lockkeeper.dev/rebootpolicies",
        "delete lockkeeper.dev/nodereboots",
        "create events.k8s.io/events in lockkeeper-system",
        "create coordination.k8s.io/leases in default",
        "update coordination.k8s.io/leases named another in lockkeeper-system",
    ] {
        assert!(!may(&admin, OPERATOR, question).await, "must not {question}");
    }
}

async fn gives_people_what_they_need(admin: Client) {
    let binding = |role: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    };
    for (role, user) in [("view", "reader"), ("admin", "boss")] {
        let binding = serde_json::from_value(binding(role, user)).unwrap();
        let api: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(admin.clone());
        api.create(&PostParams::default(), &binding).await.unwrap();
    }
    // The controller manager puts the aggregated rules together some time after it has started.
    let aggregated = async {
        while !may(&admin, "boss", "create lockkeeper.dev/rebootpolicies").await
            || !may(&admin, "reader", "watch lockkeeper.dev/nodereboots").await
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(ENFORCED, aggregated).await.expect("the roles are aggregated");
    assert!(
        may(&admin, "boss", "patch lockkeeper.dev/nodereboots").await,
        "says the three words"
    );
    assert!(
        may(&admin, "boss", "patch lockkeeper.dev/rebootlocks").await,
        "caps the lock"
    );
    assert!(
        !may(&admin, "boss", "update lockkeeper.dev/rebootlocks/status").await,
        "nobody edits the lock"
    );
    assert!(
        !may(&admin, "reader", "patch lockkeeper.dev/nodereboots").await,
        "reads and no more"
    );
}

/// Asks the API server whether a user may `VERB [GROUP/]RESOURCE[/SUB] [named NAME] [in NAMESPACE]`.
async fn may(admin: &Client, user: &str, question: &str) -> bool {
    let (question, namespace) = question.split_once(" in ").unwrap_or((question, ""));
    let (question, name) = question.split_once(" named ").unwrap_or((question, ""));
    let (verb, resource) = question.split_once(' ').unwrap();
    let mut parts: Vec<&str> = resource.split('/').collect();
    let group = if parts[0].contains('.') || parts[0] == "policy" {
        parts.remove(0)
    } else {
        ""
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(parts[0].to_owned()),
                subresource: parts.get(1).map(|part| (*part).to_owned()),
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(admin.clone());
    api.create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap()
        .allowed
}

async fn confines_an_agent_to_the_report_of_its_own_node(plane: &ControlPlane) {
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

    // A node that is made again under its name is another one: the old token speaks for nobody.
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

fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> Output {
    let output = Command::new(plane.binaries().program("kubectl"))
        .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
        .arg(format!("--cache-dir={}", plane.dir().join("kubectl-cache").display()))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        text(&output.stderr)
    );
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(path).to_str().unwrap().to_owned()
}
