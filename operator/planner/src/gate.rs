//! May this node start? The first reason that says no.

use chrono::TimeDelta;

use crate::Instant;
use crate::capacity::{Facts, PolicyFacts};
use crate::snapshot::{Holder, Host, Node, Preflight, Record};
use crate::waiting::{Rearm, Scope, Waiting};
use crate::windows::Opening;

/// How long an agent may take to report from a new boot before it counts as missing.
pub const AGENT_GRACE: TimeDelta = TimeDelta::seconds(120);
/// A node that was rebooted and still asks for the same cause is left alone for this long.
pub const STILL_REQUIRED: TimeDelta = TimeDelta::hours(24);

/// Whether the host asks for a reboot, or a person does.
pub fn wants_reboot(node: &Node) -> bool {
    node.requested.is_some() || trusted_host(node).is_some_and(|host| host.required)
}

/// The report of the agent that is in the same boot as the kubelet; any other one says nothing about this node.
pub fn trusted_host(node: &Node) -> Option<&Host> {
    let host = node.record.as_ref()?.host.as_ref()?;
    (host.boot_id == node.boot_id).then_some(host)
}

/// Since when the agent is missing, or when it will be if it stays away.
pub fn agent_missing(node: &Node) -> Option<Instant> {
    match node.record.as_ref().and_then(|record| record.host.as_ref()) {
        None => Some(node.created),
        Some(host) if host.boot_id != node.boot_id => Some(node.ready.since + AGENT_GRACE),
        Some(_) => None,
    }
}

/// The one policy that a node belongs to.
pub fn policy_of<'a>(node: &'a Node, facts: &'a Facts) -> Result<(&'a str, &'a PolicyFacts<'a>), Waiting> {
    match node.policies.as_slice() {
        [one] => match facts.policies.get(one.as_str()) {
            Some(policy) => Ok((one, policy)),
            None => Err(Waiting::NoPolicy),
        },
        [] => Err(Waiting::NoPolicy),
        many => Err(Waiting::PolicyConflict {
            policies: many.to_vec(),
        }),
    }
}

/// What keeps this node from starting whoever else is inside; asked before the slot and again before our marks.
pub fn standing(node: &Node, facts: &Facts) -> Result<(), Waiting> {
    if let Some(what) = facts.snapshot.unseen.first().or(facts.snapshot.undecodable.first()) {
        return Err(Waiting::ViewIncomplete { what: what.clone() });
    }
    let (name, policy) = policy_of(node, facts)?;
    if policy.policy.suspend {
        return Err(Waiting::Suspended {
            policy: name.to_owned(),
        });
    }
    if let Some(hold) = node.hold.as_ref().filter(|hold| hold.holds(facts.now)) {
        return Err(Waiting::Held {
            reason: hold.reason.clone(),
            until: hold.until,
        });
    }
    agent(node)?;
    if !policy.failed.is_empty() {
        return Err(Waiting::BreakerOpen {
            nodes: policy.failed.clone(),
            next: Rearm::Person,
        });
    }
    match &policy.opening {
        Ok(Opening::Open { .. }) => Ok(()),
        Ok(Opening::Closed { opens }) => Err(Waiting::OutsideWindow {
            opens: *opens,
            unreadable: None,
        }),
        Ok(Opening::Excluded { until, reason, .. }) => Err(Waiting::Excluded {
            until: *until,
            reason: reason.clone(),
        }),
        Err(why) => Err(Waiting::OutsideWindow {
            opens: None,
            unreadable: Some((*why).to_owned()),
        }),
    }
}

fn agent(node: &Node) -> Result<(), Waiting> {
    let Some(host) = trusted_host(node) else {
        return Err(Waiting::AgentMissing {
            since: agent_missing(node).unwrap_or(node.created),
        });
    };
    if let Some(cause) = &host.incapable {
        return Err(Waiting::AgentIncapable { cause: cause.clone() });
    }
    if let Some((who, why)) = host.inhibitors.first() {
        return Err(Waiting::Inhibited {
            who: who.clone(),
            why: why.clone(),
        });
    }
    Ok(())
}

