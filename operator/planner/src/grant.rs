//! Who goes in next, and why the others do not.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::capacity::Facts;
use crate::gate::{self, Drainable};
use crate::operation::{Operation, Phase};
use crate::plan::Plan;
use crate::snapshot::{Holder, Node, Order, OrderAction, Record};
use crate::waiting::Waiting;

/// A node that goes in now.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) holder: Holder,
    /// Operation and order, to be written in this order after the holder.
    pub(crate) actions: [Action; 2],
}

/// Lets in whom it can, in order, and says of everybody else why not, and who is to be asked for its pods.
pub(crate) fn grant(facts: &Facts, holders: &[Holder], plan: &mut Plan) -> Vec<Grant> {
    let mut candidates = Vec::new();
    for (name, node) in &facts.snapshot.nodes {
        let Some(record) = node.record.as_ref().filter(|record| record.operation.is_none()) else {
            continue;
        };
        if holders.iter().any(|holder| &holder.node == name) {
            continue;
        }
        match may_want(node, record, facts) {
            Ok(true) => candidates.push((name, node, record)),
            Ok(false) => {}
            Err(why) => {
                plan.waiting.insert(name.clone(), why);
            }
        }
    }
    candidates.sort_by_cached_key(|(name, node, record)| place(name, node, record, facts));
    let mut door = Door::new(facts, holders);
    for (name, node, record) in candidates {
        if let Err(why) = door.ask(name, node, record) {
            plan.waiting.insert(name.clone(), why);
        }
    }
    plan.preflight = door.preflight;
    door.grants
}

/// Where the candidates come by, in their order.
struct Door<'a> {
    facts: &'a Facts<'a>,
    /// Who is inside, who goes in, and who has the next place and is only to be asked whether its pods can leave.
    ahead: Vec<Holder>,
    /// How many of them are inside or go in.
    sure: usize,
    grants: Vec<Grant>,
    /// How many of each policy wait before the next one.
    before: BTreeMap<&'a str, usize>,
    preflight: Vec<String>,
    /// Policies of which one more than there is room for is asked already, in case that the first cannot be drained.
    spare: BTreeSet<&'a str>,
}

impl<'a> Door<'a> {
    fn new(facts: &'a Facts<'a>, holders: &[Holder]) -> Self {
        Self {
            facts,
            ahead: holders.to_vec(),
            sure: holders.len(),
            grants: Vec::new(),
            before: BTreeMap::new(),
            preflight: Vec::new(),
            spare: BTreeSet::new(),
        }
    }

    fn ask(&mut self, name: &'a str, node: &'a Node, record: &Record) -> Result<(), Waiting> {
        let policy = node.policies.first().map(String::as_str).unwrap_or_default();
        let before = self.before.get(policy).copied().unwrap_or(0);
        let ahead: Vec<&Holder> = self.ahead.iter().collect();
        let mut verdict = gate::room(name, node, self.facts, &ahead, before);
        if verdict.is_ok() {
            verdict = self.drainable(name, node, policy);
            if verdict.is_ok() {
                let grant = let_in(name, node, record, policy, self.facts);
                self.ahead.insert(self.sure, grant.holder.clone());
                self.sure += 1;
                self.grants.push(grant);
                return Ok(());
            }
        } else if self.ahead.len() > self.sure && !self.spare.contains(policy) {
            // It would have the place of one that is only asked yet.
            let sure: Vec<&Holder> = self.ahead[..self.sure].iter().collect();
            if gate::room(name, node, self.facts, &sure, before).is_ok() {
                self.spare.insert(policy);
                match gate::drainable(node, self.facts.now) {
                    Drainable::Unknown(_) | Drainable::No { again: true, .. } => self.preflight.push(name.to_owned()),
                    Drainable::Yes | Drainable::No { again: false, .. } => {}
                }
            }
        }
        *self.before.entry(policy).or_default() += 1;
        verdict
    }

