//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand, ValueEnum};

use crate::drain::args::{DrainArgs, ReportArgs};

/// What the reboots of this cluster are doing, and what you can do about one.
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

/// Which cluster, as kubectl asks for it.
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
    /// Which node is where on its way through the lock, and why the others wait.
    Status(StatusArgs),
    /// Why one node is where it is, what comes next and what you can do.
    Explain(NodeArgs),
    /// When nodes may start: the openings that windows and exclusions leave, of a cluster's policies or of a file.
    Next(NextArgs),
    /// When each node will start and end, and when all are done, if nothing blocks.
    Forecast(ForecastArgs),
    /// What was done to nodes: why, when, for how long, and which kernel runs since.
    History(HistoryArgs),
    /// Try a failed node again; it keeps its slot.
    Retry(WordArgs),
    /// Give a node's slot back and lift our marks; it is not rebooted again for the same cause.
    Release(WordArgs),
    /// Put a node back before it is rebooted.
    Cancel(WordArgs),
    /// Empty nodes for work of your own: within budgets, losing no data unasked, with or without the operator.
    Drain(DrainArgs),
    /// What would block a drain today, for all nodes or some; changes nothing.
    Report(ReportArgs),
    /// Start nothing more and wait until no node is inside: before an uninstall.
    Settle(SettleArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Follow it: redrawn in a terminal, else one line for each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Print for programs.
    #[arg(short, long, value_enum, conflicts_with = "watch")]
    pub(crate) output: Option<Output>,
    /// Only the nodes of this policy.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// End with 0 once every node of every policy (or of --policy) is up to date and out of the lock.
    #[arg(long, requires = "watch")]
    pub(crate) until_done: bool,
    /// End with 3 after that many seconds.
    #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Look from this time on, such as 2026-11-24T22:00:00+01:00 [default: now].
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Look up to this time [default: 14 days later].
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Print for programs.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForecastArgs {
    /// The policy's name [default: all].
    pub(crate) policy: Option<String>,
    /// Print for programs.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The Node's name [default: all].
    #[arg(value_parser = node_name)]
    pub(crate) node: Option<String>,
    /// Print for programs.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// The Node's name.
    #[arg(value_parser = node_name)]
    pub(crate) node: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WordArgs {
    /// The Node's name.
    #[arg(value_parser = node_name)]
    pub(crate) node: String,
    /// Seconds to wait for the operator's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc())
        .map_err(|_| "not a time such as 2026-11-24T22:00:00Z or 2026-11-24T22:00:00+01:00".to_owned())
}

#[derive(Debug, clap::Args)]
pub(crate) struct SettleArgs {
    /// Seconds to wait; nodes that are not rebooting yet are put back at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Once nobody is inside, scale this Deployment to 0 and open the lock again: what comes next finds it as it was.
    #[arg(long, value_name = "NAMESPACE/DEPLOYMENT", value_parser = deployment)]
    pub(crate) stop: Option<(String, String)>,
    /// Open the lock again instead.
    #[arg(long, conflicts_with = "stop")]
    pub(crate) undo: bool,
}

fn deployment(text: &str) -> Result<(String, String), String> {
    let both = text
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = both.ok_or("it is NAMESPACE/DEPLOYMENT")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Takes `node/NAME` too, as `kubectl get -o name` prints it.
pub(crate) fn node_name(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    if name.is_empty() {
        return Err("a node has a name".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn takes_a_node_as_kubectl_prints_it() {
        assert_eq!(node_name("node/w-01").unwrap(), "w-01");
        assert_eq!(node_name("w-01").unwrap(), "w-01");
        assert!(node_name("node/").is_err());
    }

    #[test]
    fn until_done_and_timeout_make_sense_only_while_watching() {
        for words in [["status", "--until-done"], ["status", "--timeout=3"]] {
            let error = Args::try_parse_from([&["kubectl-lockkeeper"], &words[..]].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
    }
}
