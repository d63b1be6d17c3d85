//! Which pods are evicted, stay or block, and in which order: decided from one pod and the settings alone.

use std::fmt;

use chrono::{DateTime, Utc};
use kube::core::SelectorExt;

use crate::blocker::Blocker;
use crate::opt_out::OptOut;
use crate::pod::{Controller, Criticality, Phase, PodView, Tolerance};
use crate::rule::{Behavior, Namespaces, Ruling, ruling};
use crate::settings::{EmptyDir, PodOptOuts, Settings, Stage, Unmanaged};

/// What the drain does with a pod, and in which tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the drain does with it.
    pub decision: Decision,
    /// Its tier: no pod of a tier is evicted while one of an earlier tier is still there.
    pub tier: Tier,
}

/// What the drain does with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays and does not delay the drain.
    Skip(StayReason),
    /// It is evicted.
    Evict,
    /// It is deleted, regardless of its budget.
    Delete,
    /// It is shutting down; the drain waits for it.
    Wait,
    /// The drain waits until it has completed; with the index of the rule.
    Complete(usize),
    /// It blocks the drain, for all of these reasons.
    Block(Vec<EvictionBar>),
    /// Unknown: a rule depends on the labels of its namespace, which are not read yet.
    Unknown,
}

/// Why a pod stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayReason {
    /// It is the mirror of a static pod; evicting it would stop nothing.
    Mirror,
    /// Its `DaemonSet` would recreate it on the same node.
    DaemonSet,
    /// It belongs to Lockkeeper, or runs for the node.
    Own,
    /// It has finished; its object and logs are kept.
    Finished,
    /// The policy's rule with this index.
    Rule(usize),
    /// Its owner places it on the node again, in spite of the cordon.
    Returns,
}

/// Why a pod must not be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionBar {
    /// It cannot be decoded, so that no rule can be applied to it.
    Undecodable,
    /// No controller would recreate it.
    Unmanaged,
    /// It has data in an `emptyDir`, which would be lost.
    EmptyDir,
    /// It opts out of eviction.
    OptedOut(OptOut),
    /// The policy's rule with this index.
    Rule(usize),
}

impl EvictionBar {
    /// The blocker of this pod.
    pub(crate) fn blocker(self, pod: &PodView) -> Blocker {
        let cause = pod.undecodable.clone().unwrap_or_default();
        let pod = pod.name.clone();
        match self {
            Self::Undecodable => Blocker::Undecodable { pod, cause },
            Self::Unmanaged => Blocker::Unmanaged { pod },
            Self::EmptyDir => Blocker::EmptyDir { pod },
            Self::OptedOut(OptOut { annotation, until }) => Blocker::OptedOut {
                pod,
                annotation: annotation.to_owned(),
                until,
            },
            Self::Rule(rule) => Blocker::Rule { pod, rule },
        }
    }
}

/// When a pod is evicted; lower tiers come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier {
    /// Whether it belongs to a `DaemonSet`: these are evicted last.
    pub daemon_set: bool,
    /// The order of its rule.
    pub order: i32,
    /// Whether the node or the cluster depends on it: such pods are evicted after the others of their order.
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

/// Decides what the drain does with a pod, with the checks of `kubectl drain` in the same order.
pub fn decide(pod: &PodView, namespaces: &Namespaces, settings: &Settings, now: DateTime<Utc>) -> Verdict {
    let mut tier = Tier {
        daemon_set: pod.controller == Controller::DaemonSet,
        order: 0,
        critical: pod.criticality != Criticality::No,
    };
    if let Some(reason) = stay_reason(pod, settings) {
        return Verdict {
            decision: Decision::Skip(reason),
            tier,
        };
    }
    if pod.undecodable.is_some() {
        let decision = if pod.shutdown.is_some() {
            Decision::Wait
        } else {
            Decision::Block(vec![EvictionBar::Undecodable])
        };
        return Verdict { decision, tier };
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
        decide_daemon_set_pod(pod, ruling, settings, now)
    } else {
        decide_movable_pod(pod, ruling, settings, now)
    };
    Verdict { decision, tier }
}

/// Why a pod stays regardless of the rules.
fn stay_reason(pod: &PodView, settings: &Settings) -> Option<StayReason> {
    let is_own = || {
        settings
            .own_pods
            .contain(&pod.name.namespace, &pod.labels, &settings.node)
    };
    if pod.controller == Controller::Kubelet {
        Some(StayReason::Mirror)
    } else if pod.phase == Phase::Finished {
        Some(StayReason::Finished)
    } else if is_own() {
        Some(StayReason::Own)
    } else if pod.controller == Controller::DaemonSet && !settings.daemon_sets_last {
        Some(StayReason::DaemonSet)
    } else {
        None
    }
}

