//! Which pods leave, which stay, and which block: decided from one pod and the settings alone.

use crate::pod::{Controller, Phase, PodView};
use crate::settings::{Settings, Unmanaged};

/// What is to become of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays, and does not hold up the node.
    Skip(Stays),
    /// It has to leave and can be asked to.
    Evict,
    /// It has to leave and is on its way.
    Wait,
    /// It has to leave and may not be asked to.
    Block(Bars),
}

/// Why a pod stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// The kubelet runs it from a file; evicting the mirror would stop nothing.
    Mirror,
    /// Its `DaemonSet` would put it back on the same node.
    DaemonSet,
    /// It is Lockkeeper's own.
    Own,
    /// It is over and runs nothing; its object and logs are left to whoever wants them.
    Finished,
}

/// Why a pod may not be asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bars {
    /// Nothing would create it again.
    Unmanaged,
}

/// Decides about one pod, in the order of `kubectl drain`; the first answer counts.
pub fn decide(pod: &PodView, settings: &Settings) -> Decision {
    if pod.mirror {
        return Decision::Skip(Stays::Mirror);
    }
    if pod.controller == Controller::DaemonSet {
        return Decision::Skip(Stays::DaemonSet);
    }
    let own = &settings.own_pods;
    if pod.name.namespace == own.namespace && pod.labels.get(&own.label) == Some(&own.value) {
        return Decision::Skip(Stays::Own);
    }
    match pod.phase {
        Phase::Finished => return Decision::Skip(Stays::Finished),
        Phase::Pending | Phase::Running => {}
    }
    if pod.shutdown.is_some() {
        return Decision::Wait;
    }
    match (pod.controller, settings.unmanaged) {
        (Controller::None, Unmanaged::Block) => Decision::Block(Bars::Unmanaged),
        (Controller::None, Unmanaged::Evict) | (Controller::DaemonSet | Controller::Other, _) => Decision::Evict,
    }
}
