//! Installing Lockkeeper as its users do: `kubectl apply --server-side`, then a policy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::PostParams;
use lockkeeper_crds::{RebootPolicy, RebootPolicySpec};
use serde_json::Value;

use crate::control_plane::ControlPlane;

/// A ceiling for a busy machine.
const SERVED: Duration = Duration::from_mins(1);

impl ControlPlane {
    /// Runs kubectl against this cluster and returns what it printed.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(self.binaries().program("kubectl"))
            .args(args)
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            // A discovery cache of another cluster hides what a first user meets.
            .arg(format!("--cache-dir={}", self.dir().join("kubectl-cache").display()))
            .output()
            .context("start kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {said}", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies the manifest in `deploy/` and waits until the kinds are served.
    pub fn install(&self) -> Result<()> {
        let manifest = repository().join("deploy/lockkeeper.yaml");
        self.kubectl(&["apply", "--server-side", "-f", &manifest.to_string_lossy()])?;
        let kinds = ["rebootpolicies", "nodereboots", "rebootlocks"].map(|kind| format!("crd/{kind}.lockkeeper.dev"));
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            &kinds[0],
            &kinds[1],
            &kinds[2],
        ])?;
        self.wait_served()
    }

    /// A kind that is established is served, and known to kubectl by its short name, a moment later.
    fn wait_served(&self) -> Result<()> {
        let end = Instant::now() + SERVED;
        while let Err(error) = self.kubectl(&["get", "rbp,nrb,rlock"]) {
            ensure!(Instant::now() < end, "the kinds are not served: {error:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Makes a policy from the JSON of its spec.
    pub async fn policy(&self, name: &str, spec: Value) -> Result<RebootPolicy> {
        let spec: RebootPolicySpec = serde_json::from_value(spec).context("read the policy's spec")?;
        let policies: Api<RebootPolicy> = Api::all(self.client());
        let made = policies
            .create(&PostParams::default(), &RebootPolicy::new(name, spec))
            .await;
        made.with_context(|| format!("create policy {name}"))
    }
}

/// The root of the work tree.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
