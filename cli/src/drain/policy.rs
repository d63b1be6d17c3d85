//! Which policy's `drain` counts for a node, and what the engine is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use lockkeeper_crds as crds;
use lockkeeper_crds::names;
use lockkeeper_drain::{OwnPods, Settings};

use super::args::PolicyArgs;
use crate::close::close;
use crate::connect::Cluster;
use crate::failure::{Failure, chain};
use crate::next;
use crate::objects::{self, Guarded};

/// What is said about the pods of a node, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) drain: crds::Drain,
    /// The policy's name; none where nothing is said and the defaults count.
    pub(crate) policy: Option<String>,
}

/// The choices for all nodes.
#[derive(Debug)]
pub(crate) enum Book {
    /// The reader has chosen.
    One(Choice),
    /// Each node's own policy.
    Own {
        policy_of: BTreeMap<String, String>,
        /// Or why a policy cannot be decoded: what it asks for is not known, so its nodes are left alone.
        drains: BTreeMap<String, Result<crds::Drain, String>>,
    },
}

impl Book {
    /// For these nodes only: two small requests for each.
    pub(crate) async fn of_nodes(cluster: &Cluster, args: &PolicyArgs, nodes: &[String]) -> Result<Self, Failure> {
        if let Some(choice) = chosen(cluster, args).await? {
            return Ok(Self::One(choice));
        }
        let (mut policy_of, mut drains) = (BTreeMap::new(), BTreeMap::new());
        for node in nodes {
            let step = format!("read NodeReboot {node}");
            let reboot = objects::if_there(cluster.reboots().get(node).await);
            let reboot = reboot.map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
            let Some(policy) = reboot.and_then(|reboot| reboot.spec.policy) else {
                continue;
            };
            if !drains.contains_key(&policy)
                && let Some(found) = fetch(cluster, &policy).await?
            {
                drains.insert(policy.clone(), drain_of(found));
            }
            policy_of.insert(node.clone(), policy);
        }
        Ok(Self::Own { policy_of, drains })
    }

    /// For any node, from two lists.
    pub(crate) async fn of_all(cluster: &Cluster, args: &PolicyArgs) -> Result<Self, Failure> {
        if let Some(choice) = chosen(cluster, args).await? {
            return Ok(Self::One(choice));
        }
        let policies = objects::list_if_known(cluster, &cluster.guarded_policies(), "list RebootPolicies").await?;
        let reboots = objects::list_if_known(cluster, &cluster.reboots(), "list NodeReboots").await?;
        let drains = policies.into_iter().map(|(name, policy)| (name, drain_of(policy)));
        let policy_of = reboots.into_iter();
        Ok(Self::Own {
            policy_of: policy_of
                .filter_map(|(node, reboot)| Some((node, reboot.spec.policy?)))
                .collect(),
            drains: drains.collect(),
        })
    }

    /// What counts for this node; an error if its policy cannot be decoded.
    pub(crate) fn choice(&self, node: &str) -> Result<Choice, Failure> {
        match self {
            Self::One(choice) => Ok(choice.clone()),
            Self::Own { policy_of, drains } => {
                let named = policy_of.get(node).and_then(|name| Some((name, drains.get(name)?)));
                match named {
                    None => Ok(Choice::default()),
                    Some((name, Ok(drain))) => Ok(Choice {
                        drain: drain.clone(),
                        policy: Some(name.clone()),
                    }),
                    Some((name, Err(error))) => Err(undecodable(name, error)),
                }
            }
        }
    }
}

impl Choice {
    /// Whose word it is: `policy workers`.
    pub(crate) fn words(&self) -> String {
        self.policy
            .as_ref()
            .map_or_else(|| "the defaults".to_owned(), |name| format!("policy {name}"))
    }

    /// What the engine must know. `onTimeout`, `daemonSetsLast` and `preferUpdatedNodes` are the operator's: a person
    /// who drains a node decides what follows, and no taint is set.
    pub(crate) fn settings(&self, node: &str, cordoned_at: DateTime<Utc>) -> Result<Settings, Failure> {
        let own = OwnPods::in_namespace(names::NAMESPACE);
        let settings = Settings::of_policy(node, &self.drain, own, cordoned_at);
        let settings = settings.map_err(|error| Failure::error(format!("{}: {}", self.words(), chain(&error))))?;
        Ok(Settings {
            daemon_sets_last: false,
            ..settings
        })
    }

    /// How long one node may take.
    pub(crate) fn time_out(&self) -> Duration {
        Duration::from_secs(self.drain.timeout_seconds.try_into().unwrap_or(0))
    }
}

/// What the reader has chosen, if anything.
async fn chosen(cluster: &Cluster, args: &PolicyArgs) -> Result<Option<Choice>, Failure> {
    let (name, drain) = match (&args.policy, &args.file) {
        (Some(name), _) => match fetch(cluster, name).await? {
            Some(policy) => (
                policy.name_any(),
                drain_of(policy).map_err(|error| undecodable(name, &error))?,
            ),
            None => return Err(unknown(cluster, name).await),
        },
        (None, Some(path)) => {
            let (name, spec) = only(&path.display().to_string(), next::of_file(path)?)?;
            (name, spec.drain)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Choice {
        policy: Some(name),
        drain,
    }))
}

