//! The policy's drain rules: the first that matches a pod applies.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::error::Error;
use crate::pod::PodView;

/// Labels of namespaces, as far as they have been read.
pub type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// A drain rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Selects pods; `None` selects all.
    pub pods: Option<Selector>,
    /// Selects namespaces; `None` selects all.
    pub namespaces: Option<Selector>,
    /// What the drain does with the selected pods.
    pub behavior: Behavior,
    /// Pods with a lower order are evicted first; pods without a rule have 0.
    pub order: i32,
}

/// What a rule does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// It is evicted, in the rule's order.
    Evict,
    /// It stays and does not delay the drain.
    Skip,
    /// It is not evicted, and the drain waits until it has completed.
    WaitCompleted,
    /// It is not evicted, and blocks the drain until it is removed.
    Block,
    /// It is evicted, and a budget that never allows that is tried all the same once the node is cordoned.
    Try,
}

/// Which rule applies to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The first rule that matches: its index, behavior and order.
    Rule(usize, Behavior, i32),
    /// No rule matches.
    None,
    /// Unknown: the labels of the pod's namespace have not been read.
    Unknown,
}

impl Rule {
    /// Parses `drain.rules[index]`; an invalid selector is an error.
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

    /// Whether the rule matches the pod; `None` if that depends on labels that have not been read.
    fn matches(&self, pod: &PodView, namespaces: &Namespaces) -> Option<bool> {
        if self.pods.as_ref().is_some_and(|pods| !pods.matches(&pod.labels)) {
            return Some(false);
        }
        let Some(selector) = &self.namespaces else {
            return Some(true);
        };
        // A selector of every namespace needs no labels.
        let labels = namespaces.get(&pod.name.namespace);
        labels
            .map(|labels| selector.matches(labels))
            .or_else(|| selector.selects_all().then_some(true))
    }
}

/// The first rule that matches a pod.
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
