//! What the two programs of the agent's pod share.
//!
//! [`files`] is the seam between them: a directory with small JSON files, of which [`updates`] describes one. [`watch`]
//! notices changes of files, [`boot`] tells which boot the host is in, [`soft_reboots`] how often its userspace
//! alone was rebooted in it, [`process`] starts a program. The actuator runs as root
//! and depends on this crate, so nothing here knows TLS, HTTP or Kubernetes.

#![warn(missing_docs)]

pub mod boot;
pub mod files;
pub mod logging;
pub mod process;
pub mod soft_reboots;
pub mod text;
pub mod timer;
pub mod updates;
pub mod watch;

pub use files::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAction, HostAnswer, HostFacts, HostOrder,
    Inhibitor, ORDER,
};
pub use soft_reboots::SoftReboots;
pub use updates::{HostUpdates, RPM_OSTREE, UPDATE_ENGINE, UPDATES, Updater, UpdaterState};
