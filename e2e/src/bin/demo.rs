//! `make demo`: a real control plane, nodes, an update on each, and a rollout that one can watch.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use clap::{Parser, ValueEnum};
use kube::Api;
use kube::api::ListParams;
use lockkeeper_crds::NodeReboot;
use lockkeeper_e2e::audit;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::recorder::{Recorder, Seen};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::table::{Facts, render};
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use lockkeeper_e2e::workload;
use serde_json::json;

/// Shows Lockkeeper's main job from nothing to a finished rollout.
#[derive(Debug, Parser)]
struct Arguments {
    /// Virtual machines that really reboot, or hollow nodes that only say so.
    #[arg(long, value_enum, default_value_t = Nodes::Vm)]
    nodes: Nodes,
    /// How many.
    #[arg(long)]
    count: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Nodes {
    Vm,
    Hollow,
}

/// Replicas of the workload, and how many its budget keeps.
const REPLICAS: (i32, i32) = (2, 1);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let demo = tokio::select! {
        demo = demo(&arguments) => demo,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; everything it started has ended")),
    };
    match demo {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let say = move |what: &str| {
        let seconds = begin.elapsed().as_secs();
        println!("[{}:{:02}] {what}", seconds / 60, seconds % 60);
    };
    match arguments.nodes {
        Nodes::Vm => {
            let mut stack = VmStack::start("demo", arguments.count.unwrap_or(3), Release::Stable, &say).await?;
            let names = stack.nodes.node_names();
            let run = Run::begin(&stack.plane, &say).await?;
            say("staging an OS update on every node: /run/reboot-required and its list of packages appear");
            for name in &names {
                stack
                    .nodes
                    .stage_update(name, &["linux-image-6.12.0-2", "libc6"])
                    .await?;
            }
            watch(&stack.plane, names.len(), Duration::from_mins(30))?;
            let ended = Utc::now();
            let mut memory = BTreeMap::new();
            for name in &names {
                guest_memory(&stack, name, &mut memory).await;
            }
            run.end(&stack.plane, ended, &memory).await?;
            stack.workdir.passed();
        }
        Nodes::Hollow => {
            let count = arguments.count.unwrap_or(20);
            say(&format!("starting the control plane, {count} hollow nodes, Lockkeeper"));
            let mut stack = Stack::start("demo", count, 2).await?;
            let names = stack.nodes.names().to_vec();
            for name in &names {
                stack.nodes.annotate(name, DOWN_SECONDS, Some("1")).await?;
            }
            let run = Run::begin(&stack.plane, &say).await?;
            say("staging an OS update on every node");
            for name in &names {
                stack.stage_update(name).await?;
            }
            watch(&stack.plane, names.len(), Duration::from_mins(10))?;
            let ended = Utc::now();
            let operator = stack
                .operators
                .iter()
                .filter_map(lockkeeper_e2e::process::Process::rss_kib)
                .max();
            let memory = operator.map(|kib| ("lockkeeper-operator".to_owned(), kib));
            // All agents are one process here; their share is the share of each.
            let share = |kib: u64| kib / u64::try_from(count).unwrap_or(1).max(1);
            let agents = stack
                .agents
                .rss_kib()
                .map(|kib| ("lockkeeper-node-agent".to_owned(), share(kib)));
            run.end(&stack.plane, ended, &memory.into_iter().chain(agents).collect())
                .await?;
            stack.workdir.passed();
        }
    }
    Ok(())
}

/// One rollout, from the policy to the verdict.
struct Run {
    recorder: Recorder,
    before: BTreeMap<String, usize>,
    began: DateTime<Utc>,
}

impl Run {
    /// Workload, policy, and everything quiet: what is counted from here on is the rollout.
    async fn begin(plane: &ControlPlane, say: &dyn Fn(&str)) -> Result<Self> {
        say("starting the workload: two replicas under a budget of at least one");
        workload::start(&plane.client(), REPLICAS.0, REPLICAS.1).await?;
        say("applying the four-line policy: every node, one at a time, within budgets");
        plane.policy("general", json!({})).await?;
        plane.kubectl(&["wait", "rbp/general", "--for=condition=UpToDate", "--timeout=300s"])?;
        let recorder = Recorder::start(&plane.client());
        Ok(Self {
            recorder,
            before: audit::count_by_program(&plane.requests()?),
            began: Utc::now(),
        })
    }

