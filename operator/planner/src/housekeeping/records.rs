//! The records of nodes that are not in progress.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::assessment::Assessment;
use crate::commands::handle_command;
use crate::snapshot::{Node, Record};

/// Creates and deletes records, answers commands that came too late, removes orders, and names each node's policy.
pub(super) fn reconcile(assessment: &Assessment, planned: &[Action]) -> Vec<Action> {
    let busy: BTreeSet<&str> = planned.iter().filter_map(Action::node).collect();
    let mut actions = Vec::new();
    for (name, node) in &assessment.context.outdated_records {
        match &node.record {
            None => actions.push(create(name, node, assessment)),
            Some(record) if !busy.contains(name) => {
                actions.extend(handle_command(name, node, record, assessment.context.now));
                actions.extend(correct_spec(name, node, record, assessment));
            }
            Some(_) => {}
        }
    }
    let unmanaged = assessment.context.snapshot.unmanaged_records.iter();
    actions.extend(unmanaged.map(|name| Action::DeleteRecord { node: name.clone() }));
    actions
}

fn create(name: &str, node: &Node, assessment: &Assessment) -> Action {
    let policy = assessment.single_policy(node);
    Action::CreateRecord {
        node: name.to_owned(),
        uid: node.uid.clone(),
        policy: policy.map(|policy| policy.context.name.clone()),
    }
}

fn correct_spec(name: &str, node: &Node, record: &Record, assessment: &Assessment) -> Option<Action> {
    let policy = assessment.single_policy(node).map(|policy| policy.context.name);
    // A policy that cannot be decoded is not gone.
    let is_known = assessment.context.snapshot.view_gaps.is_empty();
    let outdated = record.policy.as_ref() != policy && is_known;
    (record.order.is_some() || outdated).then(|| Action::SetSpec {
        node: name.to_owned(),
        policy: policy.cloned(),
        order: None,
    })
}
