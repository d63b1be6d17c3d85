//! One sample of each fixed sentence of the plugin, for the golden file of messages.

mod drain;

use chrono::{DateTime, FixedOffset, TimeDelta};
use clap::CommandFactory;
use kube::core::{ObjectMeta, Status};
use lockkeeper_crds::reasons::{Installation, ReasonName};
use lockkeeper_crds::{LastCommand, NodeState, OnDeadline, OrderedReboot, Override, Urgent, names};
use lockkeeper_snapshot::slim;

use crate::args::Args;
use crate::clock::DisplayClock;
use crate::cluster::{find, proxy};
use crate::commands::command::{self, Verb};
use crate::commands::explain::next_step;
use crate::commands::{forecast, pause, release_deleted, status, urgent};
use crate::failure::Failure;
use crate::view::{self, ActionRequired, NodeView, Reason};

/// Renders one sample of each sentence: where it occurs, and its text.
pub fn samples() -> Vec<(String, String)> {
    let clock = sample_clock();
    let mut all = help();
    all.extend(status_samples());
    all.extend(explain_samples(&clock));
    all.extend(command_samples(&clock));
    all.extend(pause_samples());
    all.extend(urgent_samples(&clock));
    all.extend(drain::samples(&clock));
    all.extend(error_samples());
    all
}

type Samples = Vec<(String, String)>;

fn sample(topic: impl Into<String>, text: impl Into<String>) -> (String, String) {
    (topic.into(), text.into())
}

/// 2026-11-24 22:00 in UTC.
fn sample_clock() -> DisplayClock {
    DisplayClock {
        now: DateTime::UNIX_EPOCH + TimeDelta::seconds(1_795_557_600),
        offset: |_| FixedOffset::east_opt(0).unwrap_or_else(|| unreachable!("zero is an offset")),
    }
}

/// As the plugin finds it, with the agent's pod of the node.
fn installation() -> Installation {
    Installation {
        namespace: names::NAMESPACE.to_owned(),
        agent_pod: Some("lockkeeper-node-agent-x7k2p".to_owned()),
    }
}

/// The help text of each command.
fn help() -> Samples {
    let command = Args::command();
    let commands = command.get_subcommands();
    commands
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            sample(format!("help {}", command.get_name()), about)
        })
        .collect()
}

fn status_samples() -> Samples {
    let mut all = vec![
        sample("status", status::no_policies(0)),
        sample("status", status::no_policies(2)),
        sample("status", status::without_policy_line(1)),
        sample("status", status::without_policy_line(2)),
        sample(
            "status",
            view::invalid("workers", "windows[0].durationSeconds: expected i32"),
        ),
        sample("status", view::NOT_OBSERVED),
        sample("status", view::NOT_REPORTED),
        sample("status, of a deleted node", deleted_node()),
    ];
    all.extend(STATES.map(|state| sample(format!("status {}", state.as_str()), view::activity(state))));
    all.push(sample("forecast", forecast::NOTHING_TO_DO));
    all.push(sample("forecast", forecast::NONE_STARTS));
    all
}

/// The message of a node whose Node was deleted while it rebooted.
fn deleted_node() -> String {
    let clock = sample_clock();
    let reboot = OrderedReboot {
        ordered_time: clock.now,
        boot_id_before: String::new(),
        soft_reboots_before: None,
        deadline_time: clock.now + TimeDelta::minutes(15),
    };
    clock.localize(&view::deleted_node::message("w-03", &reboot))
}

const STATES: [NodeState; 8] = [
    NodeState::UpToDate,
    NodeState::Pending,
    NodeState::Preparing,
    NodeState::Draining,
    NodeState::Rebooting,
    NodeState::Verifying,
    NodeState::Failed,
    NodeState::Unknown,
];

fn explain_samples(clock: &DisplayClock) -> Samples {
    let time = clock.time_and_remaining(clock.now + TimeDelta::minutes(11));
    let mut all: Samples = STATES
        .into_iter()
        .filter_map(|state| {
            Some(sample(
                format!("explain, next, {}", state.as_str()),
                next_step::goal(state)?,
            ))
        })
        .collect();
    all.push(sample(
        "explain, next, Verifying, uncordoned",
        next_step::GOAL_AFTER_UNCORDON,
    ));
    for (state, on_deadline) in [
        (NodeState::Preparing, OnDeadline::Defer),
        (NodeState::Draining, OnDeadline::Defer),
        (NodeState::Draining, OnDeadline::Delete),
        (NodeState::Draining, OnDeadline::Reboot),
        (NodeState::Rebooting, OnDeadline::Fail),
        (NodeState::Verifying, OnDeadline::Fail),
        (NodeState::Verifying, OnDeadline::Finish),
    ] {
        let topic = format!("explain, next, {} with {on_deadline:?}", state.as_str());
        all.push(sample(topic, next_step::at_deadline(state, on_deadline, &time)));
    }
    for (state, on_deadline) in [
        (NodeState::Draining, OnDeadline::Defer),
        (NodeState::Verifying, OnDeadline::Fail),
        (NodeState::Verifying, OnDeadline::Continue),
    ] {
        let topic = format!("explain, next, {} in a hook with {on_deadline:?}", state.as_str());
        let step = next_step::at_hook_deadline(state, "move-primary", on_deadline, &time);
        all.push(sample(topic, step));
    }
    for state in STATES {
        let step = next_step::manual_step(state, "w-02", &installation());
        all.extend(step.map(|step| sample(format!("explain, you can, {}", state.as_str()), step)));
    }
    all.push(sample("explain, you can, Unknown", next_step::bring_back("w-02")));
    for reason in ReasonName::ALL {
        let advice = reason.advice("w-02", "workers", &installation());
        all.extend(advice.map(|advice| sample(format!("explain, you can, {reason}"), advice)));
    }
    all
}

