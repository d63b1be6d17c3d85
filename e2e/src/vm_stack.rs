//! Lockkeeper on virtual machines, with our images, installed with Helm as users do.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lockkeeper_crds::{NodeReboot, names};

use crate::control_plane::{ControlPlane, Options};
use crate::helm::{Helm, Version, chart};
use crate::records::{is_done, wait_reboot};
use crate::vm::image::{self, Release};
use crate::vm::{VmCluster, VmOptions};
use crate::workdir::Workdir;

/// Three emulated guests on two busy cores need up to two minutes; eight were seen on a loaded machine.
const BOOT: Duration = Duration::from_mins(15);
/// Pods of three emulated guests start within half a minute; five were too few on a loaded machine.
const INSTALL_TIMEOUT: &str = "--timeout=15m";
const POLL: Duration = Duration::from_millis(500);
/// `helm uninstall` waits for nodes in progress; an emulated node is down for minutes.
const UNINSTALL_TIMEOUT: &str = "uninstall.timeoutSeconds=900";

/// The tests and the demo reboot guests that have booted a moment ago.
const REBOOT_AT_ONCE: &str = "agent.actuator.minUptimeSeconds=0";

/// A cluster of virtual machines with Lockkeeper in it.
#[derive(Debug)]
pub struct VmStack {
    /// The guests.
    pub nodes: VmCluster,
    /// The control plane.
    pub plane: ControlPlane,
    /// Where logs are.
    pub workdir: Workdir,
}

impl VmStack {
    /// Starts the guests and installs Lockkeeper; there is no policy yet. `say` tells the steps.
    pub async fn start(name: &str, count: usize, release: Release, say: &dyn Fn(&str)) -> Result<Self> {
        let stack = Self::boot(name, count, release, say).await?;
        stack.install(&[], say)?;
        Ok(stack)
    }

    /// Starts the guests, without Lockkeeper.
    pub async fn boot(name: &str, count: usize, release: Release, say: &dyn Fn(&str)) -> Result<Self> {
        say("building the container images");
        let images = image::containers(&image::ALL)?;
        let workdir = Workdir::new(name)?;
        say("starting the control plane");
        let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
        say(&format!(
            "starting {count} virtual machines: systemd, containerd, kubelet (1 to 3 minutes)"
        ));
        let options = VmOptions {
            count,
            release,
            images,
            ..VmOptions::default()
        };
        let nodes = VmCluster::start(&plane, &options)?;
        let mut stack = Self { nodes, plane, workdir };
        stack.nodes.wait_ready(BOOT).await?;
        Ok(stack)
    }

    /// Installs Lockkeeper with the usual values and these.
    pub fn install(&self, values: &[&str], say: &dyn Fn(&str)) -> Result<()> {
        say("installing Lockkeeper: helm install lockkeeper charts/lockkeeper");
        let chart = chart();
        let mut install = vec![chart.as_str(), "--create-namespace"];
        for value in [UNINSTALL_TIMEOUT, REBOOT_AT_ONCE].iter().chain(values) {
            install.extend(["--set", value]);
        }
        self.helm().run(&release("install", &install))?;
        self.wait_installed().context("Lockkeeper does not run in the guests")
    }

    /// Upgrades Lockkeeper to these values in addition to those that it has, and waits until it runs with them.
    pub fn upgrade(&self, values: &[&str]) -> Result<()> {
        let chart = chart();
        let mut upgrade = vec![chart.as_str(), "--reset-then-reuse-values"];
        for value in values {
            upgrade.extend(["--set", value]);
        }
        self.helm().run(&release("upgrade", &upgrade))?;
        self.wait_installed()
            .context("Lockkeeper does not run after the upgrade")
    }

    /// Helm for this cluster.
    pub fn helm(&self) -> Helm {
        Helm::new(self.plane.binaries(), Version::Four, self.plane.dir()).with_kubeconfig(&self.plane.kubeconfig())
    }

    fn wait_installed(&self) -> Result<()> {
        let namespace = format!("--namespace={}", names::NAMESPACE);
        for what in ["daemonset/lockkeeper-node-agent", "deployment/lockkeeper-operator"] {
            let waited = self
                .plane
                .kubectl(&["rollout", "status", what, &namespace, INSTALL_TIMEOUT]);
            if let Err(error) = waited {
                let pods = self
                    .plane
                    .kubectl(&["describe", "pods", &namespace])
                    .unwrap_or_default();
                bail!("{error}\n{pods}");
            }
        }
        Ok(())
    }

    /// Waits until a node's record is as wanted; the error shows how it is instead.
    pub async fn wait_reboot(
        &self,
        node: &str,
        what: &str,
        limit: Duration,
        good: impl Fn(&NodeReboot) -> bool,
    ) -> Result<NodeReboot> {
        wait_reboot(&self.plane, node, what, limit, POLL, good).await
    }

    /// Stages an update of this package, and waits until the node has rebooted for it, which its boot ID shows.
    pub async fn reboot_for(&self, node: &str, package: &str, limit: Duration) -> Result<()> {
        let before = self.nodes.boot_id(node).await?;
        self.nodes.stage_update(node, &[package]).await?;
        let rebooted = |reboot: &NodeReboot| {
            let last = reboot.status.as_ref().and_then(|status| status.last_reboot.as_ref());
            is_done(reboot) && last.is_some_and(|last| last.reasons.iter().any(|reason| reason.0 == package))
        };
        self.wait_reboot(node, "rebooted", limit, rebooted).await?;
        ensure!(self.nodes.boot_id(node).await? != before, "{node} has its old boot id");
        Ok(())
    }
}

/// `helm VERB lockkeeper ... --namespace lockkeeper-system`.
pub fn release<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[verb, "lockkeeper"], more, &["--namespace", names::NAMESPACE]].concat()
}
