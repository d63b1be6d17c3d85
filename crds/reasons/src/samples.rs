//! One sample of every message, for the golden file `docs/reference/messages.md` and for tests.

mod progress;

use std::sync::Arc;

use chrono::TimeDelta;

use self::progress::progress_samples;
use crate::{BreakerRecovery, ConfinementGap, Instant, LimitScope, ViewGap, WaitReason};

/// The instant in all samples: 2026-11-24T21:00:00Z.
const BASE: i64 = 1_795_554_000;

/// Returns at least one sample of every variant of [`WaitReason`], in the order of the table.
pub fn samples() -> Vec<WaitReason> {
    let mut all = [
        view_samples(),
        node_samples(),
        policy_samples(),
        slot_samples(),
        history_samples(),
        progress_samples(),
    ]
    .concat();
    all.sort_by_key(WaitReason::name);
    all
}

fn at(minutes: i64) -> Instant {
    Instant::from_timestamp(BASE, 0).unwrap_or_default() + TimeDelta::minutes(minutes)
}

fn list(names: &[&str]) -> Arc<[String]> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn view_samples() -> Vec<WaitReason> {
    let gaps = [
        ViewGap::NotListed {
            kind: "Nodes".to_owned(),
        },
        ViewGap::WatchFailing {
            kind: "Nodes".to_owned(),
            error: "not permitted (nodes is forbidden); check the ClusterRole lockkeeper-operator and its binding"
                .to_owned(),
        },
        ViewGap::PolicyInvalid {
            policy: "workers".to_owned(),
            cause: "windows[0].durationSeconds: expected i32".to_owned(),
        },
        ViewGap::NodeInvalid {
            node: "w-01".to_owned(),
            cause: "spec.taints: expected a sequence".to_owned(),
        },
        ViewGap::RecordInvalid {
            node: "w-01".to_owned(),
            cause: "status.host.bootTime: trailing input".to_owned(),
        },
        ViewGap::LockInvalid {
            cause: "status.holders[0].acquiredTime: trailing input".to_owned(),
        },
        ViewGap::ControlPlaneUnknown {
            kind: "Pods of the control plane".to_owned(),
            error: "not permitted (pods is forbidden); check the ClusterRole lockkeeper-operator and its binding"
                .to_owned(),
        },
        ViewGap::AwaitingReady,
        ViewGap::RecordLost,
        ViewGap::SchedulersUnaware { until: at(0) },
        ViewGap::PreflightPending,
        ViewGap::PreflightFailed {
            error: "reading the pods of node w-01: pods is forbidden".to_owned(),
        },
    ];
    gaps.into_iter().map(WaitReason::ViewIncomplete).collect()
}

fn node_samples() -> Vec<WaitReason> {
    vec![
        WaitReason::PolicyConflict {
            policies: vec!["edge".to_owned(), "workers".to_owned()],
        },
        WaitReason::NoPolicy,
        WaitReason::Suspended {
            policy: "workers".to_owned(),
        },
        WaitReason::BeingDeleted {
            taint: None,
            since: Some(at(0)),
            stale: false,
        },
        WaitReason::BeingDeleted {
            taint: Some("karpenter.sh/disrupted".to_owned()),
            since: None,
            stale: false,
        },
        WaitReason::BeingDeleted {
            taint: Some("ToBeDeletedByClusterAutoscaler".to_owned()),
            since: Some(at(-90)),
            stale: true,
        },
        WaitReason::Held {
            reason: "debugging the NIC".to_owned(),
            until: None,
        },
        WaitReason::Held {
            reason: "debugging the NIC".to_owned(),
            until: Some(at(60)),
        },
        WaitReason::AwaitingApproval {
            policy: "workers".to_owned(),
        },
        WaitReason::AgentMissing { since: at(0) },
        WaitReason::AgentNotConfined(ConfinementGap::NotConfined {
            nodes: ["w-01".to_owned()].into(),
            cause: "apply ValidatingAdmissionPolicy lockkeeper-agent and its binding".to_owned(),
        }),
        WaitReason::AgentNotConfined(ConfinementGap::NotConfined {
            nodes: ["w-01", "w-02", "w-03", "w-04"].map(str::to_owned).into(),
            cause: "apply ValidatingAdmissionPolicy lockkeeper-agent and its binding".to_owned(),
        }),
        WaitReason::AgentNotConfined(ConfinementGap::Unreported {
            cause: "upgrade it".to_owned(),
        }),
        WaitReason::AgentIncapable {
            cause: "logind does not allow a reboot; install polkit rule lockkeeper.rules".to_owned(),
        },
        WaitReason::JustBooted { until: at(10) },
        WaitReason::AgentNotAnswering {
            order: "7f3c-0".to_owned(),
            seconds: 60,
        },
        WaitReason::Inhibited {
            who: "apt".to_owned(),
            why: "upgrade".to_owned(),
        },
    ]
}

