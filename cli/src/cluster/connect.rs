//! The connection to the cluster that kubectl would use.

use http::HeaderValue;
use http::header::USER_AGENT;
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Config};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy};

use crate::args::ClusterArgs;
use crate::failure::Failure;

/// A policy, or why it cannot be decoded: the API server may hold one of a newer or an older definition.
pub(crate) type ParsedPolicy = DeserializeGuard<RebootPolicy>;

/// A client, and the address of the API server for messages.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) server: String,
}

impl Cluster {
    /// A list of `RebootPolicy` would fail as a whole if one of them cannot be decoded.
    pub(crate) fn policies(&self) -> Api<ParsedPolicy> {
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
    let mut config = config(args).await?;
    config.default_retry = false;
    cluster(config)
}

fn cluster(mut config: Config) -> Result<Cluster, Failure> {
    // kube sends no user agent of its own; with one the audit log shows which program sent a request.
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(user_agent())));
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = Client::try_from(config).map_err(|error| Failure::of_request("connect", &server, &error))?;
    Ok(Cluster { client, server })
}

async fn config(args: &ClusterArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &args.kubeconfig {
        Some(path) => {
            let name = format!("kubeconfig {}", path.display());
            let file = Kubeconfig::read_from(path).map_err(|error| Failure::of_kubeconfig(&name, &error))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| Failure::of_kubeconfig(&name, &error))
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options)
            .await
            .map_err(|error| Failure::of_kubeconfig("kubeconfig", &error)),
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => Ok(config),
            // A pod has no kubeconfig; if this is not a pod either, the first error is the one that helps.
            Err(error) => Config::incluster().map_err(|_| Failure::of_kubeconfig("kubeconfig", &error)),
        },
    }
}

const fn user_agent() -> &'static str {
    concat!("kubectl-lockkeeper/", env!("CARGO_PKG_VERSION"))
}
