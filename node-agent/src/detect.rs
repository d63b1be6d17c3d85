//! The detectors: whether the host requires a reboot, since when and why. They do not decide whether to reboot.
//!
//! Each detector is a [`Detector`]. It needs no capability and no root: it reads files of the host that everybody may read,
//! and what the actuator wrote for it about programs on the system bus.
//! A detector says nothing rather than something wrong, and one that cannot read its files is reported as failing.
//!
//! | name in `--detectors` | requires a reboot if |
//! |---|---|
//! | `debian` | `/run/reboot-required` exists (Debian, Ubuntu, Flatcar, bootc); reasons in `reboot-required.pkgs` |
//! | `suse` | `/run/reboot-needed` exists; its first word is how much of a reboot |
//! | `amazon` | `/run/smart-restart/reboot-hint-marker` exists (Amazon Linux 2023) |
//! | `drop-directory` | any file in `/run/lockkeeper/reboot-required.d/` exists |
//! | `kernel` | a newer kernel of the running one's kind is installed, or the modules of the running one are gone |
//! | `rpm` | a package that takes effect only with a reboot was installed after the boot (Fedora, RHEL and their relatives, SUSE) |
//! | `update-engine` | an update of `update_engine` waits for a reboot (Flatcar, Container-Optimized OS, ChromeOS) |
//! | `ostree` | a deployment waits for the next boot (Fedora CoreOS, bootc) |
//!
//! `--sentinel FILE` and `--max-uptime-days N` add one each.

mod cached;
mod detector;
mod files;
mod findings;
mod gvariant;
mod kernel;
mod ostree;
mod release;
mod rpm;
mod sentinel;
mod settings;
mod staged;
mod updater;
mod uptime;
mod userspace;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_channel::watch::Watched;
use lockkeeper_crds::RebootRequired;

pub use detector::{BootSpan, Detector, Finding, Look, Scope, Seen};
pub use sentinel::{DEBIAN, DEBIAN_PACKAGES, DROP_DIRECTORY, LOCKKEEPER, SUSE};
pub use settings::{DetectorName, DetectorSettings, HostDirectories, SettingsError};
pub use updater::UpdatesFile;

use findings::Findings;

/// The detectors of a host.
#[derive(Debug)]
pub struct Detectors {
    /// Why nothing can be detected, if the host's `/run` is not mounted.
    run: PathBuf,
    all: Vec<Box<dyn Detector>>,
}

/// What all detectors saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// For the report.
    pub required: RebootRequired,
    /// When they must look again although no file changes.
    pub look_again: Option<Duration>,
}

impl Detectors {
    /// The detectors that the settings name.
    ///
    /// # Errors
    ///
    /// A sentinel that is not below the host's `/run`.
    pub fn new(settings: &DetectorSettings, host: &HostDirectories) -> Result<Self, SettingsError> {
        Ok(Self {
            run: host.run.clone(),
            all: settings.detectors(host)?,
        })
    }

    /// Runs all detectors.
    pub fn look(&self, boot: BootSpan) -> Detected {
        let mut findings = Findings::new(boot);
        if let Err(problem) = is_mounted(&self.run) {
            findings.fail(&problem);
        }
        for detector in &self.all {
            findings.add(detector.name(), detector.look(boot));
        }
        findings.into_detected()
    }

    /// The directories whose changes the detectors must see, each once with the names of all detectors: the kernel gives one
    /// descriptor for a directory, however often it is watched.
    pub fn watched(&self) -> Vec<Watched> {
        let mut directories: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        let mut whole = BTreeSet::new();
        for Watched { directory, names } in self.all.iter().flat_map(|detector| detector.watched()) {
            if names.is_empty() {
                whole.insert(directory.clone());
            }
            directories.entry(directory).or_default().extend(names);
        }
        let watched = directories.into_iter().map(|(directory, names)| Watched {
            names: if whole.contains(&directory) {
                vec![]
            } else {
                names.into_iter().collect()
            },
            directory,
        });
        watched.collect()
    }
}

fn is_mounted(run: &Path) -> Result<(), String> {
    const REMEDY: &str = "mount the host's /run there";
    match std::fs::metadata(run) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is not a directory: {REMEDY}", run.display())),
        Err(error) => Err(format!("{}: {error}: {REMEDY}", run.display())),
    }
}

#[cfg(test)]
mod tests;
