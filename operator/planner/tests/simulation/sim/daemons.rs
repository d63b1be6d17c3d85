//! The one `DaemonSet`: its pods, which start anew with each boot, the looks of the operators, and what is demanded.
//!
//! All of it is drawn from a generator of its own.

use chrono::{SubsecRound, TimeDelta};
use lockkeeper_planner::*;

use super::cluster::{Cluster, NodeObject};
use super::faults::Fault;
use super::judge::Judge;
use super::world::{Event, World};

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x6461_656d_6f6e_7365;
/// An answer is good for so long.
const FRESH: i64 = 10_000;

/// The pod of the `DaemonSet` on one node.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// Whether the `DaemonSet` is there.
    pub there: bool,
    /// Since when the API server shows it as ready, if it does.
    shown: Option<Instant>,
    /// When it got ready.
    reports: Vec<Instant>,
    /// The boot in which it got ready last.
    ready_in: Option<u32>,
    /// The boot in which its start was seen to.
    started: Option<u32>,
}

impl Daemon {
    /// What whoever writes that the cordon stands puts into the record.
    pub fn counted(&self) -> Vec<CountedWorkload> {
        let ready = self.shown.filter(|_| self.there);
        let counted = ready.map(|since| CountedWorkload {
            name: "kube-system/cni".to_owned(),
            since: Some(since),
        });
        counted.into_iter().collect()
    }
}

impl World {
    /// There is one, on most nodes ready, and some of what can go wrong with it.
    pub fn with_daemons(&mut self) {
        let since = self.start - TimeDelta::days(8);
        for daemon in &mut self.cluster.daemons {
            daemon.there = true;
            daemon.started = Some(0);
            if self.daemon_rng.chance(900) {
                daemon.shown = Some(since);
                daemon.reports.push(since);
                daemon.ready_in = Some(0);
            }
        }
        if self.faults.off {
            return;
        }
        for (fault, odds) in [
            (Fault::DaemonSlow, 700),
            (Fault::DaemonNever, 400),
            (Fault::DaemonGone, 150),
        ] {
            if self.daemon_rng.chance(odds) {
                self.faults.enable(fault);
            }
        }
        if self.faults.on(Fault::DaemonGone) {
            let delay = self.daemon_rng.between(60_000, 3_600_000);
            self.after(delay, Event::DaemonGone);
        }
    }

    /// The node controller sets it for a kubelet that does not report.
    pub fn daemon_does_not_report(&mut self, node: usize) {
        if self.cluster.daemons[node].there && self.daemon_rng.chance(500) {
            self.cluster.daemons[node].shown = None;
        }
    }

    /// The kubelet is up: the pod starts anew in a new boot, and after a while the API server knows it.
    pub fn daemon_starts(&mut self, node: usize) {
        let boot = self.hosts[node].boot;
        let daemon = &self.cluster.daemons[node];
        let known = daemon.started == Some(boot) && daemon.shown.is_some();
        if !daemon.there || known {
            return;
        }
        let anew = daemon.started != Some(boot);
        self.cluster.daemons[node].started = Some(boot);
        let rng = &mut self.daemon_rng;
        // Until the kubelet has looked at it, its word of before stands.
        if anew && rng.chance(600) {
            self.cluster.daemons[node].shown = None;
        }
        if anew && self.faults.often(Fault::DaemonNever, 150, rng) {
            return;
        }
        let slow = self.faults.often(Fault::DaemonSlow, 300, rng);
        let longest = if slow {
            rng.pick(&[30_000, 600_000, 1_500_000])
        } else {
            3_000
        };
        let delay = rng.between(50, longest);
        self.after(delay, Event::Daemon(node, boot));
    }

    pub fn daemon_ready(&mut self, node: usize, boot: u32) {
        let since = self.now().trunc_subsecs(0);
        let there = self.hosts[node].up && self.hosts[node].boot == boot;
        let daemon = &mut self.cluster.daemons[node];
        let ready = daemon.shown.is_some() && daemon.ready_in == Some(boot);
        if there && daemon.there && !ready {
            daemon.shown = Some(since);
            daemon.reports.push(since);
            daemon.ready_in = Some(boot);
            self.tell(|world| format!("{}: its DaemonSet's pod is ready", world.cluster.names[node]));
        }
    }

