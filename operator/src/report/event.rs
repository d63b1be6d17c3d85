//! Every Event that the operator sends: its reason, its severity and its message.

mod deadline;

use lockkeeper_crds::{BreakerStatus, names};
use lockkeeper_drain::ReturningOwner;
use lockkeeper_planner::{
    Command, Finished, Instant, OnTimeout, Operation, Outcome, RebootMethod, StageKind, Violation,
};
use lockkeeper_reasons::{ReasonName, Severity, WaitReason, format_duration, format_time, plural};

use crate::status::condition::ConditionReason;
use deadline::overridden;

/// The reason of an Event, one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// A node requires a reboot.
    RebootRequired,
    /// A node acquired a slot.
    LockAcquired,
    /// A node is cordoned.
    Cordoned,
    /// The drain of a node starts.
    DrainStarted,
    /// Pods return to the node that is being drained.
    PodsReturn,
    /// The drain of a node timed out.
    DrainTimedOut,
    /// The reboot of a node is ordered.
    RebootOrdered,
    /// A node has a new boot ID, or was soft-rebooted.
    NodeRebooted,
    /// A node is rebooted and healthy.
    RebootSucceeded,
    /// The operation failed.
    Failed,
    /// The operation is deferred.
    Deferred,
    /// The operation is withdrawn.
    Withdrawn,
    /// The operation ended because the node is on hold.
    Held,
    /// The node is released after a failure.
    Released,
    /// A node is uncordoned.
    Uncordoned,
    /// A command is accepted.
    CommandAccepted,
    /// A command is refused.
    CommandRefused,
    /// A plan breaks a safety rule.
    PlanRefused,
    /// The data of the cluster went back, as after a restore of etcd.
    ClusterRestored,
    /// A rollout started.
    RolloutStarted,
    /// A rollout finished.
    RolloutFinished,
    /// The canary stayed healthy.
    CanaryPassed,
    /// The breaker opened.
    BreakerOpened,
    /// The breaker allows a probe.
    BreakerProbing,
    /// The breaker closed.
    BreakerClosed,
    /// Within a day, a rung of the deadline applies to a node.
    RungDue,
    /// A rung of the deadline applies to a node.
    RungReached,
    /// The urgent override of a policy ended.
    UrgentEnded,
    /// A wait reason began.
    Wait(ReasonName),
    /// A condition of a policy became bad.
    Condition(ConditionReason),
}

impl EventReason {
    /// Every reason but those of waits and conditions, in the order above.
    pub const OWN: [Self; 28] = [
        Self::RebootRequired,
        Self::LockAcquired,
        Self::Cordoned,
        Self::DrainStarted,
        Self::PodsReturn,
        Self::DrainTimedOut,
        Self::RebootOrdered,
        Self::NodeRebooted,
        Self::RebootSucceeded,
        Self::Failed,
        Self::Deferred,
        Self::Withdrawn,
        Self::Held,
        Self::Released,
        Self::Uncordoned,
        Self::CommandAccepted,
        Self::CommandRefused,
        Self::PlanRefused,
        Self::ClusterRestored,
        Self::RolloutStarted,
        Self::RolloutFinished,
        Self::CanaryPassed,
        Self::BreakerOpened,
        Self::BreakerProbing,
        Self::BreakerClosed,
        Self::RungDue,
        Self::RungReached,
        Self::UrgentEnded,
    ];

