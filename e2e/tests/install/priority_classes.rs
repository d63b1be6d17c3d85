//! A cluster that admits pods of critical priority classes only where a quota names the class, as GKE does.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use lockkeeper_crds::names;
use lockkeeper_e2e::control_plane::ControlPlane;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::ENFORCED;

const LIMITED: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ResourceQuota
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: ResourceQuotaConfiguration
      limitedResources:
        - resource: pods
          matchScopes:
            - scopeName: PriorityClass
              operator: In
              values: [system-cluster-critical, system-node-critical]
";

/// The flag of an API server that limits the critical classes; its file is written below `dir`.
pub(crate) fn limited(dir: &Path) -> String {
    let path = dir.join("admission.yaml");
    std::fs::write(&path, LIMITED).unwrap();
    format!("--admission-control-config-file={}", path.display())
}

pub(crate) async fn that_the_cluster_limits_are_admitted(plane: &ControlPlane) {
    let message = pod_in(plane, "default").await.expect_err("the class is limited");
    assert!(
        message.contains("insufficient quota to match these scopes"),
        "{message}"
    );
    // The quota is effective once a controller has counted the pods of its classes.
    let admitted = async {
        while pod_in(plane, names::NAMESPACE).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        let pods: Api<Pod> = Api::namespaced(plane.client(), names::NAMESPACE);
        let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
        while pods.list(&operators).await.unwrap().items.len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(ENFORCED, admitted)
        .await
        .expect("the quota admits the operator's pods");
}

/// Tries a pod with the agents' priority class, without keeping it.
async fn pod_in(plane: &ControlPlane, namespace: &str) -> Result<Pod, String> {
    let pod = json!({"metadata": {"name": "critical"},
        "spec": {"priorityClassName": "system-node-critical", "containers": [{"name": "main", "image": "none"}]}});
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let created = pods.create(&params, &serde_json::from_value(pod).unwrap()).await;
    created.map_err(|error| error.to_string())
}
