//! What `kubectl apply -f deploy/lockkeeper.yaml` gives on a real API server: kinds that refuse nonsense, rights of
//! exactly what is used, and an agent that can speak for its own node alone.

mod agent;
mod kinds;
mod operator;
mod priority_classes;
mod rights;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::workdir::Workdir;

/// An admission policy is enforced some 0.7 s after it is made; this is for a busy machine.
const ENFORCED: Duration = Duration::from_mins(3);

#[tokio::test]
async fn the_manifest_installs_kinds_rights_and_a_confined_agent() {
    let mut workdir = Workdir::new("install").unwrap();
    let options = Options {
        api_server_args: vec![priority_classes::limited(workdir.path())],
        ..Options::default()
    };
    let plane = ControlPlane::start(workdir.path(), options).await.unwrap();
    installs_twice_and_takes_the_samples(&plane);
    kinds::takes_what_is_valid_and_refuses_the_rest_with_a_reason(plane.client()).await;
    rights::gives_the_operator_what_it_uses_and_no_more(plane.client()).await;
    rights::gives_people_what_they_need(plane.client()).await;
    agent::confines_an_agent_to_the_report_of_its_own_node(&plane).await;
    priority_classes::that_the_cluster_limits_are_admitted(&plane).await;
    operator::limits_the_operator_to_what_it_changes(&plane).await;
    goes_without_a_trace(&plane);
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

/// What `kubectl delete -f` leaves behind; `pause` before it removes the cordons (`uninstall.rs`).
fn goes_without_a_trace(plane: &ControlPlane) {
    kubectl(plane, &["delete", "--wait", "-f", &file("deploy/lockkeeper.yaml")]);
    let kinds = "namespaces,crds,clusterroles,clusterrolebindings,roles,rolebindings,validatingadmissionpolicies,\
                 validatingadmissionpolicybindings";
    let ours = "--selector=app.kubernetes.io/part-of=lockkeeper";
    let left = kubectl(plane, &["get", kinds, "--all-namespaces", ours, "--output=name"]);
    assert_eq!(text(&left.stdout), "");
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
