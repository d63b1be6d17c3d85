//! Which nodes get a slot now, and why the others do not.

mod start;

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_reasons::{ViewGap, WaitReason};

use crate::Instant;
use crate::assessment::Assessment;
use crate::context::NodeRef;
use crate::eligibility::{Candidate, check_admission};
use crate::names::PolicyName;
use crate::policy_checks::{Checked, StartChecks, check_start};
use crate::queue::{self, Queued};
use crate::recovery::Recovery;
use crate::slots::{SlotLedger, check_slot};
use crate::snapshot::{Holder, Node, PREFLIGHT_FRESH, Preflight, is_fresh};
use start::start_operation;

pub(crate) use start::Admitted;

/// The result of one round of admissions.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    pub(crate) admitted: Vec<Admitted>,
    /// Why the other nodes wait, by name.
    pub(crate) wait_reasons: BTreeMap<String, WaitReason>,
    /// The nodes whose pods are to be checked.
    pub(crate) preflight: Vec<String>,
    /// The policies whose checks are to be evaluated, with the nodes that may start next.
    pub(crate) checks: BTreeMap<PolicyName, BTreeSet<String>>,
}

/// Checks every node that requires a reboot, and gives slots to the eligible ones in the order of the queue.
pub(crate) fn admit<'a>(assessment: &'a Assessment<'a>, recovery: &'a Recovery<'a>) -> Admissions {
    let context = assessment.context;
    // Nodes whose entry stays although they have no operation; as a rule there are none.
    let kept = recovery.kept.iter().map(|entry| entry.holder.node.as_str());
    let has_entry: BTreeSet<&str> = kept.collect();
    let mut queue = Vec::with_capacity(context.requiring.len());
    let mut wait_reasons = Vec::with_capacity(context.requiring.len());
    for (index, node_ref) in context.requiring.iter().enumerate() {
        let candidate = Candidate::new(*node_ref, assessment);
        wait_reasons.push(match check_entry(node_ref.name, recovery) {
            Err(gap) => Some(WaitReason::ViewIncomplete(gap)),
            Ok(()) if has_entry.contains(node_ref.name) => None,
            Ok(()) => {
                let eligible = check_admission(assessment, &candidate);
                let policy = candidate.policy.filter(|_| eligible.is_ok());
                queue.extend(policy.map(|policy| Queued::new(index, candidate, policy, assessment)));
                eligible.err()
            }
        });
    }
    queue::sort(&mut queue);
    let mut admission = Admission::new(assessment, recovery);
    for queued in &queue {
        wait_reasons[queued.index] = admission.try_acquire(queued).err();
    }
    let missing = context.without_agent.iter();
    let missing = missing.filter(|(one, _)| !has_entry.contains(one.name) && one.policy.is_some());
    let missing = missing.map(|(one, since)| (one.name.to_owned(), WaitReason::AgentMissing { since: *since }));
    let waiting = context.requiring.iter().zip(wait_reasons);
    let waiting = waiting.filter_map(|(one, why)| Some((one.name.to_owned(), why?)));
    Admissions {
        admitted: admission.admitted,
        wait_reasons: waiting.chain(missing).collect(),
        preflight: admission.preflight,
        checks: admission.checks,
    }
}

/// A node whose last operation has not left it completely is not admitted again.
fn check_entry(name: &str, recovery: &Recovery) -> Result<(), ViewGap> {
    if recovery.awaiting_ready.contains(name) {
        return Err(ViewGap::AwaitingReady);
    }
    if recovery.awaits_agent_report(name) {
        return Err(ViewGap::RecordLost);
    }
    Ok(())
}

/// One round of admissions, node by node.
struct Admission<'a> {
    assessment: &'a Assessment<'a>,
    /// All holders, and the nodes admitted in this round.
    committed: SlotLedger<'a>,
    /// The same and the nodes whose preflight is pending, once there are any: they keep their place until it has answered.
    tentative: Option<SlotLedger<'a>>,
    /// Entries that may be reused, by node and policy.
    reusable: BTreeMap<(&'a str, &'a PolicyName), &'a Holder>,
    admitted: Vec<Admitted>,
    /// How many nodes of each policy wait ahead of the next one.
    ahead: BTreeMap<&'a PolicyName, usize>,
    preflight: Vec<String>,
    checks: BTreeMap<PolicyName, BTreeSet<String>>,
    /// Policies with a node whose checks are pending.
    unchecked: BTreeSet<&'a PolicyName>,
    /// Policies with a node whose preflight is pending.
    pending: BTreeSet<&'a PolicyName>,
    /// Policies that have a backup preflight: one more node is checked in case the pending one cannot be drained.
    backed_up: BTreeSet<&'a PolicyName>,
}

/// Whether the pods of a node can be evicted.
enum Drainable {
    Yes,
    /// A pod can never be evicted, or the check failed.
    No {
        why: WaitReason,
        /// The result is old: check again.
        expired: bool,
    },
    Unknown,
}

impl<'a> Admission<'a> {
    fn new(assessment: &'a Assessment<'a>, recovery: &'a Recovery<'a>) -> Self {
        let mut committed = SlotLedger::new(assessment);
        for entry in recovery.entries() {
            committed.add_holder(entry.holder, entry.node);
        }
        for (name, node) in recovery.cordoned_without_entry() {
            committed.add_orphaned(name, node);
        }
        let mut reusable = BTreeMap::new();
        for holder in &recovery.unstarted {
            reusable
                .entry((holder.node.as_str(), &holder.policy))
                .or_insert(*holder);
        }
        Self {
            assessment,
            committed,
            tentative: None,
            reusable,
            admitted: Vec::new(),
            ahead: BTreeMap::new(),
            preflight: Vec::new(),
            checks: BTreeMap::new(),
            unchecked: BTreeSet::new(),
            pending: BTreeSet::new(),
            backed_up: BTreeSet::new(),
        }
    }

