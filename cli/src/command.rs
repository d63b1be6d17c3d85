//! `retry`, `release` and `cancel`: one annotation, written against what was read, and the operator's answer to it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{LastCommand, NodeReboot, names};
use serde_json::json;
use tokio::time::timeout;

use crate::args::WordArgs;
use crate::connect::Cluster;
use crate::explain;
use crate::failure::Failure;
use crate::moment::Moment;
use crate::reasons::advice;
use crate::screen::{self, Line};
use crate::status::told;
use crate::view::{NodeView, node_view};

/// The three words.
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

/// How often a write that met a newer object is tried again on what is there then.
const ATTEMPTS: usize = 5;

/// A word that was written, and what was answered before it.
#[derive(Debug)]
pub(crate) struct Sent {
    verb: Verb,
    operation: String,
    before: Option<LastCommand>,
}

/// Writes the word for the node's current operation and waits for the operator's answer.
pub(crate) async fn send(cluster: &Cluster, verb: Verb, word: &WordArgs) -> Result<(), Failure> {
    let sent = write(cluster, verb, &word.node).await?;
    let answer = timeout(
        Duration::from_secs(word.timeout),
        wait_for_answer(cluster, &word.node, &sent),
    );
    let Ok(answer) = answer.await else {
        return Err(Failure::timed_out(format!(
            "the operator did not answer `{verb} {}` within {} s; the word stays on the NodeReboot and is obeyed \
             once an operator reads it; look at: kubectl -n lockkeeper-system get pods",
            word.node, word.timeout
        )));
    };
    let answer = answer?;
    if answer.result != "Accepted" {
        return Err(Failure::refused(format!(
            "{verb} {}: refused: {} (operation {}); see: kubectl lockkeeper explain {}",
            word.node, answer.message, sent.operation, word.node
        )));
    }
    screen::print(&[Line::plain(format!(
        "{verb} {}: {} (operation {})",
        word.node, answer.message, sent.operation
    ))]);
    Ok(())
}

/// Puts the annotation on the object as it was read; a newer object is read again.
pub(crate) async fn write(cluster: &Cluster, verb: Verb, node: &str) -> Result<Sent, Failure> {
    let api = cluster.reboots();
    for _ in 0..ATTEMPTS {
        let reboot = explain::find(cluster, node).await?;
        let status = reboot.status.clone().unwrap_or_default();
        let Some(operation) = status.operation else {
            return Err(not_inside(verb, &node_view(node, &reboot), &Moment::now()));
        };
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": reboot.resource_version(),
            "annotations": {names::COMMAND: format!("{verb} {}", operation.id)},
        }}));
        let params = PatchParams {
            field_manager: Some(names::CLI_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api.patch_metadata(node, &params, &patch).await {
            Ok(_) => {
                return Ok(Sent {
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
        "write `{verb}` on NodeReboot {node}: it changed under each of {ATTEMPTS} attempts; try again"
    )))
}

/// Follows the one object until the word is answered.
async fn wait_for_answer(cluster: &Cluster, node: &str, sent: &Sent) -> Result<LastCommand, Failure> {
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
            // A list that begins or ends says nothing of its own; a watch that breaks is opened again.
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) | Err(_) => {}
            Ok(None) => return Err(Failure::error(format!("the watch on NodeReboot {node} ended"))),
        }
    }
}

/// The answer to this word: another one than before it, or the same one and the word is gone.
fn answer(reboot: &NodeReboot, sent: &Sent) -> Option<LastCommand> {
    let last = reboot.status.as_ref()?.last_command.as_ref()?;
    let ours = last.verb == sent.verb.to_string() && last.operation_id == sent.operation;
    let gone = !reboot.annotations().contains_key(names::COMMAND);
    (ours && (gone || sent.before.as_ref() != Some(last))).then(|| last.clone())
}

/// Nothing holds the node: says where it is and what can be done there.
fn not_inside(verb: Verb, node: &NodeView, moment: &Moment) -> Failure {
    let since = |time: DateTime<Utc>| format!(" since {}", moment.ago(time));
    let since = node.since_time.map_or_else(String::new, since);
    let advice = node
        .reason
        .as_deref()
        .and_then(|reason| advice(reason, &node.name, "POLICY"));
    let advice = advice.map_or_else(String::new, |advice| format!("; you can: {advice}"));
    Failure::refused(format!(
        "{verb} {}: no operation holds this node, so there is nothing to {verb}; it is {}{since}: {}{advice}",
        node.name,
        node.state.as_str(),
        told(node, moment)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{moment, reboot};

    fn sent(before: Option<LastCommand>) -> Sent {
        Sent {
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
    fn an_answer_to_another_word_or_operation_is_not_ours() {
        assert_eq!(answer(&answered(None, NOW, "retry", "7f3c"), &sent(None)), None);
        assert_eq!(answer(&answered(None, NOW, "cancel", "0000"), &sent(None)), None);
        assert!(answer(&answered(None, NOW, "cancel", "7f3c"), &sent(None)).is_some());
    }

    #[test]
    fn the_answer_to_the_same_word_said_earlier_is_not_taken_for_ours() {
        let earlier = answered(Some("cancel 7f3c"), THEN, "cancel", "7f3c");
        let sent = sent(earlier.status.as_ref().unwrap().last_command.clone());
        assert_eq!(answer(&earlier, &sent), None);
        assert!(answer(&answered(Some("cancel 7f3c"), NOW, "cancel", "7f3c"), &sent).is_some());
        let taken_away = answered(None, THEN, "cancel", "7f3c");
        assert!(
            answer(&taken_away, &sent).is_some(),
            "the word was read: the same answer holds"
        );
    }

    #[test]
    fn a_node_that_nothing_holds_is_told_where_it_is() {
        let waiting = json!({"state": "Pending", "waiting":
            {"reason": "Held", "message": "held by annotation: \"NIC\"", "sinceTime": THEN}});
        let view = node_view("w-04", &reboot("w-04", waiting));
        expect_test::expect![[r#"retry w-04: no operation holds this node, so there is nothing to retry; it is Pending since 22:00, 8 min ago: held by annotation: "NIC"; you can: let it go: kubectl annotate node w-04 lockkeeper.dev/hold- lockkeeper.dev/hold-until-"#]]
            .assert_eq(&not_inside(Verb::Retry, &view, &moment(NOW)).message);
    }
}
