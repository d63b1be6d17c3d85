//! Real nodes: virtual machines with systemd, containerd and kubelet that join a control plane of the harness.
//!
//! A guest is emulated unless KVM works; one is Ready about half a minute after its start, three after one and a half.

mod accel;
mod guest_agent;
mod hosts;
pub mod image;
mod machine;
mod seed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::time::{Instant, sleep};

pub use self::guest_agent::{GuestAgent, Output};
use self::machine::{Machine, Parts};
use self::seed::Seed;
use crate::control_plane::ControlPlane;
use crate::pki::Credential;
use crate::process::free_port;

/// A guest that is just starting gets this long to answer; a busy machine with three of them needs most of it.
const BOOT_LIMIT: Duration = Duration::from_mins(5);
/// How often a condition outside the API's watches is looked at again.
const POLL: Duration = Duration::from_millis(500);

/// What to start.
#[derive(Debug, Clone)]
pub struct VmOptions {
    /// How many nodes: `node-1`, `node-2` and so on.
    pub count: usize,
    /// Memory of each.
    pub memory_mb: u32,
    /// What they run.
    pub release: image::Release,
    /// Image archives that each node has before its kubelet starts; `image::containers` builds ours.
    pub images: Vec<PathBuf>,
}

impl Default for VmOptions {
    fn default() -> Self {
        Self {
            count: 3,
            memory_mb: 1500,
            release: image::Release::default(),
            images: Vec::new(),
        }
    }
}

/// Running guests; dropping it ends them.
#[derive(Debug)]
pub struct VmCluster {
    machines: BTreeMap<String, Machine>,
    nodes: Api<Node>,
}

