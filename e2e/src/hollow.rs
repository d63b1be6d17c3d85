//! Hollow nodes: Node objects that kwok keeps alive with stages of ours, and whose pods it runs and ends.
//!
//! A hollow node obeys annotations (constants below) instead of an operating system: that is how a test reboots it.
//! Pods on a node that is down are neither started nor finalised, as there is no kubelet to do it.

mod node;
mod pods;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::oneshot;

use crate::binaries::cluster_dir;
use crate::control_plane::ControlPlane;
use crate::pki::{Credential, write_private};
use crate::process::{Process, Spec};

pub use node::{boot_id, is_ready};

/// On a Node: the boot it shall be in; another value than its own makes it reboot.
pub const BOOT_ID: &str = "e2e.lockkeeper.dev/boot-id";
/// On a Node, `true`: it does not return from its next reboot, until the annotation is removed.
pub const NEVER_BACK: &str = "e2e.lockkeeper.dev/never-back";
/// On a Node: how long a reboot takes; 2 unless set.
pub const DOWN_SECONDS: &str = "e2e.lockkeeper.dev/down-seconds";
/// On a Node: how old the Ready condition's heartbeat gets; 60 unless set.
pub const HEARTBEAT_SECONDS: &str = "e2e.lockkeeper.dev/heartbeat-seconds";
/// On a Node: the kernel it says it runs after its next boot.
pub const KERNEL: &str = "e2e.lockkeeper.dev/kernel";
/// On a pod: how long it takes to end; 1 unless set, and never longer than its grace period.
pub const TERMINATION_SECONDS: &str = "e2e.lockkeeper.dev/termination-seconds";
/// On a pod: how long it takes to get ready; half a second unless set.
pub const STARTUP_SECONDS: &str = "e2e.lockkeeper.dev/startup-seconds";
/// On a pod of a Job: how long it runs; 1 unless set.
pub const RUN_SECONDS: &str = "e2e.lockkeeper.dev/run-seconds";
/// On a pod, `true`: it runs and is not ready; may be set and removed while it runs.
pub const NEVER_READY: &str = "e2e.lockkeeper.dev/never-ready";
/// Set on the pods of a node that does not answer, by the harness: a moment after the node went down.
pub const NODE_DOWN: &str = "e2e.lockkeeper.dev/node-down";
/// The label of every hollow node.
pub const HOLLOW: (&str, &str) = ("e2e.lockkeeper.dev/node", "hollow");

/// How many Node objects are written at a time.
const PARALLEL: usize = 32;
const POLL: Duration = Duration::from_millis(100);

/// What to start.
#[derive(Debug, Clone)]
pub struct HollowOptions {
    /// How many nodes: `hollow-0000`, `hollow-0001` and so on.
    pub count: usize,
    /// They are spread over this many zones; 0 leaves the label out.
    pub zones: usize,
    /// Set on every node.
    pub annotations: Vec<(String, String)>,
}

/// Running hollow nodes; dropping it ends kwok, and the control plane then sees the nodes die.
#[derive(Debug)]
pub struct HollowCluster {
    names: Vec<String>,
    nodes: Api<Node>,
    kwok: Process,
    /// Dropping it ends what follows the pods.
    _pods: oneshot::Sender<()>,
}

impl HollowCluster {
    /// Makes `count` nodes and returns when all are Ready.
    pub async fn start(plane: &ControlPlane, count: usize) -> Result<Self> {
        Self::start_with(
            plane,
            HollowOptions {
                count,
                zones: 0,
                annotations: Vec::new(),
            },
        )
        .await
    }

    pub async fn start_with(plane: &ControlPlane, options: HollowOptions) -> Result<Self> {
        let client = plane.client();
        let kwok = start_kwok(plane)?;
        let nodes: Api<Node> = Api::all(client.clone());
        let names: Vec<String> = (0..options.count).map(|index| format!("hollow-{index:04}")).collect();
        let made = stream::iter(names.iter().enumerate().map(|(index, name)| {
            let node = node::new(index, name, &options);
            let nodes = nodes.clone();
            async move {
                nodes
                    .create(&PostParams::default(), &node)
                    .await
                    .with_context(|| format!("create {name}"))
            }
        }));
        made.buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        let pods = follow(plane.kubeconfig());
        let cluster = Self {
            names,
            nodes,
            kwok,
            _pods: pods,
        };
        // A loaded machine still makes ten a second.
        let limit = Duration::from_mins(3) + Duration::from_millis(100) * options.count as u32;
        cluster.wait_ready(limit).await?;
        Ok(cluster)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes one more node, as an autoscaler would; it is Ready a moment later.
    pub async fn add(&mut self) -> Result<String> {
        let index = self.names.len();
        let name = format!("hollow-{index:04}");
        let options = HollowOptions {
            count: 1,
            zones: 0,
            annotations: Vec::new(),
        };
        let node = node::new(index, &name, &options);
        self.nodes
            .create(&PostParams::default(), &node)
            .await
            .with_context(|| format!("create {name}"))?;
        self.names.push(name.clone());
        Ok(name)
    }

    /// Takes the Node away; its hollow machine is gone with it.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let deleted = self.nodes.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("delete {name}"))?;
        Ok(())
    }

