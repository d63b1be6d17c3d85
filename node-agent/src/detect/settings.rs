//! Which detectors run: by default those that fit the host.

use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;

use super::detector::Detector;
use super::kernel::KernelDrift;
use super::ostree::Ostree;
use super::rpm::RpmDatabase;
use super::sentinel::{DropDirectory, Sentinel};
use super::updater::{UpdateEngine, UpdatesFile};
use super::uptime::MaximumUptime;

/// Distributions whose own sentinel says that a new kernel is installed: by `ID` or `ID_LIKE` of `os-release`.
const WITH_SENTINEL: [&str; 6] = ["debian", "ubuntu", "suse", "opensuse", "sles", "flatcar"];
/// Distributions of RPM packages without such a sentinel.
const WITH_RPM: [&str; 7] = ["fedora", "rhel", "centos", "amzn", "azurelinux", "mariner", "ol"];
/// Distributions that `update_engine` updates: Flatcar, Container-Optimized OS, ChromeOS.
const WITH_UPDATE_ENGINE: [&str; 4] = ["flatcar", "cos", "chromeos", "chromiumos"];
/// Where the host's `/run` is on the host.
const RUN: &str = "/run";

/// A detector that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum DetectorName {
    /// All that fit the host: the sentinels, the drop directory, and the kernel where no sentinel reports it.
    Auto,
    /// The sentinel of Debian, Ubuntu, Flatcar and bootc.
    Debian,
    /// The sentinel of SUSE.
    Suse,
    /// The sentinel of Amazon Linux 2023.
    Amazon,
    /// The drop directory.
    DropDirectory,
    /// A newer kernel than the running one.
    Kernel,
    /// Packages that the RPM database says were installed after the boot.
    Rpm,
    /// The program that updates Flatcar and ChromeOS, by the system bus.
    UpdateEngine,
    /// A deployment of ostree that waits for the next boot.
    Ostree,
}

/// What the administrator sets.
#[derive(Clone, Debug)]
pub struct DetectorSettings {
    /// The detectors.
    pub names: Vec<DetectorName>,
    /// Further sentinel files, as paths of the host below `/run`.
    pub sentinels: Vec<PathBuf>,
    /// The longest uptime in days; `None` for no limit.
    pub max_uptime_days: Option<u32>,
    /// The name of the node, from which its moment within the last tenth of the uptime follows.
    pub node: String,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            names: vec![DetectorName::Auto],
            sentinels: Vec::new(),
            max_uptime_days: None,
            node: String::new(),
        }
    }
}

/// The host as the detectors see it.
#[derive(Clone, Debug, Default)]
pub struct HostDirectories {
    /// The host's `/run`.
    pub run: PathBuf,
    /// The host's `/lib/modules`.
    pub modules: PathBuf,
    /// The host's RPM database.
    pub rpm: PathBuf,
    /// What the actuator read on the system bus.
    pub updates: UpdatesFile,
    /// The release of the running kernel.
    pub kernel: String,
    /// The words of `ID` and `ID_LIKE` of the host's `os-release`.
    pub distribution: Vec<String>,
}

impl HostDirectories {
    fn is_any_of(&self, names: &[&str]) -> bool {
        let is = |word: &String| names.iter().any(|name| word.starts_with(name));
        self.distribution.iter().any(is)
    }
}

/// Settings that make no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The agent can read files below the host's `/run` only.
    #[error("--sentinel {0}: give an absolute path below /run without \"..\", such as /run/my-reboot-required")]
    Sentinel(PathBuf),
}

impl DetectorSettings {
    /// The detectors, each once, in a fixed order.
    pub(super) fn detectors(&self, host: &HostDirectories) -> Result<Vec<Box<dyn Detector>>, SettingsError> {
        let run = &host.run;
        let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
        for name in self.chosen(host) {
            match name {
                DetectorName::Auto => {}
                DetectorName::Debian => detectors.push(Box::new(Sentinel::debian(run))),
                DetectorName::Suse => detectors.push(Box::new(Sentinel::suse(run))),
                DetectorName::Amazon => detectors.push(Box::new(Sentinel::amazon(run))),
                DetectorName::DropDirectory => detectors.push(Box::new(DropDirectory::new(run))),
                DetectorName::Rpm => detectors.push(Box::new(RpmDatabase::new(&host.rpm))),
                DetectorName::Kernel => detectors.push(Box::new(KernelDrift::new(&host.modules, &host.kernel))),
                DetectorName::UpdateEngine => detectors.push(Box::new(UpdateEngine::new(&host.updates))),
                DetectorName::Ostree => detectors.push(Box::new(Ostree::new(run, &host.updates))),
            }
        }
        for sentinel in &self.sentinels {
            let file = below_run(sentinel).ok_or_else(|| SettingsError::Sentinel(sentinel.clone()))?;
            detectors.push(Box::new(Sentinel::named(run, file)));
        }
        if let Some(days) = self.max_uptime_days {
            detectors.push(Box::new(MaximumUptime::new(days, &self.node)));
        }
        Ok(detectors)
    }

