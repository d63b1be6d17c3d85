//! Which pods leave, which stay, which block, and in which order: decided from one pod and the settings alone.

use std::fmt;

use kube::core::SelectorExt;

use crate::pod::{Controller, Critical, Phase, PodView};
use crate::rule::{Behavior, Namespaces, Ruling, ruling};
use crate::settings::{EmptyDir, PodOptOuts, Settings, Stage, Unmanaged};

/// What is to become of one pod, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is to become of it.
    pub decision: Decision,
    /// When: no pod of a tier is asked while one of an earlier tier is still there.
    pub tier: Tier,
}

/// What is to become of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays, and does not hold up the node.
    Skip(Stays),
    /// It has to leave and can be asked to.
    Evict,
    /// It has to leave, and its budget is asked no longer.
    Delete,
    /// It has to leave and is on its way.
    Wait,
    /// It holds up the node until it has completed; the rule's index.
    Complete(usize),
    /// It has to leave and may not be asked to, for all of these reasons.
    Block(Vec<Bar>),
    /// A rule depends on its namespace's labels, which are not known yet.
    Unknown,
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
    /// The policy's rule of this index says so.
    Rule(usize),
}

/// Why a pod may not be asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Nothing would create it again.
    Unmanaged,
    /// It keeps data that would be lost.
    EmptyDir,
    /// It asks not to be moved, by this annotation.
    OptedOut(&'static str),
    /// The policy's rule of this index says so.
    Rule(usize),
}

/// When a pod leaves; the smaller, the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier {
    /// Whether it belongs to a `DaemonSet`: these leave last.
    pub daemon_set: bool,
    /// The order of its rule.
    pub order: i32,
    /// Whether the cluster depends on it: such pods leave after those that do not matter as much.
    pub critical: bool,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.daemon_set, self.critical) {
            (true, _) => f.write_str("DaemonSets"),
            (false, false) => write!(f, "order {}", self.order),
            (false, true) => write!(f, "order {}, critical", self.order),
        }
    }
}

/// Decides about one pod, in the order of `kubectl drain`; the first answer counts.
pub fn decide(pod: &PodView, namespaces: &Namespaces, settings: &Settings) -> Verdict {
    let mut tier = Tier {
        daemon_set: pod.controller == Controller::DaemonSet,
        order: 0,
        critical: pod.critical != Critical::No,
    };
    if let Some(stays) = stays(pod, settings) {
        return Verdict {
            decision: Decision::Skip(stays),
            tier,
        };
    }
    let ruling = ruling(&settings.rules, pod, namespaces);
    if let Ruling::Rule(_, _, order) = ruling {
        tier.order = order;
    }
    let decision = if tier.daemon_set {
        tier = Tier {
            daemon_set: true,
            ..Tier::default()
        };
        daemon(pod, ruling, settings)
    } else {
        movable(pod, ruling, settings)
    };
    Verdict { decision, tier }
}

/// What stays whatever the rules say.
fn stays(pod: &PodView, settings: &Settings) -> Option<Stays> {
    let own = &settings.own_pods;
    if pod.controller == Controller::Kubelet {
        Some(Stays::Mirror)
    } else if pod.name.namespace == own.namespace && pod.labels.get(&own.label) == Some(&own.value) {
        Some(Stays::Own)
    } else if pod.phase == Phase::Finished {
        Some(Stays::Finished)
    } else if pod.controller == Controller::DaemonSet && !settings.daemon_sets_last {
        Some(Stays::DaemonSet)
    } else {
        None
    }
}

/// A pod of a `DaemonSet`, where these are to leave too.
///
/// What the node itself depends on, such as its network and its storage, stays, as does what no taint keeps away.
fn daemon(pod: &PodView, ruling: Ruling, settings: &Settings) -> Decision {
    let opted_out = pod.opted_out.is_some() && settings.pod_opt_outs == PodOptOuts::Respect;
    if pod.critical == Critical::Node || pod.tolerates_all || opted_out {
        return Decision::Skip(Stays::DaemonSet);
    }
    match ruling {
        Ruling::Rule(index, Behavior::Skip | Behavior::WaitCompleted | Behavior::Block, _) => {
            Decision::Skip(Stays::Rule(index))
        }
        Ruling::Unknown => Decision::Unknown,
        Ruling::Rule(_, Behavior::Evict, _) | Ruling::None if pod.shutdown.is_some() => Decision::Wait,
        Ruling::Rule(_, Behavior::Evict, _) | Ruling::None => asked(pod, settings, Decision::Evict),
    }
}

fn movable(pod: &PodView, ruling: Ruling, settings: &Settings) -> Decision {
    let mut bars = Vec::new();
    let mut ask = Decision::Evict;
    match ruling {
        Ruling::Unknown => return Decision::Unknown,
        Ruling::Rule(index, Behavior::Skip, _) => return Decision::Skip(Stays::Rule(index)),
        Ruling::Rule(_, _, _) | Ruling::None if pod.shutdown.is_some() => return Decision::Wait,
        Ruling::Rule(index, Behavior::Block, _) => bars.push(Bar::Rule(index)),
        Ruling::Rule(index, Behavior::WaitCompleted, _) => ask = Decision::Complete(index),
        Ruling::Rule(_, Behavior::Evict, _) | Ruling::None => {}
    }
    let ask = asked(pod, settings, ask);
    if let Decision::Complete(_) = ask {
        return ask;
    }
    if let (Some(annotation), PodOptOuts::Respect) = (pod.opted_out, settings.pod_opt_outs) {
        bars.push(Bar::OptedOut(annotation));
    }
    if let (Controller::None, Unmanaged::Block) = (pod.controller, settings.unmanaged) {
        bars.push(Bar::Unmanaged);
    }
    if let (true, EmptyDir::Block) = (pod.empty_dir, settings.empty_dir) {
        bars.push(Bar::EmptyDir);
    }
    if bars.is_empty() { ask } else { Decision::Block(bars) }
}

/// The later stage deletes what the earlier one asked or waited for.
fn asked(pod: &PodView, settings: &Settings, ask: Decision) -> Decision {
    match &settings.stage {
        Stage::Evict => ask,
        Stage::Delete(deletion) => {
            let exempt = deletion.exempt.as_ref();
            if exempt.is_some_and(|exempt| exempt.matches(&pod.labels)) {
                ask
            } else {
                Decision::Delete
            }
        }
    }
}

/// Whether the node is held by a pod with this decision.
pub(crate) fn matters(decision: &Decision) -> bool {
    match decision {
        Decision::Skip(_) => false,
        Decision::Evict
        | Decision::Delete
        | Decision::Wait
        | Decision::Complete(_)
        | Decision::Block(_)
        | Decision::Unknown => true,
    }
}

/// Whether a pod with this decision stays and runs on, volumes and all.
pub(crate) fn runs_on(decision: &Decision) -> bool {
    match decision {
        Decision::Skip(Stays::Mirror | Stays::DaemonSet | Stays::Own | Stays::Rule(_)) => true,
        Decision::Skip(Stays::Finished)
        | Decision::Evict
        | Decision::Delete
        | Decision::Wait
        | Decision::Complete(_)
        | Decision::Block(_)
        | Decision::Unknown => false,
    }
}
