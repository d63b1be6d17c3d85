//! The planner produces each wait reason: one small cluster for each.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::{World, windows};

/// What makes `n1`, the first of two nodes, wait for this reason.
type Cause = (ReasonName, fn(&mut World));

const BEFORE_THE_QUEUE: &[Cause] = &[
    (ReasonName::ViewIncomplete, |world| {
        let kind = "Nodes".to_owned();
        world.snapshot.view_gaps = vec![ViewGap::NotListed { kind }];
    }),
    (ReasonName::PolicyConflict, |world| {
        world.snapshot.policies.insert("other".into(), Policy::default());
        world.node("n1").policies = ["general".into(), "other".into()].into();
    }),
    (ReasonName::NoPolicy, |world| world.node("n1").policies = [].into()),
    (ReasonName::Suspended, |world| world.policy().suspend = true),
    (ReasonName::BeingDeleted, |world| {
        let since = world.now;
        world.node("n1").deletion = Some(Deletion::InProgress { since });
    }),
    (ReasonName::Held, |world| {
        world.node("n1").hold = Some(Hold {
            reason: "debugging the NIC".to_owned(),
            until: None,
            invalid_until: None,
        });
    }),
    (ReasonName::AwaitingApproval, |world| {
        world.policy().approval = Approval::Manual;
    }),
    (ReasonName::AgentMissing, |world| {
        world.record("n1").host.as_mut().unwrap().boot_id = "an-earlier-boot".into();
    }),
    (ReasonName::AgentNotConfined, |world| {
        let cause = "apply its admission policy".to_owned();
        world.record("n2").host.as_mut().unwrap().confinement = Confinement::NotConfined(cause);
    }),
    (ReasonName::AgentIncapable, |world| {
        let cause = "polkit asks for a password".to_owned();
        world.record("n1").host.as_mut().unwrap().incapable = Some(cause);
    }),
    (ReasonName::JustBooted, |world| {
        let until = world.now + TimeDelta::minutes(7);
        world.record("n1").host.as_mut().unwrap().reboot_allowed = Some(until);
    }),
    (ReasonName::Inhibited, |world| {
        let inhibitor = ("apt".to_owned(), "upgrade".to_owned());
        world.record("n1").host.as_mut().unwrap().inhibitors = vec![inhibitor];
    }),
    (ReasonName::BreakerOpen, |world| {
        world.limit(2);
        world.policy().pace = TimeDelta::minutes(5);
        world.never_back = vec!["n2".to_owned()];
        n2_goes_first(world);
        world.policy().settings.reboot_timeout = TimeDelta::minutes(2);
        world.run_until_idle();
        world.run(200);
    }),
    (ReasonName::Excluded, |world| {
        let when = Box::new(Window::parse("0 12 * * *", 3600, "UTC").unwrap());
        let reason = "backups".to_owned();
        let exclusions = vec![Exclusion::Recurring { when, reason }];
        world.policy().schedule = Ok(Schedule {
            windows: vec![],
            exclusions,
        });
    }),
    (ReasonName::OutsideWindow, |world| {
        world.policy().schedule = Ok(windows(&[("0 3 * * *", 3600)]));
    }),
    (ReasonName::DoesNotFitWindow, |world| {
        world.policy().schedule = Ok(windows(&[("0 3 * * *", 3600), ("55 11 * * *", 600)]));
    }),
];

