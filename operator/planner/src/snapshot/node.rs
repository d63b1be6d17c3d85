//! A Node as it was observed, with what the operator's own tasks know about it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_reasons::{ViewGap, WaitReason};

use super::boot_before::BootBefore;
use super::hooks::{Handshake, JobReport};
use super::notice::NoticeCondition;
use super::operation::Operation;
use super::record::{AnswerState, Host, Record};
use crate::Instant;
use crate::names::{BootId, PolicyName};
use crate::recorded::{is_ahead, unless_ahead};

/// How long an agent may take to report from a new boot before it counts as missing.
const AGENT_GRACE: TimeDelta = TimeDelta::seconds(120);
/// A node that was never Ready does not count as unavailable while it is younger than this: it is still being set up.
const SETUP_TIME: TimeDelta = TimeDelta::minutes(10);
/// The Ready condition is created with the Node; a change later than this after the creation was a real one.
const FIRST_CONDITION: TimeDelta = TimeDelta::seconds(60);
/// A node that is still Ready so long after it was tainted for its deletion is not deleted any more: the taint was left
/// behind. cluster-autoscaler drains a node for at most 10 minutes, and Karpenter deletes the Node object itself.
const STALE_TAINT: TimeDelta = TimeDelta::minutes(30);
/// How long a preflight result is valid.
pub(crate) const PREFLIGHT_FRESH: TimeDelta = TimeDelta::seconds(60);

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Instant,
    /// The policies that select it.
    pub policies: Vec<PolicyName>,
    /// The boot that the kubelet reports.
    pub boot_id: BootId,
    /// Whether it is Ready.
    pub ready: Ready,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// The operation for which Lockkeeper cordoned it, by its annotation.
    pub cordoned_for: Option<String>,
    /// Why it is about to be deleted, if it is.
    pub deletion: Option<Deletion>,
    /// Which of Lockkeeper's taints it has.
    pub taints: Taints,
    /// Whether it is part of the control plane: by its labels, or because it runs a static pod of the control plane.
    pub control_plane: bool,
    /// A static pod of the control plane that is not ready on it, as `namespace/name`.
    pub unready_static_pod: Option<String>,
    /// A person's hold.
    pub hold: Option<Hold>,
    /// A person's request for a reboot: the annotation's value.
    pub requested: Option<String>,
    /// A person's approval of a reboot: the annotation's value.
    pub approved: Option<String>,
    /// The values of the labels that the policies' `topology` names; a label that it does not have is absent.
    pub domains: BTreeMap<String, String>,
    /// Its `NodeReboot`, if this very Node owns one.
    pub record: Option<Record>,
    /// Whether its pods can be evicted, checked before it gets a slot.
    pub preflight: Preflight,
    /// How far its drain is.
    pub drain: Drain,
    /// What cannot be decoded of it: the Node or its `NodeReboot`. Nothing is written about such a node; it keeps its slot.
    pub view_gap: Option<ViewGap>,
    /// What refuses the last writes about it, if they are not allowed.
    pub refused_write: Option<String>,
    /// What its drain and its preflight found beside that.
    pub drain_details: DrainDetails,
    /// Whether the `DaemonSet`s that its operation counts are ready, by the last probe.
    pub daemon_sets: DaemonSetReadiness,
    /// Whether the workloads that its operation evicted are ready, by the last probe.
    pub workloads: WorkloadReadiness,
    /// The hook that waits for an annotation, as the Node says.
    pub handshake: Option<Handshake>,
    /// The notice of its drain, as the Node says.
    pub notice: NoticeCondition,
    /// What is known of the Job of the hook in progress.
    pub hook_job: Option<JobReport>,
}

impl Node {
    /// The operation in progress, if there is one.
    pub fn operation(&self) -> Option<&Operation> {
        self.record.as_ref()?.operation.as_deref()
    }

    /// The report of the agent, if it comes from the boot that the kubelet reports; another one is out of date.
    pub fn trusted_host(&self) -> Option<&Host> {
        let host = self.record.as_ref()?.host.as_ref()?;
        (host.boot_id == self.boot_id).then_some(host)
    }

    /// How often the host was soft-rebooted since its boot, if that can be counted.
    pub fn soft_reboots(&self) -> Option<i32> {
        Some(self.trusted_host()?.soft_reboots?.count)
    }

    /// Whether it has left this boot: the one proof of a reboot.
    pub fn has_left(&self, before: BootBefore) -> bool {
        before.is_left(&self.boot_id, self.soft_reboots())
    }

    /// Whether the host requires a reboot, or a person requested one.
    pub fn requires_reboot(&self) -> bool {
        self.requested.is_some() || self.trusted_host().is_some_and(|host| host.required)
    }

