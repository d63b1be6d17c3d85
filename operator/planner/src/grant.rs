//! Who goes in next, and why the others do not.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::breaker;
use crate::capacity::{Facts, PolicyFacts, Seen, Wanting};
use crate::gate::{self, Drainable};
use crate::operation::{Operation, Phase};
use crate::queue::{self, Candidate};
use crate::repair::Repaired;
use crate::room::Room;
use crate::snapshot::{Holder, Node, Order, OrderAction, Record};
use lockkeeper_reasons::{ViewGap, WaitReason};

use crate::plan::WaitReasons;

/// A node that goes in now.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) holder: Holder,
    /// Whether the holder is in the lock already.
    pub(crate) again: bool,
    /// Operation and order, to be written in this order after the holder.
    pub(crate) actions: [Action; 2],
}

/// What was said to those that ask.
#[derive(Debug, Default)]
pub(crate) struct Answers<'a> {
    pub(crate) grants: Vec<Grant>,
    /// Why the others wait.
    pub(crate) words: Words<'a>,
    /// Who is to be asked for its pods.
    pub(crate) preflight: Vec<String>,
}

/// Lets in whom it can, in order, and says of everybody else why not. `wanting` are those of the facts, by name; what
/// they say of themselves is taken away.
pub(crate) fn grant<'a>(
    facts: &'a Facts<'a>,
    wanting: &'a mut [Wanting<'a>],
    repaired: &'a Repaired<'a>,
) -> Answers<'a> {
    // Those that are in the lock and have no operation yet; as a rule there are none.
    let idle = repaired.kept.iter().filter(|entry| entry.inside.is_none());
    let entered: BTreeSet<&str> = idle.map(|entry| entry.holder.node.as_str()).collect();
    let inside = |name: &str| !entered.is_empty() && entered.contains(name);
    let mut words: Vec<Option<WaitReason>> = Vec::with_capacity(wanting.len());
    let mut candidates = Vec::with_capacity(wanting.len());
    let free: Vec<bool> = facts.policies.iter().map(|policy| is_free(policy, facts)).collect();
    for (index, wanting) in wanting.iter_mut().enumerate() {
        words.push(match may_start(index, wanting, &free, facts) {
            _ if repaired.late.contains(&wanting.seen.name) => Some(WaitReason::ViewIncomplete(ViewGap::AwaitingReady)),
            _ if repaired.awaits_word(wanting.seen.name) => Some(WaitReason::ViewIncomplete(ViewGap::RecordLost)),
            _ if inside(wanting.seen.name) => None,
            Ok(candidate) => {
                candidates.push(candidate);
                None
            }
            Err(why) => Some(why),
        });
    }
    let wanting: &'a [Wanting<'a>] = wanting;
    let mut door = Door::new(facts, wanting, repaired);
    for candidate in queue::line_up(candidates) {
        words[candidate.index] = door.ask(candidate).err();
    }
    let missing = facts.missing.iter();
    let missing = missing.filter(|(seen, _)| !inside(seen.name) && gate::policy_of(seen.node, facts).is_ok());
    Answers {
        words: Words {
            others: missing
                .map(|(seen, since)| (seen.rank, seen.name, WaitReason::AgentMissing { since: *since }))
                .collect(),
            wanting,
            of_wanting: words,
        },
        preflight: door.preflight,
        grants: door.grants,
    }
}

/// Why nodes wait, until all is said.
#[derive(Debug, Default)]
pub(crate) struct Words<'a> {
    wanting: &'a [Wanting<'a>],
    of_wanting: Vec<Option<WaitReason>>,
    /// Those of nodes that do not want a reboot now, with their place among all names.
    others: Vec<(usize, &'a str, WaitReason)>,
}

impl<'a> Words<'a> {
    /// Why this node waits, which is inside.
    pub(crate) fn add(&mut self, seen: &Seen<'a>, why: WaitReason) {
        self.others.push((seen.rank, seen.name, why));
    }

    /// All of them, by name.
    pub(crate) fn all(mut self) -> WaitReasons {
        let queued = self.of_wanting.into_iter().zip(self.wanting);
        let queued = queued.filter_map(|(reason, one)| Some((one.seen.name.to_owned(), reason?)));
        let others = self.others.drain(..).map(|(_, name, reason)| (name.to_owned(), reason));
        queued.chain(others).collect()
    }
}

