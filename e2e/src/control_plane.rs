//! A real control plane on the loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

mod backup;
mod flags;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{HeaderValue, Request, header::USER_AGENT};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::time::{Instant, sleep};

use crate::audit;
use crate::binaries::Binaries;
use crate::pki::{self, Credential, Pki};
use crate::process::{Process, Spec, free_port};

/// How the harness names itself in the audit log.
pub const USER_AGENT_NAME: &str = "lockkeeper-e2e";

/// A ceiling: an idle machine is ready after four seconds.
const START_LIMIT: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(50);

/// What differs between clusters.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the addresses of pods come from, a /24 per node: the default serves 256 nodes.
    pub cluster_cidr: String,
    /// The API server: `kube-apiserver`, or `kube-apiserver-next` of a later version of Kubernetes.
    pub api_server: &'static str,
    /// Appended to the API server's flags.
    pub api_server_args: Vec<String>,
    /// Appended to the controller manager's flags.
    pub controller_manager_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_cidr: "10.244.0.0/16".to_owned(),
            api_server: "kube-apiserver",
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }
}

/// A running control plane; dropping it ends its processes.
pub struct ControlPlane {
    dir: PathBuf,
    binaries: Binaries,
    pki: Pki,
    port: u16,
    client: Client,
    api_server_spec: Spec,
    api_server: Option<Process>,
    /// Ended in this order: etcd last.
    others: Vec<Process>,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane")
            .field("dir", &self.dir)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Starts everything below `dir` and returns when a pod could be scheduled.
    pub async fn start(dir: &Path, options: Options) -> Result<Self> {
        let binaries = Binaries::find_or_build()?;
        let (port, etcd_ports) = (free_port()?, [free_port()?, free_port()?]);
        let pki = Pki::new()?;
        let url = format!("https://127.0.0.1:{port}");
        write_files(dir, &pki, &url)?;
        let logs = dir.join("logs");
        let spec = |name: &str, args| Spec::new(name, binaries.program(name), &logs).args(args);

        let etcd = Process::spawn(spec("etcd", flags::etcd(dir, etcd_ports)))?;
        let mut api_server_args = flags::api_server(dir, port, etcd_ports[0]);
        api_server_args.extend(options.api_server_args);
        let mut controller_manager_args = flags::controller_manager(dir, &options.cluster_cidr);
        controller_manager_args.extend(options.controller_manager_args);
        let client = client(&dir.join("admin.kubeconfig"), USER_AGENT_NAME).await?;
        let mut plane = Self {
            api_server_spec: spec(options.api_server, api_server_args),
            api_server: None,
            others: Vec::new(),
            dir: dir.to_owned(),
            port,
            client,
            pki,
            binaries: binaries.clone(),
        };
        plane.others.push(etcd);
        plane.start_api_server().await?;
        // Started only now: the controller manager waits for an API server for ten seconds only, then ends.
        plane.others.insert(
            0,
            Process::spawn(spec("kube-controller-manager", controller_manager_args))?,
        );
        plane
            .others
            .insert(0, Process::spawn(spec("kube-scheduler", flags::scheduler(dir)))?);
        plane.wait_for_controllers().await?;
        Ok(plane)
    }

    /// The API server as programs on this machine see it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The API server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The administrator's client, seen as `lockkeeper-e2e` in the audit log.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// The directory of this cluster.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where every process of this cluster logs.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The authority that signs for this cluster.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The programs this cluster runs, kubectl among them.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The API server's audit log, one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// What was asked of the API server until now.
    pub fn requests(&self) -> Result<Vec<audit::Request>> {
        audit::read(&self.audit_log())
    }

    /// Kills the API server; everybody else stays.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server on its port again, and returns when it is ready.
    pub async fn start_api_server(&mut self) -> Result<()> {
        let process = self.api_server.insert(Process::spawn(self.api_server_spec.clone())?);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let ready = Request::get("/readyz")
                .body(Vec::new())
                .context("build the request for /readyz")?;
            let Err(error) = self.client.request_text(ready).await else {
                return Ok(());
            };
            if let Some(status) = process.exited() {
                bail!("kube-apiserver ended with {status}:\n{}", process.log_tail(20));
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver is not ready after {START_LIMIT:?} ({error}):\n{}",
                    process.log_tail(20)
                );
            }
            sleep(POLL).await;
        }
    }

    /// Name and memory in KiB of each process of the control plane.
    pub fn rss_kib(&self) -> Vec<(String, u64)> {
        let all = self.api_server.iter().chain(&self.others);
        all.filter_map(|process| Some((process.name().to_owned(), process.rss_kib()?)))
            .collect()
    }

    /// The controller manager works once the default service account is there; no pod can be made before.
    async fn wait_for_controllers(&mut self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        let deadline = Instant::now() + START_LIMIT;
        while accounts
            .get_opt("default")
            .await
            .context("look for the default service account")?
            .is_none()
        {
            for process in &mut self.others {
                if let Some(status) = process.exited() {
                    bail!("{} ended with {status}:\n{}", process.name(), process.log_tail(20));
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-controller-manager made no service account; logs are in {}",
                    self.log_dir().display()
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// A client for a kubeconfig file that names itself `user_agent` to the API server.
pub async fn client(kubeconfig: &Path, user_agent: &str) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use {}", kubeconfig.display()))?;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_str(user_agent).context("user agent")?));
    Client::try_from(config).with_context(|| format!("make a client of {}", kubeconfig.display()))
}

/// Writes what the programs read: certificates, keys, kubeconfigs, the audit policy.
fn write_files(dir: &Path, pki: &Pki, url: &str) -> Result<()> {
    let pki_dir = dir.join("pki");
    fs::create_dir_all(&pki_dir).with_context(|| format!("make {}", pki_dir.display()))?;
    pki::write_private(&pki_dir.join("ca.crt"), pki.ca())?;
    // Guests of QEMU's user network reach the host's loopback as 10.0.2.2; pods use the service address.
    let names = [
        "127.0.0.1",
        "localhost",
        "10.0.2.2",
        "10.96.0.1",
        "kubernetes.default.svc",
    ];
    pki.server("kube-apiserver", &names)?.write(&pki_dir, "apiserver")?;
    pki.client("kube-apiserver-kubelet-client", Some("system:masters"))?
        .write(&pki_dir, "apiserver-kubelet")?;
    let (private, public) = pki::token_keys()?;
    pki::write_private(&pki_dir.join("sa.key"), &private)?;
    pki::write_private(&pki_dir.join("sa.pub"), &public)?;
    for (file, user, group) in [
        ("admin", "lockkeeper-e2e-admin", Some("system:masters")),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
    ] {
        let identity = pki.client(user, group)?;
        let text = pki.kubeconfig(url, Credential::Certificate(&identity))?;
        pki::write_private(&dir.join(format!("{file}.kubeconfig")), &text)?;
    }
    let policy = dir.join("audit-policy.yaml");
    fs::write(&policy, flags::AUDIT_POLICY).with_context(|| format!("write {}", policy.display()))
}
