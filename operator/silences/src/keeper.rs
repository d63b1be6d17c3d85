//! The task that makes the silences in Alertmanager what they should be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Method;
use lockkeeper_outbound::{Client, Error, Target};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::api::{NewSilence, Silence, changed, created};
use crate::config::Config;
use crate::plan::{Desired, Step, next_due, steps};

/// The pause after a failure; doubled each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A silence was made.
    Created,
    /// A silence ends later than before.
    Extended,
    /// A silence was ended, or ends sooner than before.
    Ended,
    /// Alertmanager did not answer, or refused; it is asked again.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Created, Self::Extended, Self::Ended, Self::Failed];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Extended => "extended",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// Is told what becomes of silences.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A step ended in this way.
    fn count_silence(&self, outcome: Outcome);
}

/// Sends requests; in production a [`Client`].
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and returns the body of a success.
    fn send(&self, method: Method, target: &Target, body: Bytes) -> impl Future<Output = Result<Bytes, Error>> + Send;
}

impl Transport for Client {
    async fn send(&self, method: Method, target: &Target, body: Bytes) -> Result<Bytes, Error> {
        let content_type = (!body.is_empty()).then_some("application/json");
        Client::send(self, method, target, content_type, &[], body)
            .await?
            .success(target)
    }
}

/// Takes the operations that there are; clones are the same one. Without a keeper it drops them.
#[derive(Clone, Debug, Default)]
pub struct Silencer(Option<Arc<watch::Sender<Option<Desired>>>>);

impl Silencer {
    /// These operations are in progress, or failed; `None` while another replica leads. Never waits and never fails.
    pub fn set(&self, desired: Option<Desired>) {
        if let Some(sender) = &self.0 {
            sender.send_if_modified(|current| {
                let is_new = *current != desired;
                *current = desired;
                is_new
            });
        }
    }

    /// Whether anything is done with the operations.
    pub fn is_active(&self) -> bool {
        self.0.is_some()
    }
}

/// The task that talks to Alertmanager.
#[derive(Debug)]
pub struct Keeper<T, C> {
    path: PathBuf,
    transport: T,
    clock: C,
    observer: Arc<dyn Observer>,
    desired: watch::Receiver<Option<Desired>>,
    last_error: Option<String>,
}

impl<T: Transport, C: Fn() -> DateTime<Utc> + Send + 'static> Keeper<T, C> {
    /// The keeper of the silences in the Alertmanager that this file names, and what feeds it.
    pub fn new(path: PathBuf, transport: T, clock: C, observer: Arc<dyn Observer>) -> (Silencer, Self) {
        let (sender, desired) = watch::channel(None);
        let keeper = Self {
            path,
            transport,
            clock,
            observer,
            desired,
            last_error: None,
        };
        (Silencer(Some(Arc::new(sender))), keeper)
    }

    /// Runs until all silencers are dropped. Silences that are left end by themselves, or the next leader ends them.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        // An error in the file is told at once, not only once a node is rebooted.
        if let Err(error) = Config::read(&self.path) {
            self.failed(&error);
        }
        loop {
            let desired = self.desired.borrow_and_update().clone();
            let due = match &desired {
                None => None,
                Some(desired) => match self.round(desired).await {
                    Ok(due) => {
                        pause = FIRST_PAUSE;
                        if self.last_error.take().is_some() {
                            tracing::info!("silences are kept again");
                        }
                        due
                    }
                    Err(error) => {
                        self.failed(&error);
                        let retry = Instant::now() + pause;
                        pause = (pause * 2).min(MAX_PAUSE);
                        Some(retry)
                    }
                },
            };
            let changed = tokio::select! {
                changed = self.desired.changed() => changed,
                () = wait(due) => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn failed(&mut self, error: &str) {
        self.observer.count_silence(Outcome::Failed);
        if self.last_error.as_deref() != Some(error) {
            tracing::warn!("silences: {error}; no reboot waits for them");
            self.last_error = Some(error.to_owned());
        }
    }

    /// Lists all silences and does what is to be done. Returns when to do so again.
    async fn round(&self, desired: &Desired) -> Result<Option<Instant>, String> {
        let config = Config::read(&self.path).map_err(|error| format!("the configuration: {error}"))?;
        let list = config.target.join("/api/v2/silences", &[]);
        let body = self
            .transport
            .send(Method::GET, &list, Bytes::new())
            .await
            .map_err(|error| error.to_string())?;
        let existing: Vec<Silence> = serde_json::from_slice(&body).map_err(|_| {
            format!(
                "{} is no list of silences; check that url is that of Alertmanager",
                list.url()
            )
        })?;
        let now = (self.clock)();
        // A silence that is refused keeps no other from being made or ended.
        let mut first_error = None;
        for step in steps(desired, &existing, &config, now) {
            if let Err(error) = self.carry_out(&step, desired, &config, now).await {
                first_error.get_or_insert(error.to_string());
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        let due = next_due(desired, &config, now).and_then(|due| (due - now).to_std().ok());
        Ok(due.map(|wait| Instant::now() + wait))
    }

    async fn carry_out(
        &self,
        step: &Step,
        desired: &Desired,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let outcome = match step {
            Step::Create { operation } => {
                let Some(node) = desired.in_progress.get(operation) else {
                    return Ok(());
                };
                let new = NewSilence {
                    cluster: &desired.cluster,
                    node: &node.node,
                    policy: &node.policy,
                    operation,
                };
                self.write(config, &created(config, &new, now)).await?;
                tracing::info!(node = node.node, operation, "silence created");
                Outcome::Created
            }
            Step::EndAt { silence, at } => {
                self.write(config, &changed(silence, *at)).await?;
                if *at > silence.ends_at {
                    Outcome::Extended
                } else {
                    Outcome::Ended
                }
            }
            Step::Expire { id } => {
                let target = config.target.join(&format!("/api/v2/silence/{id}"), &[]);
                self.transport.send(Method::DELETE, &target, Bytes::new()).await?;
                Outcome::Ended
            }
        };
        self.observer.count_silence(outcome);
        Ok(())
    }

    async fn write(&self, config: &Config, document: &Value) -> Result<(), Error> {
        let target = config.target.join("/api/v2/silences", &[]);
        let body = Bytes::from(document.to_string());
        self.transport.send(Method::POST, &target, body).await.map(drop)
    }
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
