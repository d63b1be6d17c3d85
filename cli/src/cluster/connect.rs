//! The connection to the cluster that kubectl would use.

use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use lockkeeper_crds::{NodeReboot, RebootLock};
use lockkeeper_snapshot::guarded::{GuardedLock, GuardedPolicy};

use super::proxied;
use super::proxy::Proxy;
use crate::args::ClusterArgs;
use crate::failure::Failure;

/// A client, and the address of the API server and its proxy for messages.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) server: String,
}

impl Cluster {
    /// The API server may hold a policy of a newer or an older definition.
    pub(crate) fn policies(&self) -> Api<GuardedPolicy> {
        Api::all(self.client.clone())
    }

    pub(crate) fn guarded_locks(&self) -> Api<GuardedLock> {
        Api::all(self.client.clone())
    }

    pub(crate) fn reboots(&self) -> Api<NodeReboot> {
        Api::all(self.client.clone())
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    pub(crate) fn locks(&self) -> Api<RebootLock> {
        Api::all(self.client.clone())
    }
}

/// Reads the kubeconfig and creates the client; it sends no request.
pub(crate) async fn connect(args: &ClusterArgs) -> Result<Cluster, Failure> {
    cluster(config(args).await?)
}

/// The same without kube's own retries, which would repeat a refused eviction for minutes without any message.
pub(crate) async fn connect_to_drain(args: &ClusterArgs) -> Result<Cluster, Failure> {
    let mut target = config(args).await?;
    target.config.default_retry = false;
    cluster(target)
}

/// Which API server, and the proxy before it.
struct Target {
    config: Config,
    proxy: Option<Proxy>,
}

fn cluster(target: Target) -> Result<Cluster, Failure> {
    let Target { mut config, proxy } = target;
    // kube sends no user agent of its own; with one the audit log shows which program sent a request.
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(user_agent())));
    let server = server_name(&config.cluster_url, proxy.as_ref());
    let client = match &proxy {
        Some(proxy) => proxied::client(&config, proxy),
        None => Client::try_from(config),
    };
    let client = client.map_err(|error| Failure::of_request("connect", &server, &error))?;
    Ok(Cluster { client, server })
}

/// The API server in messages, with the proxy that a request goes through.
pub(super) fn server_name(url: &Uri, proxy: Option<&Proxy>) -> String {
    let url = url.to_string();
    let url = url.trim_end_matches('/');
    proxy.map_or_else(|| url.to_owned(), |proxy| format!("{url} (through {proxy})"))
}

async fn config(args: &ClusterArgs) -> Result<Target, Failure> {
    let name = args.kubeconfig.as_ref().map_or_else(
        || "kubeconfig".to_owned(),
        |path| format!("kubeconfig {}", path.display()),
    );
    match from_kubeconfig(args, &name).await {
        // A pod has no kubeconfig; if this is not a pod either, the first error is the one that helps.
        Err(first) if args.kubeconfig.is_none() && args.context.is_none() => {
            let config = Config::incluster().map_err(|_| first)?;
            target(config, None)
        }
        result => result,
    }
}

/// kube leaves the proxy to the plugin, which chooses it as kubectl does.
fn target(mut config: Config, proxy_url: Option<&str>) -> Result<Target, Failure> {
    let proxy = Proxy::choose(proxy_url, &config.cluster_url, variable).map_err(Failure::error)?;
    config.proxy_url = None;
    Ok(Target { config, proxy })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The API server of the context, and the proxy that its cluster or the environment names.
async fn from_kubeconfig(args: &ClusterArgs, name: &str) -> Result<Target, Failure> {
    let failed = |error: KubeconfigError| Failure::of_kubeconfig(name, &error);
    let file = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(failed)?;
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let proxy_url = proxy_url(&file, args.context.as_deref());
    match Config::from_custom_kubeconfig(file, &options).await {
        Ok(config) => target(config, proxy_url.as_deref()),
        // kube does not say where the URL is from.
        Err(error @ KubeconfigError::ParseProxyUrl(_)) => {
            let any_server = Uri::from_static("https://kubernetes.invalid");
            let choice = Proxy::choose(proxy_url.as_deref(), &any_server, variable);
            Err(choice.map_or_else(Failure::error, |_| failed(error)))
        }
        Err(error) => Err(failed(error)),
    }
}

/// `proxy-url` of the context's cluster.
fn proxy_url(file: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(file.current_context.as_deref())?;
    let context = file.contexts.iter().find(|named| named.name == context)?;
    let cluster = &context.context.as_ref()?.cluster;
    let cluster = file.clusters.iter().find(|named| named.name == *cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone()
}

const fn user_agent() -> &'static str {
    concat!("kubectl-lockkeeper/", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_that_of_the_contexts_cluster() {
        let file = Kubeconfig::from_yaml(
            "current-context: near
contexts:
- {name: near, context: {cluster: a, user: u}}
- {name: far, context: {cluster: b, user: u}}
clusters:
- {name: a, cluster: {server: 'https://a:6443'}}
- {name: b, cluster: {server: 'https://b:6443', proxy-url: 'socks5://127.0.0.1:1080'}}
",
        )
        .unwrap();
        assert_eq!(proxy_url(&file, None), None);
        assert_eq!(
            proxy_url(&file, Some("far")).as_deref(),
            Some("socks5://127.0.0.1:1080")
        );
    }
}