fn policy_samples() -> Vec<WaitReason> {
    let open = |nodes: &[&str], recovery| WaitReason::BreakerOpen {
        nodes: list(nodes),
        recovery,
    };
    vec![
        open(&["w-01"], BreakerRecovery::Manual),
        open(&["w-01", "w-02"], BreakerRecovery::Manual),
        open(&["w-01"], BreakerRecovery::ProbeAt(at(30))),
        open(&["w-01"], BreakerRecovery::Probing("w-02".to_owned())),
        WaitReason::Excluded {
            until: Some(at(600)),
            reason: "year-end freeze".to_owned(),
        },
        WaitReason::Excluded {
            until: None,
            reason: String::new(),
        },
        WaitReason::OutsideWindow {
            opens: Some(at(60)),
            invalid: None,
        },
        WaitReason::OutsideWindow {
            opens: None,
            invalid: None,
        },
        WaitReason::OutsideWindow {
            opens: None,
            invalid: Some("unknown time zone Europe/Berlim".to_owned()),
        },
        WaitReason::DoesNotFitWindow {
            needs: TimeDelta::minutes(15),
            closes: at(10),
            opens: Some(at(1440)),
        },
        WaitReason::DoesNotFitWindow {
            needs: TimeDelta::minutes(15),
            closes: at(10),
            opens: None,
        },
        WaitReason::CanarySoaking {
            names: list(&[]),
            until: None,
        },
        WaitReason::CanarySoaking {
            names: list(&["w-01"]),
            until: None,
        },
        WaitReason::CanarySoaking {
            names: list(&["w-01"]),
            until: Some(at(30)),
        },
    ]
}

fn slot_samples() -> Vec<WaitReason> {
    let down = |nodes: &[(&str, &str)], max| WaitReason::TooManyUnavailable {
        nodes: nodes
            .iter()
            .map(|(node, why)| ((*node).to_owned(), (*why).to_owned()))
            .collect(),
        max,
    };
    let full = |nodes: &[&str], max, scope, ahead| WaitReason::NoFreeSlot {
        in_progress: list(nodes),
        max,
        scope,
        ahead,
    };
    vec![
        down(&[("w-01", "NotReady")], 1),
        down(
            &[
                ("w-01", "NotReady"),
                ("w-02", "in progress"),
                ("w-03", "being deleted: taint ToBeDeletedByClusterAutoscaler"),
            ],
            2,
        ),
        full(&[], 0, LimitScope::Policy, 0),
        full(&["w-02"], 1, LimitScope::Policy, 0),
        full(&["w-02"], 1, LimitScope::Policy, 1),
        full(&["w-02", "w-03"], 2, LimitScope::Cluster, 2),
        full(&["w-02"], 1, LimitScope::Policy, 7),
        WaitReason::TopologyFull {
            key: "topology.kubernetes.io/zone".to_owned(),
            value: "z1".to_owned(),
            in_progress: list(&["w-01"]),
        },
        WaitReason::TopologyFull {
            key: "rack".to_owned(),
            value: String::new(),
            in_progress: list(&["w-01", "w-02"]),
        },
        WaitReason::Pacing { until: at(5) },
        WaitReason::ControlPlaneBusy {
            node: "cp-1".to_owned(),
        },
    ]
}

fn history_samples() -> Vec<WaitReason> {
    let deferred = |count, cause: &str, message: &str| WaitReason::BackingOff {
        count,
        cause: cause.to_owned(),
        message: message.to_owned(),
        until: at(20),
    };
    let budget = "pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)";
    vec![
        WaitReason::Released {
            failure: "w-01 rebooted but was not healthy within 15 min".to_owned(),
        },
        WaitReason::StillRequired {
            reboots: 1,
            since: None,
            rebooted: at(0),
            until: at(1440),
        },
        WaitReason::StillRequired {
            reboots: 3,
            since: None,
            rebooted: at(0),
            until: at(4 * 1440),
        },
        WaitReason::StillRequired {
            reboots: 3,
            since: Some(at(-30)),
            rebooted: at(-5),
            until: at(1435),
        },
        deferred(1, "EvictionBlocked", budget),
        deferred(2, "Cancelled", "cancelled manually"),
        WaitReason::ChecksPending { job: None, until: None },
        WaitReason::ChecksPending {
            job: Some(
                "check fsck: Job lockkeeper-system/lockkeeper-check-before-fsck-337d2d8a2f636ca1 has not finished"
                    .to_owned(),
            ),
            until: None,
        },
        WaitReason::CheckUnavailable {
            check: "alerts".to_owned(),
            error: "http://prometheus:9090 did not answer within 10 s; check that the operator can reach it".to_owned(),
            until: None,
        },
        WaitReason::CheckFailing {
            check: "alerts".to_owned(),
            what: "1 alert fires: KubePodCrashLooping (namespace shop, pod db-0)".to_owned(),
            until: None,
        },
        WaitReason::CheckFailing {
            check: "database".to_owned(),
            what: "object.status.phase == 'Healthy' is false for Database shop/db".to_owned(),
            until: Some(at(30)),
        },
        WaitReason::PreflightBlocked {
            pod: "shop/db-0".to_owned(),
            why: "no controller would create it again (the policy's drain.unmanagedPods is Block)".to_owned(),
            until: at(1),
        },
        WaitReason::PreflightBlocked {
            pod: String::new(),
            why: "the API server is unavailable".to_owned(),
            until: at(1),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReasonName;

    #[test]
    fn the_samples_have_every_reason_in_the_order_of_the_table() {
        let mut names: Vec<ReasonName> = samples().iter().map(WaitReason::name).collect();
        names.dedup();
        assert_eq!(names, ReasonName::ALL);
    }
}
