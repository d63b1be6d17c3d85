//! Connections to the API server, and what a failure of one means in words.

mod counted;
pub(crate) mod dated;
mod fenced;
pub(crate) mod layer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lockkeeper_kube_util::{Clock, HttpService, Remedies, error_chain, http_service, patient_service};
use lockkeeper_notify::Notifier;
use lockkeeper_silences::Silencer;
use thiserror::Error;
use tower::ServiceExt;

use crate::health::{Component, Health};
use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::server_clock::ServerClock;
use counted::Counted;
use dated::Dated;
use fenced::Fenced;
pub use fenced::NotLeading;
use layer::Inspected;

/// How we are called in the API server's audit log.
pub const AGENT: &str = concat!("lockkeeper-operator/", env!("CARGO_PKG_VERSION"));

/// One client for each kind of request; **none of them retries**.
///
/// kube's own retry would repeat a refused eviction for minutes and hold up the loop, and it would carry a Lease
/// renewal past the end of the Lease. Whoever sends a request decides when to send it again.
#[derive(Clone)]
pub struct Clients {
    /// Reads and writes of the loop; a request that gets no answer fails after 15 s. It writes only while we lead.
    pub api: Client,
    /// Watches, those of drains too: they may be silent for long, but their lists and their beginnings may not.
    pub watch: Client,
    /// The requests of drains: evictions, whose admission webhooks may take up to 30 s. It evicts only while we lead.
    pub evict: Client,
    /// The Lease: an answer that comes late is worse than none.
    pub lease: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

/// A list that stalls for this long has failed; the API server itself ends a list after 60 s.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// Each request of a pass ends within 15 s. A pass in which none has ended for this long is stuck.
const MAX_PASS_SILENCE: Duration = Duration::from_mins(1);

/// What the clients tell, and what they heed.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Every request is counted.
    pub metrics: Arc<Metrics>,
    /// The loop, which gets on with each of its requests that ends.
    pub pass: Component,
    /// The election, which is not ready while this replica must not lead.
    pub election: Component,
    /// Without it, the loop and its drains change nothing.
    pub leadership: Leadership,
    /// What the answers about the Lease show of the API server's clock.
    pub server_clock: ServerClock,
    /// Is told each Event; without receivers it does nothing.
    pub notifier: Notifier,
    /// Is told the operations that there are; without an Alertmanager it does nothing.
    pub silencer: Silencer,
}

impl Hooks {
    /// The hooks of an operator that does not lead yet.
    pub fn new(metrics: Arc<Metrics>, health: &Health) -> Self {
        Self {
            pass: health.component("pass", MAX_PASS_SILENCE),
            election: health.component("election", MAX_PASS_SILENCE),
            leadership: Leadership::default(),
            server_clock: ServerClock::exported(Clock::machine(), metrics.clone()),
            metrics,
            notifier: Notifier::default(),
            silencer: Silencer::default(),
        }
    }
}

/// Connects with the kubeconfig given, else with the service account of this pod, else with the user's kubeconfig.
pub async fn clients(kubeconfig: Option<&Path>, hooks: &Hooks) -> Result<Clients, ConnectError> {
    let config = config(kubeconfig).await?;
    let service = |seconds| service(&config, Duration::from_secs(seconds));
    let watch = patient_service(config.clone(), LIST_TIMEOUT).map_err(|error| not_connected(&config, &error))?;
    let connections = Connections {
        api: service(15)?,
        watch: watch.boxed(),
        evict: service(40)?,
        lease: service(2)?,
    };
    Ok(connections.clients(hooks, &config.default_namespace))
}

/// What each client of [`Clients`] sends its requests through.
#[derive(Debug)]
pub struct Connections {
    /// For the loop.
    pub api: HttpService,
    /// For watches.
    pub watch: HttpService,
    /// For drains.
    pub evict: HttpService,
    /// For the Lease.
    pub lease: HttpService,
}

impl Connections {
    /// The clients, which tell and heed the hooks.
    pub fn clients(self, hooks: &Hooks, namespace: &str) -> Clients {
        let counted = |inner, progress| Inspected {
            inner,
            inspector: Counted {
                metrics: hooks.metrics.clone(),
                progress,
            },
        };
        let fenced = |inner| Inspected {
            inner,
            inspector: Fenced {
                leadership: hooks.leadership.clone(),
            },
        };
        let dated = Inspected {
            inner: counted(self.lease, None),
            inspector: Dated {
                server_clock: hooks.server_clock.clone(),
            },
        };
        Clients {
            api: Client::new(fenced(counted(self.api, Some(hooks.pass.clone()))), namespace),
            watch: Client::new(counted(self.watch, None), namespace),
            evict: Client::new(fenced(counted(self.evict, None)), namespace),
            lease: Client::new(dated, namespace),
        }
    }
}

