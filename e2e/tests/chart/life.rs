//! Install, upgrade, rollback and uninstall.

use lockkeeper_crds::names;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::helm::Version;

use super::{args, chart_dir, clean, helm, scratch};

pub(crate) fn of_a_release(plane: &ControlPlane, version: Version) {
    let (helm, chart) = (helm(plane, version), chart_dir());
    let replicas = || field(plane, "deployment/lockkeeper-operator", "{.spec.replicas}");

    // With a PodMonitor, in a cluster without the Prometheus Operator CRDs.
    let asked = ["--create-namespace", "--set", "metrics.podMonitor.enabled=true"];
    let notes = helm.run(&args("install", &chart, &asked)).unwrap();
    for words in [
        "rollout status",
        "kind: RebootPolicy",
        "kubectl lockkeeper status",
        "the PodMonitor was left out",
    ] {
        assert!(notes.contains(words), "{version:?}: NOTES lack {words:?}: {notes}");
    }
    assert_eq!(replicas(), "2");

    helm.run(&args(
        "upgrade",
        &chart,
        &["--set", "operator.replicas=3,operator.image.tag=9.9.9"],
    ))
    .unwrap();
    assert_eq!(replicas(), "3");
    let image = "{.spec.template.spec.containers[0].image}";
    assert_eq!(
        field(plane, "deployment/lockkeeper-operator", image),
        "lockkeeper/operator:9.9.9"
    );

    let back = [
        "rollback",
        "lockkeeper",
        "1",
        "--namespace",
        names::NAMESPACE,
        "--no-hooks",
    ];
    helm.run(&back).unwrap();
    assert_eq!(replicas(), "2");

    is_alone(plane, version);

    plane.kubectl(&["apply", "-f", &policy(plane)]).unwrap();
    helm.run(&["uninstall", "lockkeeper", "--namespace", names::NAMESPACE, "--no-hooks"])
        .unwrap();
    let left = plane
        .kubectl(&[
            "get",
            "deployments,daemonsets,serviceaccounts,pdb,resourcequotas,roles,rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies",
            "--all-namespaces",
            "--selector=app.kubernetes.io/part-of=lockkeeper",
            "--output=name",
        ])
        .unwrap();
    assert_eq!(left, "", "{version:?}: these objects remain");
    assert!(
        plane.kubectl(&["get", "rbp", "mine"]).is_ok(),
        "policies and CRDs are kept"
    );
    // The next release of that name adopts the CRDs.
    helm.run(&args("install", &chart, &[])).unwrap();
    clean(plane);
}

/// A second release is refused, and nothing of it remains.
fn is_alone(plane: &ControlPlane, version: Version) {
    let helm = helm(plane, version);
    for more in [["--namespace", "other"], ["--set", "fullnameOverride=other"]] {
        let chart = chart_dir();
        let mut second = vec!["install", "second", &chart, "--create-namespace", "--no-hooks"];
        second.extend(more);
        let message = helm.refused(&second).unwrap();
        assert!(
            message.contains("as release lockkeeper in namespace lockkeeper-system")
                && message.contains("helm upgrade"),
            "{version:?}: {message}"
        );
    }
    let releases = helm.run(&["list", "--all-namespaces", "--short"]).unwrap();
    assert_eq!(releases.trim(), "lockkeeper", "{version:?}");
}

/// Helm refuses objects that kubectl applied, and adopts them with `--take-ownership`.
pub(crate) fn from_kubectl_to_helm(plane: &ControlPlane) {
    plane.install().unwrap();
    let (four, chart) = (helm(plane, Version::Four), chart_dir());
    let message = four.refused(&args("install", &chart, &[])).unwrap();
    assert!(
        message.contains("cannot be imported into the current release"),
        "{message}"
    );
    let own = ["--take-ownership", "--force-conflicts"];
    four.run(&args("install", &chart, &own)).unwrap();
    let owner = r"{.metadata.annotations.meta\.helm\.sh/release-name}";
    assert_eq!(field(plane, "deployment/lockkeeper-operator", owner), "lockkeeper");
    clean(plane);
}

fn field(plane: &ControlPlane, object: &str, path: &str) -> String {
    let namespace = format!("--namespace={}", names::NAMESPACE);
    plane
        .kubectl(&["get", object, &namespace, &format!("--output=jsonpath={path}")])
        .unwrap()
}

fn policy(plane: &ControlPlane) -> String {
    let policy = r#"{"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "mine"}}"#;
    let policy = policy.replace("}}", r#"}, "spec": {}}"#);
    scratch(plane, "policy.json", &policy)
}
