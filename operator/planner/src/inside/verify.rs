//! After the reboot: the node is looked at, given back, and the operation ends.

use super::{Inside, Step};
use crate::action::Action;
use crate::gate;
use crate::operation::{Outcome, PendingOutcome, StageKind};
use crate::snapshot::DaemonSetReadiness;
use lockkeeper_reasons::{WaitReason, format_duration, format_time};

/// What keeps a node that is back from being given back.
struct NotWell {
    /// In words.
    message: String,
    /// Where to look once it takes too long.
    look_at: &'static str,
}

impl Inside<'_> {
    pub(super) fn verifying(&self) -> Step {
        // Before the node can be Ready: its network may be a DaemonSet.
        if let Some(action) = self.without_taint() {
            return Step::act(action);
        }
        let back = self.back_and_ready();
        // Once our marks are gone it is given back already: workloads are on it.
        let counts = back.is_ok() && self.marked() && !self.operation.daemon_sets.is_empty();
        let well = back.and_then(|()| if counts { self.daemons_ready() } else { Ok(()) });
        Step {
            daemons: counts,
            ..match well {
                Ok(()) => self.give_back(),
                Err(not_well) => self.not_well(not_well),
            }
        }
    }

    fn not_well(&self, not_well: NotWell) -> Step {
        let NotWell { message, look_at } = not_well;
        let asked = self.operation.asked;
        let since = self.operation.reboot_ordered.max(Some(asked)).unwrap_or(asked);
        let until = since + self.operation.settings.reboot_timeout;
        if self.facts.now >= until {
            return self.fail(format!(
                "{} came back with a new boot but was not well within {}: {message}; look at {look_at}, then retry or \
                 release",
                self.name,
                format_duration(self.operation.settings.reboot_timeout)
            ));
        }
        Step::wait(WaitReason::NodeNotReady { message, until }, Some(until))
    }

    fn give_back(&self) -> Step {
        if self.marked() {
            return Step::act(Action::Uncordon {
                node: self.name.to_owned(),
                keep_cordon: self.held().is_some(),
            });
        }
        let pending_outcome = PendingOutcome {
            outcome: Outcome::Succeeded,
            time: self.facts.now,
            cause: String::new(),
            message: if self.operation.is_in(StageKind::Reboot) {
                "rebooted with pods left, as drain.onTimeout says".to_owned()
            } else {
                String::new()
            },
        };
        Step::act(self.release(&pending_outcome))
    }

    /// Back for good: Ready, by a kubelet and an agent of this boot.
    fn back_and_ready(&self) -> Result<(), NotWell> {
        let not_well = |message: String| NotWell {
            message,
            look_at: "kubelet and node agent there",
        };
        if !self.node.ready.ready {
            return Err(not_well(self.node.ready.message.clone()));
        }
        let Some(host) = gate::trusted_host(self.node) else {
            return Err(not_well("the node agent has not reported from this boot".to_owned()));
        };
        match host.boot_time {
            Some(boot) if self.node.ready.heartbeat < boot => Err(not_well(format!(
                "the kubelet's last word is older than the boot at {}",
                format_time(boot)
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The `DaemonSet`s that were ready at the cordon are so again; what nobody has seen is not.
    fn daemons_ready(&self) -> Result<(), NotWell> {
        let message = match &self.node.daemon_sets {
            DaemonSetReadiness::Ready => return Ok(()),
            DaemonSetReadiness::NotReady { what } => what.clone(),
            DaemonSetReadiness::Unknown => "its DaemonSets have not been looked at yet".to_owned(),
        };
        Err(NotWell {
            message,
            look_at: "that pod and its DaemonSet",
        })
    }
}
