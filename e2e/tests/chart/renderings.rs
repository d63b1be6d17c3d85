//! Every rendering of the matrix is valid to the real API server, strictly.

use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::helm::Version;
use lockkeeper_e2e::renderings::{cases, render};

use crate::{helm, monitoring_kind, scratch};

pub(crate) fn all_are_taken_by_the_api_server(plane: &ControlPlane) {
    for kind in ["PodMonitor", "ServiceMonitor", "PrometheusRule"] {
        let definition = scratch(plane, "kind.json", &monitoring_kind(kind).to_string());
        plane.kubectl(&["apply", "-f", &definition]).unwrap();
    }
    for namespace in ["monitoring", "lockkeeper-system"] {
        plane.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    // A dry run makes no account, and a pod without its account is refused.
    for account in ["lockkeeper-test", "reboots-test"] {
        let make = ["create", "serviceaccount", account, "--namespace=lockkeeper-system"];
        plane.kubectl(&make).unwrap();
    }
    plane
        .kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
        .unwrap();
    let four = helm(plane, Version::Four);
    for case in cases().unwrap() {
        let rendered = scratch(plane, "rendered.yaml", &render(&four, &case).unwrap());
        let strictly = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--force-conflicts",
        ];
        let mut args = strictly.to_vec();
        args.extend(["-f", &rendered]);
        plane
            .kubectl(&args)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    }
}
