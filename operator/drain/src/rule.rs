//! The policy's rules about some pods: the first that matches counts.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::error::Error;
use crate::pod::PodView;

/// Labels of namespaces, as far as they are known.
pub type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// What the policy says about some pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pods it is about; none = all.
    pub pods: Option<Selector>,
    /// The namespaces whose pods it is about; none = all.
    pub namespaces: Option<Selector>,
    /// What happens to them.
    pub behavior: Behavior,
    /// When they leave: those with a lower number first; 0 for pods without a rule.
    pub order: i32,
}

/// What a rule does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// It leaves as any other, in the rule's order.
    Evict,
    /// It stays and does not hold up the node.
    Skip,
    /// It is not asked to leave, and holds up the node until it has completed.
    WaitCompleted,
    /// It is not asked to leave, and holds up the node until somebody takes it away.
    Block,
}

/// What the rules say about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// This rule, by its index, is the first to match.
    Rule(usize, Behavior, i32),
    /// None matches.
    None,
    /// The labels of the pod's namespace are not known yet.
    Unknown,
}

impl Rule {
    /// Reads the selectors of `drain.rules[index]`; one that cannot be read matches nothing and is refused.
    pub fn parse(
        index: usize,
        pods: Option<LabelSelector>,
        namespaces: Option<LabelSelector>,
        behavior: Behavior,
        order: i32,
    ) -> Result<Self, Error> {
        Ok(Self {
            pods: pods.map(|pods| selector(index, "podSelector", pods)).transpose()?,
            namespaces: namespaces
                .map(|namespaces| selector(index, "namespaceSelector", namespaces))
                .transpose()?,
            behavior,
            order,
        })
    }

    /// Whether it is about the pod; none where that depends on labels that are not known.
    fn matches(&self, pod: &PodView, namespaces: &Namespaces) -> Option<bool> {
        if self.pods.as_ref().is_some_and(|pods| !pods.matches(&pod.labels)) {
            return Some(false);
        }
        let Some(selector) = &self.namespaces else {
            return Some(true);
        };
        // What selects every namespace needs no labels.
        let labels = namespaces.get(&pod.name.namespace);
        labels
            .map(|labels| selector.matches(labels))
            .or_else(|| selector.selects_all().then_some(true))
    }
}

/// The first rule that matches.
pub(crate) fn ruling(rules: &[Rule], pod: &PodView, namespaces: &Namespaces) -> Ruling {
    for (index, rule) in rules.iter().enumerate() {
        match rule.matches(pod, namespaces) {
            Some(true) => return Ruling::Rule(index, rule.behavior, rule.order),
            Some(false) => {}
            None => return Ruling::Unknown,
        }
    }
    Ruling::None
}

fn selector(index: usize, field: &'static str, selector: LabelSelector) -> Result<Selector, Error> {
    Selector::try_from(selector).map_err(|source| Error::Rule { index, field, source })
}
