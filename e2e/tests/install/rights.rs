//! Rights of exactly what is used, for the operator and for people.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use super::ENFORCED;

pub(crate) async fn gives_the_operator_what_it_uses_and_no_more(admin: Client) {
    const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper-operator";
    for question in [
        "patch nodes",
        "patch nodes/status",
        "list pods",
        "watch pods",
        "create pods/eviction",
        "get apps/replicasets",
        "get apps/statefulsets",
        "get replicationcontrollers",
        "watch policy/poddisruptionbudgets",
        "create lockkeeper.dev/nodereboots",
        "delete lockkeeper.dev/nodereboots",
        "patch lockkeeper.dev/nodereboots/status",
        "patch lockkeeper.dev/rebootpolicies/status",
        "create lockkeeper.dev/rebootlocks",
        "update lockkeeper.dev/rebootlocks/status",
        "create events in default",
        "create coordination.k8s.io/leases in lockkeeper-system",
        "update coordination.k8s.io/leases named lockkeeper-operator in lockkeeper-system",
    ] {
        assert!(may(&admin, OPERATOR, question).await, "needs to {question}");
    }
    for question in [
        "create nodes",
        "update nodes",
        "delete nodes",
        "update nodes/status",
        "create pods",
        "delete pods",
        "list apps/replicasets",
        "get apps/deployments",
        "get secrets",
        "get batch/cronjobs in lockkeeper-system",
        "create batch/jobs in lockkeeper-system",
        "patch lockkeeper.dev/rebootlocks/status",
        "patch lockkeeper.dev/rebootlocks",
        "patch lockkeeper.dev/rebootpolicies",
        "create events in lockkeeper-system",
        "create coordination.k8s.io/leases in default",
        "update coordination.k8s.io/leases named another in lockkeeper-system",
    ] {
        assert!(!may(&admin, OPERATOR, question).await, "must not {question}");
    }
}

pub(crate) async fn gives_people_what_they_need(admin: Client) {
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
        "no role may edit the lock"
    );
    let binding = "get rbac.authorization.k8s.io/clusterrolebindings";
    assert!(
        may(&admin, "reader", &format!("{binding} named lockkeeper-operator")).await,
        "finds the namespace of the operator"
    );
    assert!(
        !may(&admin, "reader", &format!("{binding} named cluster-admin")).await,
        "reads no other binding"
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
    let group = if parts[0].contains('.') || ["policy", "apps", "batch"].contains(&parts[0]) {
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