    /// The name as `kubectl describe` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RebootRequired => "RebootRequired",
            Self::LockAcquired => "LockAcquired",
            Self::Cordoned => "Cordoned",
            Self::DrainStarted => "DrainStarted",
            Self::PodsReturn => "PodsReturn",
            Self::DrainTimedOut => "DrainTimedOut",
            Self::RebootOrdered => "RebootOrdered",
            Self::NodeRebooted => "NodeRebooted",
            Self::RebootSucceeded => "RebootSucceeded",
            Self::Failed => "Failed",
            Self::Deferred => "Deferred",
            Self::Withdrawn => "Withdrawn",
            Self::Held => "Held",
            Self::Released => "Released",
            Self::Uncordoned => "Uncordoned",
            Self::CommandAccepted => "CommandAccepted",
            Self::CommandRefused => "CommandRefused",
            Self::PlanRefused => "PlanRefused",
            Self::ClusterRestored => "ClusterRestored",
            Self::RolloutStarted => "RolloutStarted",
            Self::RolloutFinished => "RolloutFinished",
            Self::CanaryPassed => "CanaryPassed",
            Self::BreakerOpened => "BreakerOpened",
            Self::BreakerProbing => "BreakerProbing",
            Self::BreakerClosed => "BreakerClosed",
            Self::RungDue => "RungDue",
            Self::RungReached => "RungReached",
            Self::UrgentEnded => "UrgentEnded",
            Self::Wait(reason) => reason.as_str(),
            Self::Condition(reason) => reason.as_str(),
        }
    }
}

/// An Event before it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Whether a person should look at it.
    pub severity: Severity,
    /// Its reason.
    pub reason: EventReason,
    /// Its message.
    pub message: String,
}

