//! One sample of every condition, for the file that shows all messages.

use chrono::TimeDelta;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::{BreakerState, BreakerStatus, NodeState, Override as ApiOverride, RungStatus};
use lockkeeper_planner::{
    CheckResult, CheckRound, CheckStage, CheckVerdict, Checks, Confinement, Finding, Host, Instant,
    InsufficientWindowTime, LateNode, Override, PendingDeadline, Phase, Ready, Urgent,
};
use lockkeeper_reasons::ReasonName;

use super::condition::ConditionDraft;
use super::deadline::{PendingNodes, at_risk, escalating, missed, urgent};
use super::node_conditions::{
    agent_confined, cordoned, drained, healthy, hold_invalid, reboot_capable, reboot_required, rebooted,
};
use super::node_counts::NodeCounts;
use super::policy_conditions::{
    acknowledgement, agents_incapable, checks_failing, degraded, invalid_policy, progressing, ready,
    schedule_too_tight, stalled, up_to_date,
};

/// Every condition with every reason, with sample data.
pub fn samples() -> Vec<ConditionDraft> {
    let mut all = of_nodes();
    all.extend(of_policies());
    all
}

fn host() -> Host {
    Host::default()
}

fn of_nodes() -> Vec<ConditionDraft> {
    let required = |reasons: &[&str]| Host {
        required: true,
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        ..host()
    };
    let failing = [Cause("SUSE sentinel: permission denied".to_owned())];
    let incapable = Host {
        incapable: Some("logind does not answer; check systemd-logind on the host".to_owned()),
        ..host()
    };
    let inhibited = Host {
        inhibitors: vec![("apt".to_owned(), "upgrade".to_owned())],
        ..host()
    };
    let confined = |confinement| Host { confinement, ..host() };
    let kubelet = |ready, message: &str| Ready {
        ready,
        since: Instant::default(),
        heartbeat: Instant::default(),
        message: message.to_owned(),
    };
    let up = kubelet(true, "KubeletReady: kubelet is posting ready status");
    let silent = kubelet(false, "NodeStatusUnknown: Kubelet stopped posting node status.");
    vec![
        reboot_required(Some("kernel update"), None, &[], &up),
        reboot_required(None, None, &[], &up),
        reboot_required(None, Some(&required(&[])), &[], &up),
        reboot_required(None, Some(&required(&["linux-image-6.8.0-50", "libc6"])), &[], &up),
        reboot_required(None, Some(&host()), &failing, &up),
        reboot_required(None, Some(&host()), &[], &up),
        reboot_required(None, Some(&host()), &[], &silent),
        cordoned(true, Some("7f3c")),
        cordoned(true, None),
        cordoned(false, None),
        drained(Some(Phase::Draining), true, false),
        drained(Some(Phase::Draining), false, false),
        drained(Some(Phase::Rebooting), false, true),
        drained(None, false, false),
        rebooted(Some(("826d", Some("91c0"))), None),
        rebooted(Some(("826d", Some("826d"))), None),
        rebooted(Some(("826d", None)), None),
        rebooted(None, Some(("826d", "91c0"))),
        rebooted(None, None),
        healthy(&up, false),
        healthy(&kubelet(false, "KubeletNotReady: container runtime is down"), false),
        healthy(&up, true),
        reboot_capable(None),
        reboot_capable(Some(&incapable)),
        reboot_capable(Some(&inhibited)),
        reboot_capable(Some(&host())),
        agent_confined(None),
        agent_confined(Some(&confined(Confinement::Confined))),
        agent_confined(Some(&confined(Confinement::NotConfined(
            "apply ValidatingAdmissionPolicy lockkeeper-agent and its binding".to_owned(),
        )))),
        agent_confined(Some(&confined(Confinement::Unreported(
            "upgrade the agent to the version of the operator".to_owned(),
        )))),
        hold_invalid("tomorrow"),
    ]
}