/// Whether nothing but a node itself keeps it from starting under this policy.
fn is_free(policy: &PolicyFacts, facts: &Facts) -> bool {
    let asked = gate::seen_all(facts).and_then(|()| gate::running(policy));
    let asked = asked.and_then(|()| breaker::keeps_out(policy, None));
    asked.and_then(|()| gate::open(policy)).is_ok()
}

/// A node that would start if there were room; the questions are those of [`gate::standing`], in its order. Those that
/// concern the policy alone are asked once for all nodes, and again for their words.
fn may_start<'a>(
    index: usize,
    wanting: &mut Wanting<'a>,
    free: &[bool],
    facts: &Facts<'a>,
) -> Result<Candidate<'a>, WaitReason> {
    if let Some(place) = wanting.policy.filter(|place| free[*place])
        && wanting.own.is_none()
        && wanting.past.is_none()
    {
        return Ok(Candidate::new(index, wanting, &facts.policies[place], facts));
    }
    gate::seen_all(facts)?;
    let policy = match wanting.policy {
        Some(place) => &facts.policies[place],
        None => gate::policy_of(wanting.seen.node, facts)?,
    };
    gate::running(policy)?;
    wanting.own.take().map_or(Ok(()), |why| Err(why))?;
    breaker::keeps_out(policy, None)?;
    gate::open(policy)?;
    wanting.past.take().map_or(Ok(()), |why| Err(why))?;
    Ok(Candidate::new(index, wanting, policy, facts))
}

/// Where the candidates come by, in their order.
struct Door<'a> {
    facts: &'a Facts<'a>,
    wanting: &'a [Wanting<'a>],
    /// Entries that may be kept, by node and policy.
    unused: BTreeMap<(&'a str, &'a str), &'a Holder>,
    /// Who is inside or goes in.
    sure: Room<'a>,
    /// The same, and those that have a place and are only to be asked whether their pods can leave; absent while there
    /// are none.
    likely: Option<Room<'a>>,
    grants: Vec<Grant>,
    /// How many of each policy wait before the next one.
    before: Vec<usize>,
    preflight: Vec<String>,
    asked: BTreeSet<usize>,
    /// Policies of which one more than there is room for is asked already, in case that the first cannot be drained.
    spare: BTreeSet<usize>,
}

impl<'a> Door<'a> {
    fn new(facts: &'a Facts<'a>, wanting: &'a [Wanting<'a>], repaired: &'a Repaired<'a>) -> Self {
        let mut sure = Room::new(facts);
        for entry in repaired.entries() {
            sure.add(entry);
        }
        for (name, node) in &repaired.astray {
            sure.add_astray(name, node);
        }
        let mut unused = BTreeMap::new();
        for holder in &repaired.unused {
            unused
                .entry((holder.node.as_str(), holder.policy.as_str()))
                .or_insert(*holder);
        }
        Self {
            facts,
            wanting,
            unused,
            likely: None,
            sure,
            grants: Vec::new(),
            before: vec![0; facts.policies.len()],
            preflight: Vec::new(),
            asked: BTreeSet::new(),
            spare: BTreeSet::new(),
        }
    }

    fn ask(&mut self, candidate: Candidate<'a>) -> Result<(), WaitReason> {
        let (wanting, policy) = (&self.wanting[candidate.index], candidate.policy);
        let seen = wanting.seen;
        let before = self.before[policy];
        let mut verdict = self
            .likely
            .as_mut()
            .unwrap_or(&mut self.sure)
            .ask(&wanting.into(), before);
        if verdict.is_ok() {
            verdict = self.drainable(wanting, policy);
            if verdict.is_ok() {
                let (now, policy) = (self.facts.now, &self.facts.policies[policy]);
                for room in [Some(&mut self.sure), self.likely.as_mut()].into_iter().flatten() {
                    room.take(seen.name, Some(seen.node), Some(policy.place), now);
                }
                let entry = self.unused.get(&(seen.name, policy.name));
                self.grants.push(let_in(seen, policy, entry.copied(), now));
                return Ok(());
            }
        } else if self.asked.contains(&policy) && !self.spare.contains(&policy) {
            // It would have the place of one that is only asked yet.
            self.ask_a_spare(wanting, policy);
        }
        self.before[policy] += 1;
        verdict
    }

    /// Whether its pods can leave; one that is not known to be drainable keeps its place until it has been asked, one
    /// that cannot be drained does not.
    fn drainable(&mut self, wanting: &Wanting<'a>, policy: usize) -> Result<(), WaitReason> {
        let seen = wanting.seen;
        match &wanting.drainable {
            Drainable::Yes => Ok(()),
            Drainable::No { waiting: why, again } => {
                if *again && self.spare.insert(policy) {
                    self.preflight.push(seen.name.to_owned());
                }
                Err((**why).clone())
            }
            Drainable::Unknown => {
                self.preflight.push(seen.name.to_owned());
                self.asked.insert(policy);
                let likely = self.likely.get_or_insert_with(|| self.sure.clone());
                likely.take(seen.name, Some(seen.node), Some(policy), self.facts.now);
                Err(WaitReason::ViewIncomplete(ViewGap::PreflightPending))
            }
        }
    }

    fn ask_a_spare(&mut self, wanting: &Wanting<'a>, policy: usize) {
        if self.sure.ask(&wanting.into(), 0).is_err() {
            return;
        }
        self.spare.insert(policy);
        match &wanting.drainable {
            Drainable::Unknown | Drainable::No { again: true, .. } => {
                self.preflight.push(wanting.seen.name.to_owned());
            }
            Drainable::Yes | Drainable::No { again: false, .. } => {}
        }
    }
}

