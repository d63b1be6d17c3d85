//! Programs that update the host and tell about it on the system bus only. The actuator asks them (decision 0031); this is
//! what it wrote about one of them.

use std::io;
use std::path::{Path, PathBuf};

use lockkeeper_channel::boot::boot_id;
use lockkeeper_channel::watch::Watched;
use lockkeeper_channel::{Channel, HostUpdates, UPDATE_ENGINE, UPDATES, Updater, UpdaterState};

use super::detector::{BootSpan, Detector, Finding, Look, Scope};
use super::files::written;

/// Where the actuator writes what it read on the bus.
#[derive(Clone, Debug, Default)]
pub struct UpdatesFile {
    /// The directory that agent and actuator share.
    pub channel: PathBuf,
    /// The kernel's id of the present boot.
    pub boot_id: PathBuf,
}

/// What is known of one program.
#[derive(Debug)]
pub(super) struct Source {
    name: &'static str,
    file: UpdatesFile,
    /// Whether a host without the program is a host without its updates.
    may_be_absent: bool,
}

impl Source {
    /// The program of this name.
    pub(super) fn new(name: &'static str, file: UpdatesFile, may_be_absent: bool) -> Self {
        Self {
            name,
            file,
            may_be_absent,
        }
    }

    /// Whether it requires a reboot.
    pub(super) fn find(&self) -> io::Result<Option<Finding>> {
        let path = self.file.channel.join(UPDATES);
        let Some(updater) = self.read()? else {
            return Err(problem(
                "the actuator has not reported it since this boot; check the log of container actuator",
            ));
        };
        match updater.state {
            UpdaterState::NotRequired => Ok(None),
            UpdaterState::Absent if self.may_be_absent => Ok(None),
            UpdaterState::Absent => Err(problem(&format!(
                "{} is not on the system bus; start it on the host, or leave its detector out of agent.detectors",
                self.name
            ))),
            UpdaterState::Failing => Err(problem(&updater.message)),
            UpdaterState::Unknown => Err(problem("this agent is older than its actuator; update the agent")),
            UpdaterState::Required => Ok(written(&path)?.map(|since| Finding {
                since,
                signal: self.name.to_owned(),
                file: UPDATES.to_owned(),
                reasons: Ok(vec![updater.message]),
                scope: Scope::Host,
            })),
        }
    }

    fn read(&self) -> io::Result<Option<Updater>> {
        let present = boot_id(&self.file.boot_id).map_err(|error| problem(&format!("{error:#}")))?;
        let read = Channel::new(&self.file.channel).read::<HostUpdates>(UPDATES)?;
        let updaters = read.filter(|read| read.boot_id == present).map(|read| read.updaters);
        Ok(updaters.into_iter().flatten().find(|updater| updater.name == self.name))
    }
}

fn problem(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

/// `update_engine`, which updates Flatcar and ChromeOS.
#[derive(Debug)]
pub(super) struct UpdateEngine(Source);

impl UpdateEngine {
    pub(super) fn new(file: &UpdatesFile) -> Self {
        Self(Source::new(UPDATE_ENGINE, file.clone(), false))
    }
}

impl Detector for UpdateEngine {
    fn name(&self) -> &'static str {
        UPDATE_ENGINE
    }

    /// The agent watches the shared directory anyway.
    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }

    fn look(&self, _: BootSpan) -> Look {
        Look::one(UPDATE_ENGINE, self.0.find())
    }
}

impl UpdatesFile {
    /// A file of the directory at `channel`, for the boot whose id is in `boot_id`.
    pub fn new(channel: &Path, boot_id: &Path) -> Self {
        Self {
            channel: channel.to_owned(),
            boot_id: boot_id.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lockkeeper_channel::RPM_OSTREE;

    use super::*;

    fn directory(updaters: Vec<Updater>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("boot_id"), "boot-a\n").unwrap();
        let boot_id = "boot-a".to_owned();
        let content = HostUpdates { boot_id, updaters };
        Channel::new(directory.path()).write(UPDATES, &content).unwrap();
        directory
    }

    fn file(directory: &Path) -> UpdatesFile {
        UpdatesFile::new(directory, &directory.join("boot_id"))
    }

    /// The reasons, or the problem.
    fn find(source: &Source) -> Result<Vec<String>, String> {
        let found = source.find().map_err(|error| error.to_string())?;
        Ok(found.map_or(vec![], |finding| finding.reasons.unwrap()))
    }

    fn check(state: UpdaterState, message: &str, may_be_absent: bool) -> Result<Vec<String>, String> {
        let directory = directory(vec![
            Updater::new(RPM_OSTREE, UpdaterState::Failing, "another one"),
            Updater::new(UPDATE_ENGINE, state, message),
        ]);
        find(&Source::new(UPDATE_ENGINE, file(directory.path()), may_be_absent))
    }

    #[test]
    fn what_the_actuator_read_of_the_program_is_found() {
        let reason = "update_engine installed version 4152.2.0";
        assert_eq!(
            check(UpdaterState::Required, reason, false),
            Ok(vec![reason.to_owned()])
        );
        assert_eq!(check(UpdaterState::NotRequired, "", false), Ok(vec![]));
        let failing = check(UpdaterState::Failing, "update_engine does not answer", false);
        assert_eq!(failing, Err("update_engine does not answer".to_owned()));
    }

    #[test]
    fn a_program_that_is_not_on_the_bus_is_a_problem_unless_the_host_may_do_without() {
        assert_eq!(check(UpdaterState::Absent, "", true), Ok(vec![]));
        let problem = check(UpdaterState::Absent, "", false).unwrap_err();
        assert!(problem.contains("agent.detectors"), "{problem}");
    }

    #[test]
    fn without_a_report_of_this_boot_it_is_not_known() {
        let present = directory(vec![Updater::new(UPDATE_ENGINE, UpdaterState::NotRequired, "")]);
        let source = Source::new(UPDATE_ENGINE, file(present.path()), true);
        assert_eq!(find(&source), Ok(vec![]));
        fs::write(present.path().join("boot_id"), "boot-b\n").unwrap();
        assert!(find(&source).unwrap_err().contains("container actuator"));
        fs::write(present.path().join(UPDATES), "{").unwrap();
        assert!(find(&source).unwrap_err().contains(UPDATES));
    }
}