const IN_THE_QUEUE: &[Cause] = &[
    (ReasonName::CanarySoaking, |world| {
        world.limit(2);
        let soak = TimeDelta::minutes(30);
        world.policy().canary = Some(Canary { nodes: 1, soak });
        n2_goes_first(world);
    }),
    (ReasonName::TooManyUnavailable, |world| {
        world.node("n2").ready.ready = false;
        world.record("n2").host.as_mut().unwrap().required = false;
    }),
    (ReasonName::NoFreeSlot, n2_goes_first),
    (ReasonName::TopologyFull, |world| {
        world.limit(2);
        world.policy().topology = vec![Topology {
            key: "zone".to_owned(),
            max_domains: None,
            max_in_progress_per_domain: Some(1),
        }];
        for name in ["n1", "n2"] {
            world.node(name).domains = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        }
        n2_goes_first(world);
    }),
    (ReasonName::Pacing, |world| {
        world.limit(2);
        world.policy().pace = TimeDelta::minutes(10);
        n2_goes_first(world);
    }),
    (ReasonName::ControlPlaneBusy, |world| {
        world.limit(2);
        world.node("n1").control_plane = true;
        world.node("n2").control_plane = true;
        world.node("n2").ready.ready = false;
    }),
    (ReasonName::Released, |world| {
        fail_n1(world);
        world.command("release", "n1");
    }),
    (ReasonName::StillRequired, |world| {
        world.run_until_idle();
        world.run(60);
        let host = world.record("n1").host.as_mut().unwrap();
        host.required = true;
        host.reasons = vec!["linux-image-6.1.0-28".to_owned()];
    }),
    (ReasonName::BackingOff, |world| {
        drain_n1(world, None);
        world.command("cancel", "n1");
    }),
    (ReasonName::ChecksPending, |world| {
        world.policy().checks = Some(checks());
        world.checks = None;
    }),
    (ReasonName::CheckUnavailable, |world| {
        world.policy().checks = Some(checks());
        world.checks = Some(vec![CheckResult {
            stage: CheckStage::Before,
            name: "alerts".to_owned(),
            job: false,
            verdict: CheckVerdict::Unavailable {
                error: "no answer".to_owned(),
                ignored: false,
            },
        }]);
    }),
    (ReasonName::CheckFailing, |world| {
        world.policy().checks = Some(checks());
        world.checks = Some(vec![CheckResult {
            stage: CheckStage::Before,
            name: "alerts".to_owned(),
            job: false,
            verdict: CheckVerdict::Failing(vec![Finding {
                id: "1".to_owned(),
                text: "alert Down fires".to_owned(),
            }]),
        }]);
    }),
    (ReasonName::PreflightBlocked, |world| {
        world.limit(2);
        world.node("n1").preflight = Preflight::Blocked {
            pod: "shop/db-0".to_owned(),
            why: "budget shop/db never allows a disruption".to_owned(),
            at: world.now,
        };
    }),
];

const IN_PROGRESS: &[Cause] = &[
    (ReasonName::Preparing, |world| world.silent = vec!["n1".to_owned()]),
    (ReasonName::AgentNotAnswering, |world| {
        world.silent = vec!["n1".to_owned()];
        world.run_until_idle();
        world.run(61);
    }),
    (ReasonName::WriteRefused, |world| {
        world.run_until_idle();
        world.run(20);
        world.boot("n1");
        world.node("n1").ready.ready = true;
        world.node("n1").refused_write = Some("the API server refuses to uncordon n1: not today".to_owned());
    }),
    (ReasonName::NoticeGiven, |world| {
        world.policy().settings.notice = Some(TimeDelta::seconds(600));
        world.run_until_idle();
        world.run(5);
    }),
    (ReasonName::LoadBalancerDelay, |world| {
        world.policy().settings.load_balancer_delay = TimeDelta::seconds(30);
        world.run_until_idle();
        world.run(5);
    }),
    (ReasonName::HookRunning, |world| hook_n1(world, None)),
    (ReasonName::HookUnavailable, |world| {
        let error = "CronJob lockkeeper-system/move does not exist".to_owned();
        hook_n1(world, Some(JobState::Unavailable { error }));
    }),
    (ReasonName::HookFailed, |world| {
        let message = "Job lockkeeper-system/move failed".to_owned();
        hook_n1(world, Some(JobState::Failed { message }));
    }),
    (ReasonName::Uncordoned, |world| {
        drain_n1(world, None);
        world.node("n1").unschedulable = false;
    }),
    (ReasonName::EvictionBlocked, |world| {
        let message = "pod shop/db-0: budget shop/db allows 0".to_owned();
        drain_n1(world, Some(WaitReason::EvictionBlocked { message }));
    }),
    (ReasonName::ResponderActive, |world| {
        let (message, until) = (
            "pod shop/db-0: eviction responder a.example/b is active".to_owned(),
            None,
        );
        drain_n1(world, Some(WaitReason::ResponderActive { message, until }));
    }),
    (ReasonName::PodRunning, |world| {
        let message = "pod shop/job-x: may complete first".to_owned();
        drain_n1(world, Some(WaitReason::PodRunning { message }));
    }),
    (ReasonName::PodTerminating, |world| {
        let (message, until) = ("pod shop/web-0: terminating".to_owned(), None);
        drain_n1(world, Some(WaitReason::PodTerminating { message, until }));
    }),
    (ReasonName::PodStuck, |world| {
        let message = "pod shop/web-0: past its grace period".to_owned();
        drain_n1(world, Some(WaitReason::PodStuck { message }));
    }),
    (ReasonName::VolumesAttached, |world| {
        let (message, until) = ("volume pv-1 is still attached".to_owned(), None);
        drain_n1(world, Some(WaitReason::VolumesAttached { message, until }));
    }),
    (ReasonName::Rebooting, |world| {
        world.run_until_idle();
        world.run(20);
    }),
    (ReasonName::AwaitingExternalReboot, |world| {
        world.policy().settings.method = RebootMethod::External;
        world.never_back = vec!["n1".to_owned()];
        world.run_until_idle();
        world.run(60);
        world.node("n1").ready.ready = true;
    }),
    (ReasonName::RebootRefused, |world| {
        world.run_until_idle();
        world.run(1);
        world.refusing = vec!["n1".to_owned()];
        world.run(5);
    }),
    (ReasonName::NodeNotReady, |world| {
        world.run_until_idle();
        world.run(20);
        world.boot("n1");
        world.node("n1").ready.ready = false;
    }),
    (ReasonName::WorkloadsNotReady, |world| {
        world.workloads = vec![EvictedWorkload {
            owner: "StatefulSet shop/db".to_owned(),
            deployment: None,
            replicas: Some(1),
        }];
        world.run_until_idle();
        world.run(45);
    }),
    (ReasonName::Soaking, |world| {
        world.policy().checks = Some(checks());
        world.run_until_idle();
        world.run(50);
    }),
    (ReasonName::Failed, fail_n1),
];

