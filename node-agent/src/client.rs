//! The agent's Kubernetes client.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderValue, header::USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lockkeeper_kube_util::patient_service;

/// The user agent, as the audit log shows it.
pub const AGENT: &str = concat!("lockkeeper-node-agent/", env!("CARGO_PKG_VERSION"));

/// Connects with a kubeconfig file, or with the service account of the pod.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().context(
            "read the pod's service account; outside a cluster pass --kubeconfig, in a cluster mount the token in this container",
        )?,
    };
    with_config(config)
}

/// A list that stalls for this long has failed. An agent has a minute to answer an order (`requireAgentSeconds`).
const LIST_TIMEOUT: Duration = Duration::from_secs(20);

/// A client with this user agent and without retries: the agent decides what to retry.
pub fn with_config(mut config: Config) -> anyhow::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let namespace = config.default_namespace.clone();
    let service = patient_service(config, LIST_TIMEOUT).context("set up the Kubernetes client")?;
    Ok(Client::new(service, namespace))
}

async fn from_file(path: &Path) -> anyhow::Result<Config> {
    let text = Kubeconfig::read_from(path).with_context(|| format!("read the kubeconfig {}", path.display()))?;
    Config::from_custom_kubeconfig(text, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use the kubeconfig {}", path.display()))
}
