//! Installations that only the cluster can refuse. Nothing may be created.

use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::helm::Version;
use lockkeeper_e2e::install::repository;
use serde_json::Value;

use super::{args, chart_dir, clean, helm, scratch};

pub(crate) fn are_decided_by_the_cluster(plane: &ControlPlane) {
    for version in Version::ALL {
        let chart = chart_dir();
        let refused = |more: &[&str], words: &[&str]| {
            let message = helm(plane, version).refused(&args("install", &chart, more)).unwrap();
            for word in words {
                assert!(
                    message.contains(word),
                    "{version:?}: {more:?} should name {word:?}: {message}"
                );
            }
            let created = plane.kubectl(&[
                "get",
                "clusterrole,deployments,daemonsets,serviceaccounts",
                "--all-namespaces",
                "--selector=app.kubernetes.io/part-of=lockkeeper",
                "-o=name",
            ]);
            assert_eq!(created.unwrap(), "", "{version:?}: {more:?} created some objects");
        };
        let create = "--create-namespace";

        refused(
            &[create, "--set", "crds.enabled=false"],
            &["crds.enabled is false", "nodereboots.lockkeeper.dev"],
        );
        refused(
            &[
                create,
                "--set",
                "metrics.podMonitor.enabled=true,metrics.renderMode=failIfMissing",
            ],
            &["monitoring.coreos.com/v1 PodMonitor", "metrics.renderMode"],
        );
        let policy =
            "extraObjects: [{apiVersion: lockkeeper.dev/v1alpha1, kind: RebootPolicy, metadata: {name: a}, spec: {}}]";
        let values = scratch(plane, "policy-values.yaml", policy);
        refused(&[create, "--values", &values], &["extraObjects", "helm upgrade"]);
        refused(&[create, "--kube-as-user", "stranger"], &["forbidden", "stranger"]);
        // A user with all permissions in the namespace and none for the cluster.
        plane.kubectl(&["create", "namespace", "lockkeeper-system"]).unwrap();
        let tenant = [
            "create",
            "rolebinding",
            "tenant",
            "--clusterrole=admin",
            "--user=tenant",
        ];
        plane
            .kubectl(&[&tenant[..], &["--namespace=lockkeeper-system"]].concat())
            .unwrap();
        refused(&["--kube-as-user", "tenant"], &["forbidden", "tenant", "clusterroles"]);
        plane
            .kubectl(&["delete", "namespace", "lockkeeper-system", "--wait"])
            .unwrap();

        let old = scratch(plane, "older.json", &older_definition());
        plane.kubectl(&["apply", "--server-side", "-f", &old]).unwrap();
        for other in ["nodereboots", "rebootlocks"] {
            let path = repository().join(format!("crds/generated/{other}.yaml"));
            plane
                .kubectl(&["apply", "--server-side", "-f", path.to_str().unwrap()])
                .unwrap();
        }
        refused(
            &[create, "--set", "crds.enabled=false"],
            &["rebootpolicies.lockkeeper.dev lacks the field spec.suspend", "older"],
        );
        clean(plane);
    }
    a_namespace_that_forbids_host_paths(plane);
}

/// The CustomResourceDefinition of RebootPolicies without the field `suspend`.
fn older_definition() -> String {
    let text = std::fs::read_to_string(repository().join("crds/generated/rebootpolicies.yaml")).unwrap();
    let mut definition: Value = lockkeeper_e2e::helm::documents(&text).unwrap().remove(0);
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let fields = schema["properties"]["spec"]["properties"].as_object_mut().unwrap();
    fields.remove("suspend").expect("the field to remove");
    definition.to_string()
}

fn a_namespace_that_forbids_host_paths(plane: &ControlPlane) {
    let label = "pod-security.kubernetes.io/enforce=restricted";
    plane.kubectl(&["create", "namespace", "lockkeeper-system"]).unwrap();
    plane
        .kubectl(&["label", "namespace", "lockkeeper-system", label])
        .unwrap();
    for version in Version::ALL {
        let message = helm(plane, version)
            .refused(&args("install", &chart_dir(), &[]))
            .unwrap();
        assert!(
            message.contains("lockkeeper-system enforces the Pod Security level restricted")
                && message.contains("kubectl label"),
            "{version:?}: {message}"
        );
    }
    plane
        .kubectl(&["delete", "namespace", "lockkeeper-system", "--wait"])
        .unwrap();
}
