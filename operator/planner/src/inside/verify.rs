//! After the reboot: the node is looked at, given back, and the operation ends.

use super::{Inside, Step};
use crate::action::Action;
use crate::gate;
use crate::operation::{Ending, Outcome, StageKind};
use crate::waiting::{Waiting, duration, time};

impl Inside<'_> {
    pub(super) fn verifying(&self) -> Step {
        let now = self.facts.now;
        // Before the node can be Ready: its network may be a DaemonSet.
        if let Some(action) = self.without_taint() {
            return Step::act(action);
        }
        let ready = self.back_and_ready();
        let marked = self.marked();
        if let Err(message) = &ready {
            let since = self
                .operation
                .reboot_ordered
                .max(Some(self.operation.asked))
                .unwrap_or(self.operation.asked);
            let until = since + self.operation.settings.reboot_timeout;
            if now >= until {
                return self.fail(format!(
                    "{} came back with a new boot but was not well within {}: {message}; \
                     look at kubelet and node agent there, then retry or release",
                    self.name,
                    duration(self.operation.settings.reboot_timeout)
                ));
            }
            return Step::wait(
                Waiting::NodeNotReady {
                    message: message.clone(),
                    until,
                },
                Some(until),
            );
        }
        if marked {
            let keep_cordon = self.held().is_some();
            return Step::act(Action::LiftMarks {
                node: self.name.to_owned(),
                keep_cordon,
            });
        }
        let ending = Ending {
            outcome: Outcome::Succeeded,
            time: now,
            cause: String::new(),
            message: if self.operation.is_in(StageKind::Reboot) {
                "rebooted with pods left, as drain.onTimeout says".to_owned()
            } else {
                String::new()
            },
        };
        Step::act(self.release(&ending))
    }

    /// Back for good: Ready, by a kubelet and an agent of this boot.
    fn back_and_ready(&self) -> Result<(), String> {
        if !self.node.ready.ready {
            return Err(self.node.ready.message.clone());
        }
        let Some(host) = gate::trusted_host(self.node) else {
            return Err("the node agent has not reported from this boot".to_owned());
        };
        match host.boot_time {
            Some(boot) if self.node.ready.heartbeat < boot => Err(format!(
                "the kubelet's last word is older than the boot at {}",
                time(boot)
            )),
            Some(_) | None => Ok(()),
        }
    }
}
