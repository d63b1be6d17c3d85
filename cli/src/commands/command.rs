//! `retry`, `release` and `cancel`: an annotation for one operation, and the operator's answer.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use kube::api::Patch;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use lockkeeper_crds::reasons::Installation;
use lockkeeper_crds::{LastCommand, NodeReboot, names};
use lockkeeper_kube_util::patch_params;
use serde_json::json;
use tokio::time::timeout;

use crate::args::CommandArgs;
use crate::clock::DisplayClock;
use crate::cluster::installation::{self, SHOW_PODS};
use crate::cluster::{Cluster, find};
use crate::failure::Failure;
use crate::render::{Line, message, terminal};
use crate::view::{NodeView, node_view};

/// The commands of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Release,
    Cancel,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Cancel => "cancel",
        })
    }
}

/// How often a write is retried after a conflict.
const ATTEMPTS: usize = 5;

/// A command that was written, and the last answer before it.
#[derive(Debug)]
pub(crate) struct SentCommand {
    verb: Verb,
    operation: String,
    before: Option<LastCommand>,
}

/// Writes the command for the node's operation and waits for the operator's answer.
pub(crate) async fn send(cluster: &Cluster, verb: Verb, args: &CommandArgs) -> Result<(), Failure> {
    let node = &args.node;
    let sent = write(cluster, verb, node).await?;
    let answer = timeout(Duration::from_secs(args.timeout), wait_for_answer(cluster, node, &sent));
    let Ok(answer) = answer.await else {
        return Err(Failure::timed_out(not_answered(verb, node, args.timeout)));
    };
    let answer = answer?;
    if answer.result != "Accepted" {
        return Err(Failure::refused(refused(verb, node, &answer, &DisplayClock::now())));
    }
    terminal::print(&[Line::plain(accepted(verb, node, &answer, &DisplayClock::now()))]);
    Ok(())
}

/// The line for a command that the operator has accepted.
pub(crate) fn accepted(verb: Verb, node: &str, answer: &LastCommand, clock: &DisplayClock) -> String {
    let message = clock.localize(&answer.message);
    format!("{verb} {node}: {message} (operation {})", answer.operation_id)
}

/// The error for a command that the operator has refused.
pub(crate) fn refused(verb: Verb, node: &str, answer: &LastCommand, clock: &DisplayClock) -> String {
    let message = clock.localize(&answer.message);
    format!(
        "{verb} {node}: refused: {message} (operation {}); see: kubectl lockkeeper explain {node}",
        answer.operation_id
    )
}

/// The error for a command without an answer in time.
pub(crate) fn not_answered(verb: Verb, node: &str, seconds: u64) -> String {
    format!(
        "{verb} {node}: the operator did not answer within {seconds} s; the command stays queued and runs when the \
         operator is back; check it: {SHOW_PODS}"
    )
}

/// Writes the annotation; after a conflict it reads the object again.
pub(crate) async fn write(cluster: &Cluster, verb: Verb, node: &str) -> Result<SentCommand, Failure> {
    let api = cluster.reboots();
    for _ in 0..ATTEMPTS {
        let reboot = find::reboot(cluster, node).await?;
        let status = reboot.status.clone().unwrap_or_default();
        let Some(operation) = status.operation else {
            let installation = installation::of_node(cluster, node).await;
            let view = node_view(node, &reboot);
            let message = not_in_progress(verb, &view, &installation, &DisplayClock::now());
            return Err(Failure::refused(message));
        };
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": reboot.resource_version(),
            "annotations": {names::COMMAND: format!("{verb} {}", operation.id)},
        }}));
        let params = patch_params(names::CLI_MANAGER);
        match api.patch_metadata(node, &params, &patch).await {
            Ok(_) => {
                return Ok(SentCommand {
                    verb,
                    operation: operation.id,
                    before: status.last_command,
                });
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                let step = format!("write `{verb}` on NodeReboot {node}");
                return Err(Failure::of_request(&step, &cluster.server, &error));
            }
        }
    }
    Err(Failure::error(format!(
        "write `{verb}` on NodeReboot {node}: {ATTEMPTS} attempts ended with a conflict; try again"
    )))
}

