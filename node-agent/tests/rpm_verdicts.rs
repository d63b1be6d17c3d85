//! The verdict of the RPM detector, compared with that of `dnf needs-restarting --reboothint` on databases that rpm wrote.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{DateTime, Utc};
use lockkeeper_node_agent::detect::{BootSpan, DetectorName, DetectorSettings, Detectors, HostDirectories};

/// The plugin of dnf, which names the packages that it looks at.
const PLUGIN: &str = "/usr/lib/python3/dist-packages/dnf-plugins/needs_restarting.py";
/// Packages of other distributions, and of later versions of dnf, that the detector looks at as well.
const MORE: [&str; 7] = [
    "kernel-core",
    "kernel-default",
    "kernel-rt-core",
    "kernel-uek",
    "kernel-uek-core",
    "microcode_ctl",
    "openssl-libs",
];
/// Packages that take effect without a reboot.
const OTHERS: [&str; 4] = ["bash", "kernel-headers", "systemd-libs", "glibc-common"];

type Names = BTreeSet<String>;

fn names(names: &[&str]) -> Names {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The packages that dnf looks at.
fn of_dnf() -> Names {
    let text = fs::read_to_string(PLUGIN).expect("dnf has its plugins; they are in the package dnf-plugins-core");
    let (_, list) = text.split_once("NEED_REBOOT = [").expect("the plugin has a list");
    let (list, _) = list.split_once(']').unwrap();
    list.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// When dnf takes this machine to have booted.
fn boot() -> DateTime<Utc> {
    DateTime::from_timestamp(fs::metadata("/proc/1").unwrap().mtime(), 0).unwrap()
}

/// An installation of packages in a directory.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::write(host.path("dnf.conf"), "[main]\n").unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Builds empty packages of these names and this version, and installs them as at this time.
    fn install(&self, names: &Names, version: &str, time: DateTime<Utc>) {
        let package =
            |name: &String| format!("%package -n {name}\nSummary: x\n%description -n {name}\nx\n%files -n {name}\n");
        let packages: Vec<String> = names.iter().map(package).collect();
        let spec = format!(
            "Name: host\nVersion: {version}\nRelease: 1.el9\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n{}",
            packages.concat()
        );
        let (top, file) = (self.path(version), self.path("host.spec"));
        fs::write(&file, spec).unwrap();
        let mut build = Command::new("rpmbuild");
        build
            .args(["--quiet", "-bb", "--define"])
            .arg(format!("_topdir {}", top.display()));
        ended_well(&output(build.arg(&file)));
        let packages = fs::read_dir(top.join("RPMS/noarch")).unwrap();
        let packages: Vec<String> = packages.map(|entry| path(&entry.unwrap().path())).collect();
        assert_eq!(packages.len(), names.len());
        let root = path(&self.path("root"));
        let mut arguments = vec!["--root", &root, "-U", "--nodeps", "--noscripts"];
        arguments.extend(packages.iter().map(String::as_str));
        fs::create_dir_all(self.path("root")).unwrap();
        ended_well(&run_at(time, "rpm", &arguments));
    }

    /// What dnf says: the packages because of which a reboot is required.
    fn dnf(&self) -> Names {
        let mut dnf = Command::new("dnf");
        dnf.arg("--installroot").arg(self.path("root"));
        dnf.arg("--config").arg(self.path("dnf.conf"));
        dnf.args([
            "--releasever",
            "9",
            "--setopt",
            "reposdir=/nowhere",
            "needs-restarting",
            "--reboothint",
        ]);
        let said = output(&mut dnf);
        let text = String::from_utf8(said.stdout).unwrap();
        let packages: Names = text
            .lines()
            .filter_map(|line| line.strip_prefix("  * "))
            .map(str::to_owned)
            .collect();
        assert_eq!(said.status.code(), Some(i32::from(!packages.is_empty())), "{text}");
        packages
    }

    /// What the detector says.
    fn detector(&self) -> Names {
        let settings = DetectorSettings {
            names: vec![DetectorName::Rpm],
            ..DetectorSettings::default()
        };
        let host = HostDirectories {
            run: self.path("root"),
            rpm: self.path("root/home/.rpmdb"),
            ..HostDirectories::default()
        };
        let boot = BootSpan {
            began: Some(boot()),
            soft_rebooted: None,
            now: Utc::now(),
        };
        let required = Detectors::new(&settings, &host).unwrap().look(boot).required;
        assert!(required.failing.is_empty(), "{required:?}");
        let name = |reason: &str| reason.rsplitn(3, '-').last().unwrap().to_owned();
        required.reasons.iter().map(|cause| name(&cause.0)).collect()
    }
}

/// Runs a program as it runs at this time.
fn run_at(time: DateTime<Utc>, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("faketime");
    command.arg(time.format("%Y-%m-%d %H:%M:%S").to_string()).arg(program);
    output(command.args(arguments))
}

fn output(command: &mut Command) -> Output {
    // Debian's rpm has its database below the home.
    let command = command.env("HOME", "/home").env("LC_ALL", "C").env("TZ", "UTC");
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; it is in the package of its name"))
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn ended_well(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_rpm_detector_looks_at_the_packages_of_dnf_and_some_more() {
    let host = Host::new();
    let both: Names = of_dnf().union(&names(&MORE)).cloned().collect();
    let all = both.union(&names(&OTHERS)).cloned().collect();
    host.install(&all, "1.0", Utc::now());
    assert_eq!(host.dnf(), of_dnf());
    assert_eq!(host.detector(), both);
}

#[test]
fn the_rpm_detector_and_dnf_agree_about_what_was_installed_before_the_boot() {
    let host = Host::new();
    let before = boot() - chrono::TimeDelta::days(2);
    host.install(&of_dnf(), "1.0", before);
    assert_eq!((host.dnf(), host.detector()), (names(&[]), names(&[])));
    let updated = names(&["glibc", "systemd"]);
    host.install(&updated, "1.1", Utc::now());
    assert_eq!((host.dnf(), host.detector()), (updated.clone(), updated));
}

#[test]
fn the_rpm_detector_and_dnf_agree_about_a_package_that_was_removed_again() {
    let host = Host::new();
    host.install(&names(&["glibc", "bash"]), "1.0", Utc::now());
    assert_eq!(host.dnf(), host.detector());
    let root = path(&host.path("root"));
    ended_well(&run_at(
        Utc::now(),
        "rpm",
        &["--root", &root, "-e", "--nodeps", "glibc"],
    ));
    assert_eq!((host.dnf(), host.detector()), (names(&[]), names(&[])));
}
