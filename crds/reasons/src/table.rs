//! The reason table: what is the same for every node that waits for a reason. Severity, who must act, whether an alert fires.

use crate::ReasonName;

/// Whether an Event about the reason is a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// All is well.
    Normal,
    /// A person should look at it.
    Warning,
}

/// Who ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Time, or work that is in progress.
    Time,
    /// A person.
    Person,
    /// A person, if it does not end by itself.
    PersonOrTime,
    /// Time; a person if it lasts.
    TimeOrPerson,
}

impl Actor {
    /// The words of the table in docs/concepts.md.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Person => "you",
            Self::PersonOrTime => "you, or time",
            Self::TimeOrPerson => "time; you, if it lasts",
        }
    }

    /// Whether the wait may last until a person acts.
    pub fn needs_person(self) -> bool {
        match self {
            Self::Person | Self::PersonOrTime => true,
            Self::Time | Self::TimeOrPerson => false,
        }
    }
}

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    meaning: &'static str,
    severity: Severity,
    actor: Actor,
    alerts: bool,
}

const fn row(name: &'static str, meaning: &'static str, severity: Severity, actor: Actor, alerts: bool) -> Row {
    Row {
        name,
        meaning,
        severity,
        actor,
        alerts,
    }
}

impl ReasonName {
    /// What the reason means, for the table in docs/concepts.md.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// Whether its Event is a warning.
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// Whether each reboot has this wait: the agent is asked, the host goes down, the node becomes Ready. Its beginning is no
    /// news, and no Event.
    pub fn is_part_of_each_reboot(self) -> bool {
        matches!(self, Self::Preparing | Self::Rebooting | Self::NodeNotReady)
    }

    /// Who ends the wait.
    pub fn actor(self) -> Actor {
        self.row().actor
    }

    /// Whether the alert `LockkeeperRebootBlocked` counts nodes that wait for it.
    ///
    /// `Failed`, `BreakerOpen`, `ViewIncomplete`, `AgentMissing` and `AgentNotConfined` have alerts of their own.
    pub fn alerts(self) -> bool {
        self.row().alerts
    }

