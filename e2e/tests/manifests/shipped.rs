//! The manifests generated from the chart: `deploy/lockkeeper.yaml` and the objects of the kustomize overlays.

use std::process::Command;

use expect_test::expect_file;
use lockkeeper_crds::names;
use lockkeeper_e2e::helm::{Version, chart, documents};
use serde_json::Value;

use super::{binaries, file, helm, read};

const HEADER: &str = "\
# Lockkeeper: kubectl apply --server-side -f deploy/lockkeeper.yaml
# Rendered from the chart's defaults by `make generate`, with the namespace and without Helm's own labels. Do not edit.
# It contains no custom resources: create them once the CRDs are Established (see deploy/samples).
";

/// Beginnings of lines that only Helm needs.
const HELMS_OWN: [&str; 4] = [
    "# Source: ",
    "helm.sh/chart: ",
    "app.kubernetes.io/managed-by: ",
    "app.kubernetes.io/instance: ",
];

fn render(args: &[&str]) -> String {
    let (helm, _home) = helm(Version::Four);
    let chart = chart();
    let mut all = vec!["template", "lockkeeper", &chart, "--namespace", names::NAMESPACE];
    all.extend(["--no-hooks", "--set", "namespace.create=true,crds.keep=false"]);
    all.extend(args);
    let text = helm.run(&all).unwrap();
    let documents = text
        .split("---\n")
        .map(str::trim_end)
        .filter(|document| !document.is_empty());
    let documents = policies_before_rights(documents.collect());
    documents.into_iter().fold(String::new(), |all, document| {
        // Keep empty lines: they are part of descriptions.
        let kept = document
            .lines()
            .filter(|line| !HELMS_OWN.iter().any(|own| line.trim_start().starts_with(own)));
        kept.fold(all + "---\n", |all, line| all + line + "\n")
    })
}

/// Helm puts kinds that it has no place for at the end. kubectl creates the objects in the order of the file: the admission
/// policy has to come before the rights that it limits.
fn policies_before_rights(documents: Vec<&str>) -> Vec<&str> {
    let of_kind = |document: &&str, kind: &str| document.lines().any(|line| line == format!("kind: {kind}"));
    let is_policy = |document: &&str| {
        of_kind(document, "ValidatingAdmissionPolicy") || of_kind(document, "ValidatingAdmissionPolicyBinding")
    };
    let (policies, mut others): (Vec<&str>, Vec<&str>) = documents.into_iter().partition(is_policy);
    let rights = others.iter().position(|document| of_kind(document, "ClusterRole"));
    let place = rights.unwrap_or(others.len());
    others.splice(place..place, policies);
    others
}

#[test]
fn the_admission_policy_comes_before_the_rights_that_it_limits() {
    let overlay = |name: &str| {
        let path = file(&format!("deploy/kustomize/{name}"));
        let built = Command::new(binaries().program("kubectl"))
            .arg("kustomize")
            .arg(path)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        String::from_utf8(built.stdout).unwrap()
    };
    for (name, text) in [
        ("deploy/lockkeeper.yaml", read("deploy/lockkeeper.yaml")),
        ("kustomize/base", overlay("base")),
        ("kustomize/registry", overlay("registry")),
        ("kustomize/monitoring", overlay("monitoring")),
    ] {
        let all = documents(&text).unwrap();
        let place = |kind: &str| all.iter().position(|object| object["kind"] == kind).unwrap();
        let binding = place("ValidatingAdmissionPolicyBinding");
        assert!(place("ValidatingAdmissionPolicy") < binding, "{name}");
        for later in ["ClusterRole", "ClusterRoleBinding", "DaemonSet"] {
            assert!(
                binding < place(later),
                "{name}: {later} is created before the policy is in force"
            );
        }
    }
}

#[test]
fn the_manifest_is_the_chart_with_its_defaults() {
    let text = format!("{HEADER}{}", render(&["--skip-tests"]));
    for path in ["deploy/lockkeeper.yaml", "deploy/kustomize/base/lockkeeper.yaml"] {
        expect_file![file(path)].assert_eq(&text);
    }
}

#[test]
fn the_monitoring_overlay_is_the_chart_with_monitoring() {
    let text = render(&[
        "--skip-tests",
        "--set",
        "metrics.podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true,metrics.renderMode=alwaysRender",
        "--show-only=templates/metrics.yaml",
        "--show-only=templates/prometheusrule.yaml",
        "--show-only=templates/dashboard.yaml",
    ]);
    let text = format!("# Rendered from the chart by `make generate`; do not edit.\n{text}");
    expect_file![file("deploy/kustomize/monitoring/monitoring.yaml")].assert_eq(&text);
}

#[test]
fn the_overlay_of_eviction_requests_is_the_chart_with_their_permission() {
    let text = render(&[
        "--skip-tests",
        "--set",
        "evictionRequests.enabled=true",
        "--show-only=templates/operator-eviction-requests.yaml",
    ]);
    let text = format!("# Rendered from the chart by `make generate`; do not edit.\n{text}");
    expect_file![file("deploy/kustomize/eviction-requests/eviction-requests.yaml")].assert_eq(&text);
}

#[test]
fn the_manifest_starts_with_the_namespace_and_has_no_custom_resources() {
    let all = documents(&read("deploy/lockkeeper.yaml")).unwrap();
    let kinds: Vec<&str> = all.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds[0], "Namespace", "the other objects need the namespace");
    let definitions = kinds.iter().filter(|kind| **kind == "CustomResourceDefinition").count();
    assert_eq!(definitions, 3, "{kinds:?}");
    for document in &all {
        assert_ne!(document["apiVersion"], format!("{}/v1alpha1", names::GROUP));
    }
}

#[test]
fn images_and_version_labels_have_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let text = read("deploy/lockkeeper.yaml");
    let tags: Vec<&str> = values_of(&text, "image: ");
    assert_eq!(tags.len(), 3, "operator, agent, actuator");
    for tag in tags {
        assert!(tag.ends_with(&format!(":{version}")), "{tag}");
    }
    for label in values_of(&text, "app.kubernetes.io/version: ") {
        assert_eq!(label.trim_matches('"'), version);
    }
    let about: Value = documents(&read("charts/lockkeeper/Chart.yaml")).unwrap().remove(0);
    assert_eq!(about["appVersion"], version);
    assert_eq!(
        about["annotations"]["artifacthub.io/images"]
            .as_str()
            .unwrap()
            .matches(version)
            .count(),
        2
    );
}

fn values_of<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(key)).collect()
}
