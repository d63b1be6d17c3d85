//! Plain lines: one for each change that a reader wants to know of.

use std::collections::BTreeMap;

use lockkeeper_crds::{NodeState, Outcome};

use crate::explain::record_text;
use crate::moment::Moment;
use crate::objects::Objects;
use crate::reasons::Needs;
use crate::screen::Line;
use crate::status::{told, trouble_line, window};
use crate::view::{NodeView, PolicyView, View};

/// What was told last of each node and policy.
pub(super) struct Ledger {
    nodes: BTreeMap<String, Told>,
    policies: BTreeMap<String, (String, Option<String>)>,
    notice: bool,
}

/// A change of any of these makes a line.
#[derive(PartialEq, Eq)]
struct Told {
    state: NodeState,
    reason: Option<String>,
    /// Only of nodes inside: the words of those that wait change with each turn of the queue.
    message: Option<String>,
}

impl Told {
    fn of(node: &NodeView) -> Self {
        let waits = matches!(node.state, NodeState::Pending | NodeState::UpToDate);
        Self {
            state: node.state,
            reason: node.reason.clone(),
            message: (!waits).then(|| node.message.clone()),
        }
    }
}

impl Ledger {
    /// What the first screen told.
    pub(super) fn new(_: &Objects, view: &View) -> Self {
        Self {
            nodes: view.nodes().map(|node| (node.name.clone(), Told::of(node))).collect(),
            policies: view
                .policies
                .iter()
                .map(|policy| (policy.name.clone(), of_policy(policy)))
                .collect(),
            notice: false,
        }
    }

    /// The lines for what is new.
    pub(super) fn changes(
        &mut self,
        objects: &Objects,
        view: &View,
        notice: Option<String>,
        moment: &Moment,
    ) -> Vec<Line> {
        let clock = moment.clock();
        let mut lines = Vec::new();
        for policy in &view.policies {
            let now = of_policy(policy);
            if self.policies.get(&policy.name) != Some(&now) {
                lines.push(Line::plain(format!(
                    "{clock} policy {} {}",
                    policy.name,
                    window(policy, moment)
                )));
                let trouble = trouble_line(policy, moment);
                lines.extend(
                    trouble.map(|line| Line::new(format!("{clock} policy {}{}", policy.name, line.text), line.needs)),
                );
                self.policies.insert(policy.name.clone(), now);
            }
        }
        let width = view.nodes().map(|node| node.name.len()).max().unwrap_or(0);
        for node in view.nodes() {
            let now = Told::of(node);
            if self.nodes.get(&node.name) != Some(&now) {
                let message = done(objects, node, moment).unwrap_or_else(|| told(node, moment));
                let (name, state) = (&node.name, node.state.as_str());
                lines.push(Line::new(
                    format!("{clock} {name:width$} {state:<10} {message}"),
                    node.needs,
                ));
                self.nodes.insert(node.name.clone(), now);
            }
        }
        let gone = self
            .nodes
            .extract_if(.., |name, _| !view.nodes().any(|node| &node.name == name));
        lines.extend(gone.map(|(name, _)| Line::plain(format!("{clock} {name:width$} gone"))));
        if notice.is_some() != self.notice {
            self.notice = notice.is_some();
            lines.extend(notice.map(|text| Line::new(format!("{clock} {text}"), Needs::Person)));
        }
        lines
    }
}

fn of_policy(policy: &PolicyView) -> (String, Option<String>) {
    (
        format!("{:?} {}", policy.window, policy.suspended),
        policy.trouble.clone(),
    )
}

/// What a node that is up to date has behind it.
fn done(objects: &Objects, node: &NodeView, moment: &Moment) -> Option<String> {
    if node.state != NodeState::UpToDate {
        return None;
    }
    let status = objects.reboots.get(&node.name)?.status.as_ref()?;
    let record = status.history.first().or(status.last_reboot.as_ref())?;
    (record.outcome == Outcome::Succeeded).then(|| record_text(record, moment))
}
