//! Which policy's `drain` applies to a node, and the settings of the engine that follow from it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use lockkeeper_crds as crds;
use lockkeeper_crds::{NodeReboot, RebootPolicy};
use lockkeeper_drain::{OwnPods, Settings};
use lockkeeper_kube_util::error_chain;
use lockkeeper_snapshot::guarded::{GuardedPolicy, PolicyRest, RecordRest, UndecodablePolicy};

use crate::args::PolicyArgs;
use crate::cluster::objects::{self, Split};
use crate::cluster::{Cluster, find};
use crate::commands::next;
use crate::failure::Failure;

/// The drain settings for a node, and the policy that they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DrainPolicy {
    pub(crate) drain: crds::Drain,
    /// The policy's name; `None` if the default settings apply.
    pub(crate) name: Option<String>,
}

/// The drain settings for all nodes.
#[derive(Debug)]
pub(crate) enum DrainPolicies {
    /// The policy of the command line.
    One(DrainPolicy),
    /// Each node's own policy.
    Own {
        /// Or why a node's record cannot be decoded: its policy is unknown.
        policy_of: BTreeMap<String, Result<String, String>>,
        /// Or why a policy cannot be decoded: its settings are unknown, so its nodes are not drained.
        drains: BTreeMap<String, Result<crds::Drain, String>>,
    },
}

impl DrainPolicies {
    /// For these nodes only, with two small requests for each.
    pub(crate) async fn of_nodes(cluster: &Cluster, args: &PolicyArgs, nodes: &[String]) -> Result<Self, Failure> {
        if let Some(policy) = selected(cluster, args).await? {
            return Ok(Self::One(policy));
        }
        let (mut policy_of, mut drains) = (BTreeMap::new(), BTreeMap::new());
        for node in nodes {
            let step = format!("read NodeReboot {node}");
            let reboot = objects::if_exists(cluster.reboots().get(node).await);
            let reboot = reboot.map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
            let Some(policy) = reboot.and_then(|reboot| reboot.spec.policy) else {
                continue;
            };
            if !drains.contains_key(&policy)
                && let Some(found) = fetch(cluster, &policy).await?
            {
                drains.insert(policy.clone(), drain_of(found));
            }
            policy_of.insert(node.clone(), Ok(policy));
        }
        Ok(Self::Own { policy_of, drains })
    }

    /// For any node, from two lists.
    pub(crate) async fn of_all(cluster: &Cluster, args: &PolicyArgs) -> Result<Self, Failure> {
        if let Some(policy) = selected(cluster, args).await? {
            return Ok(Self::One(policy));
        }
        let (policies, invalid) = objects::list_if_known(cluster, "list RebootPolicies").await?;
        let (reboots, undecodable): Split<NodeReboot, RecordRest> =
            objects::list_if_known(cluster, "list NodeReboots").await?;
        let decoded = policies.into_iter();
        let decoded = decoded.map(|(name, policy): (_, RebootPolicy)| (name, Ok(policy.spec.drain)));
        let invalid = invalid.into_iter();
        let invalid = invalid.map(|(name, policy): (_, UndecodablePolicy)| (name, Err(policy.cause)));
        let policy_of = reboots.into_iter();
        let policy_of = policy_of.filter_map(|(node, reboot)| Some((node, Ok(reboot.spec.policy?))));
        let unknown = undecodable.into_iter().map(|(node, record)| (node, Err(record.cause)));
        Ok(Self::Own {
            policy_of: policy_of.chain(unknown).collect(),
            drains: decoded.chain(invalid).collect(),
        })
    }

    /// The settings for this node; an error if its policy cannot be decoded.
    pub(crate) fn of(&self, node: &str) -> Result<DrainPolicy, Failure> {
        match self {
            Self::One(policy) => Ok(policy.clone()),
            Self::Own { policy_of, drains } => {
                let policy = policy_of.get(node).map(Result::as_ref).transpose();
                let policy = policy.map_err(|error| undecodable_record(node, error))?;
                let named = policy.and_then(|name| Some((name, drains.get(name)?)));
                match named {
                    None => Ok(DrainPolicy::default()),
                    Some((name, Ok(drain))) => Ok(DrainPolicy {
                        drain: drain.clone(),
                        name: Some(name.clone()),
                    }),
                    Some((name, Err(error))) => Err(undecodable(name, error)),
                }
            }
        }
    }
}

