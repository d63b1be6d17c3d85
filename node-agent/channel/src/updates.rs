//! What the programs that update the host say on the system bus: the file `updates.json`.
//!
//! The agent cannot reach the bus. The actuator, which can, reads there whether an update waits for a reboot, and writes the
//! file before its facts, so that whoever reads the facts finds the file.

use serde::{Deserialize, Serialize};

/// The actuator's file about updates.
pub const UPDATES: &str = "updates.json";
/// The program that updates Flatcar and ChromeOS.
pub const UPDATE_ENGINE: &str = "update_engine";
/// The program that updates Fedora CoreOS and its relatives.
pub const RPM_OSTREE: &str = "rpm-ostree";

/// What each program says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostUpdates {
    /// The boot that it describes.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Each program once.
    #[serde(default)]
    pub updaters: Vec<Updater>,
}

/// What one program says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Updater {
    /// Its name, such as [`UPDATE_ENGINE`].
    pub name: String,
    /// Whether an update waits for a reboot.
    pub state: UpdaterState,
    /// The update that waits, or why that is not known, with the remedy; empty otherwise.
    #[serde(default)]
    pub message: String,
}

/// Whether an update waits for a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdaterState {
    /// The program is not on the bus.
    Absent,
    /// No update waits.
    NotRequired,
    /// An update waits.
    Required,
    /// The program is on the bus, or should be, and gave no answer that can be used.
    Failing,
    /// A value of a newer version.
    #[serde(other)]
    Unknown,
}

impl Updater {
    /// What the program of this name says.
    pub fn new(name: &str, state: UpdaterState, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            message: message.into(),
        }
    }
}
