//! The drain engine: evicts what may go, names what may not.
//!
//! ```text
//! watches (pods, node, budgets, attachments) --> State --> gate: who is asked now --> requests to leave
//!                                                  ^  \--> report: Progress, Cause        |
//!                                                  +------- reaction to the Answer <------+
//! ```
//!
//! `select`, `rule`, `state`, `gate`, `reaction`, `volumes`, `report` and `answer` are pure: time comes in as a value. `run`
//! is the only loop. Everything is read from the API, so a fresh call continues where a crashed one stopped.

mod answer;
mod blocker;
mod budget;
mod cause;
mod daemons;
mod dry_run;
mod error;
mod evict;
mod fits;
mod gate;
mod intake;
mod left;
mod limits;
mod node;
mod pod;
mod policy;
mod preflight;
mod progress;
mod reaction;
mod report;
mod rule;
mod run;
mod select;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod volumes;
mod watches;
mod words;

use kube::{Client, Config};

pub use blocker::{Blocker, Numbers};
pub use budget::BudgetView;
pub use cause::{Cause, MAX_CAUSES, MAX_PODS, group};
pub use daemons::{ReadyDaemon, not_ready_again, ready_daemons};
pub use dry_run::Answers;
pub use error::Error;
pub use left::still_there;
pub use pod::{Controller, Critical, Phase, PodName, PodView, Shutdown, Uid};
pub use preflight::{PodPreflight, Preflight, glance, preflight, preflight_again};
pub use progress::{Later, PodLine, PodState, Progress};
pub use rule::{Behavior, Namespaces, Rule};
pub use run::drain;
pub use select::{Bar, Decision, Stays, Tier, Verdict, decide};
pub use settings::{Deletion, EmptyDir, OwnPods, PodOptOuts, Settings, Stage, Unmanaged};

/// The client that a drain needs: kube's own retries would repeat a refused eviction for minutes, unseen.
pub fn eviction_client(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
}
