//! The execution of an order: reboot, for exactly this boot.
//!
//! A reply of logind may be lost, and the actuator may end at any time. So it answers `Requested` before each request, and
//! from then on it answers `Refused` only if logind itself refused the only request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use lockkeeper_channel::boot::{boot_id, uptime};
use lockkeeper_channel::{ANSWER, AnswerState, HostAction, HostAnswer, HostOrder, ORDER, SoftReboots};
use tokio::time::sleep;

use super::Actuator;
use crate::logind::{Probe, Reply, Way};

/// What an attempt to reboot led to.
enum Attempt {
    /// The final answer.
    Answer(AnswerState, String),
    /// The order was withdrawn, and no request has left.
    Withdrawn,
    /// The host has soft-rebooted since the request: this process is one of the new userspace.
    Done,
    /// A request has left, and nothing tells what became of it.
    NoReply(String),
}

impl Actuator {
    /// The order if it has no final answer yet, and whether a request may have left for it.
    pub(super) fn unanswered_order(&self) -> Option<(HostOrder, bool)> {
        let order = self.read::<HostOrder>(ORDER)?;
        let given = self.read::<HostAnswer>(ANSWER);
        let given = given.filter(|answer| answer.id == order.id && answer.boot_id == order.boot_id);
        match given.map(|answer| answer.state) {
            None => Some((order, false)),
            // This actuator ended during a request.
            Some(AnswerState::Requested) => Some((order, true)),
            Some(AnswerState::Rebooting | AnswerState::Refused | AnswerState::Failed) => None,
        }
    }

    /// Executes an order that has no final answer yet.
    pub(super) async fn execute_order(&mut self, order: &HostOrder, requested: bool) -> anyhow::Result<()> {
        let boot_id = boot_id(&self.config.boot_id)?;
        let answer = match check_boot(order, &boot_id) {
            // The host has rebooted since.
            Some(_) if requested => None,
            Some(message) => Some((AnswerState::Refused, message)),
            None => self.reboot(order, requested).await?,
        };
        let Some((state, message)) = answer else {
            return Ok(());
        };
        tracing::info!(order = order.id, answer = ?state, message, "order answered");
        self.answer(order, state, message)
    }

    /// Requests the reboot until logind replies; `None` if the order was withdrawn before. `requested` is whether a request
    /// may have left already.
    async fn reboot(
        &mut self,
        order: &HostOrder,
        mut requested: bool,
    ) -> anyhow::Result<Option<(AnswerState, String)>> {
        let (tries, pause) = self.config.lost_reply_retries;
        for attempt in 1.. {
            match self.attempt(order, requested).await? {
                Attempt::Answer(state, message) => return Ok(Some((state, message))),
                Attempt::Withdrawn => {
                    tracing::info!(order = order.id, "the order was withdrawn before the reboot");
                    return Ok(None);
                }
                Attempt::Done => {
                    tracing::info!(order = order.id, "the host has soft-rebooted for the order");
                    return Ok(None);
                }
                // A second request causes no second reboot: the boot id, or the count, is checked each time.
                Attempt::NoReply(message) if attempt < tries => {
                    tracing::warn!(
                        order = order.id,
                        message,
                        "no reply to the reboot request; it is repeated"
                    );
                    requested = true;
                    sleep(pause).await;
                }
                Attempt::NoReply(message) => return Ok(Some(unconfirmed(&message))),
            }
        }
        Ok(None)
    }

    /// Requests the reboot once, if logind would carry it out.
    async fn attempt(&mut self, order: &HostOrder, requested: bool) -> anyhow::Result<Attempt> {
        if let Some(message) = check_expiry(order, SystemTime::now()) {
            let (state, message) = if requested {
                unconfirmed(&message)
            } else {
                (AnswerState::Refused, message)
            };
            return Ok(Attempt::Answer(state, message));
        }
        let probe = self.rebooter.probe().await;
        match check_count(order, &probe) {
            Counted::Same => {}
            Counted::Further(_) if requested => return Ok(Attempt::Done),
            Counted::Unknown(message) if requested => return Ok(Attempt::NoReply(message)),
            Counted::Further(message) | Counted::Unknown(message) => {
                return Ok(Attempt::Answer(AnswerState::Refused, message));
            }
        }
        let up = uptime(&self.config.uptime)?;
        let soft_rebooted = probe.soft_reboots.and_then(SoftReboots::last);
        if let Some(message) = check_uptime(up, soft_rebooted, self.min_uptime()).filter(|_| !requested) {
            return Ok(Attempt::Answer(AnswerState::Refused, message));
        }
        match check_host(&probe) {
            // The facts are published before a refusal, so that the operator reads the inhibitor with it.
            Some(message) if !requested => {
                self.publish_probe(probe, self.facts_order_id())?;
                return Ok(Attempt::Answer(AnswerState::Refused, message));
            }
            Some(message) if probe.answered => return Ok(Attempt::Answer(AnswerState::Failed, unfinished(&message))),
            Some(message) => return Ok(Attempt::NoReply(message)),
            None => {}
        }
        let rebooter = match self.rebooter.open().await {
            Ok(rebooter) => rebooter,
            Err(message) if requested => return Ok(Attempt::NoReply(message)),
            Err(message) => return Ok(Attempt::Answer(AnswerState::Refused, message)),
        };
        // Before the order is read for the last time: an agent that withdraws it reads this answer afterwards.
        self.answer(order, AnswerState::Requested, String::new())?;
        let still_ordered = self.read::<HostOrder>(ORDER).as_ref() == Some(order);
        if !still_ordered || boot_id(&self.config.boot_id)? != order.boot_id {
            return self.withdraw(requested);
        }
        let way = match order.action {
            HostAction::Reboot if order.soft_reboots.is_some() => Way::Userspace,
            HostAction::Reboot if order.kexec => Way::Kexec,
            HostAction::Reboot => Way::Firmware,
        };
        tracing::warn!(order = order.id, boot = order.boot_id, ?way, "rebooting this host");
        Ok(match rebooter.reboot(way).await {
            Reply::Accepted(message) => Attempt::Answer(AnswerState::Rebooting, message),
            Reply::Blocked(message) if requested => Attempt::Answer(AnswerState::Failed, unfinished(&message)),
            Reply::Blocked(message) => Attempt::Answer(AnswerState::Refused, self.publish_inhibitor(message).await?),
            Reply::Failed(message) => Attempt::Answer(AnswerState::Failed, message),
            Reply::Lost(message) => Attempt::NoReply(message),
        })
    }