/// What the node's own past says: released, rebooted in vain, put back.
pub fn past(node: &Node, record: &Record, now: Instant) -> Result<(), Waiting> {
    let reasons = trusted_host(node)
        .map(|host| host.reasons.as_slice())
        .unwrap_or_default();
    let asked = node.requested.is_some();
    if let Some(released) = record
        .released
        .as_ref()
        .filter(|released| !asked && released.reasons == reasons)
    {
        return Err(Waiting::Released {
            failure: released.failure.clone(),
        });
    }
    if let Some(last) = record
        .last_reboot
        .as_ref()
        .filter(|last| !asked && last.reasons == reasons)
    {
        let until = last.time + STILL_REQUIRED;
        if now < until {
            return Err(Waiting::StillRequired {
                rebooted: last.time,
                until,
            });
        }
    }
    match &record.deferred {
        Some(deferred) if now < deferred.until => Err(Waiting::BackingOff {
            count: deferred.count,
            cause: deferred.cause.clone(),
            message: deferred.message.clone(),
            until: deferred.until,
        }),
        Some(_) | None => Ok(()),
    }
}

/// How long an answer about a node's pods is believed; a node that could not be drained is asked again after it.
pub const PREFLIGHT_FRESH: TimeDelta = TimeDelta::seconds(60);

/// Whether a node could be drained.
#[derive(Debug)]
pub(crate) enum Drainable {
    /// All its pods can leave.
    Yes,
    /// A pod can never leave; asked `again` if the answer is old.
    No { waiting: Waiting, again: bool },
    /// It must be asked.
    Unknown(Waiting),
}

/// What the last preflight says of a node now.
pub(crate) fn drainable(node: &Node, now: Instant) -> Drainable {
    let fresh = |at: Instant| now.signed_duration_since(at) < PREFLIGHT_FRESH;
    match &node.preflight {
        Preflight::Clear { at } if fresh(*at) => Drainable::Yes,
        Preflight::Clear { .. } | Preflight::Unknown => Drainable::Unknown(Waiting::ViewIncomplete {
            what: "whether its pods can leave".to_owned(),
        }),
        Preflight::Blocked { pod, why, at } => Drainable::No {
            waiting: Waiting::PreflightBlocked {
                pod: pod.clone(),
                why: why.clone(),
                until: *at + PREFLIGHT_FRESH,
            },
            again: !fresh(*at),
        },
    }
}

/// What the other nodes say: slots, down nodes, the control plane. `ahead` are the holders that go before this node.
pub fn room(name: &str, node: &Node, facts: &Facts, ahead: &[&Holder], before: usize) -> Result<(), Waiting> {
    let (policy_name, policy) = policy_of(node, facts)?;
    let of_policy: Vec<String> = ahead
        .iter()
        .filter(|holder| holder.policy == policy_name)
        .map(|holder| holder.node.clone())
        .collect();
    if of_policy.len() >= policy.limit {
        return Err(Waiting::NoFreeSlot {
            inside: of_policy,
            max: policy.limit,
            scope: Scope::Policy,
            before,
        });
    }
    if ahead.len() >= facts.cluster_limit {
        let inside = ahead.iter().map(|holder| holder.node.clone()).collect();
        return Err(Waiting::NoFreeSlot {
            inside,
            max: facts.cluster_limit,
            scope: Scope::Cluster,
            before,
        });
    }
    // A target that is down already costs nothing.
    if crate::capacity::why_down(node, facts.now).is_none() {
        let down = down_beside(name, policy, policy_name, facts, ahead);
        if down.len() >= policy.max_unavailable {
            return Err(Waiting::TooManyUnavailable {
                down,
                max: policy.max_unavailable,
            });
        }
    }
    if node.control_plane {
        let busy = facts.control_plane_down.iter().find(|other| **other != name);
        let granted = ahead.iter().map(|holder| holder.node.as_str()).find(|other| {
            *other != name
                && facts
                    .snapshot
                    .nodes
                    .get(*other)
                    .is_some_and(|other| other.control_plane)
        });
        if let Some(other) = busy.copied().or(granted) {
            return Err(Waiting::ControlPlaneBusy { node: other.to_owned() });
        }
    }
    Ok(())
}

/// The nodes of the policy that are down beside this one: by themselves, or because they are inside and ahead of it.
fn down_beside(
    name: &str,
    policy: &PolicyFacts,
    policy_name: &str,
    facts: &Facts,
    ahead: &[&Holder],
) -> Vec<(String, String)> {
    let mut down: Vec<(String, String)> = policy
        .down
        .iter()
        .filter(|(other, _)| **other != name)
        .map(|(other, why)| ((*other).to_owned(), (*why).to_owned()))
        .collect();
    let held = ahead
        .iter()
        .filter(|holder| !policy.down.contains_key(holder.node.as_str()))
        .filter(|holder| {
            let selected = |node: &Node| node.policies.iter().any(|policy| policy == policy_name);
            facts.snapshot.nodes.get(&holder.node).is_some_and(selected)
        });
    down.extend(held.map(|holder| (holder.node.clone(), "inside".to_owned())));
    down
}
