//! One sample of every Event, for the file that shows all messages.

use chrono::TimeDelta;
use lockkeeper_crds::{BreakerState, BreakerStatus, Override as ApiOverride, RungStatus};
use lockkeeper_drain::ReturningOwner;
use lockkeeper_planner::{
    Command, Failure, Finished, Instant, Operation, Outcome, Overridden, Override, Phase, Settings, Stage, StageKind,
    Violation,
};
use lockkeeper_reasons::{ReasonName, WaitReason};

use super::event::Event;
use crate::status::condition::ConditionReason;

/// Every Event that the operator sends, with sample data. The Events of wait reasons and of conditions have their messages.
pub fn samples() -> Vec<Event> {
    let mut all = of_operations();
    all.extend(of_ends());
    all.extend(of_policies());
    all
}

fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(1_796_000_000 + seconds, 0).unwrap_or_default()
}

fn operation() -> Operation {
    Operation {
        id: "7f3c".to_owned(),
        attempt: 0,
        phase: Phase::Draining,
        policy: "workers".into(),
        boot_id_before: "826d".into(),
        soft_reboots_before: None,
        kernel_before: "6.8.0-49".to_owned(),
        reasons: vec!["linux-image-6.8.0-50".to_owned(), "libc6".to_owned()],
        requested: None,
        approved: None,
        required: Some(at(-3600)),
        started: at(0),
        asked: at(1),
        cordoned: Some(at(5)),
        stage: None,
        extended_until: None,
        reboot_ordered: Some(at(65)),
        refused: None,
        rebooted: Some(at(106)),
        uncordoned: None,
        pods_moved: 12,
        returning_owners: vec![],
        daemon_sets: vec![],
        static_pods: vec![],
        workloads: vec![],
        checks_baseline: vec![],
        healthy_since: None,
        hook: None,
        ended_hooks: Vec::new(),
        noticed: None,
        overridden: None,
        settings: Settings::default(),
        failure: Some(Failure {
            time: at(965),
            message: "w-01 did not come back within 15 min".to_owned(),
            timed_out: false,
        }),
        pending_outcome: None,
    }
}

fn of_operations() -> Vec<Event> {
    let staged = |kind| Operation {
        stage: Some(Stage { kind, since: at(905) }),
        ..operation()
    };
    let overridden = |after, urgent: Option<&str>, operation| Operation {
        overridden: Some(Overridden {
            overrides: vec![Override::IgnoreWindows, Override::DeletePods],
            after,
            urgent: urgent.map(str::to_owned),
        }),
        ..operation
    };
    let days = TimeDelta::days(6);
    let blocked = "pods shop/db-0, shop/db-1: budget shop/db allows no disruption";
    vec![
        Event::reboot_required("linux-image-6.8.0-50, libc6"),
        Event::lock_acquired(&operation()),
        Event::lock_acquired(&overridden(Some(days), None, operation())),
        Event::lock_acquired(&overridden(None, Some("CVE-2026-1234"), operation())),
        Event::draining(&operation()),
        Event::draining(&staged(StageKind::Delete)),
        Event::draining(&overridden(Some(days), None, staged(StageKind::Delete))),
        Event::draining(&staged(StageKind::Reboot)),
        Event::drain_started(12, 0, 1),
        Event::drain_started(1, 1, 2),
        Event::pods_blocked(ReasonName::EvictionBlocked, blocked),
        Event::pods_return(&returning("CloneSet.apps.kruise.io shop/agent", true)),
        Event::pods_return(&returning("ReplicaSet shop/pinned-5d9c", false)),
        Event::volumes_still_attached(&["pv-1".to_owned(), "pv-2".to_owned()]),
        Event::reboot_ordered(&operation()),
        Event::node_rebooted(&operation()),
        Event::failed(&operation()),
        Event::uncordoned(false),
        Event::uncordoned(true),
        Event::wait(&WaitReason::NoPolicy),
        Event::wait_of_many(40, &WaitReason::Pacing { until: at(600) }),
    ]
}

fn returning(owner: &str, tolerates_cordon: bool) -> ReturningOwner {
    ReturningOwner {
        owner: owner.to_owned(),
        tolerates_cordon,
    }
}

fn of_ends() -> Vec<Event> {
    let ends = |(outcome, message): (Outcome, &str)| {
        Event::finished(&Finished {
            operation: operation(),
            outcome,
            message: message.to_owned(),
            time: at(166),
            boot_id_after: "91c0".into(),
            kernel_after: "6.8.0-50".to_owned(),
            last_reboot: None,
        })
    };
    let outcomes = [
        (Outcome::Succeeded, ""),
        (Outcome::Deferred, "drain timed out after 15 min"),
        (Outcome::Withdrawn, "policy workers is suspended"),
        (Outcome::Held, "on hold: kernel debugging"),
        (Outcome::Released, "w-01 did not come back within 15 min"),
    ];
    outcomes.into_iter().map(ends).collect()
}

fn rung(nodes: i32) -> RungStatus {
    RungStatus {
        after_seconds: 518_400,
        override_: ApiOverride::IgnoreWindows,
        nodes,
        next_node: Some("w-03".to_owned()),
        next_time: Some(at(86_400)),
    }
}

fn of_policies() -> Vec<Event> {
    let command = Command {
        verb: "release".to_owned(),
        operation_id: "7f3c".to_owned(),
    };
    let violation = Violation {
        rule: "S1",
        what: "2 nodes would be in progress, at most 1 allowed".to_owned(),
    };
    let breaker = |nodes: &[&str]| BreakerStatus {
        state: BreakerState::Open,
        opened_time: Some(at(0)),
        failed_nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    vec![
        Event::command_answered(&command, &Ok("slot released; node uncordoned".to_owned())),
        Event::command_answered(&command, &Err("the node is Draining, not Failed".to_owned())),
        Event::plan_refused(&violation),
        Event::cluster_restored(184_467, 120_034),
        Event::rollout_started("7f3c", 5, 12),
        Event::rollout_finished("7f3c"),
        Event::canary_passed(at(1800)),
        Event::breaker_opened("workers", &breaker(&["w-01"])),
        Event::breaker_opened("workers", &breaker(&["w-01", "w-02"])),
        Event::breaker_probing(),
        Event::breaker_closed(),
        Event::rung_due(&rung(0)),
        Event::rung_reached(&rung(2)),
        Event::urgent_ended(),
        Event::condition(ConditionReason::NodesFailed, "w-01 failed"),
    ]
}
