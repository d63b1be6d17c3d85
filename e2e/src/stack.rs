//! Lockkeeper on hollow nodes: the real operator and real agents as host processes, under the shipped rights.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, RebootLock, names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::audit::Request;
use crate::control_plane::{ControlPlane, Options};
use crate::hollow::HollowCluster;
use crate::hollow_agents::{REBOOT_REQUIRED, write_kubeconfigs};
use crate::process::{Process, Spec, free_port};
use crate::programs::program;
pub use crate::records::is_done;
use crate::records::wait_reboot;
use crate::tokens::{Account, Bound};
use crate::workdir::Workdir;

const POLL: Duration = Duration::from_millis(100);

/// A hollow cluster with Lockkeeper in it.
#[derive(Debug)]
pub struct Stack {
    /// The operators, each its own process.
    pub operators: Vec<Process>,
    /// All agents, one process.
    pub agents: Process,
    /// The nodes.
    pub nodes: HollowCluster,
    /// The control plane.
    pub plane: ControlPlane,
    /// Where logs are.
    pub workdir: Workdir,
    /// The hollow pods of the operator's Deployment; each operator runs as one of them.
    operator_pods: Vec<OperatorPod>,
    started: usize,
    /// Where each operator that was started serves its metrics, by its name.
    addresses: Vec<(String, String)>,
}

impl Stack {
    /// Starts `count` nodes, one agent on each, and so many operators; there is no policy yet.
    pub async fn start(name: &str, count: usize, operators: usize) -> Result<Self> {
        Self::installed_by(ControlPlane::install, name, count, operators).await
    }

    /// The same on a control plane with these options.
    pub async fn start_on(options: Options, name: &str, count: usize, operators: usize) -> Result<Self> {
        Self::built(options, ControlPlane::install, name, count, operators).await
    }

    /// The same, installed in another way than with kubectl.
    pub async fn installed_by(
        install: impl FnOnce(&ControlPlane) -> Result<()>,
        name: &str,
        count: usize,
        operators: usize,
    ) -> Result<Self> {
        Self::built(Options::default(), install, name, count, operators).await
    }

    async fn built(
        options: Options,
        install: impl FnOnce(&ControlPlane) -> Result<()>,
        name: &str,
        count: usize,
        operators: usize,
    ) -> Result<Self> {
        let workdir = Workdir::new(name)?;
        let plane = ControlPlane::start(workdir.path(), options).await?;
        install(&plane)?;
        let nodes = HollowCluster::start(&plane, count).await?;
        let kubeconfigs = write_kubeconfigs(&plane, nodes.names()).await?;
        let agents = Spec::new("hollow-agents", program("hollow-agents")?, plane.log_dir())
            .arg(format!("--kubeconfig-dir={}", kubeconfigs.display()))
            .arg(format!("--admin-kubeconfig={}", plane.kubeconfig().display()));
        let agents = Process::spawn(agents)?;
        let operator_pods = operator_pods(&plane, &[]).await?;
        let mut stack = Self {
            operators: vec![],
            agents,
            nodes,
            plane,
            workdir,
            operator_pods,
            started: 0,
            addresses: vec![],
        };
        for _ in 0..operators {
            stack.start_operator()?;
        }
        Ok(stack)
    }

    /// Starts one more operator, which logs in text whatever may help to understand a failed test.
    pub fn start_operator(&mut self) -> Result<()> {
        self.start_operator_with(|spec| spec.env("RUST_LOG", "info,lockkeeper_operator=debug,lockkeeper_drain=debug"))
    }

    /// Starts one more operator, changed in this way.
    pub fn start_operator_with(&mut self, change: impl FnOnce(Spec) -> Spec) -> Result<()> {
        let number = self.started;
        self.started += 1;
        let kubeconfig = self.operator_pods[number % self.operator_pods.len()]
            .kubeconfig
            .display();
        let (name, address) = (format!("operator-{number}"), format!("127.0.0.1:{}", free_port()?));
        let spec = Spec::new(&name, program("lockkeeper-operator")?, self.plane.log_dir())
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--http-address={address}"))
            .arg(format!("--pod-name={name}"));
        self.operators.push(Process::spawn(change(spec))?);
        self.addresses.push((name, address));
        Ok(())
    }

