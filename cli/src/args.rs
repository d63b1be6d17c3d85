//! The command line.

mod commands;
mod drain;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use self::commands::{
    CommandArgs, ForecastArgs, HistoryArgs, NextArgs, NodeArgs, PauseArgs, StatusArgs, UrgentArgs,
};
pub(crate) use self::drain::{DrainArgs, PolicyArgs, ReportArgs};
pub(crate) use self::values::Output;

/// Show and control the reboots of this cluster.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-lockkeeper",
    bin_name = "kubectl lockkeeper",
    version,
    after_help = "Exit codes: 0 done, 1 error, 2 usage, 3 timed out, 4 blocked, 5 refused."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, with kubectl's own options.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig file [default: as kubectl, $KUBECONFIG or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show each policy, the nodes in progress, and why the others wait.
    Status(StatusArgs),
    /// Explain the state of one node: why, what happens next, and what you can do.
    Explain(NodeArgs),
    /// Show when nodes may start under the windows and exclusions of a cluster's policies, or of a file.
    Next(NextArgs),
    /// Predict when each node starts and ends, and when all are done, if nothing blocks.
    Forecast(ForecastArgs),
    /// List past operations: why, when, how long, and which kernel was installed.
    History(HistoryArgs),
    /// Retry a failed node; it keeps its slot.
    Retry(CommandArgs),
    /// Release a failed node: free its slot, uncordon it, and do not reboot it again for the same cause.
    Release(CommandArgs),
    /// Cancel the operation of a node before its reboot is ordered; the operator tries again later.
    Cancel(CommandArgs),
    /// Drain nodes for your own work: within disruption budgets, with or without the operator.
    Drain(DrainArgs),
    /// Show what would block a drain today, for all nodes or some; changes nothing.
    Report(ReportArgs),
    /// Start no new reboots and wait until no node is in progress, for example before an uninstall.
    Pause(PauseArgs),
    /// Allow new reboots again after `pause`.
    Resume,
    /// Override windows, checks or disruption budgets of a policy for some hours, for a reason.
    Urgent(UrgentArgs),
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn until_done_and_timeout_require_watch() {
        for option in [["status", "--until-done"], ["status", "--timeout=3"]] {
            let error = Args::try_parse_from([&["kubectl-lockkeeper"], &option[..]].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
    }
}
