//! The command lines of `drain` and `report`.

use std::path::PathBuf;

use clap::value_parser;

use crate::args::{Output, node_name};

#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// The Nodes' names; they are emptied one after another.
    #[arg(required = true, value_name = "NODE", value_parser = node_name)]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Only say what would happen to each pod, and what would block.
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) dry_run: bool,
    /// Lift the marks that this command has put on the nodes: they take pods again.
    #[arg(long, conflicts_with_all = ["dry_run", "timeout", "policy", "file", "output"])]
    pub(crate) cancel: bool,
    /// Seconds one node may take; then it is put back [default: the policy's drain.timeoutSeconds, else 900].
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Print for programs.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The Nodes' names [default: all].
    #[arg(value_name = "NODE", value_parser = node_name)]
    pub(crate) nodes: Vec<String>,
    /// Only nodes with these labels.
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "nodes")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Print for programs.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// Whose `spec.drain` counts; neither = the node's own policy, and the defaults where it has none.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PolicyArgs {
    /// Drain as this RebootPolicy says [default: the node's own].
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) policy: Option<String>,
    /// Drain as the RebootPolicy in this file says; - reads standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
