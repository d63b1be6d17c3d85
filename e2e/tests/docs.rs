//! Tests of the documentation without a cluster: recipes run, every alert has a runbook, references are up to date.
//!
//! `make generate` updates the references.

mod helm;
mod messages;
mod reasons;
mod recipes;
mod reference;
mod runbooks;

use std::path::PathBuf;

use lockkeeper_e2e::helm::documents;
use lockkeeper_e2e::install::repository;
use serde_json::Value;

/// Every page for users, by path: the READMEs and all pages under `docs`.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec![
        repository().join("README.md"),
        repository().join("charts/lockkeeper/README.md"),
    ];
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    pages.into_iter().map(read).collect()
}

/// The shipped alerts, by name.
fn alerts() -> Value {
    let path = repository().join("charts/lockkeeper/files/alerts.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    documents(&text).unwrap().remove(0)["alerts"].take()
}