impl DrainPolicy {
    /// Where the settings come from: `policy workers`.
    pub(crate) fn source(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| "the default settings".to_owned(), |name| format!("policy {name}"))
    }

    /// The settings of the engine. `onTimeout`, `daemonSetsLast` and `preferUpdatedNodes` apply to the operator only: a
    /// person who drains a node decides what follows, and no taint is set.
    pub(crate) fn settings(
        &self,
        node: &str,
        own_pods: &OwnPods,
        cordoned_at: DateTime<Utc>,
    ) -> Result<Settings, Failure> {
        let settings = Settings::of_policy(node, &self.drain, own_pods.clone(), cordoned_at);
        let settings =
            settings.map_err(|error| Failure::error(format!("{}: {}", self.source(), error_chain(&error))))?;
        Ok(Settings {
            daemon_sets_last: false,
            ..settings
        })
    }

    /// The time limit for one node.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.drain.timeout_seconds.try_into().unwrap_or(0))
    }
}

/// The policy of the command line, if there is one.
async fn selected(cluster: &Cluster, args: &PolicyArgs) -> Result<Option<DrainPolicy>, Failure> {
    let (name, drain) = match (&args.policy, &args.file) {
        (Some(name), _) => match fetch(cluster, name).await? {
            Some(policy) => (
                policy.name_any(),
                drain_of(policy).map_err(|error| undecodable(name, &error))?,
            ),
            None => return Err(no_such_policy(cluster, name).await),
        },
        (None, Some(path)) => {
            let (name, spec) = only(&path.display().to_string(), next::of_file(path)?)?;
            (name, spec.drain)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(DrainPolicy {
        name: Some(name),
        drain,
    }))
}

/// An error if there are several policies: which one applies would be a guess.
fn only(file: &str, mut specs: next::Specs) -> Result<(String, crds::RebootPolicySpec), Failure> {
    match (specs.pop(), specs.len()) {
        (Some(spec), 0) => Ok(spec),
        (_, more) => Err(Failure::error(format!(
            "{file} contains {} RebootPolicies; give a file with one, or name one of the cluster with --policy",
            more + 1
        ))),
    }
}

async fn fetch(cluster: &Cluster, name: &str) -> Result<Option<GuardedPolicy>, Failure> {
    let step = format!("read RebootPolicy {name}");
    let policy = objects::if_exists(cluster.policies().get(name).await);
    policy.map_err(|error| Failure::of_request(&step, &cluster.server, &error))
}

fn drain_of(policy: GuardedPolicy) -> Result<crds::Drain, String> {
    policy
        .0
        .map(|policy| policy.spec.drain)
        .map_err(|invalid| invalid.cause)
}

fn undecodable_record(node: &str, error: &str) -> Failure {
    Failure::error(format!(
        "NodeReboot {node} cannot be decoded: {error}; fix it (kubectl edit nrb {node}), or name a policy with --policy"
    ))
}

fn undecodable(name: &str, error: &str) -> Failure {
    Failure::error(format!(
        "RebootPolicy {name} cannot be decoded: {error}; fix it (kubectl edit rbp {name}) or name another one with --policy"
    ))
}

async fn no_such_policy(cluster: &Cluster, name: &str) -> Failure {
    let known = objects::list_if_known::<RebootPolicy, PolicyRest>(cluster, "list RebootPolicies").await;
    let (known, invalid) = known.unwrap_or_default();
    find::no_policy(name, known.keys().chain(invalid.keys()).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::time;

    const NOW: &str = "2026-11-24T22:00:00Z";

    fn own_pods() -> OwnPods {
        OwnPods::in_namespace("ops")
    }

    fn policy(drain: serde_json::Value) -> DrainPolicy {
        DrainPolicy {
            drain: serde_json::from_value(drain).unwrap(),
            name: Some("workers".to_owned()),
        }
    }

    #[test]
    fn a_node_without_a_policy_has_the_safe_default_settings() {
        let own = own_pods();
        let settings = DrainPolicy::default().settings("w-01", &own, time(NOW)).unwrap();
        assert_eq!(settings, Settings::new("w-01", own, time(NOW)));
        assert_eq!(DrainPolicy::default().timeout(), Duration::from_mins(15));
    }

    #[test]
    fn settings_that_apply_to_the_operator_only_are_ignored() {
        let drain = json!({"gracePeriodSeconds": 7, "excludeFromLoadBalancersSeconds": 30, "daemonSetsLast": true});
        let settings = policy(drain).settings("w-01", &own_pods(), time(NOW)).unwrap();
        assert_eq!(settings.grace_period_seconds, Some(7));
        assert_eq!(settings.evict_from, Some(time("2026-11-24T22:00:30Z")));
        assert!(!settings.daemon_sets_last, "no taint would keep them off the node");
    }

    #[test]
    fn an_invalid_selector_is_an_error_that_names_its_policy() {
        let drain = json!({"rules": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]});
        let failure = policy(drain).settings("w-01", &own_pods(), time(NOW)).unwrap_err();
        expect_test::expect!["policy workers: drain.rules[0].podSelector is invalid and must be corrected in the policy: failed to parse value as expression: Invalid expression operator"].assert_eq(&failure.message);
    }

    #[test]
    fn a_file_with_several_policies_is_an_error() {
        let spec = |name: &str| (name.to_owned(), crds::RebootPolicySpec::default());
        assert_eq!(only("p.yaml", vec![spec("a")]).unwrap().0, "a");
        let failure = only("p.yaml", vec![spec("a"), spec("b")]).unwrap_err();
        assert!(
            failure.message.starts_with("p.yaml contains 2 RebootPolicies"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_node_without_an_existing_policy_has_the_default_settings() {
        let policies = DrainPolicies::Own {
            policy_of: BTreeMap::from([
                ("w-01".to_owned(), Ok("workers".to_owned())),
                ("w-02".to_owned(), Ok("deleted".to_owned())),
            ]),
            drains: BTreeMap::from([("workers".to_owned(), Ok(crds::Drain::default()))]),
        };
        let sources = ["w-01", "w-02", "w-03"].map(|node| policies.of(node).unwrap().source());
        assert_eq!(
            sources,
            ["policy workers", "the default settings", "the default settings"]
        );
    }

    #[test]
    fn a_node_whose_policy_cannot_be_decoded_is_not_drained() {
        let policies = DrainPolicies::Own {
            policy_of: BTreeMap::from([("w-01".to_owned(), Ok("odd".to_owned()))]),
            drains: BTreeMap::from([("odd".to_owned(), Err("drain.rules: not a list".to_owned()))]),
        };
        let failure = policies.of("w-01").unwrap_err();
        expect_test::expect!["RebootPolicy odd cannot be decoded: drain.rules: not a list; fix it (kubectl edit rbp odd) or name another one with --policy"].assert_eq(&failure.message);
    }
    #[test]
    fn a_node_whose_record_cannot_be_decoded_is_not_drained_and_the_others_are() {
        let policies = DrainPolicies::Own {
            policy_of: BTreeMap::from([(
                "w-01".to_owned(),
                Err("status.host.bootTime: trailing input".to_owned()),
            )]),
            drains: BTreeMap::new(),
        };
        let failure = policies.of("w-01").unwrap_err();
        expect_test::expect!["NodeReboot w-01 cannot be decoded: status.host.bootTime: trailing input; fix it (kubectl edit nrb w-01), or name a policy with --policy"].assert_eq(&failure.message);
        assert!(policies.of("w-02").is_ok());
    }
}
