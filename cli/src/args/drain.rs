//! The options of `drain` and `report`.

use std::path::PathBuf;

use clap::value_parser;

use super::values::{Output, node_name};

#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// The nodes' names; they are drained one after another.
    #[arg(required = true, value_name = "NODE", value_parser = node_name)]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Only show what would happen to each pod, and what would block.
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) dry_run: bool,
    /// Uncordon nodes that this command cordoned.
    #[arg(long, conflicts_with_all = ["dry_run", "timeout", "policy", "file", "output"])]
    pub(crate) cancel: bool,
    /// Seconds for each node; then it is uncordoned again [default: the policy's drain.timeoutSeconds, else 900].
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Print JSON.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The nodes' names [default: all].
    #[arg(value_name = "NODE", value_parser = node_name)]
    pub(crate) nodes: Vec<String>,
    /// Only nodes with these labels.
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "nodes")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Print JSON.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// Whose `spec.drain` applies; neither = the node's own policy, and the defaults where it has none.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PolicyArgs {
    /// Drain as this RebootPolicy specifies [default: the node's own policy].
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) policy: Option<String>,
    /// Drain as the RebootPolicy in this file specifies; - is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
