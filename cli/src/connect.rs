//! A client for the cluster that kubectl would talk to.

use http::HeaderValue;
use http::header::USER_AGENT;
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use lockkeeper_crds::{NodeReboot, RebootLock};

use crate::args::ClusterArgs;
use crate::failure::Failure;
use crate::objects::Guarded;

/// The cluster, and its address for messages.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) server: String,
}

impl Cluster {
    /// Policies as far as they can be decoded: a typed list fails as a whole over one that cannot.
    pub(crate) fn guarded_policies(&self) -> Api<Guarded> {
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

/// Reads the kubeconfig and makes the client; nothing is sent yet.
pub(crate) async fn connect(args: &ClusterArgs) -> Result<Cluster, Failure> {
    cluster(config(args).await?)
}

/// The same without kube's own retries, which would repeat a refused eviction for minutes, unseen.
pub(crate) async fn connect_to_drain(args: &ClusterArgs) -> Result<Cluster, Failure> {
    let mut config = config(args).await?;
    config.default_retry = false;
    cluster(config)
}

fn cluster(mut config: Config) -> Result<Cluster, Failure> {
    // kube sends no user agent of its own; without one the audit log cannot tell us apart.
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent())));
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
            let what = format!("kubeconfig {}", path.display());
            let file = Kubeconfig::read_from(path).map_err(|error| Failure::of_kubeconfig(&what, &error))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| Failure::of_kubeconfig(&what, &error))
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options)
            .await
            .map_err(|error| Failure::of_kubeconfig("kubeconfig", &error)),
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => Ok(config),
            // In a pod there is no kubeconfig; if this is none either, the first error is the one to read.
            Err(error) => Config::incluster().map_err(|_| Failure::of_kubeconfig("kubeconfig", &error)),
        },
    }
}

const fn agent() -> &'static str {
    concat!("kubectl-lockkeeper/", env!("CARGO_PKG_VERSION"))
}
