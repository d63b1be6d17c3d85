//! `explain NODE`: the answer first, then the reason, then what you can do.

mod deadline;
pub(crate) mod next_step;

use k8s_openapi::api::core::v1::Node;
use lockkeeper_crds::host::{DetectorReport, DetectorState};
use lockkeeper_crds::reasons::Installation;
use lockkeeper_crds::{NodeReboot, NodeRebootStatus, NodeState, RebootRequired};

use crate::clock::DisplayClock;
use crate::cluster::{Cluster, find, installation};
use crate::failure::Failure;
use crate::render::{Line, ended, message, terminal};
use crate::view::{ActionRequired, NodeView, is_lost, node_view};

/// Prints why a node is in its state.
pub(crate) async fn explain(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let reboot = find::reboot(cluster, name).await?;
    // A reader who may not read Nodes still gets the rest.
    let node = cluster.nodes().get_opt(name).await.ok().flatten();
    let installation = installation::of_node(cluster, name).await;
    let clock = DisplayClock::now();
    let deadline = deadline::find(cluster, name, &reboot, &clock).await;
    let lines = render(name, &reboot, node.as_ref(), deadline, &installation, &clock);
    terminal::print(&lines);
    Ok(())
}

/// The screen of `explain`.
pub(crate) fn render(
    name: &str,
    reboot: &NodeReboot,
    node: Option<&Node>,
    deadline: Option<String>,
    installation: &Installation,
    clock: &DisplayClock,
) -> Vec<Line> {
    let view = node_view(name, reboot);
    let status = reboot.status.clone().unwrap_or_default();
    let policy = reboot.spec.policy.as_deref();
    let mut lines = vec![Line::new(answer(&view, &status, policy, clock), view.action_required)];
    let mut add = |label: &str, text: Option<String>, action_required: ActionRequired| {
        if let Some(text) = text {
            lines.push(Line::new(format!("  {label:<12} {text}"), action_required));
        }
    };
    add("why", why(&status, clock), ActionRequired::None);
    add("detectors", detectors(&status), ActionRequired::None);
    if view.state != NodeState::UpToDate {
        let label = if view.action_required >= ActionRequired::Manual {
            "blocked by"
        } else {
            "now"
        };
        add(label, Some(message(&view, clock)), view.action_required);
    }
    add(
        "next",
        next_step::next_step(&view, &status, clock),
        ActionRequired::None,
    );
    add("deadline", deadline, ActionRequired::None);
    add("overridden", overridden(&status), ActionRequired::None);
    add("agent", agent(&status), ActionRequired::Manual);
    add("node", node.map(node_condition), ActionRequired::None);
    let last = status.history.first().or(status.last_reboot.as_deref());
    add("last time", last.map(|entry| ended(entry, clock)), ActionRequired::None);
    add("command", last_command(&status, clock), ActionRequired::None);
    add(
        "you can",
        you_can(&view, &status, policy, installation),
        ActionRequired::None,
    );
    lines
}

fn answer(view: &NodeView, status: &NodeRebootStatus, policy: Option<&str>, clock: &DisplayClock) -> String {
    let name = &view.name;
    let operation = status.operation.as_ref().map_or_else(String::new, |operation| {
        format!(
            " under policy {} (operation {}, started {})",
            operation.policy,
            operation.id,
            clock.time_and_age(operation.started_time)
        )
    });
    let under = policy.map_or_else(String::new, |policy| format!(" under policy {policy}"));
    let required = status.host.as_ref().map(|host| &host.reboot_required);
    match view.state {
        NodeState::UpToDate => format!("{name} requires no reboot{under}."),
        NodeState::Pending if required.is_some_and(|required| required.required) => {
            let since = required.and_then(|required| required.since);
            let since = since.map_or_else(String::new, |since| {
                format!(", required since {}", clock.time_and_age(since))
            });
            format!("{name} waits for a reboot{under}{since}.")
        }
        NodeState::Pending => format!("{name} waits{under}."),
        NodeState::Preparing => format!("{name} has a slot and waits for its node agent{operation}."),
        NodeState::Draining => format!("{name} is being drained for a reboot{operation}."),
        NodeState::Rebooting
            if status
                .operation
                .as_ref()
                .is_some_and(|one| one.soft_reboots_before.is_some()) =>
        {
            format!("{name} is soft-rebooting{operation}.")
        }
        NodeState::Rebooting => format!("{name} is rebooting{operation}."),
        NodeState::Verifying => format!("{name} has rebooted and is being verified{operation}."),
        NodeState::Failed => format!("{name} has failed and keeps its slot{operation}."),
        NodeState::Unknown => {
            let under = if operation.is_empty() { under } else { operation };
            format!("It is not known whether {name} requires a reboot{under}.")
        }
    }
}

