//! The state of a node as text.

use lockkeeper_crds::NodeState;
use lockkeeper_crds::reasons::ReasonName;

use crate::clock::DisplayClock;
use crate::view::NodeView;

/// The message, and until when it holds unless the message says so itself.
pub(crate) fn message(node: &NodeView, clock: &DisplayClock) -> String {
    let message = clock.localize(&node.message);
    let Some(until) = node
        .until_time
        .filter(|until| message == node.message && *until > clock.now)
    else {
        return message;
    };
    let is_limit = node.reason.as_ref().is_some_and(|reason| {
        let limited = [ReasonName::Preparing, ReasonName::Rebooting, ReasonName::NodeNotReady];
        limited.into_iter().any(|limited| reason.is(limited))
    });
    let until = clock.time_and_remaining(until);
    if is_limit {
        format!("{message}; times out at {until}")
    } else {
        format!("{message}, until {until}")
    }
}

/// The state in one word, for a column.
pub(crate) fn state_column(node: &NodeView) -> &'static str {
    let is_held = node.reason.as_ref().is_some_and(|reason| reason.is(ReasonName::Held));
    match node.state {
        NodeState::Pending if is_held => "held",
        NodeState::Pending => "waits",
        NodeState::UpToDate
        | NodeState::Preparing
        | NodeState::Draining
        | NodeState::Rebooting
        | NodeState::Verifying
        | NodeState::Failed
        | NodeState::Unknown => node.state.as_str(),
    }
}
