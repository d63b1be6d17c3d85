//! The drain engine: evicts what may go, names what may not.
//!
//! ```text
//! watches (pods of the node, budgets) --> State --> gate: who is asked now --> eviction requests
//!                                           ^  \--> report: Progress, Blocker        |
//!                                           +------- reaction to the Answer <-------+
//! ```
//!
//! `select`, `state`, `gate`, `reaction`, `report` and `answer` are pure: time comes in as a value. `run` is the only loop.
//! Everything is read from the API, so a fresh call continues where a crashed one stopped.

mod answer;
mod blocker;
mod budget;
mod error;
mod evict;
mod gate;
mod left;
mod pod;
mod preflight;
mod progress;
mod reaction;
mod report;
mod run;
mod select;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod watches;

use kube::{Client, Config};

pub use blocker::{Blocker, Numbers};
pub use budget::BudgetView;
pub use error::Error;
pub use left::still_there;
pub use pod::{Controller, Phase, PodName, PodView, Shutdown, Uid};
pub use preflight::preflight;
pub use progress::{MAX_SHOWN, Progress};
pub use run::drain;
pub use select::{Bars, Decision, Stays, decide};
pub use settings::{OwnPods, Settings, Unmanaged};

/// The client that a drain needs: kube's own retries would repeat a refused eviction for minutes, unseen.
pub fn eviction_client(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
}
