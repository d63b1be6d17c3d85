//! One wait, read in five places.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{RebootPolicy, RebootPolicyStatus, condition};
use lockkeeper_e2e::stack::Stack;
use serde_json::Value;

use super::{LONG, plugin, policy_where};

/// How much of an Event's words must be those of the status: they name nodes and times that change while the reason
/// stays, and an Event is said when a reason begins. The plugin must always say all of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Words {
    /// All.
    All,
    /// All but names, numbers, times, and what follows a semicolon.
    Shape,
}

impl Words {
    fn same(self, one: &str, other: &str) -> bool {
        match self {
            Self::All => one == other,
            Self::Shape => shape(one).eq(shape(other)),
        }
    }
}

/// The words without a digit, up to a semicolon: nodes, instants and counts have one.
fn shape(text: &str) -> impl Iterator<Item = &str> {
    let first = text.split(';').next().unwrap_or_default();
    first
        .split_whitespace()
        .filter(|word| !word.contains(|letter: char| letter.is_ascii_digit()))
}

/// Waits until the node waits for this reason and status, policy, Event, metric and plugin agree on it.
pub(super) async fn reads_the_same(stack: &Stack, node: &str, reason: &str, words: Words) -> WaitingStatus {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let found = look(stack, node, reason, words).await;
        match found {
            Ok(waiting) => return waiting,
            Err(differs) => assert!(tokio::time::Instant::now() < end, "{node} {reason}: {differs}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn look(stack: &Stack, node: &str, reason: &str, words: Words) -> Result<WaitingStatus, String> {
    let status = stack.reboot(node).await.unwrap().status.unwrap_or_default();
    let waiting = status.waiting.ok_or("it does not wait")?;
    if waiting.reason != reason {
        return Err(format!("it waits for {}: {}", waiting.reason, waiting.message));
    }
    let told = plugin(stack, &["status", "-o", "json"]).await;
    let told = of_node(&told, node).ok_or("the plugin does not know the node")?;
    if told["reason"] != reason || told["message"] != waiting.message.as_str() {
        return Err(format!("the plugin says {told}"));
    }
    let metrics = stack.metrics().await.unwrap();
    let series = format!("lockkeeper_waiting_nodes{{policy=\"general\",reason=\"{reason}\"}} ");
    if !metrics.lines().any(|line| line.starts_with(&series)) {
        return Err(format!("no metric {series}"));
    }
    let listed = |status: &RebootPolicyStatus| {
        let mut reasons = status.waiting.iter().filter(|waiting| waiting.reason == reason);
        reasons.any(|waiting| waiting.nodes.iter().any(|name| name == node))
    };
    let policy = Api::<RebootPolicy>::all(stack.plane.client())
        .get("general")
        .await
        .unwrap();
    if !policy.status.as_ref().is_some_and(listed) {
        return Err("the policy does not list it".to_owned());
    }
    let events = events(stack).await;
    let mut notes = events
        .iter()
        .filter(|event| about(event, "Node", node) && event.reason.as_deref() == Some(reason));
    if !notes.any(|event| words.same(event.note.as_deref().unwrap_or_default(), &waiting.message)) {
        return Err(format!("no Event says \"{}\"", waiting.message));
    }
    Ok(waiting)
}

/// Waits until an Event about the policy has this reason, and returns the words of the newest.
pub(super) async fn says_about_policy(stack: &Stack, reason: &str) -> String {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let events = events(stack).await;
        let ours = events.iter().filter(|event| about(event, "RebootPolicy", "general"));
        let newest = ours
            .filter(|event| event.reason.as_deref() == Some(reason))
            .max_by_key(|event| &event.event_time);
        if let Some(event) = newest {
            return event.note.clone().unwrap_or_default();
        }
        assert!(tokio::time::Instant::now() < end, "no Event {reason} about the policy");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Waits until the policy has this condition, and Event, metric and plugin say the same; returns the words.
pub(super) async fn condition_reads_the_same(stack: &Stack, type_: &str, reason: &str) -> String {
    let is = |status: &RebootPolicyStatus| {
        condition::find(&status.conditions, type_).is_some_and(|it| it.status == "True" && it.reason == reason)
    };
    let status = policy_where(stack, is).await;
    let words = condition::find(&status.conditions, type_).unwrap().message.clone();
    let end = tokio::time::Instant::now() + LONG;
    while says_about_policy(stack, reason).await != words {
        assert!(tokio::time::Instant::now() < end, "no Event says \"{words}\"");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let series = format!("lockkeeper_policy_condition{{condition=\"{type_}\",policy=\"general\",status=\"True\"}} 1");
    while !stack.metrics().await.unwrap().lines().any(|line| line == series) {
        assert!(tokio::time::Instant::now() < end, "no metric {series}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let told = plugin(stack, &["status", "-o", "json"]).await;
    let warnings = told["policies"][0]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| *warning == words), "{warnings:?}");
    words
}

async fn events(stack: &Stack) -> Vec<Event> {
    let events = Api::<Event>::namespaced(stack.plane.client(), "default");
    events.list(&ListParams::default()).await.unwrap().items
}

fn about(event: &Event, kind: &str, name: &str) -> bool {
    let regarding = event.regarding.as_ref();
    regarding.is_some_and(|object| object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name))
}

fn of_node<'a>(view: &'a Value, node: &str) -> Option<&'a Value> {
    let policies = view["policies"].as_array()?;
    let nodes = policies.iter().filter_map(|policy| policy["nodes"].as_array());
    nodes.flatten().find(|view| view["name"] == node)
}
