//! `make cluster`: a cluster with Lockkeeper in it for a developer, until Ctrl-C.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;

/// A cluster with Lockkeeper in it; runs until Ctrl-C.
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

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let say = |what: &str| println!("{what}");
    match arguments.nodes {
        Nodes::Vm => {
            let mut stack = VmStack::start("cluster", arguments.count.unwrap_or(3), Release::Stable, &say).await?;
            let hint = "stage an update: kubectl annotate node node-1 lockkeeper.dev/reboot-requested=try";
            serve(&stack.plane, hint).await?;
            stack.workdir.passed();
        }
        Nodes::Hollow => {
            let mut stack = Stack::start("cluster", arguments.count.unwrap_or(20), 2).await?;
            let hint = "stage an update: kubectl annotate node hollow-0000 e2e.lockkeeper.dev/reboot-required=libc6";
            serve(&stack.plane, hint).await?;
            stack.workdir.passed();
        }
    }
    Ok(())
}

/// Prints how to use it and waits for Ctrl-C.
async fn serve(plane: &ControlPlane, hint: &str) -> Result<()> {
    let bin = plane.dir().join("bin");
    tools(plane, &bin)?;
    println!("\nthe cluster is ready; in another shell:\n");
    println!(
        "  export KUBECONFIG={} PATH={}:$PATH\n",
        plane.kubeconfig().display(),
        bin.display()
    );
    println!("then: kubectl apply -f deploy/samples/general.yaml; kubectl lockkeeper status --watch");
    println!("{hint}\nCtrl-C ends it; logs are in {}", plane.log_dir().display());
    tokio::signal::ctrl_c().await.context("wait for Ctrl-C")
}

/// kubectl and our plugin, side by side: a bare machine has neither.
fn tools(plane: &ControlPlane, bin: &Path) -> Result<()> {
    fs::create_dir_all(bin).with_context(|| format!("make {}", bin.display()))?;
    for (name, file) in [
        ("kubectl", plane.binaries().program("kubectl")),
        ("kubectl-lockkeeper", program("kubectl-lockkeeper")?),
    ] {
        let link = bin.join(name);
        std::os::unix::fs::symlink(&file, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}
