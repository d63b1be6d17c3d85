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
    /// Finds what a cluster runs on, and builds first what is missing (minutes, with progress on stderr).
    pub fn find_or_build() -> Result<Self> {
        Self::built("demo")
    }

    fn built(what: &str) -> Result<Self> {
        let script = cluster_dir().join("build.sh");
        let output = Command::new(&script)
            .arg(what)
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

    /// One of `build.sh`'s programs; one that only tests use is built now if it is missing.
    pub fn program(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        if !path.exists()
            && let Err(error) = Self::built(name)
        {
            eprintln!("{error:#}");
        }
        path
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
