//! Samples of what a node in progress waits for.

use super::at;
use crate::WaitReason;

/// What a node in progress waits for, in the order of its operation.
pub(super) fn progress_samples() -> Vec<WaitReason> {
    let mut all = cordon_samples();
    all.extend(drain_samples());
    all.extend(reboot_samples());
    all
}

fn cordon_samples() -> Vec<WaitReason> {
    vec![
        WaitReason::Preparing {
            asked: at(0),
            until: at(1),
        },
        WaitReason::WriteRefused {
            message: "cannot cordon w-01: field .spec.unschedulable is owned by argocd with a different value"
                .to_owned(),
        },
        WaitReason::WriteRefused {
            message: "the API server refuses to write the holders of RebootLock cluster: admission webhook \"freeze\" \
                      denied the request: not today"
                .to_owned(),
        },
    ]
}

fn drain_samples() -> Vec<WaitReason> {
    let budget = "pod shop/db-0: budget shop/db allows 0 disruptions (2 of 3 ready, 3 needed)";
    vec![
        WaitReason::NoticeGiven { until: at(10) },
        WaitReason::LoadBalancerDelay { from: at(2) },
        WaitReason::HookRunning {
            hook: "move-primary".to_owned(),
            what: "Job lockkeeper-system/lockkeeper-beforedrain-move-primary-51f0a3 runs".to_owned(),
            until: at(10),
        },
        WaitReason::HookRunning {
            hook: "storage".to_owned(),
            what: "waiting until the annotation hook.lockkeeper.dev/flushed of the Node is set to \"true\"".to_owned(),
            until: at(10),
        },
        WaitReason::HookUnavailable {
            hook: "move-primary".to_owned(),
            error: "CronJob lockkeeper-system/move-primary does not exist; create it, with suspend: true".to_owned(),
            until: at(10),
        },
        WaitReason::HookFailed {
            hook: "move-primary".to_owned(),
            message: "Job lockkeeper-system/lockkeeper-beforedrain-move-primary-51f0a3 failed: BackoffLimitExceeded"
                .to_owned(),
        },
        WaitReason::Uncordoned,
        WaitReason::EvictionBlocked {
            message: budget.to_owned(),
        },
        WaitReason::ResponderActive {
            message: "pod shop/db-0: eviction responder virt.example/mover is active (last heartbeat at 2026-11-24T21:00:30Z): copied 40% of the memory"
                .to_owned(),
            until: Some(at(1)),
        },
        WaitReason::PodRunning {
            message: "pod batch/job-1 may complete (the policy's drain.rules[0])".to_owned(),
        },
        WaitReason::PodTerminating {
            message: "pod shop/web-1 is shutting down; its grace period of 30 s ends at 2026-11-24T21:00:30Z"
                .to_owned(),
            until: Some(at(1)),
        },
        WaitReason::PodStuck {
            message: "pod shop/web-1 is past its grace period since 2026-11-24T21:00:30Z: finalizer example.com/x"
                .to_owned(),
        },
        WaitReason::VolumesAttached {
            message: "volume pv-1 is still attached".to_owned(),
            until: Some(at(5)),
        },
    ]
}

fn reboot_samples() -> Vec<WaitReason> {
    vec![
        WaitReason::Rebooting {
            since: at(0),
            until: at(15),
        },
        WaitReason::AwaitingExternalReboot {
            since: at(0),
            until: at(15),
        },
        WaitReason::RebootRefused {
            cause: "the agent cannot reboot this node: logind requires a password (polkit)".to_owned(),
            until: at(15),
        },
        WaitReason::NodeNotReady {
            message: "KubeletNotReady: container runtime is down".to_owned(),
            until: at(15),
        },
        WaitReason::WorkloadsNotReady {
            workloads: vec![],
            failure: None,
            until: at(5),
        },
        WaitReason::WorkloadsNotReady {
            workloads: vec!["StatefulSet shop/db (0 of 1 ready)".to_owned()],
            failure: None,
            until: at(5),
        },
        WaitReason::WorkloadsNotReady {
            workloads: [
                "api (1 of 3 ready)",
                "web (1 of 2 ready)",
                "search (0 of 2 ready)",
                "mail (0 of 1 ready)",
            ]
            .map(|workload| format!("Deployment shop/{workload}"))
            .into(),
            failure: None,
            until: at(5),
        },
        WaitReason::WorkloadsNotReady {
            workloads: vec!["Deployment shop/web (not known)".to_owned()],
            failure: Some(
                "cannot read ReplicaSet shop/web-7d9c: not permitted; grant the permission: apply the chart, or \
                 deploy/lockkeeper.yaml, of this version again"
                    .to_owned(),
            ),
            until: at(5),
        },
        WaitReason::Soaking { until: at(25) },
        WaitReason::Failed {
            message:
                "w-01 did not come back within 15 min of the reboot ordered at 2026-11-24T21:00:00Z; check its console \
                 and power; it continues by itself once it is back; or retry or release it"
                    .to_owned(),
        },
    ]
}