    /// Makes a Node that was deleted again under its name, as a reinstalled machine does; it has another uid.
    ///
    /// Its agent needs a new kubeconfig: the old token is bound to the old uid.
    pub async fn make_again(&self, name: &str) -> Result<()> {
        let options = HollowOptions {
            count: 1,
            zones: 0,
            annotations: Vec::new(),
        };
        let node = node::new(0, name, &options);
        let made = self.nodes.create(&PostParams::default(), &node).await;
        made.with_context(|| format!("create {name} again"))?;
        Ok(())
    }

    /// Reboots a node as power off and on would, and returns the boot id it will come back with.
    pub async fn reboot(&self, name: &str) -> Result<String> {
        reboot(&self.nodes, name).await
    }

    /// Sets an annotation on a node, or removes it.
    pub async fn annotate(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        annotate(&self.nodes, name, key, value).await
    }

    /// Waits until every node is Ready in the boot it shall be in.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        let hollow = ListParams::default().labels(&format!("{}={}", HOLLOW.0, HOLLOW.1));
        loop {
            let begin = tokio::time::Instant::now();
            let nodes = self.nodes.list(&hollow).await.context("list the hollow nodes")?;
            let waiting: Vec<_> = nodes.iter().filter(|node| !node::is_up(node)).collect();
            if waiting.is_empty() && nodes.items.len() >= self.names.len() {
                return Ok(());
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "{} of {} hollow nodes are not Ready after {limit:?}; kwok's log ends with:\n{}",
                waiting.len(),
                self.names.len(),
                self.kwok.log_tail(10),
            );
            // Lists of thousands of nodes must not keep the API server from its work.
            tokio::time::sleep(POLL.max(begin.elapsed() * 5)).await;
        }
    }

    /// The memory kwok holds, in KiB.
    pub fn rss_kib(&self) -> Option<u64> {
        self.kwok.rss_kib()
    }
}

/// Follows the nodes' pods on a thread of its own: a test that waits for kubectl must not hold up the kubelets.
fn follow(kubeconfig: PathBuf) -> oneshot::Sender<()> {
    let (alive, ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        let follow = async {
            let client = crate::control_plane::client(&kubeconfig, "lockkeeper-e2e").await?;
            tokio::select! {
                _ = ended => {}
                () = pods::follow_nodes(client) => {}
            }
            anyhow::Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let followed = runtime
            .context("make a runtime")
            .and_then(|runtime| runtime.block_on(follow));
        if let Err(error) = followed {
            tracing::warn!(error = format!("{error:#}"), "pods of hollow nodes are not followed");
        }
    });
    alive
}

/// Makes the node reboot and returns its next boot id; what a fake host does on an order.
pub async fn reboot(nodes: &Api<Node>, name: &str) -> Result<String> {
    let next = node::new_boot_id();
    annotate(nodes, name, BOOT_ID, Some(&next)).await?;
    Ok(next)
}

/// Sets an annotation on a node, or removes it.
pub async fn annotate(nodes: &Api<Node>, name: &str, key: &str, value: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { key: value } } }));
    let patched = nodes.patch(name, &PatchParams::default(), &patch).await;
    patched.with_context(|| format!("annotate {name} with {key}"))?;
    Ok(())
}

/// Starts kwok as a user of its own, so that the audit log tells it from the others.
fn start_kwok(plane: &ControlPlane) -> Result<Process> {
    let identity = plane.pki().client("lockkeeper-e2e-kwok", Some("system:masters"))?;
    let kubeconfig = plane.dir().join("kwok.kubeconfig");
    let text = plane
        .pki()
        .kubeconfig(&plane.url(), Credential::Certificate(&identity))?;
    write_private(&kubeconfig, &text)?;
    let mut spec = Spec::new("kwok", plane.binaries().program("kwok"), plane.log_dir())
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--manage-nodes-with-label-selector={}={}", HOLLOW.0, HOLLOW.1))
        .args([
            "--manage-all-nodes=false",
            "--node-ip=127.0.0.1",
            "--node-lease-duration-seconds=40",
        ])
        // Else it reads a configuration of the user's.
        .env("HOME", plane.dir());
    for stage in stages(&cluster_dir().join("kwok/stages"))? {
        spec = spec.arg(format!("--config={}", stage.display()));
    }
    Process::spawn(spec)
}

fn stages(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let files: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = files.with_context(|| format!("list {}", dir.display()))?;
    files.sort();
    Ok(files)
}