impl Event {
    fn normal(reason: EventReason, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Normal,
            reason,
            message: message.into(),
        }
    }

    fn warning(reason: EventReason, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            reason,
            message: message.into(),
        }
    }

    /// A node requires a reboot; `cause` is the message of its condition.
    pub fn reboot_required(cause: &str) -> Self {
        Self::normal(EventReason::RebootRequired, format!("reboot required: {cause}"))
    }

    /// A wait reason began on a node.
    pub fn wait(reason: &WaitReason) -> Self {
        Self {
            severity: reason.name().severity(),
            reason: EventReason::Wait(reason.name()),
            message: reason.to_string(),
        }
    }

    /// Whether it is about a wait that each reboot has, and that the Event before it implies: after `LockAcquired` the agent
    /// is asked, after `RebootOrdered` the host goes down, and after `NodeRebooted` the node becomes Ready. It is no Event of
    /// the node; the status shows it.
    pub fn is_part_of_each_reboot(&self) -> bool {
        matches!(self.reason, EventReason::Wait(reason) if reason.is_part_of_each_reboot())
    }

    /// A wait reason began on so many nodes of a policy; `first` is that of the first node.
    pub fn wait_of_many(nodes: usize, first: &WaitReason) -> Self {
        Self {
            message: format!("{nodes} nodes wait: {first}"),
            ..Self::wait(first)
        }
    }

    /// A node acquired a slot.
    pub fn lock_acquired(operation: &Operation) -> Self {
        let (policy, id) = (&operation.policy, &operation.id);
        let reasons = operation.reasons.join(", ");
        let overridden = overridden(operation);
        let message = format!("slot acquired under policy {policy} (operation {id}): {reasons}{overridden}");
        Self::normal(EventReason::LockAcquired, message)
    }

    /// The drain of a node begins, or goes on to what `drain.onTimeout` says. Sent before the drain acts.
    pub fn draining(operation: &Operation) -> Self {
        let timeout = format_duration(operation.settings.drain_timeout);
        let what_follows = match operation.stage.map(|stage| stage.kind) {
            None => {
                let message = format!("cordoned for operation {}", operation.id);
                return Self::normal(EventReason::Cordoned, message);
            }
            Some(StageKind::Delete) => {
                let by_deadline = operation.overridden.is_some() && operation.settings.on_timeout == OnTimeout::Defer;
                let cause = if by_deadline {
                    format!("DeletePods{}", overridden(operation))
                } else {
                    "drain.onTimeout: Delete".to_owned()
                };
                format!("deleting the remaining pods regardless of disruption budgets ({cause})")
            }
            Some(StageKind::Reboot) => "rebooting with the remaining pods (drain.onTimeout: Reboot)".to_owned(),
        };
        let message = format!("drain timed out after {timeout}; {what_follows}");
        Self::warning(EventReason::DrainTimedOut, message)
    }

    /// The pods of a node were counted: how many are evicted, how many of those lose emptyDir data, how many stay.
    pub fn drain_started(to_evict: usize, with_empty_dir: usize, stay: usize) -> Self {
        let data = match with_empty_dir {
            0 => String::new(),
            pods => format!(" ({pods} with emptyDir data that will be lost)"),
        };
        let stays = if stay == 1 { "stays" } else { "stay" };
        let message = format!(
            "evicting {}{data}; {} {stays}",
            plural(to_evict, "pod"),
            plural(stay, "pod")
        );
        Self::normal(EventReason::DrainStarted, message)
    }

    /// Pods of a node are blocked that no Event has named yet.
    pub fn pods_blocked(reason: ReasonName, message: &str) -> Self {
        Self::warning(EventReason::Wait(reason), message)
    }

    /// Pods of an owner are no longer evicted, as they return to the node.
    pub fn pods_return(returning: &ReturningOwner) -> Self {
        Self::warning(EventReason::PodsReturn, returning.to_string())
    }

    /// The time to wait for volumes is over.
    pub fn volumes_still_attached(volumes: &[String]) -> Self {
        let volumes = volumes.join(", ");
        let message = format!(
            "volumes still attached after drain.waitForVolumeDetachSeconds; continuing without waiting: {volumes}"
        );
        Self::warning(EventReason::Wait(ReasonName::VolumesAttached), message)
    }

    /// The reboot of a node is ordered.
    pub fn reboot_ordered(operation: &Operation) -> Self {
        let seconds = seconds_between(operation.cordoned, operation.reboot_ordered);
        let pods = plural(usize::try_from(operation.pods_moved).unwrap_or_default(), "pod");
        let then = match operation.method() {
            RebootMethod::Auto | RebootMethod::Reboot | RebootMethod::Kexec => "reboot ordered",
            RebootMethod::SoftReboot => "soft-reboot ordered",
            RebootMethod::External => "reboot it now (reboot.method: External)",
        };
        let message = format!("drained in {seconds} s, {pods} evicted; {then}");
        Self::normal(EventReason::RebootOrdered, message)
    }

    /// A node has a new boot ID, or was soft-rebooted.
    pub fn node_rebooted(operation: &Operation) -> Self {
        let seconds = seconds_between(operation.reboot_ordered, operation.rebooted);
        let allowed = operation.settings.reboot_timeout.num_seconds();
        let late = if seconds > allowed {
            format!("; the node came back late: {allowed} s were allowed")
        } else {
            String::new()
        };
        let proof = match operation.soft_reboots_before {
            Some(_) => "soft-reboot or new boot ID",
            None => "new boot ID",
        };
        let message = format!("{proof} observed {seconds} s after the reboot was ordered{late}");
        Self::normal(EventReason::NodeRebooted, message)
    }

    /// The operation failed.
    pub fn failed(operation: &Operation) -> Self {
        let failure = operation.failure.as_ref();
        let message = failure.map_or("", |failure| failure.message.as_str());
        Self::warning(EventReason::Failed, message)
    }

    /// The operation ended.
    pub fn finished(finished: &Finished) -> Self {
        let message = finished.message.as_str();
        match finished.outcome {
            Outcome::Succeeded => {
                let seconds = (finished.time - finished.operation.started).num_seconds();
                let (before, after) = (&finished.operation.kernel_before, &finished.kernel_after);
                let kernel = if before == after {
                    format!("kernel {after}")
                } else {
                    format!("kernel {before} -> {after}")
                };
                let remark = if message.is_empty() {
                    String::new()
                } else {
                    format!("; {message}")
                };
                let message = format!("rebooted and verified in {seconds} s; {kernel}{remark}");
                Self::normal(EventReason::RebootSucceeded, message)
            }
            Outcome::Deferred => Self::warning(EventReason::Deferred, message),
            Outcome::Withdrawn => Self::normal(EventReason::Withdrawn, message),
            Outcome::Held => Self::normal(EventReason::Held, message),
            Outcome::Released => Self::warning(EventReason::Released, message),
        }
    }

    /// A node is uncordoned, or stays cordoned for the person who holds it.
    pub fn uncordoned(stays_cordoned: bool) -> Self {
        let message = if stays_cordoned {
            "uncordoned by Lockkeeper; stays cordoned because it is on hold"
        } else {
            "uncordoned"
        };
        Self::normal(EventReason::Uncordoned, message)
    }

    /// A command is answered.
    pub fn command_answered(command: &Command, answer: &Result<String, String>) -> Self {
        let verb = &command.verb;
        match answer {
            Ok(message) => Self::normal(EventReason::CommandAccepted, format!("{verb}: {message}")),
            Err(message) => Self::warning(EventReason::CommandRefused, format!("{verb}: {message}")),
        }
    }

    /// A plan breaks a safety rule; nothing of it is written.
    pub fn plan_refused(violation: &Violation) -> Self {
        Self::warning(EventReason::PlanRefused, violation.to_string())
    }

    /// The resource versions of the API server went back; everything is listed again.
    pub fn cluster_restored(from: u64, to: u64) -> Self {
        let message = format!(
            "the resource versions of the API server went back from {from} to {to}, as after a restore of etcd from a \
             backup; everything was listed again. Compare the nodes with the backup: docs/runbook.md, \"etcd was restored\""
        );
        Self::warning(EventReason::ClusterRestored, message)
    }

    /// A rollout started: so many of all nodes of the policy are not up to date.
    pub fn rollout_started(id: &str, outdated: i32, nodes: i32) -> Self {
        let message = format!("rollout {id}: {outdated} of {nodes} nodes are not up to date");
        Self::normal(EventReason::RolloutStarted, message)
    }

    /// A rollout finished.
    pub fn rollout_finished(id: &str) -> Self {
        let message = format!("rollout {id} finished: no node requires a reboot");
        Self::normal(EventReason::RolloutFinished, message)
    }

    /// The canary stayed healthy until then.
    pub fn canary_passed(until: Instant) -> Self {
        let message = format!(
            "the canary stayed healthy until {}; other nodes may start",
            format_time(until)
        );
        Self::normal(EventReason::CanaryPassed, message)
    }

    /// The breaker of a policy opened.
    pub fn breaker_opened(policy: &str, breaker: &BreakerStatus) -> Self {
        let failed = &breaker.failed_nodes;
        let it = if failed.len() == 1 { "it" } else { "them" };
        let opened = breaker.opened_time.map(format_time).unwrap_or_default();
        let message = format!(
            "breaker open: no node starts after {} ({}); retry or release {it}, or allow one more node: kubectl annotate \
             rbp {policy} --overwrite {}={opened}",
            plural(failed.len(), "failed node"),
            failed.join(", "),
            names::BREAKER_ACKNOWLEDGED,
        );
        Self::warning(EventReason::BreakerOpened, message)
    }

    /// The breaker of a policy allows a probe.
    pub fn breaker_probing() -> Self {
        Self::normal(EventReason::BreakerProbing, "allowing one node as a probe")
    }

    /// The breaker of a policy closed.
    pub fn breaker_closed() -> Self {
        Self::normal(EventReason::BreakerClosed, "nodes may start again")
    }

    /// A condition of a policy became bad.
    pub fn condition(reason: ConditionReason, message: &str) -> Self {
        Self::warning(EventReason::Condition(reason), message)
    }
}

fn seconds_between(from: Option<Instant>, to: Option<Instant>) -> i64 {
    from.zip(to).map_or(0, |(from, to)| (to - from).num_seconds())
}