fn of_policies() -> Vec<ConditionDraft> {
    let counts = |state, nodes: &[&str]| {
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        NodeCounts {
            nodes: 12,
            by_state: [
                (NodeState::UpToDate, 12 - nodes.len() as i32),
                (state, nodes.len() as i32),
            ]
            .into(),
            ..NodeCounts::default()
        }
    };
    let done = counts(NodeState::Pending, &[]);
    let pending = counts(NodeState::Pending, &["w-01", "w-02"]);
    let unknown = counts(NodeState::Unknown, &["w-01"]);
    let failed = NodeCounts {
        failed: vec!["w-01".to_owned()],
        ..counts(NodeState::Failed, &["w-01"])
    };
    let in_progress = NodeCounts {
        in_progress: vec!["w-01".to_owned()],
        ..counts(NodeState::Draining, &["w-01"])
    };
    let still_required = NodeCounts {
        waiting: [(ReasonName::StillRequired, vec!["w-01".to_owned()])].into(),
        ..counts(NodeState::Pending, &["w-01"])
    };
    let incapable = NodeCounts {
        incapable: vec![("w-01".to_owned(), "AppArmor keeps the actuator from the bus".to_owned())],
        ..counts(NodeState::Pending, &[])
    };
    let now = Instant::from_timestamp(1_796_000_000, 0).unwrap_or_default();
    let breaker = |state| BreakerStatus {
        state,
        opened_time: Some(now),
        failed_nodes: vec!["w-01".to_owned()],
    };
    let invalid = "spec.windows[0].schedule: \"0 25 * * *\" has no hour 25";
    let open = breaker(BreakerState::Open);
    let mut all = vec![
        ready(&done, Some(invalid), false, None),
        ready(&done, None, true, None),
        ready(&done, None, false, None),
        ready(&pending, None, false, None),
        ready(&failed, None, false, None),
        ready(&failed, None, false, Some(&open)),
        ready(&failed, None, false, Some(&breaker(BreakerState::Probing))),
        up_to_date(&done),
        up_to_date(&pending),
        up_to_date(&unknown),
        progressing(&done),
        progressing(&in_progress),
        degraded(&done),
        degraded(&still_required),
        degraded(&failed),
    ];
    all.extend(stalled(&done, Some(invalid)));
    all.extend(stalled(&failed, None));
    all.push(schedule_too_tight(&InsufficientWindowTime::LittleTime {
        open: TimeDelta::minutes(30),
    }));
    all.push(schedule_too_tight(&InsufficientWindowTime::TooManyNodes {
        fit: 4,
        pending: 12,
        open: TimeDelta::hours(2),
        each: TimeDelta::minutes(30),
    }));
    all.extend(agents_incapable(&incapable));
    let failing = CheckVerdict::Failing(vec![Finding {
        id: "72940d1dd064a912".to_owned(),
        text: "alert KubePodCrashLooping fires {namespace=\"shop\", pod=\"db-0\"}".to_owned(),
    }]);
    let unavailable = CheckVerdict::Unavailable {
        error: "Prometheus refuses the query: 1:8: parse error: unexpected }; correct the query or the matchers"
            .to_owned(),
        ignored: false,
    };
    for verdict in [failing, unavailable] {
        all.extend(checks_failing(Some(&checks(verdict))));
    }
    all.extend(of_deadlines(now));
    all.extend(acknowledgement(Some(&"yes".to_owned()), Some(&open), now));
    all.extend(acknowledgement(Some(&"2099-01-01T00:00:00Z".to_owned()), None, now));
    all.extend(invalid_policy("workers", "spec.suspend: expected a boolean"));
    all
}

fn of_deadlines(now: Instant) -> Vec<ConditionDraft> {
    let rung = |nodes| RungStatus {
        after_seconds: 518_400,
        override_: ApiOverride::IgnoreWindows,
        nodes,
        next_node: Some("w-03".to_owned()),
        next_time: Some(now + TimeDelta::hours(5)),
    };
    let late = |done| LateNode {
        overdue: now + TimeDelta::hours(20),
        name: "w-01".to_owned(),
        done,
    };
    let done = Some(now + TimeDelta::days(2));
    let override_ = Urgent {
        reason: "CVE-2026-1234".to_owned(),
        from: now,
        until: now + TimeDelta::hours(4),
        rollout: None,
        overrides: vec![Override::IgnoreWindows, Override::DeletePods],
    };
    let deadline = PendingDeadline {
        max_pending: TimeDelta::days(7),
        ladder: vec![],
    };
    let since = now - TimeDelta::days(8);
    let overdue = PendingNodes::new(vec![(since, "w-01".to_owned())]);
    let mut all = vec![urgent(&override_)];
    all.extend(at_risk("workers", &[late(done), late(done)]));
    all.extend(at_risk("workers", &[late(None)]));
    all.extend([rung(0), rung(2)].into_iter().filter_map(|rung| escalating(&[rung])));
    all.extend(missed(&deadline, &overdue, now));
    all
}

/// Checks before a start, of which one had this verdict.
fn checks(verdict: CheckVerdict) -> Checks {
    Checks {
        evaluates: true,
        after: false,
        per_node: false,
        before_jobs: None,
        after_jobs: false,
        soak: TimeDelta::zero(),
        timeout: TimeDelta::minutes(30),
        round: Some(CheckRound {
            cluster: vec![CheckResult {
                stage: CheckStage::Before,
                name: "alerts".to_owned(),
                job: false,
                verdict,
            }],
            ..CheckRound::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::condition::{ConditionReason, ConditionType};

    #[test]
    fn every_type_and_reason_of_a_condition_has_a_sample() {
        let samples = samples();
        for type_ in ConditionType::ALL {
            assert!(samples.iter().any(|sample| sample.type_ == *type_), "{type_:?}");
        }
        for reason in ConditionReason::ALL {
            assert!(samples.iter().any(|sample| sample.reason == *reason), "{reason:?}");
        }
    }
}
