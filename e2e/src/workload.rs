//! The workload that must not notice: two replicas under a budget of at least one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::hollow::TERMINATION_SECONDS;

/// The label of the workload's pods.
pub const LABEL: &str = "app=web";

/// Makes the Deployment `web` and its budget, and waits until both replicas are ready.
pub async fn start(client: &Client, replicas: i32, min_available: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "default");
    let deployment = serde_json::from_value(deployment(replicas)).context("write the Deployment")?;
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .context("create Deployment web")?;
    let budget = json!({
        "metadata": {"name": "web"},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": "web"}}},
    });
    let budget = serde_json::from_value(budget).context("write the budget")?;
    budgets
        .create(&PostParams::default(), &budget)
        .await
        .context("create PodDisruptionBudget web")?;
    // A ceiling, not a measure: three emulated nodes that start at the same time need minutes for a pod.
    wait_ready(client, replicas, Duration::from_mins(15)).await
}

/// Waits until so many pods are ready.
pub async fn wait_ready(client: &Client, replicas: i32, limit: Duration) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let wanted = usize::try_from(replicas)?;
    let wait = async {
        loop {
            let list = pods
                .list(&ListParams::default().labels(LABEL))
                .await
                .context("list the pods of web")?;
            if list.items.iter().filter(|pod| is_ready(pod)).count() >= wanted {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(limit, wait)
        .await
        .with_context(|| format!("{replicas} pods of web were not ready in time"))?
}

/// Whether a pod serves: ready, and not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod is one of `web`.
pub fn is_ours(pod: &Pod) -> bool {
    pod.labels()
        .iter()
        .any(|(key, value)| format!("{key}={value}") == LABEL)
}

/// Makes a Deployment of one pod that can be on this node only and takes so many seconds to end; waits until it runs.
pub async fn pin(client: &Client, node: &str, seconds: u32) -> Result<()> {
    let name = format!("pinned-{node}");
    let labels = json!({"app": name});
    let deployment = json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": {"app": name, "guard": name},
                    "annotations": {TERMINATION_SECONDS: seconds.to_string()},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 60,
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
                },
            },
        },
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let deployment = serde_json::from_value(deployment).context("write the Deployment")?;
    let made = deployments.create(&PostParams::default(), &deployment).await;
    made.with_context(|| format!("create Deployment {name}"))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let of_it = ListParams::default().labels(&format!("app={name}"));
    for _ in 0..1200 {
        let list = pods.list(&of_it).await.context("list the pinned pods")?;
        if list.items.iter().any(is_ready) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the pod pinned to {node} did not run within two minutes")
}

/// No pod that is pinned to this node may be evicted for now.
///
/// The budget would open with a second pod that is ready; there is one that no node takes. A budget that can never open
/// is another matter: a node with such a pod is not even tried.
pub async fn guard(client: &Client, node: &str) -> Result<()> {
    let name = format!("pinned-{node}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let waits = json!({
        "metadata": {"name": format!("waits-{node}"), "labels": {"guard": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "nowhere"},
            "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
        },
    });
    let waits = serde_json::from_value(waits).context("write the pod that waits")?;
    let made = pods.create(&PostParams::default(), &waits).await;
    made.with_context(|| format!("create the pod that waits beside {name}"))?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "default");
    let budget = json!({
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"guard": name}}},
    });
    let budget = serde_json::from_value(budget).context("write the budget")?;
    let made = budgets.create(&PostParams::default(), &budget).await;
    made.with_context(|| format!("create PodDisruptionBudget {name}"))?;
    Ok(())
}

fn deployment(replicas: i32) -> Value {
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]);
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "topologySpreadConstraints": spread,
                    "containers": [{
                        "name": "web", "image": "lockkeeper/web:e2e", "imagePullPolicy": "IfNotPresent",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}
