//! `explain NODE`: the answer, then the reason, then what can be done.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use lockkeeper_crds::{HistoryEntry, NodeReboot, NodeRebootStatus, NodeState, Operation, Outcome, RebootRequired};

use crate::close::close;
use crate::connect::Cluster;
use crate::failure::Failure;
use crate::moment::{Moment, span};
use crate::objects;
use crate::reasons::{Needs, advice};
use crate::screen::{self, Line};
use crate::status::told;
use crate::view::{NodeView, node_view};

/// Prints why a node is where it is.
pub(crate) async fn explain(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let reboot = find(cluster, name).await?;
    // A reader without rights on Nodes still gets the rest.
    let node = Api::<Node>::all(cluster.client.clone())
        .get_opt(name)
        .await
        .ok()
        .flatten();
    screen::print(&render(name, &reboot, node.as_ref(), &Moment::now()));
    Ok(())
}

/// Reads a node's `NodeReboot`, or says which name may have been meant.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> Result<NodeReboot, Failure> {
    let step = format!("read NodeReboot {name}");
    // The kind may be unknown as well as the name: the list below tells the two apart.
    let found = cluster
        .reboots()
        .get_opt(name)
        .await
        .map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
    if let Some(reboot) = found {
        return Ok(reboot);
    }
    let objects = objects::fetch(cluster).await?;
    let node = Api::<Node>::all(cluster.client.clone())
        .get_opt(name)
        .await
        .ok()
        .flatten();
    let names = objects.reboots.keys().map(String::as_str);
    Err(Failure::error(unknown(name, node.as_ref(), &close(name, names))))
}

fn unknown(name: &str, node: Option<&Node>, near: &[&str]) -> String {
    let label = |node: &Node| node.metadata.labels.as_ref()?.get("kubernetes.io/os").cloned();
    match (node, near) {
        (Some(node), _) if label(node).is_some_and(|os| os != "linux") => {
            format!("{name} does not run Linux, so Lockkeeper leaves it alone")
        }
        (Some(_), _) => format!(
            "node {name} has no NodeReboot yet: the operator makes one for each Linux node; \
             is it running? kubectl -n lockkeeper-system get pods"
        ),
        (None, []) => format!("there is no node {name}; see: kubectl get nrb"),
        (None, near) => format!("there is no node {name}; did you mean {}?", near.join(", ")),
    }
}

/// The screen of `explain`.
pub(crate) fn render(name: &str, reboot: &NodeReboot, node: Option<&Node>, moment: &Moment) -> Vec<Line> {
    let view = node_view(name, reboot);
    let status = reboot.status.clone().unwrap_or_default();
    let policy = reboot.spec.policy.as_deref();
    let mut lines = vec![Line::new(answer(&view, &status, policy, moment), view.needs)];
    let mut add = |label: &str, text: Option<String>, needs: Needs| {
        if let Some(text) = text {
            lines.push(Line::new(format!("  {label:<12} {text}"), needs));
        }
    };
    add("why", why(&status, moment), Needs::Nothing);
    if view.state != NodeState::UpToDate {
        let label = if view.needs >= Needs::Person {
            "blocked by"
        } else {
            "now"
        };
        add(label, Some(told(&view, moment)), view.needs);
    }
    add("next", next(&view, &status, moment), Needs::Nothing);
    add("agent", agent(&status), Needs::Person);
    add("node", node.map(of_node), Needs::Nothing);
    let last = status.history.first().or(status.last_reboot.as_ref());
    add(
        "last time",
        last.map(|record| record_text(record, moment)),
        Needs::Nothing,
    );
    add("command", last_command(&status, moment), Needs::Nothing);
    add("you can", you_can(&view, policy), Needs::Nothing);
    lines
}

