//! A policy that cannot be decoded: conditions in its status, where the API server takes them, and an Event.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::api::Patch;
use lockkeeper_crds::condition::Condition;
use lockkeeper_crds::names;
use lockkeeper_kube_util::{error_chain, patch_params};
use lockkeeper_snapshot::guarded::UndecodablePolicy;
use serde_json::json;

use super::{Reporter, policy_events};
use crate::execute::Error;
use crate::report::event_recorder::EventTarget;
use crate::status::invalid_policy;

impl Reporter {
    /// Writes the conditions of the policies that cannot be decoded, if they changed.
    pub(super) async fn publish_invalid_policies(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        let invalid: Vec<(String, Arc<UndecodablePolicy>)> = self
            .cache
            .read()
            .policies
            .iter()
            .filter_map(|(name, policy)| Some((name.to_owned(), policy.as_ref().err()?.clone())))
            .collect();
        self.refused
            .retain(|name, _| invalid.iter().any(|(other, _)| other == name));
        for (name, policy) in invalid {
            self.publish_invalid_policy(&name, &policy, now).await?;
        }
        Ok(())
    }

    async fn publish_invalid_policy(
        &mut self,
        name: &str,
        policy: &UndecodablePolicy,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let generation = policy.metadata.generation;
        let after = conditions(name, policy, now);
        let is_published = after == policy.rest.conditions && policy.rest.observed_generation == generation;
        if is_published || self.refused.get(name) == Some(&generation) {
            return Ok(());
        }
        if let Some(uid) = policy.metadata.uid.clone() {
            let target = EventTarget::Policy {
                name: name.to_owned(),
                uid,
            };
            for event in policy_events::condition_events(&policy.rest.conditions, &after) {
                self.announcer.about_policy(target.clone(), event);
            }
        }
        let patch = json!({
            "metadata": {"resourceVersion": policy.metadata.resource_version},
            "status": {"observedGeneration": generation, "conditions": after},
        });
        let params = patch_params(names::OPERATOR_MANAGER);
        match self
            .guarded_policies
            .patch_status(name, &params, &Patch::Merge(&patch))
            .await
        {
            Ok(policy) => self.cache.upsert_policy(policy),
            // What the CRD does not allow is not tried again before the policy changes.
            Err(source) if matches!(&source, kube::Error::Api(status) if matches!(status.code, 400 | 422)) => {
                tracing::warn!(
                    policy = name,
                    "the policy cannot be decoded and the API server does not take its status: {}",
                    error_chain(&source)
                );
                self.refused.insert(name.to_owned(), generation);
            }
            Err(source) => {
                return Err(Error::Api {
                    step: "write the status of RebootPolicy",
                    object: name.to_owned(),
                    source,
                });
            }
        }
        Ok(())
    }
}

/// The conditions that were there, with those of an invalid policy in their place.
fn conditions(name: &str, policy: &UndecodablePolicy, now: DateTime<Utc>) -> Vec<Condition> {
    let drafts = invalid_policy(name, &policy.cause).into_iter();
    let conditions = drafts.map(|draft| draft.into_condition(&policy.rest.conditions, policy.metadata.generation, now));
    let mut after = policy.rest.conditions.clone();
    for condition in conditions {
        match after.iter_mut().find(|known| known.type_ == condition.type_) {
            Some(known) => *known = condition,
            None => after.push(condition),
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use lockkeeper_snapshot::guarded::PolicyRest;

    use super::*;

    #[test]
    fn the_conditions_of_an_invalid_policy_name_field_and_remedy_and_keep_the_others() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let was = |type_: &str, status: &str| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            observed_generation: Some(1),
            last_transition_time: now,
            reason: "UpToDate".to_owned(),
            message: String::new(),
        };
        let mut policy = UndecodablePolicy {
            metadata: kube::api::ObjectMeta {
                generation: Some(2),
                ..kube::api::ObjectMeta::default()
            },
            cause: "spec.windows[0].durationSeconds: invalid type: string \"two hours\", expected i32".to_owned(),
            rest: PolicyRest {
                conditions: vec![was("Ready", "True"), was("Degraded", "False")],
                observed_generation: Some(1),
            },
        };
        let after = conditions("general", &policy, now);
        let notified: Vec<String> = after
            .iter()
            .map(|it| format!("{} {} {}", it.type_, it.status, it.reason))
            .collect();
        assert_eq!(
            notified,
            [
                "Ready False InvalidSpec",
                "Degraded False UpToDate",
                "UpToDate Unknown InvalidSpec",
                "Stalled True InvalidSpec"
            ]
        );
        assert_eq!(
            after[0].message,
            "spec.windows[0].durationSeconds: invalid type: string \"two hours\", expected i32; no node of any policy \
             starts until it is fixed: kubectl edit rbp general, or apply the CRDs of this version"
        );
        policy.rest.conditions.clone_from(&after);
        assert_eq!(conditions("general", &policy, now), after, "nothing is written again");
    }
}