/// A connection that could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The file cannot be read or makes no sense.
    #[error("the kubeconfig {path} cannot be used: {cause}; check --kubeconfig")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There is neither a service account nor a kubeconfig.
    #[error(
        "no way to the API server: neither the service account of a pod ({in_cluster}) nor a kubeconfig ({kubeconfig}); run in a cluster, or give --kubeconfig FILE"
    )]
    NoConfig {
        /// Why not as a pod.
        in_cluster: String,
        /// Why not as a user.
        kubeconfig: String,
    },
    /// The certificates or the address cannot be used.
    #[error("no client for the API server at {url}: {cause}; check the certificates of the kubeconfig")]
    Client {
        /// The server.
        url: String,
        /// What is wrong.
        cause: String,
    },
}

/// What a person can do about a failed request of the operator.
const REMEDIES: Remedies = Remedies {
    not_installed: "install Lockkeeper's kinds: kubectl apply --server-side -f deploy/lockkeeper.yaml",
    unauthorized: "check the token or the certificate",
    forbidden: "check the ClusterRole lockkeeper-operator and its binding",
    undecodable: "",
    unreachable: "",
};

/// The step that failed, why, and what helps, in one line.
pub fn explain(step: &str, error: &kube::Error) -> String {
    format!("{step}: {}", describe_error(error))
}

/// Why a request failed and what helps, in one line without the step.
pub fn describe_error(error: &kube::Error) -> String {
    if let kube::Error::Service(cause) = error
        && let Some(cause) = cause.downcast_ref::<NotLeading>()
    {
        return cause.to_string();
    }
    lockkeeper_kube_util::explain(error, "the API server", &REMEDIES)
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => match Config::incluster() {
            Ok(config) => config,
            Err(in_cluster) => from_user(&in_cluster).await?,
        },
    };
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Ok(config)
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let wrong = |error: &(dyn std::error::Error + 'static)| ConnectError::Kubeconfig {
        path: path.display().to_string(),
        cause: error_chain(error),
    };
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| wrong(&error))
}

async fn from_user(in_cluster: &(dyn std::error::Error + 'static)) -> Result<Config, ConnectError> {
    Config::from_kubeconfig(&KubeConfigOptions::default())
        .await
        .map_err(|error| ConnectError::NoConfig {
            in_cluster: error_chain(in_cluster),
            kubeconfig: error_chain(&error),
        })
}

/// A connection whose answers must not stall for longer than `patience`.
fn service(config: &Config, patience: Duration) -> Result<HttpService, ConnectError> {
    let mut config = config.clone();
    config.read_timeout = Some(patience);
    config.write_timeout = Some(patience);
    // A pooled connection that was idle must not count its idle time against the next answer.
    config.reset_reader_on_write = true;
    config.connect_timeout = config.connect_timeout.map(|connect| connect.min(patience));
    http_service(&config).map_err(|error| not_connected(&config, &error))
}

fn not_connected(config: &Config, error: &kube::Error) -> ConnectError {
    ConnectError::Client {
        url: config.cluster_url.to_string(),
        cause: error_chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn hooks() -> Hooks {
        Hooks::new(Arc::new(Metrics::new().unwrap()), &Health::default())
    }

    fn refused(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    #[test]
    fn a_missing_kind_names_the_command_that_installs_it() {
        let words = explain(
            "list RebootPolicies",
            &refused(404, "the server could not find the requested resource"),
        );
        assert!(words.contains("list RebootPolicies"), "{words}");
        assert!(
            words.contains("kubectl apply --server-side -f deploy/lockkeeper.yaml"),
            "{words}"
        );
    }

    #[test]
    fn a_missing_permission_names_the_role() {
        let words = explain("list Nodes", &refused(403, "nodes is forbidden"));
        assert!(words.contains("nodes is forbidden"), "{words}");
        assert!(words.contains("ClusterRole lockkeeper-operator"), "{words}");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let error = clients(Some(Path::new("/nowhere/kubeconfig")), &hooks())
            .await
            .unwrap_err();
        let words = error.to_string();
        assert!(
            words.starts_with("the kubeconfig /nowhere/kubeconfig cannot be used"),
            "{words}"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_in_one_line() {
        // A port that was free a moment ago, on which no process listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        let client = Client::new(service(&config, Duration::from_secs(2)).unwrap(), "default");
        let error = client.apiserver_version().await.unwrap_err();
        let words = explain("ask for the version", &error);
        assert!(words.contains("refused"), "{words}");
        assert!(!words.contains('\n'), "{words}");
    }

    #[test]
    fn a_write_that_was_not_sent_does_not_blame_the_server() {
        let error = kube::Error::Service(NotLeading.into());
        assert_eq!(
            explain("evict a pod", &error),
            "evict a pod: not sent: this replica leads no more"
        );
    }
}
