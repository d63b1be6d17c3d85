//! Budgets that never allow a disruption as they are, but that their controller may open once the node is cordoned.
//!
//! Operators of storage and databases guard their pods this way: they wait for the cordon, for the other pods to leave, or
//! for a real eviction request that is refused. Such budgets are tried: the node is cordoned, the other pods leave, then
//! each pod under such a budget is requested at least once, and again when the budget changes.

use crate::blocker::BudgetOutlook;
use crate::budget::BudgetView;
use crate::pod::PodView;
use crate::rule::{Behavior, Ruling, ruling};
use crate::select::holds_node;
use crate::state::{State, TrackedPod};

impl State {
    /// Whether the budget may allow a disruption of this pod later.
    pub(crate) fn outlook(&self, pod: &PodView, budget: &BudgetView) -> BudgetOutlook {
        let outlook = budget.outlook();
        let named = || {
            let ruling = ruling(&self.settings.rules, pod, &self.namespaces);
            matches!(ruling, Ruling::Rule(_, Behavior::Try, _))
        };
        if outlook.is_never() && (budget.may_open || named()) {
            BudgetOutlook::AfterCordon
        } else {
            outlook
        }
    }

    /// The budget that guards a pod and that is tried, if there is one.
    pub(crate) fn tried_budget<'a>(&'a self, pod: &'a PodView) -> Option<&'a BudgetView> {
        let guard = self.budgets_of(pod).find(|budget| budget.guards(pod))?;
        (self.outlook(pod, guard) == BudgetOutlook::AfterCordon).then_some(guard)
    }

    /// Whether a pod is still there that no tried budget guards: those leave first.
    pub(crate) fn others_remain(&self) -> bool {
        let mut pods = self.pods.iter().flatten().map(|(_, pod)| pod);
        let is_other = |pod: &TrackedPod| holds_node(&pod.decision) && self.tried_budget(&pod.view).is_none();
        pods.any(is_other)
    }
}