fn why(status: &NodeRebootStatus, clock: &DisplayClock) -> Option<String> {
    const SHOWN: usize = 5;
    let RebootRequired {
        required,
        since,
        userspace_only,
        reasons,
        source,
        failing,
        detectors: _,
    } = status.host.as_ref().map(|host| host.reboot_required.clone())?;
    let failing: Vec<&str> = failing.iter().map(|cause| cause.0.as_str()).collect();
    let failing = (!failing.is_empty()).then(|| format!("failing checks of the agent: {}", failing.join("; ")));
    if !required {
        return failing;
    }
    let mut names: Vec<String> = reasons.iter().take(SHOWN).map(|cause| cause.0.clone()).collect();
    if reasons.len() > SHOWN {
        names.push(format!("{} more", reasons.len() - SHOWN));
    }
    let since = since.map_or_else(String::new, |since| format!(" since {}", clock.time(since)));
    let by = if names.is_empty() {
        String::new()
    } else {
        format!(" by {}", names.join(", "))
    };
    let source = if source.is_empty() {
        String::new()
    } else {
        format!(" (source: {source})")
    };
    let failing = failing.map_or_else(String::new, |failing| format!("; {failing}"));
    let enough = if userspace_only {
        "; a soft-reboot is enough"
    } else {
        ""
    };
    Some(format!("reboot required{since}{by}{source}{enough}{failing}"))
}

/// What each detector of the agent saw; the reasons are in [`why`], and here if several detectors have some.
fn detectors(status: &NodeRebootStatus) -> Option<String> {
    let detectors = &status.host.as_ref()?.reboot_required.detectors;
    let says = |state: DetectorState| match state {
        DetectorState::Required => "reboot required",
        DetectorState::NotRequired => "no reboot required",
        DetectorState::Failing => "failing",
        DetectorState::Unknown => "unknown to this version of the plugin",
    };
    let is_required = |detector: &&DetectorReport| detector.state == DetectorState::Required;
    let several = detectors.iter().filter(is_required).count() > 1;
    let described = |detector: &DetectorReport| match (several && is_required(&detector), &detector.message) {
        (true, message) if !message.is_empty() => format!("{} ({message})", detector.name),
        _ => detector.name.clone(),
    };
    let listed = [
        DetectorState::Required,
        DetectorState::Failing,
        DetectorState::NotRequired,
        DetectorState::Unknown,
    ];
    let parts: Vec<String> = listed
        .into_iter()
        .filter_map(|wanted| {
            let names: Vec<String> = detectors
                .iter()
                .filter(|detector| detector.state == wanted)
                .map(described)
                .collect();
            (!names.is_empty()).then(|| format!("{}: {}", says(wanted), names.join(", ")))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What was overridden for the operation in progress when the node was admitted.
fn overridden(status: &NodeRebootStatus) -> Option<String> {
    let overridden = status.operation.as_ref()?.overridden.as_ref()?;
    let names: Vec<&str> = overridden.overrides.iter().map(|one| one.as_str()).collect();
    let urgent = overridden.urgent.as_ref().map(|reason| format!(" (urgent: {reason})"));
    Some(format!("{}{}", names.join(", "), urgent.unwrap_or_default()))
}

/// The agent's problem, if it has one.
fn agent(status: &NodeRebootStatus) -> Option<String> {
    let host = status.host.as_ref()?;
    let order = host.order.as_ref().filter(|order| !order.message.is_empty());
    match (host.reboot_capable, order) {
        (false, _) => Some(format!("cannot reboot this host: {}", host.reboot_capable_message)),
        (true, Some(order)) => Some(format!(
            "answered {:?} to order {}: {}",
            order.state, order.id, order.message
        )),
        (true, None) => None,
    }
}

fn node_condition(node: &Node) -> String {
    let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"));
    let ready = match ready {
        Some(ready) if ready.status == "True" => "Ready".to_owned(),
        Some(ready) => format!("not Ready: {}", ready.message.as_deref().unwrap_or("no message")),
        None => "not Ready: the kubelet has never reported".to_owned(),
    };
    format!("{ready}, {}", if is_cordoned { "cordoned" } else { "not cordoned" })
}

fn last_command(status: &NodeRebootStatus, clock: &DisplayClock) -> Option<String> {
    let command = status.last_command.as_ref()?;
    let result = command.result.to_lowercase();
    let when = clock.time_and_age(command.time);
    Some(format!(
        "{} {result} at {when}: {}",
        command.verb,
        clock.localize(&command.message)
    ))
}

fn you_can(
    view: &NodeView,
    status: &NodeRebootStatus,
    policy: Option<&str>,
    installation: &Installation,
) -> Option<String> {
    if view.reason.is_none() && is_lost(status) {
        return Some(next_step::bring_back(&view.name));
    }
    let advice = view
        .reason
        .as_ref()
        .and_then(|reason| reason.advice(&view.name, policy.unwrap_or("POLICY"), installation));
    advice.or_else(|| next_step::manual_step(view.state, &view.name, installation))
}

#[cfg(test)]
mod tests;
