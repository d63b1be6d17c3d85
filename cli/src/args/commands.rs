//! The options of all commands but `drain` and `report`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::value_parser;

use super::values::{Output, OverrideName, deployment, instant, node_name};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Follow changes: redrawn in a terminal, otherwise one line for each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Print JSON.
    #[arg(short, long, value_enum, conflicts_with = "watch")]
    pub(crate) output: Option<Output>,
    /// Only the nodes of this policy.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Exit with 0 once every node of every policy (or of --policy) is up to date and no operation is left.
    #[arg(long, requires = "watch")]
    pub(crate) until_done: bool,
    /// Exit with 3 after this many seconds.
    #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NextArgs {
    /// The policy's name [default: all].
    #[arg(conflicts_with = "file")]
    pub(crate) policy: Option<String>,
    /// Read policies from this YAML file instead of a cluster; - is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The start of the period, such as 2026-11-24T22:00:00+01:00 [default: now].
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// The end of the period [default: 14 days later].
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Print JSON.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForecastArgs {
    /// The policy's name [default: all].
    pub(crate) policy: Option<String>,
    /// Print JSON.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The node's name [default: all].
    #[arg(value_parser = node_name)]
    pub(crate) node: Option<String>,
    /// Print JSON.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// The node's name.
    #[arg(value_parser = node_name)]
    pub(crate) node: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CommandArgs {
    /// The node's name.
    #[arg(value_parser = node_name)]
    pub(crate) node: String,
    /// Seconds to wait for the operator's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Seconds to wait; operations whose reboot is not ordered yet are cancelled at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Once no node is in progress, scale this Deployment to 0 and restore the limit of the lock.
    #[arg(long, value_name = "NAMESPACE/DEPLOYMENT", value_parser = deployment)]
    pub(crate) stop: Option<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UrgentArgs {
    /// The policy's name.
    pub(crate) policy: String,
    /// Why; shown wherever a node starts because of it.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    pub(crate) reason: Option<String>,
    /// For how many hours, at most 168.
    #[arg(long, value_name = "HOURS", default_value_t = 8, value_parser = value_parser!(i64).range(1..=168))]
    pub(crate) hours: i64,
    /// What is overridden; may be given several times.
    #[arg(long = "override", value_name = "NAME", value_enum, default_value = "IgnoreWindows")]
    pub(crate) overrides: Vec<OverrideName>,
    /// End the urgent override of the policy.
    #[arg(long, conflicts_with_all = ["reason", "hours", "overrides"])]
    pub(crate) end: bool,
}
