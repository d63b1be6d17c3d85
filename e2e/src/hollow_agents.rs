//! Our real agent on hollow nodes, many in one process: real client, real loop, real decisions over a fake host.
//!
//! The host's state is the Node's annotations (constants below and in [`crate::hollow`]), so this process may be killed
//! and started again at any time. A host that is down runs no agent, just as a real one.

mod host;
mod node;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use lockkeeper_node_agent::{AgentConfig, client as agent_client, run_agent};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control_plane::ControlPlane;
use crate::tokens::{Account, Bound};
use host::FakeHost;
use node::HollowNode;

/// How the fake hosts name themselves in the audit log; what they ask is not the agents'.
pub const HOST_USER_AGENT: &str = "lockkeeper-hollow-host";

/// On a Node: the host requires a reboot; the value is the packages, separated by commas. A reboot removes it.
pub const REBOOT_REQUIRED: &str = "e2e.lockkeeper.dev/reboot-required";
/// On a Node: since when it asks, RFC 3339; else since the agent's process saw it first. Gone after a reboot.
pub const REBOOT_REQUIRED_SINCE: &str = "e2e.lockkeeper.dev/reboot-required-since";
/// On a Node, `true`: the host still asks after a reboot.
pub const STILL_REQUIRED: &str = "e2e.lockkeeper.dev/still-required";
/// On a Node: a detector cannot be read, for this reason.
pub const DETECTOR_FAILS: &str = "e2e.lockkeeper.dev/detector-fails";
/// On a Node: the host cannot be rebooted, for this reason; a Prepare is refused.
pub const INCAPABLE: &str = "e2e.lockkeeper.dev/incapable";
/// On a Node, `<who>: <why>`: a program asks not to shut down.
pub const INHIBITED: &str = "e2e.lockkeeper.dev/inhibited";
/// On a Node: the host says no to the reboot itself, in these words.
pub const REBOOT_FAILS: &str = "e2e.lockkeeper.dev/reboot-fails";
/// On a Node, `true`: the host accepts the reboot and then hangs.
pub const REBOOT_HANGS: &str = "e2e.lockkeeper.dev/reboot-hangs";
/// On a Node, `true`: no agent runs.
pub const AGENT_DEAD: &str = "e2e.lockkeeper.dev/agent-dead";
/// On a Node, `true`: the agent runs, the actuator does not.
pub const ACTUATOR_DEAD: &str = "e2e.lockkeeper.dev/actuator-dead";
/// On a Node: the agent takes itself to be in this boot, whatever the kubelet says.
pub const REPORTS_BOOT_ID: &str = "e2e.lockkeeper.dev/reports-boot-id";

/// An agent that ended with an error starts again after this, as a container would.
const RESTART: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone)]
pub struct HollowAgentsOptions {
    /// Holds `<node>.kubeconfig` for each node that shall have an agent; files may be added later.
    pub kubeconfig_dir: PathBuf,
    /// How long an agent waits for its actuator.
    pub facts_within: Duration,
}

/// The agent's service account in the shipped manifests.
pub const ACCOUNT: Account<'static> = Account {
    namespace: lockkeeper_crds::names::NAMESPACE,
    name: "lockkeeper-agent",
};

/// How many tokens are asked for at a time.
const PARALLEL: usize = 32;

/// Writes a kubeconfig for each node, with a token bound to it as that of a pod on it is, and returns their directory.
///
/// The service account must be there, and so must the Nodes; a Node that is made anew needs a new one.
pub async fn write_kubeconfigs(plane: &ControlPlane, names: &[String]) -> Result<PathBuf> {
    let written = stream::iter(names)
        .map(|name| plane.token_kubeconfig(name, ACCOUNT, Bound::Node(name)))
        .buffer_unordered(PARALLEL);
    let paths: Vec<PathBuf> = written.try_collect().await?;
    let dir = paths
        .first()
        .and_then(|path| path.parent())
        .context("no node, no kubeconfig")?;
    Ok(dir.to_owned())
}

/// Runs an agent for each node that has a kubeconfig; `admin` is for the hosts.
pub async fn run(options: HollowAgentsOptions, admin: Client, shutdown: impl Future<Output = ()>) -> Result<()> {
    let nodes: Api<Node> = Api::all(admin);
    let mut fleet = Fleet {
        options,
        nodes: nodes.clone(),
        hosts: HashMap::new(),
        agents: JoinSet::new(),
    };
    tokio::select! {
        () = shutdown => Ok(()),
        result = fleet.follow(nodes) => result,
    }
}

struct Fleet {
    options: HollowAgentsOptions,
    nodes: Api<Node>,
    hosts: HashMap<String, watch::Sender<HollowNode>>,
    agents: JoinSet<()>,
}

impl Fleet {
    async fn follow(&mut self, nodes: Api<Node>) -> Result<()> {
        let events = watcher(nodes, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => self.see(&node),
                Ok(watcher::Event::Delete(node)) => {
                    if let Some(host) = self.hosts.get(&node.name_any()) {
                        host.send_replace(HollowNode::default());
                    }
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => tracing::debug!(%error, "watch of the Nodes failed; it is tried again"),
            }
        }
        anyhow::bail!("the watch of the Nodes ended")
    }

    fn see(&mut self, node: &Node) {
        let name = node.name_any();
        let seen = HollowNode::of(node);
        if let Some(host) = self.hosts.get(&name) {
            host.send_if_modified(|held| {
                let seen = seen.since_first_seen(held);
                let modified = *held != seen;
                *held = seen;
                modified
            });
            return;
        }
        let kubeconfig = self.options.kubeconfig_dir.join(format!("{name}.kubeconfig"));
        if kubeconfig.is_file() {
            let (sender, receiver) = watch::channel(seen);
            self.hosts.insert(name.clone(), sender);
            let config = AgentConfig {
                facts_within: self.options.facts_within,
                ..AgentConfig::new(&name)
            };
            self.agents
                .spawn(live(config, kubeconfig, receiver, self.nodes.clone()));
        }
    }
}

/// One host's life: an agent whenever it is up.
async fn live(config: AgentConfig, kubeconfig: PathBuf, mut node: watch::Receiver<HollowNode>, nodes: Api<Node>) {
    while node.wait_for(HollowNode::runs_agent).await.is_ok() {
        if let Err(error) = one_boot(&config, &kubeconfig, node.clone(), &nodes).await {
            tracing::warn!(node = config.node_name, error = format!("{error:#}"), "agent ended");
            tokio::time::sleep(RESTART).await;
        }
    }
}

async fn one_boot(
    config: &AgentConfig,
    kubeconfig: &Path,
    node: watch::Receiver<HollowNode>,
    nodes: &Api<Node>,
) -> Result<()> {
    let boot_id = node.borrow().boot_id.clone();
    let mut power = node.clone();
    let down = async move {
        // All senders are gone: the fleet ends.
        let _ = power
            .wait_for(|node| !node.runs_agent() || node.boot_id != boot_id)
            .await;
    };
    let client = agent_client::connect(Some(kubeconfig)).await?;
    let host = FakeHost::new(&config.node_name, node, nodes.clone());
    run_agent(config.clone(), client, host, down).await.context("agent")
}