/// Decides about a `DaemonSet` pod if these are evicted too.
///
/// Pods that the node itself depends on, such as network and storage, stay, and so do pods that tolerate every taint.
fn decide_daemon_set_pod(pod: &PodView, ruling: Ruling, settings: &Settings, now: DateTime<Utc>) -> Decision {
    let opted_out = opt_out(pod, settings, now).is_some();
    if pod.criticality == Criticality::Node || pod.tolerance == Tolerance::All || opted_out {
        return Decision::Skip(StayReason::DaemonSet);
    }
    match ruling {
        Ruling::Rule(index, Behavior::Skip | Behavior::WaitCompleted | Behavior::Block, _) => {
            Decision::Skip(StayReason::Rule(index))
        }
        Ruling::Unknown => Decision::Unknown,
        Ruling::Rule(_, Behavior::Evict | Behavior::Try, _) | Ruling::None if pod.shutdown.is_some() => Decision::Wait,
        Ruling::Rule(_, Behavior::Evict | Behavior::Try, _) | Ruling::None => for_stage(pod, settings, Decision::Evict),
    }
}

/// Decides about a pod that can run on another node.
fn decide_movable_pod(pod: &PodView, ruling: Ruling, settings: &Settings, now: DateTime<Utc>) -> Decision {
    let mut bars = Vec::new();
    let mut decision = Decision::Evict;
    match ruling {
        Ruling::Unknown => return Decision::Unknown,
        Ruling::Rule(index, Behavior::Skip, _) => return Decision::Skip(StayReason::Rule(index)),
        Ruling::Rule(_, _, _) | Ruling::None if pod.shutdown.is_some() => return Decision::Wait,
        Ruling::Rule(index, Behavior::Block, _) => bars.push(EvictionBar::Rule(index)),
        Ruling::Rule(index, Behavior::WaitCompleted, _) => decision = Decision::Complete(index),
        Ruling::Rule(_, Behavior::Evict | Behavior::Try, _) | Ruling::None => {}
    }
    let decision = for_stage(pod, settings, decision);
    if let Decision::Complete(_) = decision {
        return decision;
    }
    bars.extend(opt_out(pod, settings, now).map(EvictionBar::OptedOut));
    if let (Controller::None, Unmanaged::Block) = (pod.controller, settings.unmanaged) {
        bars.push(EvictionBar::Unmanaged);
    }
    if let (true, EmptyDir::Block) = (pod.empty_dir, settings.empty_dir) {
        bars.push(EvictionBar::EmptyDir);
    }
    if !bars.is_empty() {
        return Decision::Block(bars);
    }
    match &pod.owner {
        Some(owner) if settings.returning.contains(owner) => Decision::Skip(StayReason::Returns),
        Some(_) | None => decision,
    }
}

/// The pod's opt-out, if it is in force and respected.
fn opt_out(pod: &PodView, settings: &Settings, now: DateTime<Utc>) -> Option<OptOut> {
    match settings.pod_opt_outs {
        PodOptOuts::Respect => pod.opt_out.filter(|opt_out| opt_out.holds(now)),
        PodOptOuts::Ignore => None,
    }
}

/// The stage `Delete` deletes the pods that the stage `Evict` evicts or waits for.
fn for_stage(pod: &PodView, settings: &Settings, decision: Decision) -> Decision {
    match &settings.stage {
        Stage::Evict => decision,
        Stage::Delete(deletion) => {
            let exempt = deletion.exempt.as_ref();
            if exempt.is_some_and(|exempt| exempt.matches(&pod.labels)) {
                decision
            } else {
                Decision::Delete
            }
        }
    }
}

/// Whether the drain is not complete while a pod with this decision is on the node.
pub(crate) fn holds_node(decision: &Decision) -> bool {
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

/// Whether a pod with this decision stays and keeps running, with its volumes.
pub(crate) fn keeps_running(decision: &Decision) -> bool {
    match decision {
        Decision::Skip(
            StayReason::Mirror | StayReason::DaemonSet | StayReason::Own | StayReason::Rule(_) | StayReason::Returns,
        ) => true,
        Decision::Skip(StayReason::Finished)
        | Decision::Evict
        | Decision::Delete
        | Decision::Wait
        | Decision::Complete(_)
        | Decision::Block(_)
        | Decision::Unknown => false,
    }
}
