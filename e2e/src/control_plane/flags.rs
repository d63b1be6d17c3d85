//! The command line of each program of the control plane.

use std::path::Path;

/// Metadata of every request; no bodies, so no secrets.
pub(super) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

const SERVICE_CIDR: &str = "10.96.0.0/16";

/// `ports`: for clients, for peers.
pub(super) fn etcd(dir: &Path, ports: [u16; 2]) -> Vec<String> {
    let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    vec![
        "--name=e2e".to_owned(),
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=e2e={peer}"),
        // The data lives as long as the test.
        "--unsafe-no-fsync".to_owned(),
    ]
}

pub(super) fn api_server(dir: &Path, port: u16, etcd_port: u16) -> Vec<String> {
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    vec![
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // No Service endpoints for an address that only this machine reaches; guests translate 10.96.0.1 themselves.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", pki("sa.key")),
        format!("--service-account-key-file={}", pki("sa.pub")),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        // Each kubelet listens on its own port of this machine, under its node's name.
        "--kubelet-preferred-address-types=Hostname".to_owned(),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--audit-policy-file={}", dir.join("audit-policy.yaml").display()),
        format!("--audit-log-path={}", dir.join("audit.log").display()),
        // One file, or counts would miss what was moved away.
        "--audit-log-maxsize=4000".to_owned(),
    ]
}

pub(super) fn controller_manager(dir: &Path, cluster_cidr: &str) -> Vec<String> {
    let mut flags = client_flags(dir, "controller-manager");
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    flags.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", pki("sa.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={cluster_cidr}"),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
    ]);
    flags
}

pub(super) fn scheduler(dir: &Path) -> Vec<String> {
    client_flags(dir, "scheduler")
}

/// One of each runs, so there is no leader election. Nothing scrapes them, so they serve no metrics.
fn client_flags(dir: &Path, name: &str) -> Vec<String> {
    let kubeconfig = dir.join(format!("{name}.kubeconfig"));
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ]
}
