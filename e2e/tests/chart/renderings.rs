//! The real API server accepts every rendering of the matrix with strict validation. Objects for the Prometheus Operator are
//! validated by its own CRDs. A file checker such as kubeconform reads the same schemas, but checks no defaults, no CEL
//! rules and no admission.

use std::process::Command;

use lockkeeper_e2e::binaries::cluster_dir;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::helm::Version;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::renderings::{cases, render};

use super::{helm, scratch};

pub(crate) fn all_are_taken_by_the_api_server(plane: &ControlPlane) {
    let fetched = Command::new(cluster_dir().join("prometheus-operator.sh"))
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let definitions = String::from_utf8(fetched.stdout).unwrap();
    plane
        .kubectl(&["apply", "--server-side", "-f", definitions.trim()])
        .unwrap();
    for namespace in ["monitoring", "lockkeeper-system"] {
        plane.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    // A dry run creates no ServiceAccounts, and the API server refuses a pod whose ServiceAccount is missing.
    for account in ["lockkeeper-test", "reboots-test"] {
        let make = ["create", "serviceaccount", account, "--namespace=lockkeeper-system"];
        plane.kubectl(&make).unwrap();
    }
    plane
        .kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
        .unwrap();
    let four = helm(plane, Version::Four);
    let cases = cases().unwrap().into_iter();
    let mut all: Vec<_> = cases
        .map(|case| (case.name.clone(), render(&four, &case).unwrap()))
        .collect();
    let overlay = repository().join("deploy/kustomize/monitoring");
    let overlay = plane.kubectl(&["kustomize", &overlay.to_string_lossy()]).unwrap();
    all.push(("the overlay for monitoring".to_owned(), overlay));
    for (name, rendered) in all {
        let rendered = scratch(plane, "rendered.yaml", &rendered);
        let strictly = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--force-conflicts",
        ];
        let mut args = strictly.to_vec();
        args.extend(["-f", &rendered]);
        plane.kubectl(&args).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