    /// Whether its pods can leave; one that is not known to be drainable keeps its place until it has been asked, one
    /// that cannot be drained does not.
    fn drainable(&mut self, name: &str, node: &Node, policy: &'a str) -> Result<(), Waiting> {
        match gate::drainable(node, self.facts.now) {
            Drainable::Yes => Ok(()),
            Drainable::No { waiting, again } => {
                if again && self.spare.insert(policy) {
                    self.preflight.push(name.to_owned());
                }
                Err(waiting)
            }
            Drainable::Unknown(waiting) => {
                self.preflight.push(name.to_owned());
                self.ahead.push(Holder {
                    node: name.to_owned(),
                    node_uid: node.uid.clone(),
                    policy: policy.to_owned(),
                    operation_id: String::new(),
                    acquired: self.facts.now,
                });
                Err(waiting)
            }
        }
    }
}

/// Whether the node would go in if there were room: `Ok(false)` if nothing asks for a reboot.
fn may_want(node: &Node, record: &Record, facts: &Facts) -> Result<bool, Waiting> {
    if !gate::wants_reboot(node) {
        let missing = gate::agent_missing(node).filter(|since| record.host.is_none() || *since <= facts.now);
        return match missing {
            Some(since) if gate::policy_of(node, facts).is_ok() => Err(Waiting::AgentMissing { since }),
            Some(_) | None => Ok(false),
        };
    }
    gate::standing(node, facts)?;
    gate::past(node, record, facts.now)?;
    Ok(true)
}

/// The place in the queue: our own node last, then the control plane, those put back, and the youngest need.
fn place(name: &str, node: &Node, record: &Record, facts: &Facts) -> (bool, bool, bool, Instant, String) {
    let own = facts.snapshot.own_node.as_deref() == Some(name);
    let put_back = record.deferred.is_some();
    let since = gate::trusted_host(node)
        .and_then(|host| host.required_since)
        .unwrap_or(facts.now);
    (own, node.control_plane, put_back, since, name.to_owned())
}

fn let_in(name: &str, node: &Node, record: &Record, policy: &str, facts: &Facts) -> Grant {
    let now = facts.now;
    let host = gate::trusted_host(node);
    let mut reasons = host.map(|host| host.reasons.clone()).unwrap_or_default();
    if let Some(reason) = &node.requested {
        reasons.push(format!("requested: {reason}"));
    }
    let settings = facts.policies[policy].policy.settings.clone();
    let operation = Operation {
        id: operation_id(&node.uid, now),
        attempt: 0,
        phase: Phase::Preparing,
        policy: policy.to_owned(),
        boot_id_before: node.boot_id.clone(),
        kernel_before: host.map(|host| host.kernel.clone()).unwrap_or_default(),
        reasons,
        requested: node.requested.clone(),
        approved: node.approved.clone(),
        required: host.and_then(|host| host.required_since),
        started: now,
        asked: now,
        cordoned: None,
        reboot_ordered: None,
        rebooted: None,
        pods_moved: 0,
        settings,
        failure: None,
        ending: None,
    };
    let holder = Holder {
        node: name.to_owned(),
        node_uid: node.uid.clone(),
        policy: policy.to_owned(),
        operation_id: operation.id.clone(),
        acquired: now,
    };
    let order = Order {
        id: operation.order_id(),
        action: OrderAction::Prepare,
        boot_id: operation.boot_id_before.clone(),
    };
    let change = RecordChange {
        operation: Change::Set(Some(operation)),
        released: if record.released.is_some() {
            Change::Set(None)
        } else {
            Change::Keep
        },
        ..RecordChange::default()
    };
    let node = name.to_owned();
    Grant {
        holder,
        actions: [
            Action::WriteRecord {
                node: node.clone(),
                change: Box::new(change),
            },
            Action::SetSpec {
                node,
                policy: Some(policy.to_owned()),
                order: Some(order),
            },
        ],
    }
}

/// An id that no other operation of this node has: eight hex digits of node and instant (FNV-1a).
fn operation_id(uid: &str, now: Instant) -> String {
    let nanos = now.timestamp_nanos_opt().unwrap_or_default().to_le_bytes();
    let hash = uid.bytes().chain(nanos).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}
