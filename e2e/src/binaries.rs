//! The programs of the cluster, built once into the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The directory of built programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Finds the programs, and builds them first when they are missing (minutes, with progress on stderr).
    pub fn find_or_build() -> Result<Self> {
        let script = cluster_dir().join("build.sh");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("run {}", script.display()))?;
        ensure!(
            output.status.success(),
            "{} ended with {}; its output says why",
            script.display(),
            output.status
        );
        let dir = String::from_utf8(output.stdout).context("build.sh printed a path that is not text")?;
        Ok(Self {
            dir: PathBuf::from(dir.trim()),
        })
    }

    /// `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet`, `kubectl`, `etcd` or `kwok`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// For PATH, so that a developer without kubectl has one.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Where the scripts and stages of the cluster are: `e2e/cluster` of this checkout.
pub fn cluster_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