fn command_samples(clock: &DisplayClock) -> Samples {
    let answer = |verb: Verb, result: &str, message: &str| LastCommand {
        verb: verb.to_string(),
        operation_id: "7f3c".to_owned(),
        time: clock.now,
        result: result.to_owned(),
        message: message.to_owned(),
    };
    let accepted = answer(Verb::Retry, "Accepted", "the node is prepared again");
    let refused = answer(Verb::Cancel, "Refused", "the reboot is ordered and cannot be cancelled");
    let idle = NodeView {
        name: "w-02".to_owned(),
        state: NodeState::Pending,
        reason: Some(Reason::Known(ReasonName::Held)),
        message: "held by annotation: \"disk\"".to_owned(),
        since_time: Some(clock.now - TimeDelta::minutes(8)),
        until_time: None,
        operation_id: None,
        action_required: ActionRequired::Manual,
    };
    vec![
        sample("release, of a deleted node", release_deleted::released("w-03", "7f3c")),
        sample(
            "retry, accepted",
            command::accepted(Verb::Retry, "w-02", &accepted, clock),
        ),
        sample(
            "cancel, refused",
            command::refused(Verb::Cancel, "w-02", &refused, clock),
        ),
        sample("release, no answer", command::not_answered(Verb::Release, "w-02", 30)),
        sample(
            "retry, not in progress",
            command::not_in_progress(Verb::Retry, &idle, &installation(), clock),
        ),
    ]
}

fn pause_samples() -> Samples {
    vec![
        sample("pause", pause::PAUSED),
        sample("pause", pause::cancelled_line("w-02")),
        sample("pause", pause::IDLE),
        sample("pause", pause::STAYS_PAUSED),
        sample("pause", pause::STOPPED),
        sample("pause", pause::NO_LOCK),
        sample("pause, timed out", pause::still_in_progress(&["w-02", "w-03"])),
        sample("pause, blocked", pause::failed_nodes(&["w-02"])),
        sample("pause, blocked", pause::failed_nodes(&["w-02", "w-03"])),
        sample("resume", pause::RESUMED),
        sample("resume", pause::NOT_PAUSED),
    ]
}

fn urgent_samples(clock: &DisplayClock) -> Samples {
    let declared = Urgent {
        reason: "CVE-2026-1234".to_owned(),
        from: clock.now,
        until: clock.now + TimeDelta::hours(8),
        rollout: Some("7f3c".to_owned()),
        overrides: vec![Override::IgnoreWindows, Override::DeletePods],
    };
    vec![
        sample("urgent", urgent::declared("workers", &declared, clock)),
        sample("urgent --end", urgent::ended("workers")),
        sample("urgent --end", urgent::not_urgent("workers")),
    ]
}

fn error_samples() -> Samples {
    let server = "https://10.0.0.1:6443";
    let unanswered = |server: &str| {
        let error = kube::Error::Service("proxy authorization required".into());
        Failure::of_request("list NodeReboots", server, &error).message
    };
    let request = |code: u16, reason: &str, message: &str| {
        let status = Status::failure(message, reason).with_code(code);
        Failure::of_request("list NodeReboots", server, &kube::Error::Api(status.boxed())).message
    };
    let proxied = "https://10.0.0.1:6443 (through proxy http://proxy.example.com:3128 of HTTPS_PROXY)";
    let virtual_node = slim::Node {
        metadata: ObjectMeta {
            labels: Some([(names::VIRTUAL_NODE_LABEL.to_owned(), "virtual-kubelet".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..slim::Node::default()
    };
    let mut no_system = slim::Node::default();
    no_system.status.ready = Some(slim::NodeCondition::default());
    let mut all = vec![
        sample("error 404", request(404, "NotFound", "404 page not found")),
        sample("error 401", request(401, "Unauthorized", "Unauthorized")),
        sample(
            "error 403",
            request(
                403,
                "Forbidden",
                "nodereboots.lockkeeper.dev is forbidden: User \"ada\" cannot list resource",
            ),
        ),
        sample(
            "error 500",
            request(500, "InternalError", "etcdserver: request timed out"),
        ),
        sample("error, node", find::no_node_reboot("w-1", None, ["w-01", "w-10"])),
        sample("error, node", find::no_node_reboot("x", None, [])),
        sample(
            "error, node",
            find::no_node_reboot("x", Some(&slim::Node::default()), []),
        ),
        sample("error, node", find::no_node_reboot("x", Some(&virtual_node), [])),
        sample("error, node", find::no_node_reboot("x", Some(&no_system), [])),
        sample("error, policy", find::no_policy("worker", ["workers"]).message),
    ];
    all.push(sample("error, proxy", unanswered(proxied)));
    all.extend(
        proxy::error_samples()
            .into_iter()
            .map(|text| sample("error, proxy", text)),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_one_line_of_plain_text() {
        for (topic, text) in samples() {
            assert!(!text.trim().is_empty() && !text.contains('\n'), "{topic}: {text:?}");
        }
    }
}
