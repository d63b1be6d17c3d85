//! The directory that the agent and the actuator share: five small JSON files, each with one writer.
//!
//! | file | writer | content |
//! |---|---|---|
//! | `facts-wanted.json` | agent | [`FactsWanted`]: a request for fresh facts, for this order |
//! | `facts.json` | actuator | [`HostFacts`]: whether the host can be rebooted, and what inhibits it |
//! | `updates.json` | actuator | [`HostUpdates`](crate::HostUpdates): which updates wait for a reboot |
//! | `order.json` | agent | [`HostOrder`]: reboot, for exactly this boot; removed when withdrawn or answered |
//! | `answer.json` | actuator | [`HostAnswer`]: that the reboot is being requested, then the result of the order |
//!
//! Each file is written whole under another name and renamed, mode 0640, so that a reader sees the old text or the new
//! one. Each carries the boot id: a file of an earlier boot is ignored. The directory is a volume of the pod, or a
//! directory of the host if the actuator is a service of the host.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::soft_reboots::SoftReboots;

/// The agent's request for facts.
pub const FACTS_WANTED: &str = "facts-wanted.json";
/// The actuator's facts.
pub const FACTS: &str = "facts.json";
/// The agent's order.
pub const ORDER: &str = "order.json";
/// The actuator's answer to the order.
pub const ANSWER: &str = "answer.json";

/// The largest file that is read; Lockkeeper's own files are far smaller.
const LARGEST: u64 = 64 * 1024;

/// The agent's request for fresh facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FactsWanted {
    /// The order for which the facts are requested; the facts repeat it.
    pub order_id: String,
}

/// Whether the host can be rebooted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// The boot that they describe.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The order that they were requested for; empty if none was.
    #[serde(default)]
    pub order_id: String,
    /// Whether the host would reboot if asked.
    pub reboot_capable: bool,
    /// Why it would not, and what to do about it.
    #[serde(default)]
    pub message: String,
    /// Programs that inhibit the shutdown.
    #[serde(default)]
    pub inhibitors: Vec<Inhibitor>,
    /// The soft-reboots of that boot; absent if they cannot be counted, so that the host is not soft-rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_reboots: Option<SoftReboots>,
    /// For how many seconds after a boot the actuator refuses to reboot the host.
    #[serde(default)]
    pub min_uptime_seconds: u64,
}

/// A program that inhibits the shutdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhibitor {
    /// The name that the program gave.
    pub who: String,
    /// The reason that it gave.
    pub why: String,
}

/// An order for the actuator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostOrder {
    /// The order's id; each order is executed once.
    pub id: String,
    /// What to do.
    pub action: HostAction,
    /// The boot to leave.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Whether the host starts the kernel that is loaded with kexec, if one is, instead of its firmware.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kexec: bool,
    /// The number of soft-reboots that the order is for: only the userspace is rebooted, and only if there were not more.
    /// Absent if the host boots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_reboots: Option<u32>,
    /// When the order expires, in seconds since 1970: after that the reboot is not requested. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// What an actuator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAction {
    /// Reboot.
    Reboot,
}

/// The result of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAnswer {
    /// The order's id.
    pub id: String,
    /// The boot in which it was answered.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The number of soft-reboots for which it was answered, if the order was for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_reboots: Option<u32>,
    /// The result.
    pub state: AnswerState,
    /// The cause and the remedy.
    #[serde(default)]
    pub message: String,
}

/// What an actuator can answer.
///
/// `Requested` is written before each request to the host, and before the order is read for the last time. An agent that
/// withdraws an order and reads the answer afterwards therefore knows whether a request may have left. Only `Rebooting`,
/// `Failed` or the host's own refusal may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerState {
    /// The reboot is being requested: the host may go down. Not final.
    Requested,
    /// The host accepted the reboot, or did not reply to the request.
    Rebooting,
    /// No request is under way: none was sent, or the host itself refused the only one.
    Refused,
    /// The host did not carry out the request.
    Failed,
}

/// Access to the shared directory.
#[derive(Clone, Debug)]
pub struct Channel {
    directory: PathBuf,
}

