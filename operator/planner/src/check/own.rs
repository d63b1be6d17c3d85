//! S6: the operator's own node is last.
//!
//! Last among those that could start now, over the whole cluster: a node that is held, deferred or outside of its
//! windows delays no other node (`docs/decisions/0008-the-operators-own-node-starts-last.md`).

use std::collections::BTreeSet;

use lockkeeper_reasons::ReasonName;

use super::starts::{PlannedHolder, Starts};
use super::violation::{Violation, violation};
use crate::history::check_history;
use crate::plan::Plan;
use crate::snapshot::{Holder, Host, Node, Preflight, is_fresh};

impl Starts<'_> {
    /// Our own node starts after all others that start now, and only if none of the remaining nodes could have started
    /// its place.
    pub(super) fn own_node_last(&self, all: &[PlannedHolder], plan: &Plan, found: &mut Vec<Violation>) {
        let Some(own) = self.snapshot.own_node.as_deref() else {
            return;
        };
        let Some(place) = all.iter().position(|one| one.added && one.holder.node == own) else {
            return;
        };
        if all[place + 1..].iter().any(|one| one.added) {
            found.push(violation("S6", format!("{own} runs the operator and is not last")));
        }
        // Those that are only asked whether their pods can leave, or whose checks are, have their place before the others.
        let starts = |name: &str| {
            self.snapshot
                .nodes
                .get(name)
                .is_some_and(|node| node.operation().is_none())
        };
        let pending = plan.wait_reasons.iter();
        let pending = pending.filter(|(name, why)| why.name() == ReasonName::ChecksPending && starts(name));
        let asked: BTreeSet<&String> = plan.preflight.iter().chain(pending.map(|(name, _)| name)).collect();
        let asked = asked.into_iter().filter(|name| *name != own);
        let asked = asked.filter_map(|name| self.snapshot.nodes.get_key_value(name));
        let asked: Vec<(Holder, &Node)> = asked
            .filter_map(|(name, node)| Some((self.entry_for(name, node)?, node)))
            .collect();
        let mut instead: Vec<PlannedHolder> = all.to_vec();
        instead.remove(place);
        instead.extend(asked.iter().map(|(holder, node)| planned(holder, node)));
        let in_progress: BTreeSet<&str> = instead.iter().map(|one| one.holder.node.as_str()).collect();
        let mut refused = BTreeSet::new();
        for (name, node) in &self.snapshot.nodes {
            // Of those that are alike to every rule, one is asked for all.
            let alike = (
                &node.policies,
                &node.domains,
                self.is_down(name, node),
                node.control_plane.then_some(name),
            );
            if in_progress.contains(name.as_str())
                || name == own
                || refused.contains(&alike)
                || !self.could_start(name, node)
            {
                continue;
            }
            let Some(holder) = self.entry_for(name, node) else {
                continue;
            };
            let mut with = instead.clone();
            with.push(planned(&holder, node));
            let mut broken = Vec::new();
            self.beside(&with, &mut broken);
            if broken.is_empty() {
                let what = format!("{own} runs the operator and starts while {name} could");
                found.push(violation("S6", what));
                return;
            }
            refused.insert(alike);
        }
    }

    fn is_down(&self, name: &str, node: &Node) -> bool {
        let counts = node
            .policies
            .iter()
            .filter_map(|policy| self.policies.get(policy.as_str()));
        counts.into_iter().any(|count| count.down.contains(name))
    }

    fn entry_for(&self, name: &str, node: &Node) -> Option<Holder> {
        Some(Holder {
            node: name.to_owned(),
            node_uid: node.uid.clone(),
            policy: node.policies.first()?.clone(),
            operation_id: String::new(),
            acquired: self.now,
            reboot: None,
        })
    }

    /// Whether nothing but room keeps this node from starting.
    fn could_start(&self, name: &str, node: &Node) -> bool {
        let Some(record) = node.record.as_ref().filter(|record| record.operation.is_none()) else {
            return false;
        };
        // In progress already, as far as its cordon shows.
        let orphaned = node.cordoned_for.is_some() && node.keeps_orphaned_cordon();
        let policy = node.policies.first().and_then(|name| self.snapshot.policies.get(name));
        let method = policy.map(|policy| policy.settings.method).unwrap_or_default();
        let capable = node.incapable_of(method).is_none();
        let may_reboot = |host: &Host| {
            let just_booted = host.reboot_allowed.is_some_and(|until| self.now < until);
            !method.needs_agent() || capable && host.inhibitors.is_empty() && !just_booted
        };
        let asks = !orphaned
            && node.requires_reboot()
            && node.refused_write.is_none()
            && node.trusted_host().is_some_and(may_reboot)
            && check_history(node, record, self.now).is_ok()
            && matches!(&node.preflight, Preflight::Clear { at } if is_fresh(*at, self.now));
        let mut found = Vec::new();
        if asks {
            self.node(name, node, &mut found);
        }
        asks && found.is_empty()
    }
}

fn planned<'a>(holder: &'a Holder, node: &'a Node) -> PlannedHolder<'a> {
    PlannedHolder {
        holder,
        node: Some(node),
        added: true,
    }
}