    fn chosen(&self, host: &HostDirectories) -> Vec<DetectorName> {
        let all = DetectorName::value_variants().iter().copied();
        let is_auto = self.names.contains(&DetectorName::Auto);
        all.filter(|name| self.names.contains(name) || (is_auto && fits(*name, host)))
            .collect()
    }
}

/// Whether a detector runs on this host unless the administrator chooses.
fn fits(name: DetectorName, host: &HostDirectories) -> bool {
    match name {
        DetectorName::Auto => false,
        DetectorName::Debian | DetectorName::Suse | DetectorName::Amazon | DetectorName::DropDirectory => true,
        // Elsewhere rpm is a tool to unpack packages with.
        DetectorName::Rpm => host.is_any_of(&WITH_RPM),
        DetectorName::Kernel => !host.distribution.is_empty() && !host.is_any_of(&WITH_SENTINEL),
        DetectorName::UpdateEngine => host.is_any_of(&WITH_UPDATE_ENGINE),
        DetectorName::Ostree => Ostree::is_booted(&host.run),
    }
}

/// A path of the host, without its `/run`.
fn below_run(path: &Path) -> Option<&Path> {
    let file = path.strip_prefix(RUN).ok()?;
    let is_plain = file.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && file.file_name().is_some()).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(settings: &DetectorSettings, distribution: &[&str]) -> Vec<String> {
        let host = HostDirectories {
            distribution: distribution.iter().map(|&word| word.to_owned()).collect(),
            ..HostDirectories::default()
        };
        let detectors = settings.detectors(&host).unwrap();
        detectors.iter().map(|detector| detector.name().to_owned()).collect()
    }

    #[test]
    fn the_kernel_is_compared_where_no_sentinel_reports_it() {
        let settings = DetectorSettings::default();
        let sentinels = [
            "Debian sentinel",
            "SUSE sentinel",
            "Amazon Linux sentinel",
            "drop directory",
        ];
        for distribution in [&["ubuntu", "debian"][..], &["opensuse-leap", "suse"], &[]] {
            assert_eq!(names(&settings, distribution), sentinels, "{distribution:?}");
        }
        assert_eq!(names(&settings, &["flatcar", "coreos"])[4..], ["update_engine"]);
        let rocky = names(&settings, &["rocky", "rhel", "centos", "fedora"]);
        assert_eq!(rocky[4..], ["kernel", "RPM database"]);
        assert_eq!(names(&settings, &["arch"])[4..], ["kernel"]);
    }

    #[test]
    fn deployments_are_looked_at_on_hosts_that_run_one() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("ostree-booted"), "").unwrap();
        let host = HostDirectories {
            run: run.path().to_owned(),
            distribution: vec!["fedora".to_owned()],
            ..HostDirectories::default()
        };
        let detectors = DetectorSettings::default().detectors(&host).unwrap();
        let names: Vec<_> = detectors.iter().map(|detector| detector.name()).collect();
        assert_eq!(names[4..], ["kernel", "RPM database", "ostree"]);
    }

    #[test]
    fn chosen_detectors_run_alone_on_any_host() {
        let settings = DetectorSettings {
            names: vec![DetectorName::Kernel, DetectorName::Debian, DetectorName::Debian],
            sentinels: vec!["/run/ours".into()],
            max_uptime_days: Some(30),
            ..DetectorSettings::default()
        };
        assert_eq!(
            names(&settings, &["debian"]),
            ["Debian sentinel", "kernel", "sentinel ours", "maximum uptime"]
        );
    }

    #[test]
    fn a_sentinel_outside_of_run_is_refused() {
        for path in [
            "/var/run/x",
            "run/x",
            "/run",
            "/run/",
            "/run/../etc/passwd",
            "/run/./x/..",
        ] {
            let settings = DetectorSettings {
                sentinels: vec![path.into()],
                ..DetectorSettings::default()
            };
            let refused = settings.detectors(&HostDirectories::default()).unwrap_err();
            assert_eq!(refused, SettingsError::Sentinel(path.into()));
        }
    }
}
