//! Why a node is not rebooted now, with its data.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{Instant, ReasonName, ViewGap};

/// Why a node is not rebooted now. `Display` is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The operator's view is incomplete.
    ViewIncomplete(ViewGap),
    /// More than one policy selects the node.
    PolicyConflict {
        /// The policies, sorted by name.
        policies: Vec<String>,
    },
    /// No policy selects the node.
    NoPolicy,
    /// The policy is suspended.
    Suspended {
        /// The policy.
        policy: String,
    },
    /// The node is about to be deleted.
    BeingDeleted {
        /// The key of the taint that says so; `None` if the API server deletes the Node.
        taint: Option<String>,
        /// Since when, if that is known.
        since: Option<Instant>,
        /// The node has been Ready with the taint for so long that nothing deletes it any more.
        stale: bool,
    },
    /// A person holds the node.
    Held {
        /// The person's reason.
        reason: String,
        /// When the hold ends by itself.
        until: Option<Instant>,
    },
    /// The policy requires an approval, and the node has none.
    AwaitingApproval {
        /// The policy.
        policy: String,
    },
    /// No agent has reported from the node's present boot.
    AgentMissing {
        /// Since when.
        since: Instant,
    },
    /// The reports of the agents cannot be trusted.
    AgentNotConfined(ConfinementGap),
    /// The agent cannot reboot the node.
    AgentIncapable {
        /// The cause and the remedy.
        cause: String,
    },
    /// The host has booted so recently that the agent refuses to reboot it.
    JustBooted {
        /// Until when.
        until: Instant,
    },
    /// The agent did not answer an order in time.
    AgentNotAnswering {
        /// The order's id.
        order: String,
        /// How long the operator waited.
        seconds: i64,
    },
    /// A program inhibits the shutdown.
    Inhibited {
        /// The program.
        who: String,
        /// Its reason.
        why: String,
    },
    /// Failed nodes opened the breaker.
    BreakerOpen {
        /// The failed nodes.
        nodes: Arc<[String]>,
        /// How it closes again.
        recovery: BreakerRecovery,
    },
    /// An exclusion is in force.
    Excluded {
        /// When it ends; `None` if never.
        until: Option<Instant>,
        /// The administrator's reason; may be empty.
        reason: String,
    },
    /// No window is open.
    OutsideWindow {
        /// When the next one opens; `None` if none will.
        opens: Option<Instant>,
        /// Why the schedule is invalid, if it is.
        invalid: Option<String>,
    },
    /// The rest of the window is too short.
    DoesNotFitWindow {
        /// How long a reboot takes.
        needs: TimeDelta,
        /// When the window closes.
        closes: Instant,
        /// When the next one opens; `None` if none will.
        opens: Option<Instant>,
    },
    /// The first nodes of the rollout must finish and stay healthy.
    CanarySoaking {
        /// The canary nodes.
        names: Arc<[String]>,
        /// Until when; `None` while one of them is not finished or not healthy.
        until: Option<Instant>,
    },
    /// Too many nodes are unavailable.
    TooManyUnavailable {
        /// The nodes, each with its cause.
        nodes: Arc<[(String, String)]>,
        /// The limit.
        max: usize,
    },
    /// Every slot has a holder.
    NoFreeSlot {
        /// The nodes in progress.
        in_progress: Arc<[String]>,
        /// The limit.
        max: usize,
        /// Whose limit.
        scope: LimitScope,
        /// How many nodes of the policy are ahead in the queue.
        ahead: usize,
    },
    /// The limit of the node's domain is reached, or another domain is not finished.
    TopologyFull {
        /// The label's key.
        key: String,
        /// The label's value; empty for nodes without the label.
        value: String,
        /// The nodes in progress there.
        in_progress: Arc<[String]>,
    },
    /// The last node started too recently.
    Pacing {
        /// When the next one may start.
        until: Instant,
    },
    /// Another control-plane node is down.
    ControlPlaneBusy {
        /// That node.
        node: String,
    },
    /// A person released the node after a failure.
    Released {
        /// The failure.
        failure: String,
    },
    /// The node was rebooted and still requires a reboot for the same cause, or was rebooted too often.
    StillRequired {
        /// How many reboots in a row were for this cause, or followed each other closely.
        reboots: usize,
        /// When the first of them began, if they were for whatever causes.
        since: Option<Instant>,
        /// When it was rebooted last.
        rebooted: Instant,
        /// When it may be tried again.
        until: Instant,
    },
    /// The operation was deferred.
    BackingOff {
        /// How often since the last success.
        count: i32,
        /// The name of the reason that deferred it last, or `Cancelled`.
        cause: String,
        /// That reason's message.
        message: String,
        /// When it is tried again.
        until: Instant,
    },
    /// The checks of the policy are being evaluated.
    ChecksPending {
        /// The check whose Job has not finished, and that Job, if only Jobs are waited for.
        job: Option<String>,
        /// When the node is Failed without an answer, if it has rebooted already.
        until: Option<Instant>,
    },
    /// A check could not be evaluated.
    CheckUnavailable {
        /// The name of the check.
        check: String,
        /// The error with its source, and the remedy.
        error: String,
        /// When the node is Failed, if it has rebooted already.
        until: Option<Instant>,
    },
    /// A check fails.
    CheckFailing {
        /// The name of the check.
        check: String,
        /// What it found.
        what: String,
        /// When the node is Failed, if it has rebooted already.
        until: Option<Instant>,
    },
    /// Its pods can never be evicted by waiting.
    PreflightBlocked {
        /// The first such pod, as `namespace/name`; empty if it concerns no single pod.
        pod: String,
        /// Why it cannot be evicted.
        why: String,
        /// When it is checked again.
        until: Instant,
    },
    /// The operator waits for the agent's answer to the order `Prepare`.
    Preparing {
        /// When the order was given.
        asked: Instant,
        /// When it times out.
        until: Instant,
    },
    /// The API server refuses a write about the node, or about the lock, again and again.
    WriteRefused {
        /// The write, and what refuses it.
        message: String,
    },
    /// The workloads of the node have been given notice, and have time to leave by themselves.
    NoticeGiven {
        /// When evictions start.
        until: Instant,
    },
    /// Load balancers have time to stop sending traffic.
    LoadBalancerDelay {
        /// When evictions start.
        from: Instant,
    },
    /// A hook of the policy is in progress.
    HookRunning {
        /// The name of the hook.
        hook: String,
        /// What is waited for.
        what: String,
        /// When it times out.
        until: Instant,
    },
    /// A hook of the policy cannot be started or observed.
    HookUnavailable {
        /// The name of the hook.
        hook: String,
        /// The error, and the remedy.
        error: String,
        /// When it times out.
        until: Instant,
    },
    /// A hook of the policy failed or timed out.
    HookFailed {
        /// The name of the hook.
        hook: String,
        /// What failed.
        message: String,
    },
    /// Another client uncordoned the node during the drain.
    Uncordoned,
    /// An eviction is refused.
    EvictionBlocked {
        /// The pods and what refuses them.
        message: String,
    },
    /// The responders of a pod were asked for its eviction.
    ResponderActive {
        /// The pods, the responder and its progress.
        message: String,
        /// When the responder expects to have ended, if it says so.
        until: Option<Instant>,
    },
    /// A pod may complete first.
    PodRunning {
        /// The pods and the rule.
        message: String,
    },
    /// A pod is shutting down.
    PodTerminating {
        /// The pods and their grace period.
        message: String,
        /// When the grace period ends.
        until: Option<Instant>,
    },
    /// A pod is past its grace period.
    PodStuck {
        /// The pods and what keeps them.
        message: String,
    },
    /// Volumes of evicted pods are still attached.
    VolumesAttached {
        /// The volumes.
        message: String,
        /// When the operator stops waiting for them.
        until: Option<Instant>,
    },
    /// The reboot is in progress.
    Rebooting {
        /// When it was ordered.
        since: Instant,
        /// When it times out.
        until: Instant,
    },
    /// The node is drained, and another system is to reboot it.
    AwaitingExternalReboot {
        /// Since when.
        since: Instant,
        /// When it times out.
        until: Instant,
    },
    /// The agent refused the reboot, and the kubelet has not confirmed yet that the host stays up.
    RebootRefused {
        /// Why it was refused.
        cause: String,
        /// When the operator stops to wait for the kubelet.
        until: Instant,
    },
    /// Rebooted, but not Ready yet.
    NodeNotReady {
        /// What is not Ready.
        message: String,
        /// When it times out.
        until: Instant,
    },
    /// Uncordoned, but workloads whose pods were evicted are not ready again yet.
    WorkloadsNotReady {
        /// Those that are not ready, each with what is known of its replicas; empty while they are not checked yet.
        workloads: Vec<String>,
        /// Why one of them cannot be read, and the remedy.
        failure: Option<String>,
        /// When the operator stops waiting for them.
        until: Instant,
    },
    /// Rebooted, uncordoned and healthy.
    Soaking {
        /// When it has stayed healthy for long enough.
        until: Instant,
    },
    /// The operation failed.
    Failed {
        /// What did not happen, and where to look.
        message: String,
    },
}

