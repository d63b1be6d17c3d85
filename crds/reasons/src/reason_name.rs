//! The closed list of reasons, in the order in which the planner checks them.

use std::fmt;

/// The name of a reason why a node is not rebooted now, in the order in which the planner checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonName {
    /// The operator's view is incomplete, or an object cannot be decoded; unknown means no.
    ViewIncomplete,
    /// More than one policy selects the node.
    PolicyConflict,
    /// No policy selects the node.
    NoPolicy,
    /// The policy is suspended.
    Suspended,
    /// The node is about to be deleted, or has a taint that says so.
    BeingDeleted,
    /// The annotation `lockkeeper.dev/hold` holds the node.
    Held,
    /// The policy requires an approval of each node: `lockkeeper.dev/approved`.
    AwaitingApproval,
    /// No agent has reported from the node's present boot.
    AgentMissing,
    /// An agent is not confined to its own node, so that no report can be trusted; or this node's agent does not say.
    AgentNotConfined,
    /// The agent cannot reboot the node; the message has the remedy.
    AgentIncapable,
    /// The host has booted so recently that the agent refuses to reboot it.
    JustBooted,
    /// The agent did not answer the order in time.
    AgentNotAnswering,
    /// A program on the host inhibits the shutdown.
    Inhibited,
    /// Failed nodes opened the breaker; the message says when a probe starts, or which node it is.
    BreakerOpen,
    /// An exclusion is in force; the message has its reason.
    Excluded,
    /// No window is open.
    OutsideWindow,
    /// The rest of the window is too short for a reboot.
    DoesNotFitWindow,
    /// A person released the node after a failure; it is not rebooted again for the same cause.
    Released,
    /// The node was rebooted and still requires a reboot for the same cause, or was rebooted three times within a day.
    StillRequired,
    /// The operation was deferred; the operator tries again later.
    BackingOff,
    /// The first nodes of the rollout must finish and stay healthy.
    CanarySoaking,
    /// The limit of nodes in progress is reached.
    NoFreeSlot,
    /// Too many nodes are unavailable already.
    TooManyUnavailable,
    /// The limit of the node's domain is reached, or another domain is not finished.
    TopologyFull,
    /// The last node started too recently.
    Pacing,
    /// Another control-plane node is down.
    ControlPlaneBusy,
    /// The checks of the policy are being evaluated.
    ChecksPending,
    /// A check of the policy could not be evaluated; the message has the error.
    CheckUnavailable,
    /// A check of the policy fails; the message says what it found.
    CheckFailing,
    /// Its pods can never be evicted by waiting; the message names the first.
    PreflightBlocked,
    /// The operator waits for the node agent to respond.
    Preparing,
    /// The API server refuses a write about the node; the message names what refuses it.
    WriteRefused,
    /// The workloads of the node have been given notice, and have time to leave by themselves; then evictions start.
    NoticeGiven,
    /// Load balancers have time to stop sending traffic; then evictions start.
    LoadBalancerDelay,
    /// A hook of the policy is in progress.
    HookRunning,
    /// A hook of the policy cannot be started or observed; the message has the error.
    HookUnavailable,
    /// A hook of the policy failed or timed out; the message says why.
    HookFailed,
    /// Another client uncordoned the node during the drain.
    Uncordoned,
    /// A disruption budget or a webhook refuses an eviction; the message names it.
    EvictionBlocked,
    /// The eviction responders of a pod were asked, and have not evicted it yet; the message has their progress.
    ResponderActive,
    /// A pod may complete first.
    PodRunning,
    /// A pod is shutting down within its grace period.
    PodTerminating,
    /// A pod is past its grace period.
    PodStuck,
    /// Volumes of evicted pods are still attached.
    VolumesAttached,
    /// The reboot is in progress.
    Rebooting,
    /// The node is drained and waits until another system has rebooted it (`reboot.method: External`).
    AwaitingExternalReboot,
    /// The agent refused the reboot; the node stays cordoned until its kubelet has confirmed that the host stays up.
    RebootRefused,
    /// Rebooted; the node, or a `DaemonSet` or static pod that was ready on it before, is not Ready yet.
    NodeNotReady,
    /// Uncordoned; workloads whose pods were evicted are not ready again yet.
    WorkloadsNotReady,
    /// Rebooted and uncordoned; it must stay healthy for a while before the next node starts.
    Soaking,
    /// The operation failed; check the node, then `retry` or `release` it.
    Failed,
}

impl ReasonName {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 51] = [
        Self::ViewIncomplete,
        Self::PolicyConflict,
        Self::NoPolicy,
        Self::Suspended,
        Self::BeingDeleted,
        Self::Held,
        Self::AwaitingApproval,
        Self::AgentMissing,
        Self::AgentNotConfined,
        Self::AgentIncapable,
        Self::JustBooted,
        Self::AgentNotAnswering,
        Self::Inhibited,
        Self::BreakerOpen,
        Self::Excluded,
        Self::OutsideWindow,
        Self::DoesNotFitWindow,
        Self::Released,
        Self::StillRequired,
        Self::BackingOff,
        Self::CanarySoaking,
        Self::NoFreeSlot,
        Self::TooManyUnavailable,
        Self::TopologyFull,
        Self::Pacing,
        Self::ControlPlaneBusy,
        Self::ChecksPending,
        Self::CheckUnavailable,
        Self::CheckFailing,
        Self::PreflightBlocked,
        Self::Preparing,
        Self::WriteRefused,
        Self::NoticeGiven,
        Self::LoadBalancerDelay,
        Self::HookRunning,
        Self::HookUnavailable,
        Self::HookFailed,
        Self::Uncordoned,
        Self::EvictionBlocked,
        Self::ResponderActive,
        Self::PodRunning,
        Self::PodTerminating,
        Self::PodStuck,
        Self::VolumesAttached,
        Self::Rebooting,
        Self::AwaitingExternalReboot,
        Self::RebootRefused,
        Self::NodeNotReady,
        Self::WorkloadsNotReady,
        Self::Soaking,
        Self::Failed,
    ];

    /// The name as status, Events, metric labels and the plugin write it.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Finds the reason with this name; `None` for a name of a newer version.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for ReasonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
