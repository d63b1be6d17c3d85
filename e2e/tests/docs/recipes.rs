//! Runs the recipes of docs/recipes.md that need no special host. The recipe for Debian runs in `vm_rollout.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use chrono::{TimeDelta, Utc};
use lockkeeper_crds::RebootRequired;
use lockkeeper_e2e::pages::block;
use lockkeeper_node_agent::detect::{BootSpan, DetectorSettings, Detectors, HostDirectories};

const PAGE: &str = "docs/recipes.md";

/// Runs a script of the page, with `run` as the host's `/run`.
fn sh(script: &str, run: &Path, path: &Path) -> Output {
    let script = script.replace("/run/lockkeeper", run.join("lockkeeper").to_str().unwrap());
    let path = format!("{}:/usr/bin:/bin", path.display());
    Command::new("sh")
        .args(["-uc", &script])
        .env("PATH", path)
        .output()
        .unwrap()
}

/// The agent's report in a boot that began an hour ago.
fn report(run: &Path) -> RebootRequired {
    let now = Utc::now();
    let began = Some(now - TimeDelta::hours(1));
    let host = HostDirectories {
        run: run.to_owned(),
        ..HostDirectories::default()
    };
    let detectors = Detectors::new(&DetectorSettings::default(), &host).unwrap();
    detectors.look(BootSpan { began, now }).required
}

/// The agent's report: required, source, reasons.
fn found(run: &Path) -> (bool, String, Vec<String>) {
    let RebootRequired {
        required,
        source,
        reasons,
        ..
    } = report(run);
    (required, source, reasons.into_iter().map(|cause| cause.0).collect())
}

fn no() -> (bool, String, Vec<String>) {
    (false, String::new(), Vec::new())
}

#[test]
fn the_agent_reports_a_file_in_the_drop_directory() {
    let run = tempfile::tempdir().unwrap();
    let output = sh(&block(PAGE, "drop").unwrap(), run.path(), run.path());
    assert!(output.status.success(), "{output:?}");
    let reasons = vec!["kernel 6.12.4 is installed".to_owned()];
    assert_eq!(found(run.path()), (true, "kernel".to_owned(), reasons));
}

#[test]
fn the_dnf_script_distinguishes_required_not_required_and_errors() {
    let recipe = block(PAGE, "dnf").unwrap();
    let (_, script) = recipe.split_once("/lockkeeper-dnf <<'EOF'\n").unwrap();
    let (script, _) = script.split_once("\nEOF\n").unwrap();
    let (run, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ask = |dnf: &str| {
        let stand_in = bin.path().join("dnf");
        fs::write(&stand_in, format!("#!/bin/sh\n{dnf}\n")).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        sh(script, run.path(), bin.path()).status.success()
    };
    let yes =
        "printf 'Core libraries or services have been updated since boot-up:\\n  * glibc\\n  * kernel\\n'; exit 1";
    let required = || (true, "dnf".to_owned(), vec!["glibc".to_owned(), "kernel".to_owned()]);

    assert!(ask("echo 'No core libraries or services have been updated.'; exit 0"));
    assert_eq!(found(run.path()), no());
    assert!(ask(yes));
    assert_eq!(found(run.path()), required());
    let since = report(run.path()).since;
    assert!(ask(yes));
    assert_eq!(
        report(run.path()).since,
        since,
        "a second run keeps the time of the first"
    );
    // dnf also exits with 1 for most errors.
    for error in [
        "echo 'Error: the database is locked' >&2; exit 1",
        "exit 3",
        "kill -9 $$",
    ] {
        assert!(!ask(error), "{error}");
        assert_eq!(found(run.path()), required(), "{error}");
    }
    assert!(ask("exit 0"));
    assert_eq!(found(run.path()), no());
}
