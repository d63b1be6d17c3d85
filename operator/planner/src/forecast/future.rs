//! A cluster in which everything goes well: actions happen at once, and operations take as long as they always took.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::Span;
use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::names::PolicyName;
use crate::plan::Plan;
use crate::snapshot::{
    Confinement, Drain, Hold, Host, LastReboot, Lock, Node, NoticeCondition, Operation, Order, OrderAction, Phase,
    Preflight, Record, Snapshot,
};
use lockkeeper_reasons::WaitReason;

/// An operation of the future waits for its end longer than any horizon.
const NEVER: TimeDelta = TimeDelta::days(36_500);

#[derive(Debug)]
pub(super) struct Future {
    pub(super) snapshot: Snapshot,
    /// Nodes that were in progress, or are.
    pub(super) spans: BTreeMap<String, Span>,
    /// Nodes that cannot be drained, and would ask again and again.
    pub(super) blocked: BTreeMap<String, WaitReason>,
    /// Those that are in progress, by their end.
    in_progress: BTreeMap<(Instant, String), Box<Operation>>,
    ends: Vec<(PolicyName, Instant)>,
}

impl Future {
    pub(super) fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let mut future = Self {
            snapshot: snapshot.clone(),
            spans: BTreeMap::new(),
            blocked: BTreeMap::new(),
            in_progress: BTreeMap::new(),
            ends: Vec::new(),
        };
        // What checks will find is not known: a forecast takes them for granted.
        for policy in future.snapshot.policies.values_mut() {
            policy.checks = None;
        }
        let mut known = Vec::new();
        for (name, node) in &mut future.snapshot.nodes {
            let operation = node.record.as_ref().and_then(|record| record.operation.clone());
            if let (Preflight::Blocked { pod, why, at }, None) = (&node.preflight, &operation) {
                let (pod, why, until) = (pod.clone(), why.clone(), *at);
                future
                    .blocked
                    .insert(name.clone(), WaitReason::PreflightBlocked { pod, why, until });
                node.hold = Some(Hold {
                    reason: String::new(),
                    until: None,
                    invalid_until: None,
                });
            }
            node.preflight = Preflight::Clear { at: Instant::MAX_UTC };
            known.extend(operation.map(|operation| (name.clone(), operation)));
        }
        for (name, operation) in known {
            if operation.phase != Phase::Failed && operation.pending_outcome.is_none() {
                future.run(&name, operation, now);
            }
        }
        future
    }

    /// Carries a plan out; whether another pass is needed at the same instant.
    pub(super) fn carry_out(&mut self, plan: &Plan, now: Instant) -> bool {
        let mut again = false;
        for action in &plan.actions {
            again |= self.act(action, now);
        }
        for (name, state) in &plan.policies {
            if let Some(policy) = self.snapshot.policies.get_mut(name) {
                policy.state = state.clone();
            }
        }
        again
    }

    /// When the next operation ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.in_progress.keys().next().map(|(end, _)| *end)
    }

    /// The policy and the end of each operation.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&str, Instant)> {
        self.ends.iter().map(|(policy, end)| (policy.as_str(), *end))
    }

    /// Operations that end until `now` are done.
    pub(super) fn complete(&mut self, now: Instant) {
        while let Some(entry) = self.in_progress.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((end, name), operation) = entry.remove_entry();
            if let Some(lock) = &mut self.snapshot.lock {
                lock.holders.retain(|holder| holder.node != name);
            }
            if let Some(node) = self.snapshot.nodes.get_mut(&name) {
                back(node, &operation, end);
            }
        }
    }

    /// The node is in progress from now on and is skipped until it is done.
    fn run(&mut self, name: &str, operation: Box<Operation>, now: Instant) {
        let whole = self
            .snapshot
            .policies
            .get(&operation.policy)
            .map(|policy| policy.duration_estimate.total);
        let whole = whole
            .unwrap_or_else(|| crate::DurationEstimate::default().total)
            .max(TimeDelta::seconds(1))
            + operation.settings.notice.unwrap_or_default();
        // One that takes longer than usual is taken to be nearly there.
        let end = (operation.started.min(now) + whole).max(now + whole / 10);
        let start = operation.started;
        let order = Order {
            id: operation.order_id(),
            action: OrderAction::Reboot,
            boot_id: operation.boot_id_before.clone(),
            method: operation.settings.method,
            soft_reboots: None,
            not_after: None,
        };
        let mut running = Operation {
            phase: Phase::Rebooting,
            soft_reboots_before: None,
            reboot_ordered: Some(now),
            ..Operation::clone(&operation)
        };
        running.settings.reboot_timeout = NEVER;
        let Some(node) = self.snapshot.nodes.get_mut(name) else {
            return;
        };
        node.boot_id.clone_from(&operation.boot_id_before);
        if let Some(record) = &mut node.record {
            record.order = Some(order);
            record.operation = Some(Box::new(running));
            record.command = None;
            if let Some(host) = &mut record.host {
                host.answer = None;
            }
        }
        self.spans.insert(name.to_owned(), Span { start, end });
        self.ends.push((operation.policy.clone(), end));
        self.in_progress.insert((end, name.to_owned()), operation);
    }

    /// Whether another pass is needed after this.
    fn act(&mut self, action: &Action, now: Instant) -> bool {
        let node = action.node().and_then(|name| self.snapshot.nodes.get_mut(name));
        let record = |node: Option<&'_ mut Node>, change: &dyn Fn(&mut Record)| {
            if let Some(record) = node.and_then(|node| node.record.as_mut()) {
                change(record);
            }
        };
        match (action, node) {
            (Action::CreateLock, _) => self.snapshot.lock = Some(Lock::default()),
            (Action::SetHolders { holders, .. }, _) => {
                if let Some(lock) = &mut self.snapshot.lock {
                    lock.holders.clone_from(holders);
                }
                return false;
            }
            (Action::WriteRecord { node, change }, _) => return self.write(node, change, now),
            (Action::SetSpec { policy, order, .. }, node) => {
                record(node, &|record| {
                    // The order of one that just started is given already.
                    if record.operation.is_none() || order.is_none() {
                        record.policy.clone_from(policy);
                        record.order.clone_from(order);
                    }
                });
                return false;
            }
            (Action::CreateRecord { policy, .. }, Some(node)) => {
                node.record = Some(Record {
                    policy: policy.clone(),
                    ..Record::default()
                });
            }
            (Action::Uncordon { keep_cordon, .. }, Some(node)) => {
                node.cordoned_for = None;
                node.unschedulable = *keep_cordon;
            }
            (Action::RemoveCommand { .. }, node) => record(node, &|record| record.command = None),
            (Action::RemoveRequest { .. }, Some(node)) => node.requested = None,
            (Action::RemoveApproval { .. }, Some(node)) => node.approved = None,
            // No node's start depends on our taints.
            (Action::AddTaint { taint, .. }, Some(node)) => {
                node.taints.set(*taint, true);
                return false;
            }
            (Action::RemoveTaint { taint, .. }, Some(node)) => {
                node.taints.set(*taint, false);
                return false;
            }
            (Action::EndHandshake { .. }, Some(node)) => {
                node.handshake = None;
                return false;
            }
            (Action::EndNotice { .. }, Some(node)) => {
                node.notice = NoticeCondition::Absent;
                return false;
            }
            (
                Action::CreateRecord { .. }
                | Action::Uncordon { .. }
                | Action::AddTaint { .. }
                | Action::RemoveTaint { .. }
                | Action::EndHandshake { .. }
                | Action::EndNotice { .. }
                | Action::RemoveRequest { .. }
                | Action::RemoveApproval { .. },
                None,
            )
            | (
                Action::OrderReboot { .. }
                | Action::Cordon { .. }
                | Action::DeleteRecord { .. }
                | Action::BeginHandshake { .. }
                | Action::GiveNotice { .. },
                _,
            ) => return false,
        }
        true
    }

    /// Whether another pass is needed: a new operation runs from here on by itself.
    fn write(&mut self, name: &str, change: &RecordChange, now: Instant) -> bool {
        let Some(record) = self.snapshot.nodes.get_mut(name).and_then(|node| node.record.as_mut()) else {
            return false;
        };
        let begins = record.operation.is_none();
        record.operation = change.operation.apply(&record.operation);
        record.deferred = change.deferred.apply(&record.deferred);
        record.released = change.released.apply(&record.released);
        if let Some(finished) = &change.finished {
            record.finished = Some(finished.operation.id.clone());
        }
        if let Some((command, _)) = &change.answered_command {
            record.answered_command = Some(command.clone());
        }
        let operation = record.operation.clone();
        match operation.filter(|operation| operation.phase == Phase::Preparing && operation.pending_outcome.is_none()) {
            Some(operation) => {
                self.run(name, operation, now);
                !begins
            }
            None => true,
        }
    }
}

/// The node is back with a new boot that requires nothing.
fn back(node: &mut Node, operation: &Operation, now: Instant) {
    node.boot_id = format!("after {}", operation.id).into();
    node.cordoned_for = None;
    node.unschedulable = false;
    node.requested = None;
    node.approved = None;
    node.drain = Drain::NotStarted;
    node.ready.ready = true;
    node.ready.since = now;
    node.ready.heartbeat = now;
    let boot_id = node.boot_id.clone();
    if let Some(record) = &mut node.record {
        record.operation = None;
        record.order = None;
        record.deferred = None;
        record.released = None;
        record.finished = Some(operation.id.clone());
        record.last_reboot = Some(LastReboot {
            started: operation.started,
            time: now,
            reasons: operation.reasons.clone(),
            repeats: 0,
            series: None,
        });
        record.host = Some(Host {
            boot_id,
            boot_time: Some(now),
            confinement: Confinement::Confined,
            ..Host::default()
        });
    }
}