    /// Name and address of the metrics of each operator, for Prometheus.
    pub fn targets(&self) -> Vec<(String, String)> {
        let known = |name: &str| self.operators.iter().any(|operator| operator.name() == name);
        let there = self.addresses.iter().filter(|(name, _)| known(name));
        there.cloned().collect()
    }

    /// What the kubelet does when the Deployment replaces its pods: the old processes get SIGTERM, new ones start with
    /// a token of a new pod.
    pub async fn replace_operators(&mut self) -> Result<()> {
        let namespace = format!("--namespace={}", names::NAMESPACE);
        // Before that, pods of a ReplicaSet between may be on their way out.
        self.plane.kubectl(&[
            "rollout",
            "status",
            "deployment/lockkeeper-operator",
            &namespace,
            "--timeout=300s",
        ])?;
        self.operator_pods = operator_pods(&self.plane, &self.operator_pods).await?;
        let old: Vec<Process> = self.operators.drain(..).collect();
        let count = old.len();
        for mut operator in old {
            operator.terminate(Duration::from_secs(15)).await?;
        }
        for _ in 0..count {
            self.start_operator()?;
        }
        Ok(())
    }

    /// Ends the operator that leads with SIGKILL and returns its name.
    pub async fn kill_leader(&mut self) -> Result<String> {
        let leader = self.leader().await?.context("no operator leads")?;
        let leader = &mut self.operators[leader];
        leader.kill();
        Ok(leader.name().to_owned())
    }

    /// The place of the operator that leads in `operators`; none if the Lease names another process.
    pub async fn leader(&self) -> Result<Option<usize>> {
        let leases: Api<Lease> = Api::namespaced(self.plane.client(), names::NAMESPACE);
        let lease = leases.get_opt(names::LEASE).await.context("read the Lease")?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        Ok(self
            .operators
            .iter()
            .position(|operator| holder.starts_with(&format!("{}_", operator.name()))))
    }

    /// The host of this node asks for a reboot from now on.
    pub async fn stage_update(&self, node: &str) -> Result<()> {
        self.nodes
            .annotate(node, REBOOT_REQUIRED, Some("linux-image-6.12.0-2,libc6"))
            .await
    }

    /// The host of this node asks for a reboot for this cause: the same cause twice is no new reboot.
    pub async fn stage_cause(&self, node: &str, cause: &str) -> Result<()> {
        self.nodes.annotate(node, REBOOT_REQUIRED, Some(cause)).await
    }

