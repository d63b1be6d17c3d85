//! The operator: observe, plan, check, execute, report.

pub mod cache;
pub mod client;
pub mod drain_settings;
pub mod election;
pub mod execute;
pub mod failed_writes;
pub mod health;
pub mod http;
pub mod leadership;
pub mod logging;
pub mod merge_patch;
pub mod metrics;
pub mod next_pass;
pub mod operator;
pub mod process;
pub mod reconcile;
pub mod report;
pub mod server_clock;
pub mod shutdown;
pub mod status;
pub mod tasks;
pub mod watched_kind;
