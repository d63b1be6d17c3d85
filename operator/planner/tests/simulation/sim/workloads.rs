//! One workload for each node: its pod is evicted by the drain and gets ready on another node, or later on this one.
//!
//! All of it is drawn from a generator of its own.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::faults::Fault;
use super::judge::Judge;
use super::world::{Event, World};

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x776f_726b_6c6f_6164;
/// An answer is good for so long.
const FRESH: i64 = 10_000;

/// The workload that has a pod on one node.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Whether there is one.
    pub there: bool,
    /// Whether all its replicas are ready.
    pub ready: bool,
    /// The operation that evicted its pod last.
    evicted_for: Option<String>,
}

impl Workload {
    /// What whoever writes that the cordon stands puts into the record.
    pub fn counted(&self) -> Vec<EvictedWorkload> {
        let counted = (self.there && self.ready).then(|| EvictedWorkload {
            owner: "ReplicaSet shop/web-7d9c".to_owned(),
            deployment: Some("web".to_owned()),
            replicas: Some(2),
        });
        counted.into_iter().collect()
    }
}

impl World {
    /// There is one for most nodes, mostly ready.
    pub fn with_workloads(&mut self) {
        for workload in &mut self.cluster.workloads {
            workload.there = self.workload_rng.chance(900);
            workload.ready = self.workload_rng.chance(900);
        }
    }

    /// The drain of an operation that counts it begins: its pod goes, and another one gets ready some time later.
    pub fn evict_workload(&mut self, node: usize, operation: &Operation) {
        let evicted_for = &mut self.cluster.workloads[node].evicted_for;
        let again = evicted_for.as_ref() == Some(&operation.id);
        if again || operation.phase != Phase::Draining || operation.workloads.is_empty() {
            return;
        }
        *evicted_for = Some(operation.id.clone());
        self.cluster.workloads[node].ready = false;
        let longest = self.workload_rng.pick(&[2_000, 30_000, 300_000, 1_500_000, 10_000_000]);
        let delay = self.workload_rng.between(500, longest);
        self.after(delay, Event::Workload(node));
    }

    pub fn workload_ready(&mut self, node: usize) {
        self.cluster.workloads[node].ready = true;
        self.tell(|world| format!("{}: the workload that it evicted is ready", world.cluster.names[node]));
    }

    /// Checks those that the plan names, as `operator/src/tasks/probes.rs` does.
    pub fn update_workload_probes(&mut self, operator: usize, wanted: &[String]) {
        let known = &mut self.operators[operator];
        let question = |name: &String| {
            let node = known.view.snapshot.nodes.get(name)?;
            let operation = node.record.as_ref()?.operation.as_ref()?;
            let question = (operation.order_id(), node.boot_id.clone());
            Some((self.cluster.index(name)?, question))
        };
        let wanted: Vec<_> = wanted.iter().filter_map(question).collect();
        let ended = known.workload_probes.iter().filter(|(index, question)| {
            let mut wanted = wanted.iter();
            !wanted.any(|(other, asked)| (other, asked) == (*index, &question.0))
        });
        let ended: Vec<usize> = ended.map(|(index, _)| *index).collect();
        for index in ended {
            known.workload_probes.remove(&index);
            known.view.set_workloads(index, &WorkloadReadiness::Unknown);
        }
        for (index, question) in wanted {
            if !self.operators[operator].workload_probes.contains_key(&index) {
                self.probes += 1;
                let (number, delay) = (self.probes, self.workload_rng.between(5, 400));
                self.operators[operator]
                    .workload_probes
                    .insert(index, (question, number));
                self.after(delay, Event::WorkloadProbe(operator, number, index));
            }
        }
    }

    /// One read of the workload is answered.
    pub fn probe_workload(&mut self, operator: usize, number: u64, index: usize) {
        let known = &mut self.operators[operator];
        if known.workload_probes.get(&index).map(|(_, number)| *number) != Some(number) {
            return;
        }
        known.view.refresh(&known.progress);
        let trouble = self.faults.on(Fault::ServerTrouble) && self.workload_rng.chance(self.faults.rate);
        let found = match (trouble, self.cluster.workloads[index].ready) {
            (false, true) => WorkloadReadiness::Ready,
            (false, false) => not_ready("1 of 2 ready", None),
            (true, _) => not_ready("not known", Some("cannot read ReplicaSet shop/web-7d9c".to_owned())),
        };
        let pause = match found {
            WorkloadReadiness::Ready => FRESH,
            WorkloadReadiness::NotReady { .. } | WorkloadReadiness::Unknown => self.workload_rng.between(200, 5_000),
        };
        self.after(pause, Event::WorkloadProbe(operator, number, index));
        let known = &mut self.operators[operator];
        let node = known.view.snapshot.nodes.get(&self.cluster.names[index]);
        if node.is_some_and(|node| node.workloads != found) {
            known.view.set_workloads(index, &found);
            self.wake(operator, 0);
        }
    }
}

fn not_ready(known: &str, failure: Option<String>) -> WorkloadReadiness {
    WorkloadReadiness::NotReady {
        workloads: vec![format!("Deployment shop/web ({known})")],
        failure,
    }
}

impl Judge {
    /// A node keeps its slot until the workload that it evicted is ready, or its time is over by the clock of who ends it.
    pub fn workloads_again(
        &mut self,
        cluster: &Cluster,
        node: usize,
        before: &Operation,
        finished: &Finished,
        now: Instant,
    ) {
        let timeout = before.settings.workloads_timeout;
        let counts = !before.workloads.is_empty() && timeout > TimeDelta::zero();
        if finished.outcome != Outcome::Succeeded || !counts {
            return;
        }
        // By a clock that was off by days, the time may be over at any moment: what is waited for is bounded all the same.
        let over = self.history.clock_was_wrong || before.uncordoned.is_some_and(|since| now >= since + timeout);
        if !cluster.workloads[node].ready && !over {
            let name = &cluster.names[node];
            self.broken(
                "slot",
                &format!("{name} ends before the workload that it evicted is ready"),
            );
        }
    }
}
