//! The directory of one cluster: logs, certificates, data.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A fresh directory that stays, and says where, unless its test says that it passed.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    passed: bool,
}

impl Workdir {
    /// Makes it under `$LOCKKEEPER_E2E_DIR`, or the system's directory for temporary files.
    pub fn new(name: &str) -> Result<Self> {
        let base = std::env::var_os("LOCKKEEPER_E2E_DIR")
            .map_or_else(|| std::env::temp_dir().join("lockkeeper-e2e"), PathBuf::from);
        fs::create_dir_all(&base).with_context(|| format!("make {}", base.display()))?;
        let path = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&base)
            .with_context(|| format!("make a directory in {}", base.display()))?
            .keep();
        Ok(Self { path, passed: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The logs are not needed: the directory is deleted with this value.
    pub fn passed(&mut self) {
        self.passed = true;
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if !self.passed {
            eprintln!("logs are in {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}