    /// Prints the last screen. Fails unless every node has a new boot, holds no slot, and the workload stayed available.
    async fn end(&self, plane: &ControlPlane, ended: DateTime<Utc>, memory: &BTreeMap<String, u64>) -> Result<()> {
        let reboots: Vec<NodeReboot> = Api::all(plane.client())
            .list(&ListParams::default())
            .await
            .context("list NodeReboots")?
            .items;
        let seconds = (ended - self.began).num_seconds();
        let mut requests = audit::count_by_program(&plane.requests()?);
        for (program, count) in &mut requests {
            *count -= self.before.get(program).copied().unwrap_or(0);
        }
        let finished = self.check_finished(&reboots).await;
        let seen = self.recorder.seen();
        let replicas = usize::try_from(REPLICAS.0)?;
        println!(
            "{}",
            render(&Facts {
                reboots: &reboots,
                seen: &seen,
                seconds,
                replicas,
                requests: &requests,
                memory
            })
        );
        finished?;
        self.recorder.verdict(1, usize::try_from(REPLICAS.1)?).await?;
        Ok(())
    }

    /// The outside view may be a moment behind the status.
    async fn check_finished(&self, reboots: &[NodeReboot]) -> Result<()> {
        for _ in 0..600 {
            if unsettled(&self.recorder.seen(), reboots).is_none() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        match unsettled(&self.recorder.seen(), reboots) {
            None => Ok(()),
            Some(what) => bail!("{what}"),
        }
    }
}

/// The product's own live view, until every node is done.
fn watch(plane: &ControlPlane, count: usize, limit: Duration) -> Result<()> {
    plane.kubectl(&[
        "wait",
        "rbp/general",
        "--for=condition=UpToDate=False",
        "--timeout=300s",
    ])?;
    println!("$ kubectl lockkeeper status --watch");
    let view = Command::new(program("kubectl-lockkeeper")?)
        .args(["status", "--watch", "--until-done"])
        .arg(format!("--timeout={}", limit.as_secs()))
        .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
        .spawn()
        .context("start kubectl-lockkeeper")?;
    let mut view = Kill(view);
    let status = tokio::task::block_in_place(|| view.0.wait()).context("wait for kubectl-lockkeeper")?;
    ensure!(
        status.success(),
        "the rollout of {count} nodes did not end within {limit:?} ({status})"
    );
    if std::io::stdout().is_terminal() {
        println!();
    }
    Ok(())
}

fn unsettled(seen: &Seen, reboots: &[NodeReboot]) -> Option<String> {
    for reboot in reboots {
        let name = reboot.metadata.name.clone().unwrap_or_default();
        if seen.boots.get(&name).is_none_or(|boots| boots.len() < 2) {
            return Some(format!("{name} has no new boot id"));
        }
    }
    (!seen.cordoned.is_empty()).then(|| format!("still cordoned: {:?}", seen.cordoned))
}

/// A child that does not outlive us.
struct Kill(std::process::Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The largest resident size of our programs in a guest; the kernel cuts their names to 15 characters.
async fn guest_memory(stack: &VmStack, name: &str, memory: &mut BTreeMap<String, u64>) {
    const PROGRAMS: [&str; 2] = ["lockkeeper-operator", "lockkeeper-node-agent"];
    let Ok(text) = stack.nodes.exec(name, "ps -eo rss=,comm=").await else {
        return;
    };
    for line in text.lines() {
        let Some((kib, comm)) = line.trim().split_once(' ') else {
            continue;
        };
        let program = PROGRAMS.into_iter().find(|program| &program[..15] == comm.trim());
        if let (Some(program), Ok(kib)) = (program, kib.parse::<u64>()) {
            let known = memory.entry(program.to_owned()).or_insert(0);
            *known = kib.max(*known);
        }
    }
}
