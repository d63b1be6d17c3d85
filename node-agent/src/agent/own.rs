//! The agent's own `NodeReboot`, as its watch and the answers to its requests show it.

use kube::runtime::watcher::Event;

use crate::report::OwnNodeReboot;

/// The agent's own object, as far as it is known.
#[derive(Default)]
pub(super) struct Own {
    /// Whether the first list is complete.
    pub(super) known: bool,
    pub(super) object: Option<OwnNodeReboot>,
    listed: Option<OwnNodeReboot>,
}

impl Own {
    /// Applies an event; returns false while a list is incomplete.
    pub(super) fn apply(&mut self, event: Event<OwnNodeReboot>) -> bool {
        match event {
            Event::Init => {
                self.listed = None;
                return false;
            }
            Event::InitApply(object) => {
                self.listed = Some(object);
                return false;
            }
            Event::InitDone => {
                self.object = self.listed.take();
                self.known = true;
            }
            Event::Apply(object) => {
                if !self.object.as_ref().is_some_and(|held| is_newer(held, &object)) {
                    self.object = Some(object);
                }
            }
            Event::Delete(_) => self.object = None,
        }
        true
    }
}

/// Whether the held object, from the reply to a write, is newer than the one that the watch shows.
fn is_newer(held: &OwnNodeReboot, seen: &OwnNodeReboot) -> bool {
    let version = |own: &OwnNodeReboot| own.metadata.resource_version.as_ref()?.parse::<u128>().ok();
    held.metadata.uid == seen.metadata.uid
        && matches!((version(held), version(seen)), (Some(held), Some(seen)) if held > seen)
}