impl VmCluster {
    /// Starts the guests; they join by themselves, `wait_ready` waits for that.
    pub fn start(plane: &ControlPlane, options: &VmOptions) -> Result<Self> {
        let image = image::base(&plane.binaries().program("kubelet"), options.release)?;
        let dir = plane.dir().join("vm");
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let names: Vec<String> = (1..=options.count).map(|number| format!("node-{number}")).collect();
        hosts::resolve_to_loopback(&names);
        let logs = plane.log_dir();
        let mut machines = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let (number, kubelet_port) = (index + 1, free_port()?);
            let seed = seed(plane, name, number, kubelet_port, &options.images)?;
            let parts = Parts {
                name,
                number,
                image: &image,
                dir: &dir,
                logs: &logs,
                seed: seed.write(&dir, name)?,
                kubelet_port,
                memory_mb: options.memory_mb,
            };
            machines.insert(name.clone(), Machine::start(&parts)?);
        }
        Ok(Self {
            machines,
            nodes: Api::all(plane.client()),
        })
    }

    /// The nodes' names, in order.
    pub fn node_names(&self) -> Vec<String> {
        self.machines.keys().cloned().collect()
    }

    /// Waits until every node is Ready.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        for name in self.node_names() {
            self.wait_node(&name, deadline, is_ready)
                .await
                .with_context(|| format!("{name} is not Ready"))?;
        }
        Ok(())
    }

    /// Waits until a node is Ready on another boot than `before`, as its kubelet reports it; returns the new boot id.
    pub async fn wait_new_boot(&mut self, name: &str, before: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let back = |node: &Node| is_ready(node) && boot_id_of(node).is_some_and(|id| id != before);
        let node = self
            .wait_node(name, deadline, back)
            .await
            .with_context(|| format!("{name} is not back"))?;
        boot_id_of(&node)
            .map(ToOwned::to_owned)
            .with_context(|| format!("{name} has no boot id"))
    }

    /// Runs a shell command as root in the guest and returns what it printed; fails when the command does.
    pub async fn exec(&self, name: &str, command: &str) -> Result<String> {
        let output = self
            .machine(name)?
            .agent()
            .run(command, BOOT_LIMIT)
            .await
            .with_context(|| name.to_owned())?;
        let Output { code, stdout, stderr } = output;
        ensure!(code == 0, "`{command}` in {name} ended with {code}: {}", stderr.trim());
        Ok(stdout)
    }

    /// Writes a text file in the guest.
    pub async fn write(&self, name: &str, path: &str, text: &str) -> Result<()> {
        let command = format!("cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE");
        self.exec(name, &command).await.map(drop)
    }

    /// The boot id, asked of the guest's kernel and not of the API.
    pub async fn boot_id(&self, name: &str) -> Result<String> {
        let id = self.exec(name, "cat /proc/sys/kernel/random/boot_id").await?;
        Ok(id.trim().to_owned())
    }

    /// Writes the files that an update which requires a reboot leaves in the guest, as Debian's packages do.
    pub async fn stage_update(&self, name: &str, packages: &[&str]) -> Result<()> {
        // The list comes first: the agent reads it when the sentinel file appears.
        let list = packages.join("\\n");
        let command = format!(
            "printf '{list}\\n' >>/run/reboot-required.pkgs && \
             echo '*** System restart required ***' >/run/reboot-required"
        );
        self.exec(name, &command).await.map(drop)
    }

    /// Cuts a guest's power.
    pub fn power_off(&mut self, name: &str) -> Result<()> {
        self.machine_mut(name)?.power_off();
        Ok(())
    }

    /// Starts a guest that has ended, from the disk it left.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        self.machine_mut(name)?.restart()
    }

    /// Polls one node until it satisfies `done`; fails early if the guest has ended.
    async fn wait_node(&mut self, name: &str, deadline: Instant, done: impl Fn(&Node) -> bool) -> Result<Node> {
        loop {
            // The API server may be away for a moment in a test that stops it; the deadline decides.
            let asked = self.nodes.get_opt(name).await;
            if let Ok(Some(node)) = &asked
                && done(node)
            {
                return Ok(node.clone());
            }
            let machine = self.machine_mut(name)?;
            ensure!(!machine.has_ended(), "its guest has ended:\n{}", machine.log_tail());
            ensure!(
                Instant::now() < deadline,
                "time is over; last seen: {}\n{}",
                describe(&asked),
                machine.log_tail()
            );
            sleep(POLL).await;
        }
    }

    fn machine(&self, name: &str) -> Result<&Machine> {
        self.machines
            .get(name)
            .with_context(|| format!("there is no guest {name}"))
    }

    fn machine_mut(&mut self, name: &str) -> Result<&mut Machine> {
        self.machines
            .get_mut(name)
            .with_context(|| format!("there is no guest {name}"))
    }
}

fn seed<'a>(
    plane: &'a ControlPlane,
    name: &str,
    number: usize,
    kubelet_port: u16,
    images: &'a [PathBuf],
) -> Result<Seed<'a>> {
    let api_port = plane.port();
    let node = plane
        .pki()
        .client(&format!("system:node:{name}"), Some("system:nodes"))?;
    // QEMU's user network shows the host's loopback to the guest under this address.
    let url = format!("https://10.0.2.2:{api_port}");
    Ok(Seed {
        api_port,
        kubelet_port,
        pod_cidr: format!("10.244.{number}.0/24"),
        kubeconfig: plane.pki().kubeconfig(&url, Credential::Certificate(&node))?,
        ca: plane.pki().ca(),
        serving: plane.pki().server(name, &[name, "127.0.0.1"])?,
        images,
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn boot_id_of(node: &Node) -> Option<&str> {
    Some(node.status.as_ref()?.node_info.as_ref()?.boot_id.as_str())
}

fn describe(asked: &kube::Result<Option<Node>>) -> String {
    match asked {
        Ok(Some(node)) => {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
            ready.map_or_else(
                || "no Ready condition".to_owned(),
                |one| format!("Ready {}: {:?}", one.status, one.message),
            )
        }
        Ok(None) => "the node has not registered".to_owned(),
        Err(error) => format!("the API server did not answer: {error}"),
    }
}
