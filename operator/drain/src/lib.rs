//! The drain engine: it evicts the pods of a node within their disruption budgets and names each pod that blocks.
//!
//! ```text
//! watches (pods, node, budgets, attachments) --> State --> eviction gate --> eviction requests
//!                                                  ^  \--> report: Progress, Cause     |
//!                                                  +---- reaction <---- EvictionAnswer <+
//! ```
//!
//! `select`, `rule`, `state`, `eviction_gate`, `reaction`, `detach`, `report` and `answer` are pure: the time is an
//! argument. `run` is the only loop. Everything is read from the API server, so a fresh call continues where a crashed
//! one stopped.

#![warn(missing_docs)]

mod after_reboot;
mod answer;
mod arrivals;
mod at_cordon;
mod blocker;
mod budget;
mod cause;
mod clients;
mod completion;
mod daemon_pod;
mod daemonset_selector;
mod detach;
mod dry_run;
mod error;
mod evict;
mod eviction_gate;
mod fresh_reads;
mod in_tree;
mod limits;
mod message;
mod node;
mod opt_out;
mod pod;
mod policy;
mod preflight;
mod progress;
mod reaction;
mod ready_workloads;
mod report;
mod responders;
mod returns;
mod rule;
mod run;
mod select;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod trial;
mod volumes;
mod watch_intake;
mod watches;
mod workloads;

pub use after_reboot::PodsAfterReboot;
pub use at_cordon::{EmptyNode, PodsAtCordon, pods_at_cordon};
pub use blocker::{Blocker, BudgetNumbers, BudgetOutlook};
pub use budget::BudgetView;
pub use cause::{Cause, MAX_CAUSES, MAX_PODS, group_by_cause};
pub use clients::{DrainClients, eviction_client};
pub use dry_run::DryRunCache;
pub use error::Error;
pub use fresh_reads::remaining_pods;
pub use opt_out::OptOut;
pub use pod::{Controller, Criticality, Phase, PodName, PodView, Shutdown, Tolerance, Uid};
pub use preflight::{PodPreflight, Preflight, PreflightBlock, preflight, preflight_with_cache, quick_preflight};
pub use progress::{PodLine, PodState, Progress, WaitingTier};
pub use ready_workloads::{ReadyWorkload, ReadyWorkloads, find_unready, ready_workloads};
pub use responders::{ActiveResponder, withdraw_requests};
pub use returns::ReturningOwner;
pub use rule::{Behavior, Namespaces, Rule};
pub use run::drain;
pub use select::{Decision, EvictionBar, StayReason, Tier, Verdict, decide};
pub use settings::{Deletion, EmptyDir, OwnPods, PodOptOuts, Settings, Stage, Unmanaged};
pub use workloads::{Workload, WorkloadState, workload_states};
