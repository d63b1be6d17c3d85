//! The nodes in progress: each takes its next step, by the phase of its operation.

mod active;
mod after_uncordon;
pub(crate) mod deadline;
mod drain;
mod finish;
mod hooks;
mod notice;
mod prepare;
mod reboot;
mod soak;
mod verify;

use std::collections::BTreeMap;

use lockkeeper_reasons::WaitReason;

use crate::Instant;
use crate::action::Action;
use crate::assessment::Assessment;
use crate::commands::handle_command;
use crate::context::Context;
use crate::names::PolicyName;
use crate::recorded::correct_operation;
use crate::recovery::{Entry, Recovery};
use crate::slots::SlotLedger;
use crate::snapshot::{CheckJobs, HookJob, Operation, OrderedReboot, Phase, Record, Snapshot};
use active::{ActiveOperation, Step};

/// What the nodes in progress do next.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) actions: Vec<Action>,
    /// Why each of them waits.
    pub(crate) wait_reasons: Vec<(String, WaitReason)>,
    /// The nodes whose `DaemonSet`s are to be checked.
    pub(crate) daemon_set_probes: Vec<String>,
    /// The nodes whose evicted workloads are to be checked.
    pub(crate) workload_probes: Vec<String>,
    /// The nodes whose checks are to be evaluated, with their policies.
    pub(crate) checks: Vec<(PolicyName, String)>,
    /// The Jobs of the hooks in progress.
    pub(crate) hook_jobs: BTreeMap<String, HookJob>,
    /// For what the Jobs of these checks are to run, by node.
    pub(crate) check_jobs: BTreeMap<String, CheckJobs>,
    /// The reboots that the entries of these nodes must have before the order.
    pub(crate) reboots: BTreeMap<String, OrderedReboot>,
    /// The next time-out.
    pub(crate) recheck_at: Option<Instant>,
}

/// Advances every node in progress by one step, in the order of admission.
///
/// A node whose entry is only restored in this pass takes no step yet, but it holds its slot already: no other node is
/// cordoned in it.
pub(crate) fn advance<'a>(assessment: &'a Assessment<'a>, recovery: &'a Recovery<'a>) -> Progress {
    let mut progress = Progress::default();
    let mut admitted_before = SlotLedger::new(assessment);
    for entry in recovery.restored_entries() {
        admitted_before.add_holder(entry.holder, entry.node);
    }
    for (name, node) in recovery.cordoned_without_entry() {
        admitted_before.add_orphaned(name, node);
    }
    let mut all = SlotLedger::new(assessment);
    for entry in recovery.known.iter().copied().chain(recovery.restored_entries()) {
        all.add_holder(entry.holder, entry.node);
    }
    for (name, node) in recovery.cordoned_without_entry() {
        all.add_orphaned(name, node);
    }
    // Cordoned nodes count before those that are not cordoned yet, whichever was admitted first: a restored entry, or a
    // limit that was lowered, must not let one more be cordoned.
    let is_cordoned = |entry: &&Entry| entry.node.is_some_and(|node| node.cordoned_for.is_some());
    let others = recovery.known.iter().filter(|entry| !is_cordoned(entry));
    for entry in recovery.known.iter().filter(is_cordoned).chain(others) {
        if let Some(active) = ActiveOperation::of(entry, assessment) {
            if let Some(policy) = active.evaluates_checks() {
                progress.checks.push((policy, active.name.to_owned()));
                let jobs = active.check_jobs();
                progress
                    .check_jobs
                    .extend(jobs.map(|jobs| (active.name.to_owned(), jobs)));
            }
            progress.add(active.name, next_step(&active, &admitted_before, &all));
        }
        admitted_before.add_holder(entry.holder, entry.node);
    }
    progress
}

/// Why a node waits once this operation is recorded, if the phase has just begun and nothing is to be written before: then
/// one write says both.
pub fn first_wait_reason(snapshot: &Snapshot, name: &str, operation: &Operation) -> Option<WaitReason> {
    let node = snapshot.nodes.get(name)?;
    let began = match operation.phase {
        Phase::Rebooting => operation.reboot_ordered?,
        // What else is missing is found a moment later.
        Phase::Verifying if operation.uncordoned.is_none() && !node.ready.ready => operation.rebooted?,
        Phase::Preparing | Phase::Draining | Phase::Verifying | Phase::Failed => return None,
    };
    let context = Context::observe(snapshot, began);
    let assessment = Assessment::new(&context);
    let record = Record {
        operation: Some(Box::new(operation.clone())),
        ..node.record.clone()?
    };
    let holders = snapshot.lock.as_ref().map(|lock| lock.holders.as_slice());
    let holder = holders.unwrap_or_default().iter().find(|holder| holder.node == name)?;
    let active = ActiveOperation {
        name,
        node,
        record: &record,
        operation,
        holder,
        assessment: &assessment,
    };
    let ledger = SlotLedger::new(&assessment);
    let step = next_step(&active, &ledger, &ledger);
    step.wait_reason.filter(|_| step.action.is_none())
}

/// The next step of one operation: its times first, then its end, then a person's command, then its phase.
fn next_step(active: &ActiveOperation, admitted_before: &SlotLedger, all: &SlotLedger) -> Step {
    // It is not known where the operation is, or how the node is.
    if active.node.view_gap.is_some() {
        return Step::default();
    }
    if let Some(corrected) = correct_operation(active.operation, active.now()) {
        return active.advance(corrected);
    }
    if let Some(pending) = &active.operation.pending_outcome {
        return Step::act(finish::next_action(active, pending));
    }
    if let Some(action) = handle_command(active.name, active.node, active.record, active.now()) {
        return Step::act(action);
    }
    match active.operation.phase {
        Phase::Preparing => prepare::next_step(active, admitted_before, all),
        Phase::Draining => drain::next_step(active),
        Phase::Rebooting => reboot::next_step(active),
        Phase::Verifying => verify::next_step(active),
        Phase::Failed => reboot::next_step_of_failed(active),
    }
}

impl Progress {
    fn add(&mut self, name: &str, step: Step) {
        self.actions.extend(step.action);
        self.wait_reasons
            .extend(step.wait_reason.map(|why| (name.to_owned(), why)));
        let reboot = step.reboot.map(|reboot| (name.to_owned(), reboot));
        self.reboots.extend(reboot);
        self.hook_jobs.extend(step.hook_job.map(|job| (name.to_owned(), job)));
        if step.probe_daemon_sets {
            self.daemon_set_probes.push(name.to_owned());
        }
        if step.probe_workloads {
            self.workload_probes.push(name.to_owned());
        }
        self.recheck_at = match (self.recheck_at, step.recheck_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}