    /// Gives the node a slot, or says why not.
    fn try_acquire(&mut self, queued: &Queued<'a>) -> Result<(), WaitReason> {
        let (candidate, policy) = (&queued.candidate, queued.policy);
        let name = policy.context.name;
        let ahead = self.ahead.get(name).copied().unwrap_or(0);
        let ledger = self.tentative.as_ref().unwrap_or(&self.committed);
        let mut verdict = check_slot(ledger, candidate, policy, ahead);
        if verdict.is_ok() {
            verdict = self.check_policy_checks(queued);
            if verdict.is_ok() {
                verdict = self.check_drainable(queued);
            }
        } else if self.pending.contains(name) && !self.backed_up.contains(name) {
            self.check_backup(queued);
        }
        if verdict.is_err() {
            *self.ahead.entry(name).or_default() += 1;
            return verdict;
        }
        let now = self.assessment.context.now;
        for ledger in [Some(&mut self.committed), self.tentative.as_mut()]
            .into_iter()
            .flatten()
        {
            ledger.add_candidate(candidate, name, now);
        }
        let entry = self.reusable.get(&(candidate.node_ref.name, name)).copied();
        self.admitted
            .push(start_operation(candidate.node_ref, policy.context, entry, now));
        Ok(())
    }

    /// Whether the policy's checks let the node start. They are evaluated only for nodes that could have a slot, and those
    /// about a node for one more of them at a time. Until they have answered, the node keeps its place.
    fn check_policy_checks(&mut self, queued: &Queued<'a>) -> Result<(), WaitReason> {
        let now = self.assessment.context.now;
        let (policy, node) = (queued.policy.context, queued.candidate.node_ref.name);
        let must_pass = StartChecks::of(policy.policy, queued.candidate.node_ref.node, now);
        let Some(checks) = policy.policy.checks.as_ref().filter(|checks| must_pass.ask(checks)) else {
            return Ok(());
        };
        let checked = check_start(Some(checks), must_pass, node, None, now);
        let asked = self.checks.entry(policy.name.clone()).or_default();
        let is_known = checks
            .round
            .as_ref()
            .is_some_and(|round| round.nodes.contains_key(node));
        let is_next = matches!(checked, Checked::Pending(_)) && self.unchecked.insert(policy.name);
        if checks.per_node && (is_known || is_next) {
            asked.insert(node.to_owned());
        }
        match checked {
            Checked::Passing => Ok(()),
            Checked::Refused(why) | Checked::RefusedByJob(why) => Err(why),
            Checked::Pending(job) => {
                let tentative = self.tentative.get_or_insert_with(|| self.committed.clone());
                tentative.add_candidate(&queued.candidate, policy.name, now);
                Err(WaitReason::ChecksPending { job, until: None })
            }
        }
    }

    /// Whether its pods can be evicted. A node whose preflight is pending keeps its place, a node that cannot be drained
    /// does not.
    fn check_drainable(&mut self, queued: &Queued<'a>) -> Result<(), WaitReason> {
        let (policy, NodeRef { name, node, .. }) = (queued.policy.context.name, queued.candidate.node_ref);
        let now = self.assessment.context.now;
        match drainable(node, now) {
            Drainable::Yes => Ok(()),
            Drainable::No { why, expired } => {
                if expired && self.backed_up.insert(policy) {
                    self.preflight.push(name.to_owned());
                }
                Err(why)
            }
            Drainable::Unknown => {
                self.preflight.push(name.to_owned());
                self.pending.insert(policy);
                let tentative = self.tentative.get_or_insert_with(|| self.committed.clone());
                tentative.add_candidate(&queued.candidate, policy, now);
                Err(WaitReason::ViewIncomplete(ViewGap::PreflightPending))
            }
        }
    }

    /// The next node in the queue is checked as well, if it could have the slot of the one whose preflight is pending.
    fn check_backup(&mut self, queued: &Queued<'a>) {
        let NodeRef { name, node, .. } = queued.candidate.node_ref;
        if check_slot(&self.committed, &queued.candidate, queued.policy, 0).is_err() {
            return;
        }
        self.backed_up.insert(queued.policy.context.name);
        match drainable(node, self.assessment.context.now) {
            Drainable::Unknown | Drainable::No { expired: true, .. } => self.preflight.push(name.to_owned()),
            Drainable::Yes | Drainable::No { expired: false, .. } => {}
        }
    }
}

/// What the last preflight says now.
fn drainable(node: &Node, now: Instant) -> Drainable {
    match &node.preflight {
        Preflight::Clear { at } if is_fresh(*at, now) => Drainable::Yes,
        Preflight::Clear { .. } | Preflight::Unknown => Drainable::Unknown,
        Preflight::Failed { why } => Drainable::No {
            why: WaitReason::ViewIncomplete(ViewGap::PreflightFailed { error: why.clone() }),
            expired: true,
        },
        Preflight::Blocked { pod, why, at } => Drainable::No {
            why: WaitReason::PreflightBlocked {
                pod: pod.clone(),
                why: why.clone(),
                until: *at + PREFLIGHT_FRESH,
            },
            expired: !is_fresh(*at, now),
        },
    }
}