    /// Since when the agent is missing, or from when on it will be if it does not report; `None` if it has reported from
    /// the present boot.
    pub fn agent_missing_since(&self, now: Instant) -> Option<Instant> {
        match self.record.as_ref().and_then(|record| record.host.as_ref()) {
            None if self.view_gap.is_some() => None,
            None => Some(self.created),
            Some(host) if host.boot_id != self.boot_id => {
                let ready = unless_ahead(self.ready.since, now);
                Some(ready.map_or(self.created, |since| since + AGENT_GRACE))
            }
            Some(_) => None,
        }
    }

    /// The hold that is in force at this time.
    pub fn hold_at(&self, now: Instant) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.holds(now))
    }

    /// The node's domain by this label; nodes without the label form a domain of their own.
    pub(crate) fn domain(&self, label: &str) -> &str {
        self.domains.get(label).map_or("", String::as_str)
    }

    /// Why the node is unavailable for a cause other than Lockkeeper, if it is.
    pub(crate) fn unavailable_cause(&self, now: Instant) -> Option<UnavailableCause<'_>> {
        if matches!(self.view_gap, Some(ViewGap::NodeInvalid { .. })) {
            return Some(UnavailableCause::Undecodable);
        }
        if let Some(deletion) = self.deletion.as_ref().filter(|_| self.is_leaving(now)) {
            return Some(match deletion {
                Deletion::InProgress { .. } => UnavailableCause::BeingDeleted,
                Deletion::Tainted { taint, .. } => UnavailableCause::Tainted(taint),
            });
        }
        if self.ready.ready {
            return None;
        }
        let never_ready = self.ready.since - self.created < FIRST_CONDITION;
        let is_set_up = never_ready && !is_ahead(self.created, now) && now < self.set_up_by();
        (!is_set_up).then_some(UnavailableCause::NotReady)
    }

    /// Whether it is about to be deleted, and not only marked for it by a stale taint.
    pub(crate) fn is_leaving(&self, now: Instant) -> bool {
        let stale = self.stale_taint_at();
        self.deletion.is_some() && stale.is_none_or(|stale| now < stale)
    }

    /// When the taint of a program that deletes nodes becomes stale: the node is still Ready so long after it. `None` if
    /// it has none, or it is not known since when.
    pub(crate) fn stale_taint_at(&self) -> Option<Instant> {
        match &self.deletion {
            Some(Deletion::Tainted { since, .. }) if self.ready.ready => since.map(|since| since + STALE_TAINT),
            Some(Deletion::Tainted { .. } | Deletion::InProgress { .. }) | None => None,
        }
    }

    /// Whether the control plane must do without this member of it.
    pub(crate) fn is_control_plane_down(&self, now: Instant) -> bool {
        let up = self.ready.ready && self.unready_static_pod.is_none() && !self.is_leaving(now);
        self.control_plane && !up
    }

    /// When a node that was never Ready starts to count as unavailable.
    pub(crate) fn set_up_by(&self) -> Instant {
        self.created + SETUP_TIME
    }

    /// Whether this process has asked for evictions for the time-out of the drain. A tenth may be missing: a drain that has
    /// just been started must list the pods first.
    pub(crate) fn has_spent_drain_time(&self, timeout: TimeDelta) -> bool {
        self.drain_details.evicting_for * 10 >= timeout * 9
    }

    /// Whether the cordon of an operation whose record and entry are lost must stay: the node cannot be decoded, is not
    /// Ready, or its agent has not confirmed that the host stays up, so that the lost reboot order may still be carried out
    /// there. A cordon that a person has removed, or one of an operation that has ended, protects nothing.
    pub(crate) fn keeps_orphaned_cordon(&self) -> bool {
        let ended = || {
            let record = self.record.as_ref();
            record.is_some_and(|record| record.finished == self.cordoned_for)
        };
        let reboots = |host: &Host| {
            let answer = host.answer.as_ref();
            answer.is_some_and(|answer| answer.state == AnswerState::Rebooting)
        };
        let stays_up = || self.trusted_host().is_some_and(|host| !reboots(host));
        self.view_gap.is_some() || !self.ready.ready || self.unschedulable && !ended() && !stays_up()
    }
}

/// Why a Node is about to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The API server deletes it; a finalizer keeps it meanwhile.
    InProgress {
        /// `metadata.deletionTimestamp`.
        since: Instant,
    },
    /// A program that deletes nodes, such as an autoscaler, has tainted it.
    Tainted {
        /// The taint's key.
        taint: String,
        /// Since when, as far as it is known.
        since: Option<Instant>,
    },
}

/// Why a node is unavailable for a cause other than Lockkeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnavailableCause<'a> {
    /// It cannot be decoded, so that it is not known.
    Undecodable,
    /// Its Ready condition is not `True`.
    NotReady,
    /// The API server deletes it.
    BeingDeleted,
    /// It has the taint of a program that deletes nodes.
    Tainted(&'a str),
}