/// Watches the one object until the operator has answered.
async fn wait_for_answer(cluster: &Cluster, node: &str, sent: &SentCommand) -> Result<LastCommand, Failure> {
    let api: Api<NodeReboot> = cluster.reboots();
    let config = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(reboot) | watcher::Event::InitApply(reboot))) => {
                if let Some(answer) = answer(&reboot, sent) {
                    return Ok(answer);
                }
            }
            Ok(Some(watcher::Event::Delete(_))) => {
                return Err(Failure::error(format!(
                    "node {node} was deleted before the operator answered"
                )));
            }
            // The beginning and the end of a list are no events of the object; a broken watch is opened again.
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) | Err(_) => {}
            Ok(None) => return Err(Failure::error(format!("the watch on NodeReboot {node} ended"))),
        }
    }
}

/// The answer to this command: it differs from the answer before, or the annotation has been removed.
fn answer(reboot: &NodeReboot, sent: &SentCommand) -> Option<LastCommand> {
    let last = reboot.status.as_ref()?.last_command.as_ref()?;
    let is_same_command = last.verb == sent.verb.to_string() && last.operation_id == sent.operation;
    let is_removed = !reboot.annotations().contains_key(names::COMMAND);
    (is_same_command && (is_removed || sent.before.as_ref() != Some(last))).then(|| last.clone())
}

/// The error for a node without an operation, with its state and advice.
pub(crate) fn not_in_progress(
    verb: Verb,
    node: &NodeView,
    installation: &Installation,
    clock: &DisplayClock,
) -> String {
    let since = |time: DateTime<Utc>| format!(" since {}", clock.time_and_age(time));
    let since = node.since_time.map_or_else(String::new, since);
    let advice = node
        .reason
        .as_ref()
        .and_then(|reason| reason.advice(&node.name, "POLICY", installation));
    let advice = advice.map_or_else(String::new, |advice| format!("; you can: {advice}"));
    format!(
        "{verb} {}: no operation is in progress on this node, so there is nothing to {verb}; it is {}{since}: {}{advice}",
        node.name,
        node.state.as_str(),
        message(node, clock)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{clock, reboot};

    fn sent(before: Option<LastCommand>) -> SentCommand {
        SentCommand {
            verb: Verb::Cancel,
            operation: "7f3c".to_owned(),
            before,
        }
    }

    fn answered(annotation: Option<&str>, time: &str, verb: &str, id: &str) -> NodeReboot {
        let mut reboot = reboot(
            "w-02",
            json!({"lastCommand": {"verb": verb, "operationID": id, "time": time, "result": "Refused"}}),
        );
        if let Some(text) = annotation {
            reboot
                .annotations_mut()
                .insert(names::COMMAND.to_owned(), text.to_owned());
        }
        reboot
    }

    const THEN: &str = "2026-11-24T22:00:00Z";
    const NOW: &str = "2026-11-24T22:08:00Z";

    #[test]
    fn an_answer_to_another_command_or_operation_is_ignored() {
        assert_eq!(answer(&answered(None, NOW, "retry", "7f3c"), &sent(None)), None);
        assert_eq!(answer(&answered(None, NOW, "cancel", "0000"), &sent(None)), None);
        assert!(answer(&answered(None, NOW, "cancel", "7f3c"), &sent(None)).is_some());
    }

    #[test]
    fn an_earlier_answer_to_the_same_command_is_ignored() {
        let earlier = answered(Some("cancel 7f3c"), THEN, "cancel", "7f3c");
        let sent = sent(earlier.status.as_ref().unwrap().last_command.clone());
        assert_eq!(answer(&earlier, &sent), None);
        assert!(answer(&answered(Some("cancel 7f3c"), NOW, "cancel", "7f3c"), &sent).is_some());
        let removed = answered(None, THEN, "cancel", "7f3c");
        assert!(
            answer(&removed, &sent).is_some(),
            "the annotation is gone, so the operator has answered the same once more"
        );
    }

    #[test]
    fn a_command_for_a_node_without_an_operation_shows_its_state() {
        let waiting = json!({"state": "Pending", "waiting":
            {"reason": "Held", "message": "held by annotation: \"NIC\"", "sinceTime": THEN}});
        let view = node_view("w-04", &reboot("w-04", waiting));
        expect_test::expect![[r#"retry w-04: no operation is in progress on this node, so there is nothing to retry; it is Pending since 22:00, 8 min ago: held by annotation: "NIC"; you can: remove the hold: kubectl annotate node w-04 lockkeeper.dev/hold- lockkeeper.dev/hold-until-"#]]
            .assert_eq(&not_in_progress(
                Verb::Retry,
                &view,
                &Installation::in_namespace("ops"),
                &clock(NOW),
            ));
    }
}