    /// The order is gone. A request that has left before cannot be withdrawn.
    fn withdraw(&self, requested: bool) -> anyhow::Result<Attempt> {
        if requested {
            let (state, message) = unconfirmed("the order was withdrawn in the meantime");
            return Ok(Attempt::Answer(state, message));
        }
        self.channel.remove(ANSWER).context("withdraw the answer")?;
        Ok(Attempt::Withdrawn)
    }

    /// A lock was acquired between the probe and the request: the facts name it, and so does the refusal.
    async fn publish_inhibitor(&mut self, message: String) -> anyhow::Result<String> {
        let probe = self.rebooter.probe().await;
        let Some(named) = check_host(&probe) else {
            return Ok(message);
        };
        self.publish_probe(probe, self.facts_order_id())?;
        Ok(named)
    }

    /// The order for which the published facts were requested.
    fn facts_order_id(&self) -> String {
        let published = self.published.as_ref();
        published.map_or_else(String::new, |facts| facts.order_id.clone())
    }

    /// Answers durably: after a crash the answer tells whether a request may have left.
    fn answer(&self, order: &HostOrder, state: AnswerState, message: String) -> anyhow::Result<()> {
        let answer = HostAnswer {
            id: order.id.clone(),
            boot_id: order.boot_id.clone(),
            soft_reboots: order.soft_reboots,
            state,
            message,
        };
        self.channel.write_durably(ANSWER, &answer).context("answer the order")
    }
}

/// The answer if no reply tells what became of the request: the host may be going down, so the operator expects that.
fn unconfirmed(message: &str) -> (AnswerState, String) {
    let message = format!("the reboot was requested and not confirmed: {message}");
    (AnswerState::Rebooting, message)
}

/// The message if logind answers again, and would not reboot the host now.
fn unfinished(message: &str) -> String {
    format!("the reboot was requested, logind did not reply, and now it would refuse: {message}")
}

/// Why the order does not apply to this boot, if it does not.
fn check_boot(order: &HostOrder, boot_id: &str) -> Option<String> {
    (order.boot_id != boot_id).then(|| format!("the order is for boot {}, this is boot {boot_id}", order.boot_id))
}

/// Whether an order for a soft-reboot is for this userspace.
enum Counted {
    /// It is, or the order is for a boot.
    Same,
    /// There was another soft-reboot since.
    Further(String),
    /// That is not known.
    Unknown(String),
}

fn check_count(order: &HostOrder, probe: &Probe) -> Counted {
    let Some(ordered) = order.soft_reboots else {
        return Counted::Same;
    };
    match probe.soft_reboots {
        Some(SoftReboots { count, .. }) if count == ordered => Counted::Same,
        Some(SoftReboots { count, .. }) => Counted::Further(format!(
            "the order is for a host with {ordered} soft-reboots since its boot, this one had {count}"
        )),
        None if probe.message.is_empty() => Counted::Unknown(
            "systemd does not tell how often this host was soft-rebooted (SoftRebootsCount)".to_owned(),
        ),
        None => Counted::Unknown(probe.message.clone()),
    }
}

/// Why the order is too old, if it is.
fn check_expiry(order: &HostOrder, now: SystemTime) -> Option<String> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let late = order
        .not_after
        .is_some_and(|not_after| i64::try_from(now).unwrap_or(i64::MAX) > not_after);
    late.then(|| "the order has expired by the clock of this host".to_owned())
}

/// Why a host that has been up for so long, and has soft-rebooted so long ago, is not rebooted yet, if it is not.
fn check_uptime(up: Duration, soft_rebooted: Option<Duration>, min: Duration) -> Option<String> {
    let (what, ago) = match soft_rebooted.filter(|ago| *ago < up) {
        Some(ago) => ("soft-rebooted", ago.as_secs()),
        None => ("booted", up.as_secs()),
    };
    let min = min.as_secs();
    (ago < min).then(|| {
        format!(
            "the host {what} {ago} s ago; the actuator reboots it only after {min} s of uptime (--min-uptime-seconds)"
        )
    })
}

/// Why the reboot is not requested from logind, if it is not.
fn check_host(probe: &Probe) -> Option<String> {
    if !probe.capable {
        return Some(probe.message.clone());
    }
    let inhibitor = probe.inhibitors.first()?;
    Some(format!("shutdown inhibited by {}: {}", inhibitor.who, inhibitor.why))
}
