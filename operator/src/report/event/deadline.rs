//! Events about the deadline of a policy, and what of one is said about an operation.

use lockkeeper_crds::RungStatus;
use lockkeeper_planner::Operation;
use lockkeeper_reasons::format_duration;

use super::{Event, EventReason};
use crate::status::deadline::describe_rung;

impl Event {
    /// Within a day, a rung of the deadline applies to a node.
    pub fn rung_due(rung: &RungStatus) -> Self {
        Self::normal(EventReason::RungDue, describe_rung(rung))
    }

    /// A rung of the deadline applies to a node.
    pub fn rung_reached(rung: &RungStatus) -> Self {
        Self::warning(EventReason::RungReached, describe_rung(rung))
    }

    /// The urgent override of a policy ended.
    pub fn urgent_ended() -> Self {
        let message = "the urgent override has ended; windows, checks and disruption budgets apply again";
        Self::normal(EventReason::UrgentEnded, message)
    }
}

/// What was overridden for an operation, after a semicolon; empty if nothing was.
pub(super) fn overridden(operation: &Operation) -> String {
    let Some(overridden) = &operation.overridden else {
        return String::new();
    };
    let names: Vec<&str> = overridden.overrides.iter().map(|one| one.as_str()).collect();
    let after = overridden
        .after
        .map(|after| format!("required for more than {}", format_duration(after)));
    let urgent = overridden.urgent.as_ref().map(|reason| format!("urgent: {reason}"));
    let causes: Vec<String> = after.into_iter().chain(urgent).collect();
    format!("; overridden: {} ({})", names.join(", "), causes.join("; "))
}
