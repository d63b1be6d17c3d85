//! Kernel drift: the running kernel against the newest one of its kind that is installed.
//!
//! It reads the names in the host's `/lib/modules`. A directory counts once its `modules.dep` is there, which the
//! installation of a kernel writes last, and while its `kernel` directory is there, which the removal of one deletes.
//! Which entry the boot loader starts is readable for root only; distributions start the newest one. A host that starts
//! another one is rebooted once and then waits with `StillRequired`, because the reason stays the same.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lockkeeper_channel::watch::Watched;

use super::detector::{BootSpan, Detector, Finding, Look, Scope};
use super::files::to_chrono;
use super::release::Release;

/// An installation that is under way is looked at again after this.
const INSTALLING: Duration = Duration::from_secs(30);
/// A directory without `modules.dep` that is older than this is what a removed kernel left behind.
const LEFTOVER: Duration = Duration::from_hours(1);
/// More directories than any host has.
const MAX_DIRECTORIES: usize = 256;

/// Compares the running kernel with the installed ones.
#[derive(Debug)]
pub(super) struct KernelDrift {
    modules: PathBuf,
    running: String,
}

/// A directory of `/lib/modules`.
struct Installed {
    name: String,
    changed: SystemTime,
    is_complete: bool,
}

impl KernelDrift {
    /// The host's `/lib/modules`, and the release of the running kernel.
    pub(super) fn new(modules: &Path, running: &str) -> Self {
        Self {
            modules: modules.to_owned(),
            running: running.to_owned(),
        }
    }

    fn installed(&self) -> io::Result<Vec<Installed>> {
        let entries = match std::fs::read_dir(&self.modules) {
            Ok(entries) => entries,
            // A kernel without modules.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut installed = Vec::new();
        for entry in entries.take(MAX_DIRECTORIES) {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let path = entry.path();
                installed.push(Installed {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    changed: entry.metadata()?.modified()?,
                    is_complete: path.join("modules.dep").is_file() && path.join("kernel").is_dir(),
                });
            }
        }
        Ok(installed)
    }

    /// What the directories say about the running kernel.
    fn judge(&self, installed: &[Installed]) -> Option<Finding> {
        let running = Release::parse(&self.running)?;
        let complete = || installed.iter().filter(|kernel| kernel.is_complete);
        let parsed = complete().filter_map(|kernel| Some((kernel, Release::parse(&kernel.name)?)));
        let newer = parsed.filter(|(_, release)| release.is_newer_than(&running));
        let newest = newer.reduce(|a, b| if b.1.is_newer_than(&a.1) { b } else { a });
        if let Some((newest, _)) = newest {
            let reason = format!("kernel {} is installed, {} runs", newest.name, self.running);
            return Some(self.finding(newest.changed, reason));
        }
        let alike = || complete().filter_map(|kernel| Some((kernel, Release::parse(&kernel.name)?)));
        let has_own = complete().any(|kernel| kernel.name == self.running);
        let other = alike().find(|(_, release)| release.is_like(&running));
        match other {
            Some((other, _)) if !has_own => {
                let reason = format!("the modules of the running kernel {} are gone", self.running);
                Some(self.finding(other.changed, reason))
            }
            Some(_) | None => None,
        }
    }

    fn finding(&self, since: SystemTime, reason: String) -> Finding {
        Finding {
            since: to_chrono(since),
            signal: "kernel".to_owned(),
            file: self.modules.display().to_string(),
            reasons: Ok(vec![reason]),
            scope: Scope::Host,
        }
    }
}

impl Detector for KernelDrift {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn watched(&self) -> Vec<Watched> {
        vec![Watched::new(&self.modules, &[])]
    }

    fn look(&self, boot: BootSpan) -> Look {
        let installed = match self.installed() {
            Ok(installed) => installed,
            Err(error) => return Look::one(self.name(), Err(error)),
        };
        let is_new = |kernel: &Installed| is_within(kernel.changed, boot.now, LEFTOVER);
        let installing = installed.iter().any(|kernel| !kernel.is_complete && is_new(kernel));
        Look {
            look_again: installing.then_some(INSTALLING),
            ..Look::one(self.name(), Ok(self.judge(&installed)))
        }
    }
}

/// Whether a file was changed at most so long ago.
fn is_within(changed: SystemTime, now: DateTime<Utc>, limit: Duration) -> bool {
    let age = SystemTime::from(now).duration_since(changed).unwrap_or_default();
    age <= limit
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RUNNING: &str = "6.12.43+deb13-amd64";

    fn install(modules: &Path, release: &str) {
        fs::create_dir_all(modules.join(release).join("kernel")).unwrap();
        fs::write(modules.join(release).join("modules.dep"), "").unwrap();
    }

    fn look(modules: &Path, now: DateTime<Utc>) -> Look {
        let boot = BootSpan {
            began: None,
            soft_rebooted: None,
            now,
        };
        KernelDrift::new(modules, RUNNING).look(boot)
    }

    fn reasons(modules: &Path) -> Vec<String> {
        let mut look = look(modules, Utc::now());
        let finding = look.seen.remove(0).finding.unwrap();
        finding.map_or(vec![], |finding| finding.reasons.unwrap())
    }

    #[test]
    fn a_newer_kernel_of_the_same_kind_requires_a_reboot() {
        let modules = tempfile::tempdir().unwrap();
        for release in [RUNNING, "6.12.57+deb13-amd64", "6.12.48+deb13-amd64", "6.1.0-26-amd64"] {
            install(modules.path(), release);
        }
        assert_eq!(
            reasons(modules.path()),
            ["kernel 6.12.57+deb13-amd64 is installed, 6.12.43+deb13-amd64 runs"]
        );
    }

    #[test]
    fn an_older_kernel_and_one_of_another_kind_require_none() {
        let modules = tempfile::tempdir().unwrap();
        for release in [RUNNING, "6.12.9+deb13-amd64", "6.12.57+deb13-cloud-amd64", "extra"] {
            install(modules.path(), release);
        }
        assert_eq!(reasons(modules.path()), [""; 0]);
    }

    #[test]
    fn modules_of_the_running_kernel_that_are_gone_require_a_reboot() {
        let modules = tempfile::tempdir().unwrap();
        install(modules.path(), "6.12.9+deb13-amd64");
        fs::create_dir_all(modules.path().join(RUNNING)).unwrap();
        assert_eq!(
            reasons(modules.path()),
            ["the modules of the running kernel 6.12.43+deb13-amd64 are gone"]
        );
    }

    #[test]
    fn a_host_without_modules_requires_none() {
        let modules = tempfile::tempdir().unwrap();
        assert_eq!(reasons(modules.path()), [""; 0]);
        assert_eq!(reasons(&modules.path().join("absent")), [""; 0]);
    }

    #[test]
    fn a_kernel_that_is_being_installed_is_looked_at_again_until_it_is_a_leftover() {
        let modules = tempfile::tempdir().unwrap();
        install(modules.path(), RUNNING);
        fs::create_dir(modules.path().join("6.12.57+deb13-amd64")).unwrap();
        let now = Utc::now();
        assert_eq!(look(modules.path(), now).look_again, Some(INSTALLING));
        assert_eq!(look(modules.path(), now + 2 * LEFTOVER).look_again, None);
        assert_eq!(reasons(modules.path()), [""; 0]);
    }
}
