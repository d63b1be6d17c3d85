//! What is planned with of the policies, and which nodes they select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use lockkeeper_crds::{LabelSelector, RebootPolicy, names};
use lockkeeper_planner as planner;
use planner::{PolicyName, ViewGap};

use crate::convert;

/// The policies as the planner sees them.
#[derive(Debug, Default)]
pub(crate) struct PolicyViews {
    pub(crate) views: BTreeMap<PolicyName, planner::Policy>,
    /// Those whose selector cannot be read.
    pub(crate) gaps: Vec<ViewGap>,
    pub(crate) selection: Selection,
}

/// What the view of a node depends on of all policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    selectors: Vec<(PolicyName, Selector)>,
    /// The keys of the labels that any policy's topology names.
    keys: BTreeSet<String>,
}

impl PolicyViews {
    pub(crate) fn of(policies: &BTreeMap<String, Arc<RebootPolicy>>) -> Self {
        let topologies = policies.values().flat_map(|policy| &policy.spec.disruption.topology);
        let mut all = Self::default();
        all.selection.keys = topologies.map(|topology| topology.key.clone()).collect();
        for (name, policy) in policies {
            let (name, mut view) = (PolicyName::from(name.as_str()), view(policy));
            match selector(policy) {
                Ok(selector) => all.selection.selectors.push((name.clone(), selector)),
                // Which nodes it selects is not known: no node starts, and the status of the policy gives the reason.
                Err(cause) => {
                    all.gaps.push(invalid(&name, &cause));
                    view.schedule = Err(cause);
                }
            }
            if let Err(cause) = drain_selectors(policy) {
                view.schedule = Err(cause);
            }
            all.views.insert(name, view);
        }
        all
    }
}

impl Selection {
    /// The names of the policies that select a node with these labels, in their order.
    pub(crate) fn selecting(&self, labels: &BTreeMap<String, String>) -> Vec<PolicyName> {
        let selecting = self.selectors.iter().filter(|(_, selector)| selector.matches(labels));
        selecting.map(|(name, _)| name.clone()).collect()
    }

    /// The node's value of each label that any policy's topology names.
    pub(crate) fn domains(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let values = self.keys.iter().filter_map(|key| labels.get_key_value(key));
        values.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// A policy that cannot be read.
pub(crate) fn invalid(name: &str, cause: &str) -> ViewGap {
    ViewGap::PolicyInvalid {
        policy: name.to_owned(),
        cause: cause.to_owned(),
    }
}

fn view(policy: &RebootPolicy) -> planner::Policy {
    let acknowledged = policy.annotations().get(names::BREAKER_ACKNOWLEDGED);
    let acknowledged = acknowledged.and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
    planner::Policy {
        acknowledged: acknowledged.map(|time| time.with_timezone(&Utc)),
        state: policy.status.as_ref().map(convert::policy_state).unwrap_or_default(),
        ..convert::policy(&policy.spec)
    }
}

/// The policy's selector; a policy without one selects every node.
fn selector(policy: &RebootPolicy) -> Result<Selector, String> {
    let spec = policy.spec.node_selector.clone().unwrap_or_default();
    Selector::try_from(spec.to_kubernetes()).map_err(|error| format!("spec.nodeSelector: {error}"))
}

/// Every selector of the policy's drain can be read; else none of its nodes starts.
fn drain_selectors(policy: &RebootPolicy) -> Result<(), String> {
    let drain = &policy.spec.drain;
    let read = |field: String, selector: &Option<LabelSelector>| match selector {
        Some(selector) => Selector::try_from(selector.to_kubernetes())
            .map(drop)
            .map_err(|error| format!("spec.drain.{field}: {error}")),
        None => Ok(()),
    };
    for (index, rule) in drain.rules.iter().enumerate() {
        read(format!("rules[{index}].podSelector"), &rule.pod_selector)?;
        read(format!("rules[{index}].namespaceSelector"), &rule.namespace_selector)?;
    }
    let exempt = drain.delete_exempt.as_ref();
    exempt.map_or(Ok(()), |exempt| {
        read("deleteExempt.podSelector".to_owned(), &exempt.pod_selector)
    })
}