    // One line a reason: longer than other functions, and nothing but a table.
    #[allow(clippy::too_many_lines)]
    pub(crate) fn row(self) -> Row {
        use Actor::{Person, PersonOrTime, Time, TimeOrPerson};
        use Severity::{Normal, Warning};
        match self {
            Self::ViewIncomplete => row(
                "ViewIncomplete",
                "the operator's view is incomplete, or an object cannot be decoded; unknown means no",
                Normal,
                TimeOrPerson,
                false,
            ),
            Self::PolicyConflict => row(
                "PolicyConflict",
                "more than one policy selects the node",
                Warning,
                Person,
                true,
            ),
            Self::NoPolicy => row("NoPolicy", "no policy selects the node", Normal, Person, false),
            Self::Suspended => row("Suspended", "the policy is suspended", Normal, Person, false),
            Self::BeingDeleted => row(
                "BeingDeleted",
                "the Node is being deleted, or has the taint of a program that deletes nodes",
                Normal,
                TimeOrPerson,
                false,
            ),
            Self::Held => row(
                "Held",
                "the annotation `lockkeeper.dev/hold` holds the node",
                Normal,
                PersonOrTime,
                false,
            ),
            Self::AwaitingApproval => row(
                "AwaitingApproval",
                "the policy requires an approval of each node: `lockkeeper.dev/approved`",
                Normal,
                Person,
                false,
            ),
            Self::AgentMissing => row(
                "AgentMissing",
                "no agent has reported from the node's present boot",
                Warning,
                Person,
                false,
            ),
            Self::AgentNotConfined => row(
                "AgentNotConfined",
                "an agent is not confined to its own node, so that no report can be trusted; or this node's agent does not say",
                Warning,
                Person,
                false,
            ),
            Self::AgentIncapable => row(
                "AgentIncapable",
                "the agent cannot reboot the node; the message has the remedy",
                Warning,
                Person,
                true,
            ),
            Self::JustBooted => row(
                "JustBooted",
                "the host has booted so recently that the agent refuses to reboot it",
                Normal,
                Time,
                false,
            ),
            Self::AgentNotAnswering => row(
                "AgentNotAnswering",
                "the agent did not answer the order in time",
                Warning,
                Person,
                true,
            ),
            Self::Inhibited => row(
                "Inhibited",
                "a program on the host inhibits the shutdown",
                Warning,
                PersonOrTime,
                true,
            ),
            Self::BreakerOpen => row(
                "BreakerOpen",
                "failed nodes opened the breaker; the message says when a probe starts, or which node it is",
                Warning,
                PersonOrTime,
                false,
            ),
            Self::Excluded => row(
                "Excluded",
                "an exclusion is in force; the message has its reason",
                Normal,
                Time,
                false,
            ),
            Self::OutsideWindow => row("OutsideWindow", "no window is open", Normal, Time, false),
            Self::DoesNotFitWindow => row(
                "DoesNotFitWindow",
                "the rest of the window is too short for a reboot",
                Normal,
                Time,
                false,
            ),
            Self::CanarySoaking => row(
                "CanarySoaking",
                "the first nodes of the rollout must finish and stay healthy",
                Normal,
                Time,
                false,
            ),
            Self::TooManyUnavailable => row(
                "TooManyUnavailable",
                "too many nodes are unavailable already",
                Warning,
                Person,
                true,
            ),
            Self::NoFreeSlot => row(
                "NoFreeSlot",
                "the limit of nodes in progress is reached",
                Normal,
                Time,
                false,
            ),
            Self::TopologyFull => row(
                "TopologyFull",
                "the limit of the node's domain is reached, or another domain is not finished",
                Normal,
                Time,
                false,
            ),
            Self::Pacing => row("Pacing", "the last node started too recently", Normal, Time, false),
            Self::ControlPlaneBusy => row(
                "ControlPlaneBusy",
                "another control-plane node is down",
                Normal,
                Time,
                false,
            ),
            Self::Released => row(
                "Released",
                "a person released the node after a failure; it is not rebooted again for the same cause",
                Normal,
                Person,
                false,
            ),
            Self::StillRequired => row(
                "StillRequired",
                "the node was rebooted and still requires a reboot for the same cause, or was rebooted three times within a day",
                Warning,
                PersonOrTime,
                false,
            ),
            Self::BackingOff => row(
                "BackingOff",
                "the operation was deferred; the operator tries again later",
                Warning,
                Time,
                true,
            ),
            Self::ChecksPending => row(
                "ChecksPending",
                "the checks of the policy are being evaluated",
                Normal,
                Time,
                false,
            ),
            Self::CheckUnavailable => row(
                "CheckUnavailable",
                "a check of the policy could not be evaluated; the message has the error",
                Warning,
                TimeOrPerson,
                true,
            ),
            Self::CheckFailing => row(
                "CheckFailing",
                "a check of the policy fails; the message says what it found",
                Warning,
                TimeOrPerson,
                true,
            ),
            Self::PreflightBlocked => row(
                "PreflightBlocked",
                "its pods can never be evicted by waiting; the message names the first",
                Warning,
                Person,
                true,
            ),
            Self::Preparing => row(
                "Preparing",
                "the operator waits for the node agent to respond",
                Normal,
                Time,
                false,
            ),
            Self::WriteRefused => row(
                "WriteRefused",
                "the API server refuses a write about the node or the RebootLock; the message names what refuses it",
                Warning,
                Person,
                true,
            ),
            Self::NoticeGiven => row(
                "NoticeGiven",
                "the workloads of the node have been given notice, and have time to leave by themselves; then evictions start",
                Normal,
                Time,
                false,
            ),
            Self::LoadBalancerDelay => row(
                "LoadBalancerDelay",
                "load balancers have time to stop sending traffic; then evictions start",
                Normal,
                Time,
                false,
            ),
            Self::HookRunning => row(
                "HookRunning",
                "a hook of the policy is in progress",
                Normal,
                TimeOrPerson,
                false,
            ),
            Self::HookUnavailable => row(
                "HookUnavailable",
                "a hook of the policy cannot be started or observed; the message has the error",
                Warning,
                Person,
                true,
            ),
            Self::HookFailed => row(
                "HookFailed",
                "a hook of the policy failed or timed out; the node was deferred",
                Warning,
                PersonOrTime,
                true,
            ),
            Self::Uncordoned => row(
                "Uncordoned",
                "another client uncordoned the node during the drain",
                Warning,
                PersonOrTime,
                false,
            ),
            Self::EvictionBlocked => row(
                "EvictionBlocked",
                "a disruption budget or a webhook refuses an eviction; the message names it",
                Warning,
                PersonOrTime,
                true,
            ),
            Self::ResponderActive => row(
                "ResponderActive",
                "the eviction responders of a pod were asked; the message has their progress",
                Normal,
                Time,
                false,
            ),
            Self::PodRunning => row("PodRunning", "a pod may complete first", Normal, Time, false),
            Self::PodTerminating => row(
                "PodTerminating",
                "a pod is shutting down within its grace period",
                Normal,
                Time,
                false,
            ),
            Self::PodStuck => row("PodStuck", "a pod is past its grace period", Warning, Person, true),
            Self::VolumesAttached => row(
                "VolumesAttached",
                "volumes of evicted pods are still attached",
                Normal,
                Time,
                false,
            ),
            Self::Rebooting => row("Rebooting", "the reboot is in progress", Normal, Time, false),
            Self::AwaitingExternalReboot => row(
                "AwaitingExternalReboot",
                "the node is drained and waits until another system has rebooted it (`reboot.method: External`)",
                Normal,
                PersonOrTime,
                false,
            ),
            Self::RebootRefused => row(
                "RebootRefused",
                "the reboot was refused; the node stays cordoned until its kubelet has confirmed that the host stays up",
                Normal,
                Time,
                false,
            ),
            Self::NodeNotReady => row(
                "NodeNotReady",
                "rebooted; the node, or a DaemonSet or static pod that was ready on it before, is not Ready yet",
                Normal,
                Time,
                false,
            ),
            Self::WorkloadsNotReady => row(
                "WorkloadsNotReady",
                "rebooted and uncordoned; workloads whose pods were evicted are not ready again yet",
                Normal,
                TimeOrPerson,
                false,
            ),
            Self::Soaking => row(
                "Soaking",
                "rebooted and uncordoned; it must stay healthy for a while before the next node starts",
                Normal,
                Time,
                false,
            ),
            Self::Failed => row(
                "Failed",
                "the operation failed; check the node, then `retry` or `release` it",
                Warning,
                Person,
                false,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_reason_and_the_list_is_in_the_order_of_the_enum() {
        for pair in ReasonName::ALL.windows(2) {
            assert!(pair[0] < pair[1], "{} before {}", pair[0], pair[1]);
        }
        for reason in ReasonName::ALL {
            assert_eq!(ReasonName::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(ReasonName::parse("FromANewerVersion"), None);
    }

    #[test]
    fn a_reason_that_alerts_is_a_warning() {
        for reason in ReasonName::ALL.into_iter().filter(|reason| reason.alerts()) {
            assert_eq!(reason.severity(), Severity::Warning, "{reason}");
        }
    }
}
