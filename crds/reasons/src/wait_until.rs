//! When time alone ends a wait.

use crate::{BreakerRecovery, Instant, ViewGap, WaitReason};

impl WaitReason {
    /// When time alone may end the wait, if that is known.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Held { until, .. }
            | Self::Excluded { until, .. }
            | Self::CanarySoaking { until, .. }
            | Self::VolumesAttached { until, .. }
            | Self::ChecksPending { until, .. }
            | Self::CheckUnavailable { until, .. }
            | Self::CheckFailing { until, .. }
            | Self::ResponderActive { until, .. }
            | Self::PodTerminating { until, .. } => *until,
            Self::OutsideWindow { opens, .. } | Self::DoesNotFitWindow { opens, .. } => *opens,
            Self::NoticeGiven { until }
            | Self::LoadBalancerDelay { from: until }
            | Self::ViewIncomplete(ViewGap::SchedulersUnaware { until })
            | Self::BreakerOpen {
                recovery: BreakerRecovery::ProbeAt(until),
                ..
            }
            | Self::JustBooted { until }
            | Self::Soaking { until }
            | Self::HookRunning { until, .. }
            | Self::HookUnavailable { until, .. }
            | Self::Pacing { until }
            | Self::PreflightBlocked { until, .. }
            | Self::Preparing { until, .. }
            | Self::StillRequired { until, .. }
            | Self::BackingOff { until, .. }
            | Self::Rebooting { until, .. }
            | Self::AwaitingExternalReboot { until, .. }
            | Self::RebootRefused { until, .. }
            | Self::NodeNotReady { until, .. }
            | Self::WorkloadsNotReady { until, .. } => Some(*until),
            Self::ViewIncomplete(_)
            | Self::PolicyConflict { .. }
            | Self::NoPolicy
            | Self::Suspended { .. }
            | Self::BeingDeleted { .. }
            | Self::AwaitingApproval { .. }
            | Self::AgentMissing { .. }
            | Self::AgentNotConfined(_)
            | Self::AgentIncapable { .. }
            | Self::AgentNotAnswering { .. }
            | Self::Inhibited { .. }
            | Self::BreakerOpen { .. }
            | Self::TooManyUnavailable { .. }
            | Self::NoFreeSlot { .. }
            | Self::TopologyFull { .. }
            | Self::PodRunning { .. }
            | Self::ControlPlaneBusy { .. }
            | Self::Uncordoned
            | Self::HookFailed { .. }
            | Self::Released { .. }
            | Self::EvictionBlocked { .. }
            | Self::WriteRefused { .. }
            | Self::PodStuck { .. }
            | Self::Failed { .. } => None,
        }
    }
}