fn answer(view: &NodeView, status: &NodeRebootStatus, policy: Option<&str>, moment: &Moment) -> String {
    let name = &view.name;
    let held = status.operation.as_ref().map_or_else(String::new, |operation| {
        format!(
            " under policy {} (operation {}, started {})",
            operation.policy,
            operation.id,
            moment.ago(operation.started_time)
        )
    });
    let under = policy.map_or_else(String::new, |policy| format!(" under policy {policy}"));
    let required = status.host.as_ref().map(|host| &host.reboot_required);
    match view.state {
        NodeState::UpToDate => format!("{name} needs no reboot{under}."),
        NodeState::Pending if required.is_some_and(|required| required.required) => {
            let since = required.and_then(|required| required.since);
            let since = since.map_or_else(String::new, |since| format!(", since {}", moment.ago(since)));
            format!("{name} waits for a reboot{under}{since}.")
        }
        NodeState::Pending => format!("{name} waits{under}."),
        NodeState::Preparing => format!("{name} has a slot and its agent is being asked{held}."),
        NodeState::Draining => format!("{name} is being drained for a reboot{held}."),
        NodeState::Rebooting => format!("{name} is rebooting{held}."),
        NodeState::Verifying => format!("{name} is back with a new boot and is being looked at{held}."),
        NodeState::Failed => format!("{name} failed and keeps its slot{held}."),
        NodeState::Unknown => format!("{name} is in a state that this plugin is too old to know{held}."),
    }
}

fn why(status: &NodeRebootStatus, moment: &Moment) -> Option<String> {
    const SHOWN: usize = 5;
    let RebootRequired {
        required,
        since,
        reasons,
        source,
        failing,
    } = status.host.as_ref().map(|host| host.reboot_required.clone())?;
    let unknown: Vec<&str> = failing.iter().map(|cause| cause.0.as_str()).collect();
    let unknown = (!unknown.is_empty()).then(|| format!("not known: {}", unknown.join("; ")));
    if !required {
        return unknown;
    }
    let mut names: Vec<String> = reasons.iter().take(SHOWN).map(|cause| cause.0.clone()).collect();
    if reasons.len() > SHOWN {
        names.push(format!("{} more", reasons.len() - SHOWN));
    }
    let what = match names.len() {
        0 => "the host asks for a reboot".to_owned(),
        1 => format!("{} needs a reboot", names[0]),
        _ => format!("{} need a reboot", names.join(", ")),
    };
    let since = since.map_or_else(String::new, |since| format!(" since {}", moment.at(since)));
    let source = if source.is_empty() {
        String::new()
    } else {
        format!(" (source: {source})")
    };
    let unknown = unknown.map_or_else(String::new, |unknown| format!("; {unknown}"));
    Some(format!("{what}{since}{source}{unknown}"))
}

/// What happens by itself, and when at the latest.
fn next(view: &NodeView, status: &NodeRebootStatus, moment: &Moment) -> Option<String> {
    let operation = status.operation.as_ref();
    match view.state {
        NodeState::UpToDate | NodeState::Unknown => None,
        NodeState::Pending => view
            .until_time
            .map(|time| format!("asked again {}", moment.ahead(time))),
        NodeState::Preparing => {
            let limit = limit(operation, |it| it.asked_time, |it| it.settings.require_agent_seconds);
            limit.map(|time| format!("without an answer it is put back at {}", moment.ahead(time)))
        }
        NodeState::Draining => {
            let limit = limit(operation, |it| it.cordoned_time, |it| it.settings.drain.timeout_seconds);
            let text = "it reboots once it is empty; if it is not by";
            limit.map(|time| format!("{text} {}, it is put back and the next node goes", moment.ahead(time)))
        }
        NodeState::Rebooting | NodeState::Verifying => {
            let limit = limit(
                operation,
                |it| it.reboot_ordered_time,
                |it| it.settings.reboot.timeout_seconds,
            );
            limit.map(|time| format!("if it is not back and Ready by {}, it is Failed", moment.ahead(time)))
        }
        NodeState::Failed => Some("nothing: its slot is kept until a person says retry or release".to_owned()),
    }
}