    /// Runs the plugin as a person would.
    pub async fn plugin(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(program("kubectl-lockkeeper")?)
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig())
            .args(args)
            .kill_on_drop(true)
            .output();
        output.await.context("run kubectl-lockkeeper")
    }

    /// The pod that an operator runs as, as the audit log names it.
    pub fn pod_of(&self, operator: &Process) -> Option<&str> {
        let number: usize = operator.name().strip_prefix("operator-")?.parse().ok()?;
        Some(&self.operator_pods[number % self.operator_pods.len()].name)
    }

    /// What the operator that was started last tells Prometheus.
    pub async fn metrics(&self) -> Result<String> {
        let (_, address) = self.addresses.last().context("no operator was started")?;
        http_get(address, "/metrics").await
    }

    /// The evictions that the API server accepted from operators, in order.
    pub fn evictions(&self) -> Result<Vec<Request>> {
        let accepted = |request: &Request| {
            request.program() == "lockkeeper-operator"
                && request.resource == "pods/eviction"
                && (200..300).contains(&request.code)
                && !request.dry_run
        };
        Ok(self.plane.requests()?.into_iter().filter(accepted).collect())
    }

    /// One node's record.
    pub async fn reboot(&self, node: &str) -> Result<NodeReboot> {
        Api::<NodeReboot>::all(self.plane.client())
            .get(node)
            .await
            .with_context(|| format!("read NodeReboot {node}"))
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

    /// Waits until these nodes have been rebooted for this cause and are free again.
    pub async fn wait_rebooted_for(&self, nodes: &[String], cause: &str, limit: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + limit;
        for node in nodes {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let what = format!("rebooted for {cause}");
            self.wait_reboot(node, &what, left, |reboot| is_done(reboot) && was_for(reboot, cause))
                .await?;
        }
        self.wait_released(nodes, end).await
    }

    /// Waits until every node has been rebooted by us and is free again.
    pub async fn wait_all_rebooted(&self, limit: Duration) -> Result<Vec<NodeReboot>> {
        let mut all = Vec::new();
        let end = tokio::time::Instant::now() + limit;
        for name in self.nodes.names() {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            all.push(self.wait_reboot(name, "rebooted", left, is_done).await?);
        }
        self.wait_released(self.nodes.names(), end).await?;
        Ok(all)
    }

    /// Waits until none of these nodes holds a slot: the NodeReboot shows that its reboot is over before the slot is
    /// released.
    async fn wait_released(&self, nodes: &[String], end: tokio::time::Instant) -> Result<()> {
        let locks = Api::<RebootLock>::all(self.plane.client());
        loop {
            let lock = locks.get_opt(names::LOCK).await.ok().flatten();
            let held = lock.map(|lock| {
                let holders = lock.status.unwrap_or_default().holders.into_iter();
                let nodes = holders.map(|holder| holder.node).filter(|node| nodes.contains(node));
                nodes.collect::<Vec<_>>()
            });
            if held.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                bail!("still in the lock: {held:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Status line, headers and body that a program on this machine answers.
pub async fn http_get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("reach {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.with_context(|| format!("ask {address} for {path}"))?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.with_context(|| format!("read {path} of {address}"))?;
    Ok(answer)
}

fn was_for(reboot: &NodeReboot, cause: &str) -> bool {
    let last = reboot.status.as_ref().and_then(|status| status.last_reboot.as_ref());
    last.is_some_and(|last| last.reasons.iter().any(|reason| reason.0.contains(cause)))
}

/// A hollow pod of the operator's Deployment, for its identity.
#[derive(Debug)]
struct OperatorPod {
    name: String,
    kubeconfig: PathBuf,
}

/// All pods of the operator's Deployment, with a token of each; none of those before.
async fn operator_pods(plane: &ControlPlane, before: &[OperatorPod]) -> Result<Vec<OperatorPod>> {
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), names::NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(plane.client(), names::NAMESPACE);
    let of_operator = ListParams::default().labels("app.kubernetes.io/component=operator");
    let fits = |pod: &&Pod| {
        let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let old = before.iter().any(|old| old.name == pod.name_any());
        placed && pod.metadata.deletion_timestamp.is_none() && !old
    };
    for _ in 0..1200 {
        let deployment = deployments
            .get("lockkeeper-operator")
            .await
            .context("read the Deployment")?;
        let replicas = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1).max(1);
        let list = pods.list(&of_operator).await.context("list the operator's pods")?;
        let names: Vec<String> = list.iter().filter(fits).map(ResourceExt::name_any).collect();
        if names.len() >= usize::try_from(replicas)? {
            return operator_kubeconfigs(plane, names).await;
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("the operator's pods were not scheduled within two minutes")
}

async fn operator_kubeconfigs(plane: &ControlPlane, pods: Vec<String>) -> Result<Vec<OperatorPod>> {
    let account = Account {
        namespace: names::NAMESPACE,
        name: "lockkeeper-operator",
    };
    let mut found = vec![];
    for name in pods {
        let kubeconfig = plane.token_kubeconfig(&name, account, Bound::Pod(&name)).await?;
        found.push(OperatorPod { name, kubeconfig });
    }
    Ok(found)
}
