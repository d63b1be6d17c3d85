//! Which nodes hold slots, counted by policy and domain.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::Names;
use crate::Instant;
use crate::assessment::Assessment;
use crate::eligibility::Candidate;
use crate::names::PolicyName;
use crate::recorded::or_now;
use crate::snapshot::{Holder, Node};

/// Who holds slots, in the order in which they were added.
#[derive(Clone, Debug)]
pub(crate) struct SlotLedger<'a> {
    pub(super) assessment: &'a Assessment<'a>,
    pub(super) policies: BTreeMap<&'a PolicyName, PolicySlots<'a>>,
    pub(super) in_progress: Names<'a>,
    control_plane: Vec<&'a str>,
}

/// Who holds slots of one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicySlots<'a> {
    pub(super) in_progress: Names<'a>,
    /// Nodes in progress that the policy selects and that no other cause makes unavailable.
    pub(super) unavailable: Vec<&'a str>,
    /// Every unavailable node of the policy with its cause, for messages.
    pub(super) unavailable_message: OnceCell<Arc<[(String, String)]>>,
    /// When the last of them started.
    pub(super) last_start: Option<Instant>,
    /// By topology key (its place in the policy) and domain.
    pub(super) domains: BTreeMap<(usize, &'a str), Names<'a>>,
}

impl<'a> SlotLedger<'a> {
    /// A ledger without holders.
    pub(crate) fn new(assessment: &'a Assessment<'a>) -> Self {
        let policies = assessment.policies.keys();
        Self {
            assessment,
            policies: policies.map(|name| (*name, PolicySlots::default())).collect(),
            in_progress: Names::default(),
            control_plane: Vec::new(),
        }
    }

    /// Adds a node that is cordoned without an entry, under each policy that selects it: it is not known under which it
    /// was admitted. It begins no domain: another node must not start because this one is there.
    pub(crate) fn add_orphaned(&mut self, name: &'a str, node: &'a Node) {
        self.add_name(name, Some(node));
        for policy in &node.policies {
            if let Some(slots) = self.policies.get_mut(policy) {
                slots.in_progress.push(name);
            }
        }
    }

    /// Adds an entry of the lock, with the Node that has its name now.
    pub(crate) fn add_holder(&mut self, holder: &'a Holder, node: Option<&'a Node>) {
        self.add(&holder.node, node, &holder.policy, holder.acquired);
    }

    /// Adds a node that gets a slot now.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate<'a>, policy: &PolicyName, now: Instant) {
        self.add(candidate.node_ref.name, Some(candidate.node_ref.node), policy, now);
    }

    fn add(&mut self, name: &'a str, node: Option<&'a Node>, policy: &PolicyName, started: Instant) {
        self.add_name(name, node);
        if let (Some(slots), Some(policy)) = (self.policies.get_mut(policy), self.assessment.policies.get(policy)) {
            slots.in_progress.push(name);
            // The same plan records a time ahead of now anew as now.
            slots.last_start = slots.last_start.max(Some(or_now(started, self.assessment.context.now)));
            for (place, topology) in policy.context.policy.topology.iter().enumerate() {
                // Of a Node that was deleted while it rebooted it is not known: it fills a domain of its own.
                let domain = node.map_or("", |node| node.domain(&topology.key));
                slots.domains.entry((place, domain)).or_default().push(name);
            }
        }
        // A node whose Node was deleted while it rebooted is unavailable for the policy under which it was admitted.
        let admitted_under = std::slice::from_ref(policy);
        let selecting = node.map_or(admitted_under, |node| &node.policies);
        for selecting in selecting {
            if let Some(slots) = self.policies.get_mut(selecting) {
                let policy = self.assessment.policies.get(selecting);
                if policy.is_some_and(|policy| !policy.context.unavailable.contains_key(name)) {
                    slots.unavailable.push(name);
                    slots.unavailable_message.take();
                }
            }
        }
    }

    fn add_name(&mut self, name: &'a str, node: Option<&'a Node>) {
        self.in_progress.push(name);
        // Of a Node that was deleted while it rebooted it is not known, and of no node while the static pods are not known.
        let unknown = self.assessment.context.snapshot.control_plane_gap.is_some();
        if unknown || node.is_none_or(|node| node.control_plane) {
            self.control_plane.push(name);
        }
    }

    /// A control-plane node in progress other than this one.
    pub(super) fn other_control_plane(&self, name: &str) -> Option<&'a str> {
        self.control_plane.iter().copied().find(|other| *other != name)
    }
}