impl std::fmt::Display for UnavailableCause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undecodable => f.write_str("cannot be decoded"),
            Self::NotReady => f.write_str("NotReady"),
            Self::BeingDeleted => f.write_str("being deleted"),
            Self::Tainted(taint) => write!(f, "being deleted: taint {taint}"),
        }
    }
}

/// Which of Lockkeeper's taints a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taints {
    /// [`Taint::Rebooting`].
    pub rebooting: bool,
    /// [`Taint::RebootPending`].
    pub reboot_pending: bool,
}

impl Taints {
    /// Whether it has this one.
    pub fn has(self, taint: Taint) -> bool {
        match taint {
            Taint::Rebooting => self.rebooting,
            Taint::RebootPending => self.reboot_pending,
        }
    }

    /// Adds or removes this one.
    pub fn set(&mut self, taint: Taint, present: bool) {
        match taint {
            Taint::Rebooting => self.rebooting = present,
            Taint::RebootPending => self.reboot_pending = present,
        }
    }
}

/// A taint that Lockkeeper sets, only where a policy asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taint {
    /// `NoSchedule` during the drain under `daemonSetsLast`: the pods of `DaemonSets` do not come back.
    Rebooting,
    /// `PreferNoSchedule` on a node that is still to be rebooted under `preferUpdatedNodes`: pods do not move twice.
    RebootPending,
}

/// Whether a node is Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Ready is `True`; `Unknown` is not.
    pub ready: bool,
    /// When it last changed.
    pub since: Instant,
    /// When the kubelet last reported it.
    pub heartbeat: Instant,
    /// The condition's reason and message, such as `KubeletNotReady: container runtime is down`.
    pub message: String,
}

/// A person's hold on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The person's reason.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Instant>,
    /// The value of `lockkeeper.dev/hold-until`, if it is not a valid time; the node then stays held.
    pub invalid_until: Option<String>,
}

impl Hold {
    /// Whether it is still in force.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Whether a preflight result of this time is still valid; `Instant::MAX_UTC` always is.
pub(crate) fn is_fresh(at: Instant, now: Instant) -> bool {
    at == Instant::MAX_UTC || unless_ahead(at, now).is_some_and(|at| now - at < PREFLIGHT_FRESH)
}

/// Whether the pods of a node can be evicted, by the last preflight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// Not checked, or no result yet.
    #[default]
    Unknown,
    /// The check could not be carried out; it is repeated, and the node keeps no place in the queue meanwhile.
    Failed {
        /// The error, and the remedy if there is one.
        why: String,
    },
    /// All its pods can be evicted, at once or by waiting. `Instant::MAX_UTC` never expires: nothing is checked.
    Clear {
        /// When that was found.
        at: Instant,
    },
    /// A pod can never be evicted by waiting.
    Blocked {
        /// The pod, as `namespace/name`.
        pod: String,
        /// Why it cannot be evicted.
        why: String,
        /// When that was found.
        at: Instant,
    },
}

/// How far a drain is, as its task last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// No task runs.
    #[default]
    NotStarted,
    /// Pods are being evicted.
    Running {
        /// Pods evicted so far.
        moved: usize,
        /// What the first of the remaining pods waits for, if anything.
        waiting: Option<WaitReason>,
    },
    /// No pod remains that would have to be evicted.
    Done {
        /// Pods evicted.
        moved: usize,
    },
}

/// What a node's drain and preflight found about its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainDetails {
    /// Owners whose pods return to the node during its drain, sorted.
    pub returning_owners: Vec<String>,
    /// When the last of the remaining pods ends its own grace period; `None` if the drain waits for anything else.
    pub grace_ends: Option<Instant>,
    /// Whether budgets have to be tried, by the last preflight: whether it can be drained shows only after its cordon.
    pub doubtful: bool,
    /// How long this process has asked for evictions on a view that was up to date; not the time that has passed since the
    /// cordon, in which there may have been no operator, or no API server.
    pub evicting_for: TimeDelta,
    /// How long the drain has run in this process, whether it could ask for evictions or not.
    pub running_for: TimeDelta,
    /// The longest grace period of its pods, by the last preflight.
    pub longest_grace: TimeDelta,
}

/// Whether the counted `DaemonSet`s of a node are ready again after its reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DaemonSetReadiness {
    /// Not checked in this boot yet, or too long ago.
    #[default]
    Unknown,
    /// All that count are ready.
    Ready,
    /// One is not ready, or the check failed.
    NotReady {
        /// Which one, and its pod's state; or the error.
        what: String,
    },
}

/// Whether the workloads whose pods were evicted from a node are ready again after its reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WorkloadReadiness {
    /// Not checked since the node was uncordoned.
    #[default]
    Unknown,
    /// All that count are ready.
    Ready,
    /// Some are not ready, or cannot be read.
    NotReady {
        /// Each with what is known of its replicas, such as `Deployment shop/web (1 of 2 ready)`.
        workloads: Vec<String>,
        /// Why one of them cannot be read, and the remedy.
        failure: Option<String>,
    },
}
