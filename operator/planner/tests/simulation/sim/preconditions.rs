//! The reads before a write, from the cluster as it is. Which ones an action needs, and what they show, is the planner's
//! own code, as in `operator/src/execute/preconditions.rs`; a mutant may leave out a kind of precondition.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lockkeeper_planner::preconditions::{
    Fresh, LOCK_FRESH, NodeState, Observed, PolicyIdentity, Proven, Read, RecordState,
};
use lockkeeper_planner::*;

use super::cluster::{News, NodeObject, Object, PolicyObject, RebootObject, Refusal};
use super::execute::{Guard, Write};

impl Write<'_> {
    /// Reads again what the action depends on.
    pub(super) fn verify(&mut self, action: &Action) -> Result<(), Refusal> {
        let needed = preconditions(action, self, self.now).map_err(|_| Refusal::Stale)?;
        let mut fresh = Fresh::default();
        for precondition in needed.iter().filter(|one| !self.without.contains(&Guard::of(one))) {
            while let Some(read) = precondition.next_read(&fresh) {
                self.read(read, &mut fresh)?;
            }
            let refused = precondition.check(&fresh).is_err();
            match precondition {
                Precondition::PoliciesUnchanged { .. } if refused => self.learn_policies(),
                Precondition::PoliciesUnchanged { once_per_pass, .. } => *self.policies_verified |= once_per_pass,
                Precondition::NoUnknownCordon { .. } if refused => self.learn_cordons(),
                Precondition::Drained { .. } if refused => return Err(Refusal::NotEmpty),
                _ => {}
            }
            if refused {
                return Err(Refusal::Stale);
            }
        }
        Ok(())
    }

    /// One request to the API server; the next pass sees the object, too.
    ///
    /// This pass does not: its writes stay guarded by the versions that it was planned on.
    fn read(&mut self, read: Read, fresh: &mut Fresh) -> Result<(), Refusal> {
        match read {
            Read::Lock => {
                let lock = self.cluster.lock.clone().ok_or(Refusal::Conflict)?;
                fresh.lock = Some(lock.value.clone());
                self.answers.push(News {
                    version: lock.version,
                    index: 0,
                    object: Object::Lock(Some(lock)),
                });
            }
            Read::Node(name) => {
                let node = self.read_node(&name).ok_or(Refusal::Conflict)?;
                fresh.nodes.insert(name, Some(node_state(&node)));
            }
            Read::NodeIfPresent(name) => {
                let node = self.read_node(&name);
                fresh.nodes.insert(name, node.map(|node| node_state(&node)));
            }
            Read::Record(name) => {
                let record = self.read_record(&name);
                if record.as_ref().is_some_and(|record| record.undecodable) {
                    return Err(Refusal::Trouble);
                }
                fresh.records.insert(name, record.map(|record| record_state(&record)));
            }
            Read::Policies => fresh.policies = Some(identities(&self.cluster.policy_names, &self.cluster.policies)),
            Read::CordonedNodes => {
                let cordoned = |node: &&Rc<NodeObject>| node.value.unschedulable;
                let nodes = self.cluster.nodes.iter();
                let nodes = nodes.map(|node| node.as_ref().filter(cordoned));
                fresh.cordons = Some(cordons(&self.cluster.names, nodes));
            }
            Read::Pods(name) => {
                let index = self.cluster.index(&name).ok_or(Refusal::Conflict)?;
                let pods = 0..self.cluster.pods[index];
                fresh.pods = Some(pods.map(|pod| format!("shop/web-{pod}")).collect());
            }
        }
        Ok(())
    }

    fn read_node(&mut self, name: &str) -> Option<Rc<NodeObject>> {
        let index = self.cluster.index(name)?;
        let node = self.cluster.nodes[index].clone()?;
        self.answers.push(News {
            version: node.version,
            index,
            object: Object::Node(Some(node.clone())),
        });
        Some(node)
    }

    /// That there is none has no version: only the watch can tell it.
    fn read_record(&mut self, name: &str) -> Option<Rc<RebootObject>> {
        let index = self.cluster.index(name)?;
        let reboot = self.cluster.reboots[index].clone()?;
        self.answers.push(News {
            version: reboot.version,
            index,
            object: Object::Reboot(Some(reboot.clone())),
        });
        Some(reboot)
    }

    /// The list of policies was not as planned: the next pass sees it.
    fn learn_policies(&mut self) {
        let policies = self.cluster.policies.iter().enumerate();
        let policies = policies.filter_map(|(index, policy)| Some((index, policy.clone()?)));
        self.answers.extend(policies.map(|(index, policy)| News {
            version: policy.version,
            index,
            object: Object::Policy(Some(policy)),
        }));
    }

    /// The list of cordoned Nodes was not as planned: the next pass sees it.
    fn learn_cordons(&mut self) {
        let nodes = self.cluster.nodes.iter().enumerate();
        let nodes = nodes.filter_map(|(index, node)| Some((index, node.clone()?)));
        let cordoned = nodes.filter(|(_, node)| node.value.unschedulable);
        self.answers.extend(cordoned.map(|(index, node)| News {
            version: node.version,
            index,
            object: Object::Node(Some(node)),
        }));
    }
}