/// Which of several policies counts would be a guess.
fn only(file: &str, mut specs: next::Specs) -> Result<(String, crds::RebootPolicySpec), Failure> {
    match (specs.pop(), specs.len()) {
        (Some(spec), 0) => Ok(spec),
        (_, more) => Err(Failure::error(format!(
            "{file} holds {} RebootPolicies; give a file with one, or name one of the cluster with --policy",
            more + 1
        ))),
    }
}

async fn fetch(cluster: &Cluster, name: &str) -> Result<Option<Guarded>, Failure> {
    let step = format!("read RebootPolicy {name}");
    let policy = objects::if_there(cluster.guarded_policies().get(name).await);
    policy.map_err(|error| Failure::of_request(&step, &cluster.server, &error))
}

fn drain_of(policy: Guarded) -> Result<crds::Drain, String> {
    policy
        .0
        .map(|policy| policy.spec.drain)
        .map_err(|invalid| invalid.error)
}

fn undecodable(name: &str, error: &str) -> Failure {
    Failure::error(format!(
        "RebootPolicy {name} cannot be decoded: {error}; mend it (kubectl edit rbp {name}) or name another one with --policy"
    ))
}

async fn unknown(cluster: &Cluster, name: &str) -> Failure {
    let known = objects::list_if_known(cluster, &cluster.guarded_policies(), "list RebootPolicies").await;
    let known = known.unwrap_or_default();
    let meant = close(name, known.keys().map(String::as_str));
    let meant = if meant.is_empty() {
        "see: kubectl get rebootpolicies".to_owned()
    } else {
        format!("did you mean {}?", meant.join(", "))
    };
    Failure::error(format!("there is no RebootPolicy {name}; {meant}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::time;

    const NOW: &str = "2026-11-24T22:00:00Z";

    fn choice(drain: serde_json::Value) -> Choice {
        Choice {
            drain: serde_json::from_value(drain).unwrap(),
            policy: Some("workers".to_owned()),
        }
    }

    #[test]
    fn nothing_said_is_the_safe_choice() {
        let settings = Choice::default().settings("w-01", time(NOW)).unwrap();
        let own = OwnPods::in_namespace("lockkeeper-system");
        assert_eq!(settings, Settings::new("w-01", own, time(NOW)));
        assert_eq!(Choice::default().time_out(), Duration::from_mins(15));
    }

    #[test]
    fn the_policy_counts_but_for_what_is_the_operators() {
        let drain = json!({"gracePeriodSeconds": 7, "excludeFromLoadBalancersSeconds": 30, "daemonSetsLast": true});
        let settings = choice(drain).settings("w-01", time(NOW)).unwrap();
        assert_eq!(settings.grace_period_seconds, Some(7));
        assert_eq!(settings.evict_from, Some(time("2026-11-24T22:00:30Z")));
        assert!(!settings.daemon_sets_last, "no taint would keep them away");
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_named_with_its_policy() {
        let drain = json!({"rules": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]});
        let failure = choice(drain).settings("w-01", time(NOW)).unwrap_err();
        expect_test::expect!["policy workers: reading drain.rules[0].podSelector: correct the policy: failed to parse value as expression: Invalid expression operator"].assert_eq(&failure.message);
    }

    #[test]
    fn one_policy_of_several_is_not_guessed() {
        let spec = |name: &str| (name.to_owned(), crds::RebootPolicySpec::default());
        assert_eq!(only("p.yaml", vec![spec("a")]).unwrap().0, "a");
        let failure = only("p.yaml", vec![spec("a"), spec("b")]).unwrap_err();
        assert!(
            failure.message.starts_with("p.yaml holds 2 RebootPolicies"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_node_without_a_policy_is_drained_by_the_defaults() {
        let book = Book::Own {
            policy_of: BTreeMap::from([
                ("w-01".to_owned(), "workers".to_owned()),
                ("w-02".to_owned(), "deleted".to_owned()),
            ]),
            drains: BTreeMap::from([("workers".to_owned(), Ok(crds::Drain::default()))]),
        };
        let words = ["w-01", "w-02", "w-03"].map(|node| book.choice(node).unwrap().words());
        assert_eq!(words, ["policy workers", "the defaults", "the defaults"]);
    }

    #[test]
    fn a_node_whose_policy_cannot_be_decoded_is_not_drained_by_the_defaults() {
        let book = Book::Own {
            policy_of: BTreeMap::from([("w-01".to_owned(), "odd".to_owned())]),
            drains: BTreeMap::from([("odd".to_owned(), Err("drain.rules: not a list".to_owned()))]),
        };
        let failure = book.choice("w-01").unwrap_err();
        expect_test::expect!["RebootPolicy odd cannot be decoded: drain.rules: not a list; mend it (kubectl edit rbp odd) or name another one with --policy"].assert_eq(&failure.message);
    }
}