/// Why the reports of the agents cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfinementGap {
    /// Agents report that they could write the report of any node. No node starts.
    NotConfined {
        /// The nodes of these agents, sorted by name.
        nodes: Arc<[String]>,
        /// What is wrong with the first one, and the remedy.
        cause: String,
    },
    /// The agent of this node does not report whether it is confined. Other nodes are not affected.
    Unreported {
        /// Why, and the remedy.
        cause: String,
    },
}

/// How an open breaker closes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakerRecovery {
    /// A person retries or releases the failed nodes, or acknowledges the breaker.
    Manual,
    /// One node starts as a probe at this time.
    ProbeAt(Instant),
    /// This node is the probe.
    Probing(String),
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// The policy's `maxInProgress`.
    Policy,
    /// The lock's `maxInProgress`, or the largest of any policy.
    Cluster,
}

impl WaitReason {
    /// The reason's name.
    pub fn name(&self) -> ReasonName {
        match self {
            Self::ViewIncomplete(_) => ReasonName::ViewIncomplete,
            Self::PolicyConflict { .. } => ReasonName::PolicyConflict,
            Self::NoPolicy => ReasonName::NoPolicy,
            Self::Suspended { .. } => ReasonName::Suspended,
            Self::BeingDeleted { .. } => ReasonName::BeingDeleted,
            Self::Held { .. } => ReasonName::Held,
            Self::AwaitingApproval { .. } => ReasonName::AwaitingApproval,
            Self::AgentMissing { .. } => ReasonName::AgentMissing,
            Self::AgentNotConfined(_) => ReasonName::AgentNotConfined,
            Self::AgentIncapable { .. } => ReasonName::AgentIncapable,
            Self::JustBooted { .. } => ReasonName::JustBooted,
            Self::AgentNotAnswering { .. } => ReasonName::AgentNotAnswering,
            Self::Inhibited { .. } => ReasonName::Inhibited,
            Self::BreakerOpen { .. } => ReasonName::BreakerOpen,
            Self::Excluded { .. } => ReasonName::Excluded,
            Self::OutsideWindow { .. } => ReasonName::OutsideWindow,
            Self::DoesNotFitWindow { .. } => ReasonName::DoesNotFitWindow,
            Self::CanarySoaking { .. } => ReasonName::CanarySoaking,
            Self::TooManyUnavailable { .. } => ReasonName::TooManyUnavailable,
            Self::NoFreeSlot { .. } => ReasonName::NoFreeSlot,
            Self::TopologyFull { .. } => ReasonName::TopologyFull,
            Self::Pacing { .. } => ReasonName::Pacing,
            Self::ControlPlaneBusy { .. } => ReasonName::ControlPlaneBusy,
            Self::Released { .. } => ReasonName::Released,
            Self::StillRequired { .. } => ReasonName::StillRequired,
            Self::BackingOff { .. } => ReasonName::BackingOff,
            Self::ChecksPending { .. } => ReasonName::ChecksPending,
            Self::CheckUnavailable { .. } => ReasonName::CheckUnavailable,
            Self::CheckFailing { .. } => ReasonName::CheckFailing,
            Self::PreflightBlocked { .. } => ReasonName::PreflightBlocked,
            Self::Preparing { .. } => ReasonName::Preparing,
            Self::WriteRefused { .. } => ReasonName::WriteRefused,
            Self::NoticeGiven { .. } => ReasonName::NoticeGiven,
            Self::LoadBalancerDelay { .. } => ReasonName::LoadBalancerDelay,
            Self::HookRunning { .. } => ReasonName::HookRunning,
            Self::HookUnavailable { .. } => ReasonName::HookUnavailable,
            Self::HookFailed { .. } => ReasonName::HookFailed,
            Self::Uncordoned => ReasonName::Uncordoned,
            Self::EvictionBlocked { .. } => ReasonName::EvictionBlocked,
            Self::ResponderActive { .. } => ReasonName::ResponderActive,
            Self::PodRunning { .. } => ReasonName::PodRunning,
            Self::PodTerminating { .. } => ReasonName::PodTerminating,
            Self::PodStuck { .. } => ReasonName::PodStuck,
            Self::VolumesAttached { .. } => ReasonName::VolumesAttached,
            Self::Rebooting { .. } => ReasonName::Rebooting,
            Self::AwaitingExternalReboot { .. } => ReasonName::AwaitingExternalReboot,
            Self::RebootRefused { .. } => ReasonName::RebootRefused,
            Self::NodeNotReady { .. } => ReasonName::NodeNotReady,
            Self::WorkloadsNotReady { .. } => ReasonName::WorkloadsNotReady,
            Self::Soaking { .. } => ReasonName::Soaking,
            Self::Failed { .. } => ReasonName::Failed,
        }
    }
}