impl Observed for Write<'_> {
    fn lock(&self) -> Option<Lock> {
        self.seen.lock.as_ref().map(|lock| lock.value.clone())
    }

    fn node(&self, node: &str) -> Option<NodeState> {
        let index = self.cluster.index(node)?;
        self.seen.nodes[index].as_ref().map(|node| node_state(node))
    }

    fn record(&self, node: &str) -> Option<RecordState> {
        let index = self.cluster.index(node)?;
        self.seen.reboots[index].as_ref().map(|reboot| record_state(reboot))
    }

    fn policies(&self) -> BTreeSet<PolicyIdentity> {
        identities(&self.cluster.policy_names, &self.seen.policies)
    }

    fn cordons(&self) -> BTreeMap<String, String> {
        cordons(&self.cluster.names, self.seen.nodes.iter().map(Option::as_ref))
    }

    fn policies_verified(&self) -> bool {
        *self.policies_verified
    }

    fn has_created_record(&self, uid: &str) -> bool {
        self.made.contains(uid)
    }

    fn has_written_lock(&self) -> bool {
        self.lock_written
            .is_some_and(|written| self.at - written < LOCK_FRESH.num_milliseconds())
    }

    fn proven(&self) -> &Proven {
        self.proven
    }
}

fn node_state(node: &NodeObject) -> NodeState {
    NodeState {
        uid: node.value.uid.clone(),
        unschedulable: node.value.unschedulable,
        cordoned_for: node.value.cordoned_for.clone(),
        boot_id: node.value.boot_id.clone(),
        hold: node.value.hold.clone(),
        version: Some(node.version),
    }
}

fn record_state(reboot: &RebootObject) -> RecordState {
    RecordState {
        owners: vec![reboot.owner.clone()],
        policy: reboot.record.policy.clone(),
        has_order: reboot.record.order.is_some(),
        operation: reboot.record.operation.clone(),
    }
}

fn identities(names: &[PolicyName], policies: &[Option<Rc<PolicyObject>>]) -> BTreeSet<PolicyIdentity> {
    let policies = names.iter().zip(policies);
    let policies = policies.filter_map(|(name, policy)| Some((name, policy.as_ref()?)));
    let identity = |(name, policy): (&PolicyName, &Rc<PolicyObject>)| PolicyIdentity {
        name: name.to_string(),
        uid: policy.uid.to_string(),
        generation: policy.generation,
    };
    policies.map(identity).collect()
}

/// The nodes that Lockkeeper has cordoned, each with its operation.
fn cordons<'a>(names: &[String], nodes: impl Iterator<Item = Option<&'a Rc<NodeObject>>>) -> BTreeMap<String, String> {
    let nodes = names.iter().zip(nodes);
    let cordons = nodes.filter_map(|(name, node)| Some((name.clone(), node?.value.cordoned_for.clone()?)));
    cordons.collect()
}