    pub fn daemon_gone(&mut self) {
        if !self.faults.off {
            self.faults.count(Fault::DaemonGone);
            self.cluster.daemons.iter_mut().for_each(|daemon| daemon.there = false);
        }
    }

    /// A person repairs it, once no faults are injected any more.
    pub fn repair_daemon(&mut self, node: usize) {
        let (boot, delay) = (self.hosts[node].boot, self.daemon_rng.between(2_000, 600_000));
        if self.cluster.daemons[node].there {
            self.after(delay, Event::Daemon(node, boot));
        }
    }

    /// Looks at those that the plan names, as `operator/src/daemons.rs` does.
    pub fn update_probes(&mut self, operator: usize, wanted: &[String]) {
        let known = &mut self.operators[operator];
        let question = |name: &String| {
            let node = known.view.snapshot.nodes.get(name)?;
            let operation = node.record.as_ref()?.operation.as_ref()?;
            let question = (operation.order_id(), node.boot_id.clone());
            Some((self.cluster.index(name)?, question))
        };
        let wanted: Vec<_> = wanted.iter().filter_map(question).collect();
        let ended = known.probes.iter().filter(|(index, question)| {
            let mut wanted = wanted.iter();
            !wanted.any(|(other, asked)| (other, asked) == (*index, &question.0))
        });
        let ended: Vec<usize> = ended.map(|(index, _)| *index).collect();
        for index in ended {
            known.probes.remove(&index);
            known.view.set_daemons(index, &DaemonSetReadiness::Unknown);
        }
        for (index, question) in wanted {
            if !self.operators[operator].probes.contains_key(&index) {
                self.probes += 1;
                let (number, delay) = (self.probes, self.daemon_rng.between(5, 400));
                self.operators[operator].probes.insert(index, (question, number));
                self.after(delay, Event::Probe(operator, number, index));
            }
        }
    }

    /// One list of the node's pods is answered.
    pub fn probe_daemon_set(&mut self, operator: usize, number: u64, index: usize) {
        let known = &mut self.operators[operator];
        if known.probes.get(&index).map(|(_, number)| *number) != Some(number) {
            return;
        }
        known.view.refresh(&known.progress);
        let name = self.cluster.names[index].clone();
        let node = known.view.snapshot.nodes.get(&name);
        let operation = node.and_then(|node| node.record.as_ref()?.operation.as_ref());
        let counted = operation.and_then(|operation| operation.daemon_sets.first());
        let counted = counted.and_then(|daemon| daemon.since);
        let daemon = &self.cluster.daemons[index];
        let trouble = self.faults.on(Fault::ServerTrouble) && self.daemon_rng.chance(self.faults.rate);
        let again = daemon.shown.is_some() && (daemon.shown != counted || self.counts_an_old_report());
        let found = if !trouble && (again || !daemon.there) {
            DaemonSetReadiness::Ready
        } else {
            let what = "DaemonSet kube-system/cni: pod cni-x is not ready: containers with unready status: [cni]";
            DaemonSetReadiness::NotReady { what: what.to_owned() }
        };
        let pause = match found {
            DaemonSetReadiness::Ready => FRESH,
            DaemonSetReadiness::NotReady { .. } | DaemonSetReadiness::Unknown => self.daemon_rng.between(200, 5_000),
        };
        self.after(pause, Event::Probe(operator, number, index));
        let known = &mut self.operators[operator];
        if known
            .view
            .snapshot
            .nodes
            .get(&name)
            .is_some_and(|node| node.daemon_sets != found)
        {
            known.view.set_daemons(index, &found);
            self.wake(operator, 0);
        }
    }
}

impl Judge {
    /// S5: what was ready on the node before the reboot was so in a boot after it, before the node is uncordoned.
    pub fn daemons_again(&mut self, cluster: &Cluster, before: &NodeObject, node: usize, operation: &Operation) {
        let verified = operation.phase == Phase::Verifying
            && operation.pending_outcome.is_none()
            && before.value.cordoned_for.as_ref() == Some(&operation.id);
        let daemon = &cluster.daemons[node];
        let Some(counted) = operation.daemon_sets.first().filter(|_| verified && daemon.there) else {
            return;
        };
        // One that reported again between cordon and reboot has two times before it; only the first was listed.
        let good = daemon.reports.iter().any(|since| Some(*since) > counted.since);
        let name = &cluster.names[node];
        if !good {
            self.broken("S5", &format!("{name} is uncordoned before its DaemonSet is ready"));
        }
    }
}
