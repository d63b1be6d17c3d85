//! The real Helm, versions 3 and 4, as pinned in `cluster/helm3` and `cluster/helm4`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::binaries::Binaries;
use crate::install::repository;

/// Which of the two that people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Helm 3: client-side three-way patches.
    Three,
    /// Helm 4: server-side apply.
    Four,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Three, Self::Four];

    fn program(self) -> &'static str {
        match self {
            Self::Three => "helm3",
            Self::Four => "helm4",
        }
    }
}

/// Helm, with its home in a directory of its own; it talks to a cluster only if it was given a kubeconfig.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// One of the two versions; what it caches goes into `home`.
    pub fn new(binaries: &Binaries, version: Version, home: &Path) -> Self {
        Self {
            program: binaries.program(version.program()),
            home: home.join(version.program()),
            kubeconfig: None,
        }
    }

    /// The same one, for a cluster.
    #[must_use]
    pub fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        self.kubeconfig = Some(kubeconfig.to_owned());
        self
    }

    /// The command line, to be run in another way.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // No kubeconfig of the person who runs the test is ever used.
        command.env("KUBECONFIG", "/nonexistent").stdin(Stdio::null());
        for (variable, dir) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
            command.env(format!("HELM_{variable}_HOME"), self.home.join(dir));
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        command.args(args);
        command
    }

    /// Runs it and returns what it said, however it ended.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        self.command(args).output().context("start helm")
    }

    /// Runs it and returns what it printed; an error is what it complained of.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {said}", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and returns what it complained of; an error if it did not.
    pub fn refused(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        ensure!(!output.status.success(), "helm {} was taken", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The chart's directory.
pub fn chart() -> String {
    repository().join("charts/lockkeeper").to_string_lossy().into_owned()
}

/// The documents of a YAML text.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document).context("read YAML")?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}
