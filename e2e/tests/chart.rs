//! The chart on a real control plane, with both Helm versions: renderings, install, upgrade, rollback, uninstall, refused
//! installations, and a rollout during which all of this happens.

mod life;
mod refusals;
mod renderings;
mod rollout;

use lockkeeper_crds::names;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::helm::{Helm, Version, chart};
use lockkeeper_e2e::workdir::Workdir;

/// Helm for this cluster.
fn helm(plane: &ControlPlane, version: Version) -> Helm {
    Helm::new(plane.binaries(), version, plane.dir()).with_kubeconfig(&plane.kubeconfig())
}

/// `helm VERB lockkeeper CHART --namespace lockkeeper-system ...`; no hooks, because pods cannot run without nodes.
fn args<'a>(verb: &'a str, chart: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![verb, "lockkeeper", chart, "--namespace", names::NAMESPACE, "--no-hooks"];
    args.extend(more);
    args
}

#[tokio::test]
async fn both_helm_versions_install_upgrade_and_uninstall() {
    let mut workdir = Workdir::new("chart").unwrap();
    let plane = ControlPlane::start(workdir.path(), Options::default()).await.unwrap();
    // Before the Prometheus Operator CRDs are installed.
    refusals::are_decided_by_the_cluster(&plane);
    for version in Version::ALL {
        life::of_a_release(&plane, version);
    }
    life::from_kubectl_to_helm(&plane);
    renderings::all_are_taken_by_the_api_server(&plane);
    workdir.passed();
}

/// Writes a file for kubectl or helm.
fn scratch(plane: &ControlPlane, name: &str, text: &str) -> String {
    let path = plane.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Removes the release and everything that it keeps on purpose.
fn clean(plane: &ControlPlane) {
    let four = helm(plane, Version::Four);
    let uninstall = [
        "uninstall",
        "lockkeeper",
        "--namespace",
        names::NAMESPACE,
        "--no-hooks",
        "--ignore-not-found",
    ];
    four.run(&uninstall).unwrap();
    for what in ["crd", "namespace"] {
        let ours = format!("--selector={}={}", names::PART_OF_LABEL, names::PART_OF);
        plane.kubectl(&["delete", what, &ours, "--wait"]).unwrap();
    }
}

fn chart_dir() -> String {
    chart()
}
