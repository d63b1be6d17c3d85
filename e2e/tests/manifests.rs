//! The chart without a cluster: its renderings, the values that it refuses, and the files generated from it.
//!
//! `make generate` updates the expected files.

mod alerts;
mod refusals;
mod renderings;
mod shape;
mod shipped;
mod values;

use std::path::PathBuf;
use std::sync::OnceLock;

use lockkeeper_e2e::binaries::Binaries;
use lockkeeper_e2e::helm::{Helm, Version};
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::renderings::{Case, cases, render};
use tempfile::TempDir;

/// The programs of the cluster, found or built once.
fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| Binaries::find_or_build().unwrap())
}

/// Helm without a cluster. Dropping the second value deletes its home directory.
fn helm(version: Version) -> (Helm, TempDir) {
    let home = tempfile::tempdir().unwrap();
    (Helm::new(binaries(), version, home.path()), home)
}

/// Each set of values with its rendering by Helm 4, rendered once for all tests.
fn rendered() -> &'static [(Case, String)] {
    static RENDERED: OnceLock<Vec<(Case, String)>> = OnceLock::new();
    RENDERED.get_or_init(|| {
        let (helm, _home) = helm(Version::Four);
        let each = cases().unwrap().into_iter();
        each.map(|case| {
            let text = render(&helm, &case).unwrap();
            (case, text)
        })
        .collect()
    })
}

fn file(path: &str) -> PathBuf {
    repository().join(path)
}

fn read(path: &str) -> String {
    let path = file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
