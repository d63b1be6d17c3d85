//! Runs the recipes of docs/recipes.md that need no special host. The recipe for Debian runs in `vm_rollout.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{TimeDelta, Utc};
use expect_test::expect_file;
use lockkeeper_crds::RebootRequired;
use lockkeeper_e2e::binaries::Binaries;
use lockkeeper_e2e::helm::documents;
use lockkeeper_e2e::install::repository;
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
    detectors
        .look(BootSpan {
            began,
            soft_rebooted: None,
            now,
        })
        .required
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

#[test]
fn the_agent_reports_a_file_in_the_drop_directory() {
    let run = tempfile::tempdir().unwrap();
    let output = sh(&block(PAGE, "drop").unwrap(), run.path(), run.path());
    assert!(output.status.success(), "{output:?}");
    let reasons = vec!["kernel 6.12.4 is installed".to_owned()];
    assert_eq!(found(run.path()), (true, "kernel".to_owned(), reasons));
}

/// The files for new machines.
const PROVISIONING: &str = "deploy/host/provisioning";

fn provisioning(file: &str) -> PathBuf {
    repository().join(PROVISIONING).join(file)
}

#[test]
fn butane_translates_the_files_for_flatcar_and_fedora_coreos() {
    let binaries = Binaries::find_or_build().unwrap();
    for name in ["flatcar", "fedora-coreos"] {
        let output = Command::new(binaries.program("butane"))
            .args(["--strict", "--pretty"])
            .arg(provisioning(&format!("{name}.bu")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        expect_file![provisioning(&format!("{name}.ign"))].assert_eq(&format!("{}\n", text.trim_end()));
    }
}

#[test]
fn cloud_init_gets_the_settings_of_the_recipe_for_debian() {
    let text = fs::read_to_string(provisioning("ubuntu.yaml")).unwrap();
    assert!(
        text.starts_with("#cloud-config\n"),
        "cloud-init tells by this line what the file is"
    );
    let config = documents(&text).unwrap().remove(0);
    let recipe = block(PAGE, "debian").unwrap();
    let files = config["write_files"].as_array().unwrap();
    let shared = files.iter().filter_map(|file| {
        let (path, content) = (file["path"].as_str().unwrap(), file["content"].as_str().unwrap());
        let heredoc = format!("cat >{path} <<'EOF'\n{content}EOF\n");
        recipe.contains(&heredoc).then_some(path)
    });
    assert_eq!(
        shared.collect::<Vec<_>>(),
        [
            "/etc/apt/apt.conf.d/20auto-upgrades",
            "/etc/apt/apt.conf.d/52lockkeeper"
        ]
    );
    for file in files {
        assert!(file.get("permissions").is_none(), "all users may read {file}");
    }
}