/// Checks before and after the reboot, and ten minutes of soaking.
fn checks() -> Checks {
    Checks {
        evaluates: true,
        after: true,
        per_node: false,
        before_jobs: None,
        after_jobs: false,
        soak: TimeDelta::minutes(10),
        timeout: TimeDelta::minutes(30),
        round: None,
    }
}

/// `n2` has required its reboot for longer than `n1`.
fn n2_goes_first(world: &mut World) {
    let since = world.now - TimeDelta::days(2);
    world.record("n2").host.as_mut().unwrap().required_since = Some(since);
}

/// `n1` is being drained, and this is the last progress of its drain.
fn drain_n1(world: &mut World, waiting: Option<WaitReason>) {
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    world.node("n1").drain = Drain::Running { moved: 1, waiting };
}

/// `n1` does not come back from its reboot.
fn fail_n1(world: &mut World) {
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
}

/// The node `n1` is in a hook before its drain, whose Job is in this state.
fn hook_n1(world: &mut World, state: Option<JobState>) {
    world.policy().settings.hooks.before_drain = vec![Hook {
        name: "move".to_owned(),
        kind: HookKind::Job {
            template: "move".to_owned(),
            on_node: false,
        },
        timeout: TimeDelta::seconds(600),
        ignores_failure: false,
    }];
    world.run_until_idle();
    world.run(5);
    let operation = world.record("n1").operation.clone().unwrap();
    let id = operation.hook_id(operation.hook.as_ref().unwrap());
    world.node("n1").hook_job = state.map(|state| JobReport { id, state });
}

/// Whether `n1` waits for this reason, or was deferred because of it.
fn shows(world: &World, reason: ReasonName) -> bool {
    let waits = world.wait_reasons();
    let own = waits.lines().find(|line| line.starts_with("n1 ")).unwrap_or_default();
    own.starts_with(&format!("n1 {reason}:")) || own.contains(&format!("({reason}: "))
}

#[test]
fn the_planner_produces_every_wait_reason() {
    let mut produced = vec![];
    for (reason, cause) in [BEFORE_THE_QUEUE, IN_THE_QUEUE, IN_PROGRESS].concat() {
        let mut world = World::new(2);
        cause(&mut world);
        world.run_until_idle();
        assert!(
            shows(&world, reason),
            "{reason} is not among\n{}{}",
            world.wait_reasons(),
            world.trace
        );
        produced.push(reason);
    }
    let missing: Vec<_> = ReasonName::ALL
        .iter()
        .filter(|reason| !produced.contains(reason))
        .collect();
    assert!(missing.is_empty(), "no cause is known for {missing:?}");
}
