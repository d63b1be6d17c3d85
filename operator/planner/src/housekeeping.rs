//! What nodes need that are not in progress: a record, an answer to a command, the right policy name, the right taints; and
//! what hooks and notices leave on any node.

mod handshakes;
mod notices;
mod records;
mod taints;

use crate::action::Action;
use crate::assessment::Assessment;

/// The actions for records and taints, beside those that are planned already.
pub(crate) fn housekeeping(assessment: &Assessment, planned: &[Action]) -> Vec<Action> {
    let mut actions = records::reconcile(assessment, planned);
    actions.extend(taints::reconcile(assessment));
    actions.extend(handshakes::reconcile(assessment));
    actions.extend(notices::reconcile(assessment, planned));
    actions
}
