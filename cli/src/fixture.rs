//! Objects for tests.

// Callers write `json!` values in place, so they are passed by value.
#![allow(clippy::needless_pass_by_value)]

use chrono::{DateTime, FixedOffset, Utc};
use lockkeeper_crds::{NodeReboot, RebootPolicy};
use serde_json::{Value, json};

use crate::clock::DisplayClock;
use crate::cluster::objects::Objects;

/// An instant.
pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The clock of a reader in UTC.
pub(crate) fn clock(now: &str) -> DisplayClock {
    DisplayClock {
        now: time(now),
        offset: |_| FixedOffset::east_opt(0).unwrap(),
    }
}

/// A `NodeReboot` under the policy `workers`.
pub(crate) fn reboot(name: &str, status: Value) -> NodeReboot {
    serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot",
        "metadata": {"name": name}, "spec": {"policy": "workers"}, "status": status,
    }))
    .unwrap()
}

/// A policy that the operator has observed and found to be Ready.
pub(crate) fn policy(name: &str, spec: Value, mut status: Value) -> RebootPolicy {
    if status.get("conditions").is_none() {
        status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "Observed", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z"}]);
    }
    serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": name}, "spec": spec, "status": status,
    }))
    .unwrap()
}

/// The objects by name.
pub(crate) fn objects(policies: Vec<RebootPolicy>, reboots: Vec<NodeReboot>) -> Objects {
    let name = |metadata: &kube::core::ObjectMeta| metadata.name.clone().unwrap();
    Objects {
        policies: policies.into_iter().map(|it| (name(&it.metadata), it)).collect(),
        reboots: reboots.into_iter().map(|it| (name(&it.metadata), it)).collect(),
        ..Objects::default()
    }
}