impl Channel {
    /// Uses an existing directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads a file; `None` if it does not exist, an error if it cannot be decoded.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.directory.join(name);
        let Some(bytes) = read_bounded(&path).map_err(|error| about(&path, &error))? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| about(&path, &io::Error::new(ErrorKind::InvalidData, error)))
    }

    /// Writes a file whole: a reader sees the old text or the new one. After an error it is the old one.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.replace(name, value, |_| Ok(()))
    }

    /// Writes a file whole, and returns once it is on the disk. After an error a reader may see either text.
    pub fn write_durably<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.replace(name, value, File::sync_all)?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| about(&self.directory, &error))
    }

    /// Removes a file; returns whether it existed.
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        remove_if_there(&self.directory.join(name))
    }

    fn replace<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        complete: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.directory.join(name);
        let scratch = self.directory.join(format!(".{name}.new"));
        let written = write_anew(&scratch, value, complete).and_then(|()| std::fs::rename(&scratch, &path));
        written.map_err(|error| about(&path, &error))
    }
}

fn write_anew<T: Serialize>(
    scratch: &Path,
    value: &T,
    complete: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    remove_if_there(scratch)?;
    // The other container may write here too: create the file anew, so that a symbolic link is not followed.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(scratch)?;
    // The other container reads as a member of the group; the umask may have removed that permission.
    file.set_permissions(Permissions::from_mode(0o640))?;
    file.write_all(&serde_json::to_vec(value)?)?;
    complete(&file)
}

/// Reads a regular file of bounded size; a symbolic link cannot redirect the reader, and a pipe cannot block it.
pub fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The error about a directory, a pipe or a device in the place of a file.
pub fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a regular file")
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(about(path, &error)),
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> HostOrder {
        HostOrder {
            id: "7f3c-0".into(),
            action: HostAction::Reboot,
            boot_id: "boot-a".into(),
            kexec: false,
            soft_reboots: None,
            not_after: Some(1_800_000_000),
        }
    }

    #[test]
    fn a_written_file_is_read_back_and_no_other_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let channel = Channel::new(directory.path());
        channel.write(ORDER, &order()).unwrap();
        channel.write(ORDER, &order()).unwrap();
        assert_eq!(channel.read::<HostOrder>(ORDER).unwrap(), Some(order()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_files_have_the_documented_fields() {
        let directory = tempfile::tempdir().unwrap();
        let channel = Channel::new(directory.path());
        channel.write(ORDER, &order()).unwrap();
        let text = std::fs::read_to_string(directory.path().join(ORDER)).unwrap();
        assert_eq!(
            text,
            r#"{"id":"7f3c-0","action":"Reboot","bootID":"boot-a","notAfter":1800000000}"#
        );
    }

    #[test]
    fn only_owner_and_group_may_read() {
        let directory = tempfile::tempdir().unwrap();
        Channel::new(directory.path()).write(ORDER, &order()).unwrap();
        let mode = std::fs::metadata(directory.path().join(ORDER))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn an_absent_file_is_no_order() {
        let directory = tempfile::tempdir().unwrap();
        let channel = Channel::new(directory.path());
        assert_eq!(channel.read::<HostOrder>(ORDER).unwrap(), None);
        assert!(!channel.remove(ORDER).unwrap());
        channel.write_durably(ORDER, &order()).unwrap();
        assert!(channel.remove(ORDER).unwrap());
    }

    #[test]
    fn an_unknown_action_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"id":"7f3c-0","action":"PowerOff","bootID":"boot-a"}"#;
        std::fs::write(directory.path().join(ORDER), text).unwrap();
        let error = Channel::new(directory.path()).read::<HostOrder>(ORDER).unwrap_err();
        assert!(error.to_string().contains("order.json"), "{error}");
        assert!(error.to_string().contains("PowerOff"), "{error}");
    }

    #[test]
    fn a_symbolic_link_is_neither_read_nor_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        std::fs::write(&elsewhere, "{}").unwrap();
        let channel = Channel::new(directory.path());
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(ORDER)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(".order.json.new")).unwrap();
        assert!(channel.read::<HostOrder>(ORDER).is_err());
        channel.write(ORDER, &order()).unwrap();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "{}");
        assert_eq!(channel.read::<HostOrder>(ORDER).unwrap(), Some(order()));
    }
}
