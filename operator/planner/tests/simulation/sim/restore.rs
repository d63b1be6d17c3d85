//! etcd is restored from a backup: what was written since is gone, and versions go back. Hosts are what they are.

use std::collections::BTreeMap;

use lockkeeper_planner::preconditions::Proven;

use super::cluster::{Cluster, Kind};
use super::faults::Fault;
use super::view::View;
use super::world::{Event, OrderSource, World};

/// How long it takes at most until an operator has an answer with a version that is older than one that it has seen: the
/// leader renews its Lease each 3 s, and the other one reads it when its watch says nothing.
const NOTICED: i64 = 10_000;
/// For the draws of this fault: a seed without it keeps its story.
const GENERATOR: u64 = 0x0072_6573_746f_7265;
/// How many of a thousand seeds know it.
const PER_MILLE: usize = 100;

/// The backup of a world, and whether it was restored.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    cluster: Option<Box<Cluster>>,
    /// Once only: versions are used twice then, and a third time would repeat one.
    pub restored: bool,
}

/// Whether this seed knows the fault.
pub fn is_known(seed: u64) -> bool {
    super::rng::Rng::new(seed ^ GENERATOR).chance(PER_MILLE)
}

impl World {
    /// Keeps a backup, and the next time restores it.
    pub fn restores(&mut self) -> bool {
        if self.backup.restored {
            return false;
        }
        let Some(backup) = self.backup.cluster.take() else {
            let mut backup = self.cluster.clone();
            backup.news.clear();
            self.backup.cluster = Some(Box::new(backup));
            return false;
        };
        self.backup.restored = true;
        self.cluster = *backup;
        self.cluster.begin_timeline();
        self.judge.restored(&self.cluster);
        for operator in 0..self.operators.len() {
            self.operators[operator].view.lose_events();
            let (epoch, delay) = (self.operators[operator].epoch, self.rng.between(100, NOTICED));
            if !self.stays_blind() {
                self.after(delay, Event::Rewound(operator, epoch));
            }
        }
        for node in 0..self.hosts.len() {
            self.is_reported_anew(node);
        }
        true
    }

    /// What runs on the node says how it is: kubelet and agent list again as well.
    fn is_reported_anew(&mut self, node: usize) {
        let known = self.cluster.nodes[node].as_ref();
        let takes_pods = known.is_none_or(|known| !known.value.unschedulable);
        let host = &mut self.hosts[node];
        host.takes_pods = takes_pods;
        // What was ordered is not known any more.
        host.ordered = None;
        host.notified = (None, false);
        let (boot, up) = (host.boot, host.up);
        if known.is_none() {
            return self.after(1000, Event::Make(node));
        }
        let [kubelet, agent] = [10_000, 20_000].map(|longest| self.rng.between(100, longest));
        if up {
            self.after(kubelet, Event::Ready(node, boot));
        } else {
            self.after(40_000, Event::NotReady(node, boot));
        }
        self.after(agent, Event::Report(node, boot));
        self.after(agent + 100, Event::Agent(node, OrderSource::Current));
        self.after(agent, Event::Collect(node));
    }

    /// An operator has seen a version that is older than one before: it forgets all and lists again, and its tasks start anew.
    pub fn rewound(&mut self, operator: usize, epoch: u64) {
        if self.operators[operator].epoch != epoch {
            return;
        }
        self.tell(|_| format!("operator {operator}: {}", Fault::Restored.name()));
        let own_node = self.operators[operator].view.snapshot.own_node.clone();
        let view = View::new(&self.cluster, own_node);
        let known = &mut self.operators[operator];
        known.epoch += 1;
        known.view = view;
        known.busy = false;
        known.planned = None;
        known.carried_out = None;
        known.rests_on = None;
        known.proven = Proven::default();
        known.interrupted = self.at;
        known.drains.clear();
        known.asked.clear();
        known.progress = BTreeMap::new();
        let epoch = known.epoch;
        self.update_probes(operator, &[]);
        self.update_workload_probes(operator, &[]);
        self.update_checks(operator, &lockkeeper_planner::Plan::default());
        self.update_hook_jobs(operator, &std::collections::BTreeMap::new());
        for kind in Kind::ALL {
            let delay = self.rng.between(10, 3000);
            self.after(delay, Event::List(operator, epoch, kind));
        }
    }
}
