//! Connections to the API server, and what a failure of one means in words.

mod counted;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tower::layer::layer_fn;

use crate::metrics::Metrics;
use counted::Counted;

/// How we are called in the API server's audit log.
pub const AGENT: &str = concat!("lockkeeper-operator/", env!("CARGO_PKG_VERSION"));

/// One client for each kind of request; **none of them retries**.
///
/// kube's own retry would repeat a refused eviction for minutes and hold up the loop, and it would carry a Lease
/// renewal past the end of the Lease. Whoever sends a request decides when to send it again.
#[derive(Clone)]
pub struct Clients {
    /// Reads and writes of the loop; a request that gets no answer fails after 15 s.
    pub api: Client,
    /// Watches, which may be silent for long.
    pub watch: Client,
    /// Evictions, whose admission webhooks may take up to 30 s.
    pub evict: Client,
    /// The Lease: an answer that comes late is worse than none.
    pub lease: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

/// Connects with the kubeconfig given, else with the service account of this pod, else with the user's kubeconfig; every
/// request is counted.
pub async fn clients(kubeconfig: Option<&Path>, metrics: &Arc<Metrics>) -> Result<Clients, ConnectError> {
    let config = config(kubeconfig).await?;
    let client = |seconds: Option<u64>| client(&config, seconds.map(Duration::from_secs), metrics);
    Ok(Clients {
        api: client(Some(15))?,
        watch: client(None)?,
        evict: client(Some(40))?,
        lease: client(Some(2))?,
    })
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

/// What is wrong with a request and what helps, in one line.
///
/// `what` says what was asked for, such as `list RebootPolicies`.
pub fn explain(what: &str, error: &kube::Error) -> String {
    format!("{what}: {}", describe_error(error))
}

/// What is wrong with a request and what helps, in one line without the step.
pub fn describe_error(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 => format!(
            "the API server knows no such object or kind ({}); if Lockkeeper's kinds are not installed: \
             kubectl apply --server-side -f deploy/lockkeeper.yaml",
            status.message.trim()
        ),
        kube::Error::Api(status) if status.code == 401 => format!(
            "the API server does not accept our credentials ({}); check the token or the certificate",
            status.message.trim()
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "not permitted ({}); check the ClusterRole lockkeeper-operator and its binding",
            status.message.trim()
        ),
        kube::Error::Api(status) => format!("the API server answered {}: {}", status.code, status.message),
        other => chain(other),
    }
}

/// An error and all its sources, once each; of an API server's answer its own words and the code.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let answer = match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(format!("{} ({})", status.message.trim(), status.code)),
            Some(_) | None => None,
        };
        let last = answer.is_some();
        let words = answer.unwrap_or_else(|| cause.to_string());
        if !text.contains(&words) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&words);
        }
        next = cause.source().filter(|_| !last);
    }
    text
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
        cause: chain(error),
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
            in_cluster: chain(in_cluster),
            kubeconfig: chain(&error),
        })
}

/// A client whose answers must begin within `patience`; without it a silent connection is left to its user.
fn client(config: &Config, patience: Option<Duration>, metrics: &Arc<Metrics>) -> Result<Client, ConnectError> {
    let mut config = config.clone();
    config.read_timeout = patience;
    config.write_timeout = patience.or(config.write_timeout);
    // A pooled connection that was idle must not count its idle time against the next answer.
    config.reset_reader_on_write = true;
    if let Some(patience) = patience {
        config.connect_timeout = config.connect_timeout.map(|connect| connect.min(patience));
    }
    let url = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError::Client {
        url,
        cause: chain(&error),
    })?;
    let count = layer_fn(|inner| Counted {
        inner,
        metrics: metrics.clone(),
    });
    Ok(builder.with_layer(&count).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new().unwrap())
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
        let error = clients(Some(Path::new("/nowhere/kubeconfig")), &metrics())
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
        // A port that was free a moment ago and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        let client = client(&config, Some(Duration::from_secs(2)), &metrics()).unwrap();
        let error = client.apiserver_version().await.unwrap_err();
        let words = explain("ask for the version", &error);
        assert!(words.contains("refused"), "{words}");
        assert!(!words.contains('\n'), "{words}");
    }
}
