//! What is left at the end of a story.

use std::collections::BTreeSet;
use std::fmt::Write;

use lockkeeper_crds::names;
use lockkeeper_fake_api::{FakeApi, Key};
use serde_json::Value;

use super::cluster::Machine;
use super::truth::{is_cordoned, operation};

/// The state of everything that Lockkeeper wrote, and of the hosts, without times and ids: two runs that end alike have the
/// same dump.
pub fn dump<'a>(api: &FakeApi, machines: impl Iterator<Item = &'a Machine>) -> String {
    let mut text = String::new();
    for machine in machines {
        node(&mut text, api, machine);
    }
    let lock = api.get(&Key::cluster("rebootlocks", names::LOCK)).unwrap_or_default();
    let holders = lock["status"]["holders"].as_array().into_iter().flatten();
    let holders: Vec<String> = holders
        .map(|holder| format!("{} reboot={}", word(&holder["node"]), !holder["reboot"].is_null()))
        .collect();
    let policy = api.get(&Key::cluster("rebootpolicies", "all")).unwrap_or_default();
    let status = &policy["status"];
    let _ = writeln!(text, "lock: {holders:?}");
    let counts =
        ["nodes", "upToDate", "pending", "inProgress", "failed"].map(|field| format!("{field}={}", status[field]));
    let _ = writeln!(
        text,
        "policy: {} breaker={}",
        counts.join(" "),
        word(&status["breaker"]["state"])
    );
    let _ = write!(text, "pods:");
    for pod in api.all("pods") {
        let _ = write!(text, " {}", word(&pod["metadata"]["name"]));
    }
    text.push('\n');
    text
}

/// The lines of a dump about one node.
pub fn section<'a>(dump: &'a str, node: &str) -> Vec<&'a str> {
    let head = format!("{node}:");
    dump.lines()
        .skip_while(|line| !line.starts_with(&head))
        .take(3)
        .collect()
}

/// What must not be left, whatever went wrong on the way.
pub fn problems<'a>(api: &FakeApi, machines: impl Iterator<Item = &'a Machine>) -> Vec<String> {
    let lock = api.get(&Key::cluster("rebootlocks", names::LOCK)).unwrap_or_default();
    let holders = lock["status"]["holders"].as_array().into_iter().flatten();
    let holders: Vec<&str> = holders.map(|holder| word(&holder["node"])).collect();
    let mut found = Vec::new();
    for machine in machines {
        let name = machine.node;
        let node = api.get(&Key::cluster("nodes", name)).unwrap_or_default();
        let record = api.get(&Key::cluster("nodereboots", name)).unwrap_or_default();
        let status = &record["status"];
        let (is_held, is_marked) = (holders.contains(&name), operation(&node).is_some());
        if (is_marked || is_cordoned(&node)) && !is_held {
            found.push(format!("{name} is cordoned and not in progress"));
        }
        if is_held == status["operation"].is_null() {
            found.push(format!("{name} has a holder or an operation, but not both"));
        }
        let state = machine.host.state();
        let boots: BTreeSet<&String> = state.executed.iter().map(|(_, boot)| boot).collect();
        if boots.len() < state.executed.len() {
            found.push(format!("{name} went down twice in one boot: {:?}", state.executed));
        }
        let has_reason = !status["waiting"]["reason"].is_null() || word(&status["state"]) == "UpToDate";
        if !has_reason {
            found.push(format!("{name} is {} without a wait reason", word(&status["state"])));
        }
    }
    found
}

fn node(text: &mut String, api: &FakeApi, machine: &Machine) {
    let name = machine.node;
    let object = api.get(&Key::cluster("nodes", name)).unwrap_or_default();
    let record = api.get(&Key::cluster("nodereboots", name)).unwrap_or_default();
    let status = &record["status"];
    let state = machine.host.state();
    let _ = writeln!(
        text,
        "{name}: {} waiting={} boot={} reboots={}",
        word(&status["state"]),
        word(&status["waiting"]["reason"]),
        word(&object["status"]["nodeInfo"]["bootID"]),
        state.executed.len(),
    );
    let outcomes = status["history"].as_array().into_iter().flatten();
    let outcomes: Vec<&str> = outcomes.map(|entry| word(&entry["outcome"])).collect();
    let _ = writeln!(
        text,
        "  cordoned={} operation={} phase={} order={} deferred={} {} history={outcomes:?}",
        is_cordoned(&object),
        operation(&object).is_some(),
        word(&status["operation"]["phase"]),
        word(&record["spec"]["order"]["action"]),
        status["deferred"]["count"],
        word(&status["deferred"]["cause"]),
    );
    let mut keys: Vec<&String> = object["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .collect();
    keys.extend(
        object["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key),
    );
    keys.retain(|key| !key.starts_with("kubernetes.io/"));
    let _ = writeln!(text, "  marks={keys:?}");
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