/// Its operation is new; its entry may be there already, with the id that it was given a moment ago.
fn let_in(seen: Seen, policy: &PolicyFacts, entry: Option<&Holder>, now: Instant) -> Grant {
    let Seen { name, node, record, .. } = seen;
    let host = gate::trusted_host(node);
    let mut reasons = host.map(|host| host.reasons.clone()).unwrap_or_default();
    if let Some(reason) = &node.requested {
        reasons.push(format!("requested: {reason}"));
    }
    let operation = Operation {
        id: entry.map_or_else(|| operation_id(node, record, now), |entry| entry.operation_id.clone()),
        attempt: 0,
        phase: Phase::Preparing,
        policy: policy.name.to_owned(),
        boot_id_before: node.boot_id.clone(),
        kernel_before: host.map(|host| host.kernel.clone()).unwrap_or_default(),
        reasons,
        requested: node.requested.clone(),
        approved: node.approved.clone(),
        required: host.and_then(|host| host.required_since),
        started: now,
        asked: now,
        cordoned: None,
        stage: None,
        reboot_ordered: None,
        rebooted: None,
        pods_moved: 0,
        daemon_sets: Vec::new(),
        settings: policy.policy.settings.clone(),
        failure: None,
        pending_outcome: None,
    };
    let new = || Holder {
        node: name.to_owned(),
        node_uid: node.uid.clone(),
        policy: policy.name.to_owned(),
        operation_id: operation.id.clone(),
        acquired: now,
    };
    let holder = entry.cloned().unwrap_or_else(new);
    let order = Order {
        id: operation.order_id(),
        action: OrderAction::Prepare,
        boot_id: operation.boot_id_before.clone(),
    };
    let change = RecordChange {
        operation: Change::Set(Some(Box::new(operation))),
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
        again: entry.is_some(),
        actions: [
            Action::WriteRecord {
                node: node.clone(),
                change: Box::new(change),
            },
            Action::SetSpec {
                node,
                policy: Some(policy.name.to_owned()),
                order: Some(order),
            },
        ],
    }
}

/// An id that no other operation of this node has, whosever clock is off: eight hex digits of node, the operation before
/// and instant (FNV-1a).
fn operation_id(node: &Node, record: &Record, now: Instant) -> String {
    let before = record.finished.as_deref().unwrap_or_default();
    let nanos = now.timestamp_nanos_opt().unwrap_or_default().to_le_bytes();
    let bytes = node.uid.bytes().chain(before.bytes()).chain(nanos);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}
