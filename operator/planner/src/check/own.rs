//! S6: the operator's own node is last.
//!
//! Last among those that could start now, over the whole cluster: a node that is held, put back or shut out by its
//! windows starves nobody (`docs/decisions/0008-the-operators-own-node-is-last.md`).

use std::collections::BTreeSet;

use super::starts::Starts;
use super::{Violation, violation};
use crate::gate;
use crate::plan::Plan;
use crate::snapshot::{Holder, Node, Preflight};

impl Starts<'_> {
    /// Our own node goes in after all others that go in now, and only if none that is left behind could have gone in
    /// its place.
    pub(super) fn own_node_last(
        &self,
        holders: &[Holder],
        added: &BTreeSet<&str>,
        plan: &Plan,
        found: &mut Vec<Violation>,
    ) {
        let Some(own) = self.snapshot.own_node.as_deref().filter(|own| added.contains(own)) else {
            return;
        };
        let Some(place) = holders.iter().position(|holder| holder.node == own) else {
            return;
        };
        if holders[place + 1..]
            .iter()
            .any(|holder| added.contains(holder.node.as_str()))
        {
            found.push(violation("S6", format!("{own} runs the operator and is not last")));
        }
        let mut instead: Vec<Holder> = holders.to_vec();
        let mut names: BTreeSet<&str> = added.iter().copied().filter(|name| *name != own).collect();
        instead.remove(place);
        // Those that are only asked whether their pods can leave have their place before the others.
        let asked = plan.preflight.iter().filter(|name| *name != own);
        for (name, node) in asked.filter_map(|name| self.snapshot.nodes.get_key_value(name)) {
            instead.extend(self.entry_for(name, node));
            names.insert(name);
        }
        let inside: BTreeSet<&str> = instead.iter().map(|holder| holder.node.as_str()).collect();
        let others = self.snapshot.nodes.iter();
        let mut others = others
            .filter(|(name, node)| !inside.contains(name.as_str()) && *name != own && self.could_start(name, node));
        let goes_in_its_place = others.find(|(name, node)| {
            let mut broken = Vec::new();
            let mut with = instead.clone();
            with.extend(self.entry_for(name, node));
            let mut added = names.clone();
            added.insert(name);
            self.beside(&with, &added, &mut broken);
            broken.is_empty()
        });
        if let Some((other, _)) = goes_in_its_place {
            let what = format!("{own} runs the operator and goes in while {other} could");
            found.push(violation("S6", what));
        }
    }

    fn entry_for(&self, name: &str, node: &Node) -> Option<Holder> {
        Some(Holder {
            node: name.to_owned(),
            node_uid: node.uid.clone(),
            policy: node.policies.first()?.clone(),
            operation_id: String::new(),
            acquired: self.now,
        })
    }

    /// Whether nothing but room keeps this node from starting.
    fn could_start(&self, name: &str, node: &Node) -> bool {
        let Some(record) = node.record.as_ref().filter(|record| record.operation.is_none()) else {
            return false;
        };
        let asks = gate::wants_reboot(node)
            && gate::trusted_host(node).is_some_and(|host| host.incapable.is_none() && host.inhibitors.is_empty())
            && gate::past(node, record, self.now).is_ok()
            && matches!(&node.preflight, Preflight::Clear { at } if self.now.signed_duration_since(*at) < gate::PREFLIGHT_FRESH);
        let mut found = Vec::new();
        if asks {
            self.node(name, &mut found);
        }
        asks && found.is_empty()
    }
}