fn limit(
    operation: Option<&Operation>,
    from: fn(&Operation) -> Option<DateTime<Utc>>,
    seconds: fn(&Operation) -> i32,
) -> Option<DateTime<Utc>> {
    let operation = operation?;
    from(operation)?.checked_add_signed(TimeDelta::seconds(i64::from(seconds(operation))))
}

/// Nothing if the agent reports and could reboot the host.
fn agent(status: &NodeRebootStatus) -> Option<String> {
    let host = status.host.as_ref()?;
    let order = host.order.as_ref().filter(|order| !order.message.is_empty());
    match (host.reboot_capable, order) {
        (false, _) => Some(format!("cannot reboot this host: {}", host.reboot_capable_message)),
        (true, Some(order)) => Some(format!(
            "said {:?} to order {}: {}",
            order.state, order.id, order.message
        )),
        (true, None) => None,
    }
}

fn of_node(node: &Node) -> String {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"));
    let ready = match ready {
        Some(ready) if ready.status == "True" => "Ready".to_owned(),
        Some(ready) => format!("not Ready: {}", ready.message.as_deref().unwrap_or("no message")),
        None => "not Ready: it has never reported".to_owned(),
    };
    format!("{ready}, {}", if cordoned { "cordoned" } else { "not cordoned" })
}

/// What one operation came to, and when.
fn record_text(record: &HistoryEntry, moment: &Moment) -> String {
    let when = moment.ago(record.ended_time);
    let how = match record.outcome {
        Outcome::Succeeded => return format!("rebooted {when}: {}", numbers(record)),
        Outcome::Deferred => "put back",
        Outcome::Withdrawn => "withdrawn",
        Outcome::Held => "held",
        Outcome::Released => "released by a person",
        Outcome::Unknown => "ended",
    };
    format!("{how} {when}: {}", moment.localise(&record.message))
}

/// How long a reboot took, and the proof of it.
pub(crate) fn numbers(record: &HistoryEntry) -> String {
    let mut parts: Vec<String> = [
        ("waited", record.waited_seconds),
        ("drained", record.drained_seconds),
        ("down", record.down_seconds),
        ("verified", record.verified_seconds),
    ]
    .into_iter()
    .filter_map(|(word, seconds)| seconds.map(|seconds| format!("{word} {}", span(seconds))))
    .collect();
    parts.push(format!(
        "boot {} -> {}",
        short(&record.boot_id_before),
        short(&record.boot_id_after)
    ));
    parts.join(", ")
}

/// The first part of a boot id, enough to tell two apart.
fn short(boot_id: &str) -> &str {
    boot_id.split('-').next().unwrap_or(boot_id)
}

fn last_command(status: &NodeRebootStatus, moment: &Moment) -> Option<String> {
    let command = status.last_command.as_ref()?;
    let result = command.result.to_lowercase();
    Some(format!(
        "{} {} at {}: {}",
        command.verb,
        result,
        moment.ago(command.time),
        moment.localise(&command.message)
    ))
}

fn you_can(view: &NodeView, policy: Option<&str>) -> Option<String> {
    let name = &view.name;
    let advised = view
        .reason
        .as_deref()
        .and_then(|reason| advice(reason, name, policy.unwrap_or("POLICY")));
    let standing = match view.state {
        NodeState::UpToDate => Some(format!(
            "have it rebooted all the same: kubectl annotate node {name} lockkeeper.dev/reboot-requested='why'"
        )),
        NodeState::Preparing | NodeState::Draining => Some(format!("put it back: kubectl lockkeeper cancel {name}")),
        NodeState::Failed => advice("Failed", name, ""),
        NodeState::Pending | NodeState::Rebooting | NodeState::Verifying | NodeState::Unknown => None,
    };
    advised.or(standing)
}

#[cfg(test)]
mod tests;
