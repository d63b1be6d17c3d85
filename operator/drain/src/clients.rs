//! The clients of a drain: one for its requests, one for its watches.

use std::fmt;

use kube::{Client, Config};

use crate::error::Error;

/// The clients of a drain. Neither retries by itself.
#[derive(Clone)]
pub struct DrainClients {
    /// Sends evictions, lists and single reads. Its answers may have a time limit.
    pub requests: Client,
    /// Holds the watches. It must have no read timeout: a watch is silent for as long as nothing changes.
    pub watches: Client,
}

/// One client for both, without a read timeout.
impl From<Client> for DrainClients {
    fn from(client: Client) -> Self {
        Self {
            requests: client.clone(),
            watches: client,
        }
    }
}

impl fmt::Debug for DrainClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainClients")
    }
}

/// Creates the client for a drain. It does not retry: kube's own retries would repeat a refused eviction for minutes.
pub fn eviction_client(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
}
