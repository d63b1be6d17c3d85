//! `urgent`: overrides guards of a policy for all its nodes, for a limited time and with a reason; `--end` ends it.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use kube::api::Patch;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{RebootPolicy, RebootPolicyStatus, Urgent, names};
use lockkeeper_kube_util::patch_params;
use serde_json::{Value, json};

use crate::args::UrgentArgs;
use crate::clock::DisplayClock;
use crate::cluster::{Cluster, find, objects};
use crate::failure::Failure;
use crate::render::{Line, terminal};

/// Writes or removes `spec.urgent` of the policy.
pub(crate) async fn urgent(cluster: &Cluster, args: &UrgentArgs) -> Result<(), Failure> {
    let name = &args.policy;
    let policies: Api<RebootPolicy> = Api::all(cluster.client.clone());
    let read = policies.get_opt(name).await;
    let read =
        read.map_err(|error| Failure::of_request(&format!("read RebootPolicy {name}"), &cluster.server, &error))?;
    let Some(policy) = read else {
        let objects = objects::fetch(cluster).await?;
        return Err(find::no_policy(name, objects.policies.keys().map(String::as_str)));
    };
    let clock = DisplayClock::now();
    let status = policy.status.clone().unwrap_or_default();
    let urgent = args
        .reason
        .as_ref()
        .map(|reason| of_args(args, reason, &status, clock.now));
    write(cluster, &policies, &policy, &json!(urgent)).await?;
    let line = match (&urgent, &policy.spec.urgent) {
        (Some(urgent), _) => declared(name, urgent, &clock),
        (None, Some(_)) => ended(name),
        (None, None) => not_urgent(name),
    };
    terminal::print(&[Line::plain(line)]);
    Ok(())
}

/// It applies from now on, and to the rollout that is in progress, if one is.
fn of_args(args: &UrgentArgs, reason: &str, status: &RebootPolicyStatus, now: DateTime<Utc>) -> Urgent {
    let from = now.trunc_subsecs(0);
    let mut overrides = Vec::new();
    for one in args.overrides.iter().map(|one| one.to_api()) {
        if !overrides.contains(&one) {
            overrides.push(one);
        }
    }
    Urgent {
        reason: reason.to_owned(),
        from,
        until: from + TimeDelta::hours(args.hours),
        rollout: status.rollout.as_ref().map(|rollout| rollout.id.clone()),
        overrides,
    }
}

async fn write(
    cluster: &Cluster,
    policies: &Api<RebootPolicy>,
    policy: &RebootPolicy,
    urgent: &Value,
) -> Result<(), Failure> {
    let name = policy.name_any();
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": policy.resource_version()},
        "spec": {"urgent": urgent},
    }));
    let written = policies.patch(&name, &patch_params(names::CLI_MANAGER), &patch).await;
    let step = format!("write spec.urgent of RebootPolicy {name}");
    written
        .map(drop)
        .map_err(|error| Failure::of_request(&step, &cluster.server, &error))
}

/// The line after the override was written.
pub(crate) fn declared(policy: &str, urgent: &Urgent, clock: &DisplayClock) -> String {
    let overrides: Vec<&str> = urgent.overrides.iter().map(|one| one.as_str()).collect();
    let rollout = match &urgent.rollout {
        Some(id) => format!("rollout {id}"),
        None => "every rollout".to_owned(),
    };
    format!(
        "policy {policy} is urgent until {}: {} for all its nodes in {rollout}; to end it: kubectl lockkeeper urgent {policy} \
         --end",
        clock.time_and_remaining(urgent.until),
        overrides.join(", "),
    )
}

/// The line after it was removed.
pub(crate) fn ended(policy: &str) -> String {
    format!("policy {policy} is not urgent any more")
}

/// The line if there was none.
pub(crate) fn not_urgent(policy: &str) -> String {
    format!("policy {policy} was not urgent; nothing changed")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use lockkeeper_crds::Override;

    use super::*;
    use crate::args::{Args, Command};
    use crate::fixture::{clock, time};

    #[test]
    fn an_urgent_override_names_the_rollout_in_progress_and_ends_after_its_hours() {
        let typed = "kubectl-lockkeeper urgent workers --reason CVE-2026-1234 --hours 4 --override IgnoreWindows --override \
                     DeletePods --override IgnoreWindows";
        let Command::Urgent(args) = Args::try_parse_from(typed.split_whitespace()).unwrap().command else {
            panic!("another command");
        };
        let status = json!({"rollout": {"id": "7f3c", "startedTime": "2026-11-24T20:00:00Z"}});
        let status: RebootPolicyStatus = serde_json::from_value(status).unwrap();
        let clock = clock("2026-11-24T22:00:00Z");
        let urgent = of_args(&args, "CVE-2026-1234", &status, clock.now);
        assert_eq!(urgent.overrides, [Override::IgnoreWindows, Override::DeletePods]);
        assert_eq!(urgent.until, time("2026-11-25T02:00:00Z"));
        assert_eq!(
            declared("workers", &urgent, &clock),
            "policy workers is urgent until Wed 02:00 (in 4 h): IgnoreWindows, DeletePods for all its nodes in rollout 7f3c; \
             to end it: kubectl lockkeeper urgent workers --end"
        );
    }
}
