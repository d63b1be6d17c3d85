//! The world: truth, two operators with views of their own, hosts, people, one clock and one order of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::checks::Checks;
use super::cluster::{Cluster, Kind};
use super::coverage::Coverage;
use super::failed_writes::Target;
use super::faults::Faults;
use super::hooks::Jobs;
use super::hosts::Host;
use super::judge::Judge;
use super::mutants::Mutant;
use super::operator::Operator;
use super::outages;
use super::restore::Backup;
use super::rng::Rng;
use super::setup;

/// What happens at some instant.
#[derive(Clone, Debug)]
pub enum Event {
    /// A watch of an operator shows what is due.
    Deliver(usize, Kind),
    /// A watch of an operator lists everything.
    List(usize, u64, Kind),
    /// An operator looks.
    Wake(usize),
    /// An operator makes its next write.
    Call(usize, u64),
    /// A drain goes on.
    Drain(usize, u64, usize),
    /// An operator is told whether the pods of a node can leave.
    Preflight(usize, u64, usize),
    /// An operator is told whether the `DaemonSet` is ready on a node; of the look with this number.
    Probe(usize, u64, usize),
    /// An operator leads, or no longer.
    Lead(usize, bool),
    /// The clock of an operator is set right.
    ClockSet(usize),
    /// An operator has noticed that the versions of the API server went back.
    Rewound(usize, u64),
    /// An agent looks at its order: at what stands now, or at what it was told.
    Agent(usize, OrderSource),
    /// An agent reports from its boot.
    Report(usize, u32),
    Down(usize, u32),
    NotReady(usize, u32),
    /// A host comes up, in a new boot or not.
    Up(usize, u32, bool),
    Ready(usize, u32),
    /// A kubelet reports what it reported before.
    Heartbeat(usize, u32),
    /// The agent is confined again.
    Confined(usize),
    /// An operator is told whether the workload that a node evicted is ready; of the probe with this number.
    WorkloadProbe(usize, u64, usize),
    /// The workload that a node evicted is ready again.
    Workload(usize),
    /// The alert that checks look at begins to fire, or ends.
    Alert,
    /// An operator makes a round of checks; of the rounds with this number.
    CheckRound(usize, u64),
    /// An operator is told how far the Job of a hook is; of the requests with this number.
    HookJob(usize, u64, usize),
    /// Those who answer hooks on the Nodes look at them.
    HookAnswers,
    /// A person declares a rollout urgent, or takes that back.
    Urgent,
    /// The `DaemonSet`'s pod is ready in this boot.
    Daemon(usize, u32),
    /// The `DaemonSet` is deleted.
    DaemonGone,
    /// A host requires a reboot.
    Requires(usize),
    /// Pods land on a node that takes them; or one that was on its way when the node was cordoned.
    Pods(usize),
    LatePod(usize),
    /// The record of a Node that is gone is collected.
    Collect(usize),
    /// A Node is made under its name.
    Make(usize),
    Meddle,
    Trouble,
    /// From now on nothing goes wrong.
    Quiet,
    /// A person looks after failed nodes.
    Round,
}

/// Where an agent takes its order from.
#[derive(Clone, Debug)]
pub enum OrderSource {
    /// The order of the record as it is then.
    Current,
    /// The order that its watch has delivered, and whether the operation was in phase Rebooting.
    Watched(Option<Order>, bool),
}

#[derive(Debug)]
struct Due {
    at: i64,
    number: u64,
    what: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub struct World {
    pub seed: u64,
    pub rng: Rng,
    /// For all that has to do with the `DaemonSet`: a seed without one keeps its story.
    pub daemon_rng: Rng,
    /// For all that has to do with workloads, likewise.
    pub workload_rng: Rng,
    /// For all that has to do with checks, likewise.
    pub check_rng: Rng,
    pub checks: Checks,
    /// For all that has to do with hooks, likewise.
    pub hook_rng: Rng,
    pub hook_jobs: Jobs,
    /// For all that has to do with deadlines, likewise.
    pub deadline_rng: Rng,
    /// For all that has to do with notices, likewise.
    pub notice_rng: Rng,
    /// Milliseconds since the start.
    pub at: i64,
    pub start: Instant,
    pub cluster: Cluster,
    pub hosts: Vec<Host>,
    /// Until when the API server denies all writes about an object.
    pub denied: BTreeMap<Target, i64>,
    /// Until when no one reaches the API server.
    pub out_until: i64,
    pub backup: Backup,
    pub operators: Vec<Operator>,
    pub faults: Faults,
    pub judge: Judge,
    pub coverage: Coverage,
    pub mutant: Option<Mutant>,
    /// How long a reboot takes, give or take a third; absent = anything.
    pub boots_in: Option<i64>,
    /// When the last operation ended.
    pub ended: i64,
    /// Set once the faults are over and everything has come to rest.
    pub done: bool,
    pub quiet: bool,
    pub passes: u64,
    pub events: u64,
    pub trace: Option<String>,
    /// Looks that were begun.
    pub probes: u64,
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
}

/// The settings of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// That many nodes; absent = the seed says.
    pub nodes: Option<usize>,
    /// Nothing goes wrong.
    pub no_faults: bool,
    /// Both operators lead all the time; otherwise the seed says.
    pub two_leaders: bool,
    /// A fleet to forecast: all goes well, and reboots take about this many milliseconds.
    pub boots_in: Option<i64>,
    /// Whether there is a `DaemonSet`; absent = the seed says.
    pub daemons: Option<bool>,
    /// Whether there are workloads; absent = the seed says.
    pub workloads: Option<bool>,
    /// Whether policies have checks; absent = the seed says.
    pub checks: Option<bool>,
    /// Whether policies have hooks; absent = the seed says.
    pub hooks: Option<bool>,
    /// Whether policies ask for notice; absent = the seed says.
    pub notices: Option<bool>,
    /// Whether policies have deadlines; absent = the seed says.
    pub deadlines: Option<bool>,
    pub mutant: Option<Mutant>,
    /// Only these faults, and often; empty = the seed says.
    pub faults: &'static [super::faults::Fault],
    /// Write down what happens.
    pub traced: bool,
}

/// A run that takes more events than this does not come to rest.
const MOST_EVENTS: u64 = 300_000;
/// After the faults, everything is over within so many days; back-off is 6 h at most, a window opens each day and may
/// have room for one node.
const PATIENCE_DAYS: usize = 40;
const DAY: i64 = 24 * 3600 * 1000;

/// Runs a seed to its end.
pub fn run(seed: u64, setup: Setup) -> World {
    let mut world = setup::world(seed, setup);
    while !world.done && world.judge.violations.is_empty() {
        world.step();
    }
    world.coverage.finish(&world.faults, world.passes, world.events);
    world
}

impl World {
    pub fn new(seed: u64, rng: Rng, start: Instant, cluster: Cluster, hosts: Vec<Host>, faults: Faults) -> Self {
        Self {
            seed,
            rng,
            daemon_rng: Rng::new(seed ^ super::daemons::GENERATOR),
            workload_rng: Rng::new(seed ^ super::workloads::GENERATOR),
            check_rng: Rng::new(seed ^ super::checks::GENERATOR),
            checks: Checks::default(),
            hook_rng: Rng::new(seed ^ super::hooks::GENERATOR),
            hook_jobs: Jobs::default(),
            notice_rng: Rng::new(seed ^ super::notices::GENERATOR),
            deadline_rng: Rng::new(seed ^ super::deadlines::GENERATOR),
            at: 0,
            start,
            judge: Judge::new(&cluster),
            cluster,
            denied: BTreeMap::new(),
            out_until: 0,
            backup: Backup::default(),
            hosts,
            operators: vec![],
            faults,
            coverage: Coverage::default(),
            mutant: None,
            boots_in: None,
            ended: 0,
            done: false,
            quiet: false,
            passes: 0,
            events: 0,
            trace: None,
            probes: 0,
            due: BinaryHeap::new(),
            number: 0,
        }
    }

    pub fn now(&self) -> Instant {
        self.start + TimeDelta::milliseconds(self.at)
    }

    /// Something will happen in that many milliseconds.
    pub fn after(&mut self, delay: i64, what: Event) {
        self.on(self.at + delay.max(0), what);
    }

    pub fn on(&mut self, at: i64, what: Event) {
        self.number += 1;
        let number = self.number;
        self.due.push(Reverse(Due { at, number, what }));
    }

    pub fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>10.3} {}\n", self.at as f64 / 1000.0, what(self));
            self.trace.iter_mut().for_each(|trace| trace.push_str(&line));
        }
    }

    /// Goes on until that many milliseconds after the start.
    pub fn run_until(&mut self, at: i64) {
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= at) {
            self.step();
        }
        self.at = at;
    }

    pub fn step(&mut self) {
        let Some(Reverse(due)) = self.due.pop() else {
            self.judge.broken("L1", "nothing will ever happen any more");
            return;
        };
        self.at = due.at;
        self.events += 1;
        let patience = PATIENCE_DAYS.max(self.hosts.len() + 30) as i64 * DAY;
        if self.events > MOST_EVENTS || self.judge.quiet_since.is_some_and(|since| self.at - since > patience) {
            self.never_ends();
            return;
        }
        if self.is_out() && outages::needs_the_server(&due.what) {
            self.happens_after_the_outage(due.what);
        } else {
            self.happen(due.what);
        }
        if !self.cluster.news.is_empty() {
            self.spread();
            self.judge.look(&self.cluster);
        }
    }

    fn happen(&mut self, what: Event) {
        match what {
            Event::Deliver(operator, kind) => self.deliver(operator, kind),
            Event::List(operator, epoch, kind) => self.list(operator, epoch, kind),
            Event::Wake(operator) => self.woken(operator),
            Event::Call(operator, epoch) => self.call(operator, epoch),
            Event::Drain(operator, epoch, node) => self.drain(operator, epoch, node),
            Event::Preflight(operator, epoch, node) => self.preflight(operator, epoch, node),
            Event::Probe(operator, epoch, node) => self.probe_daemon_set(operator, epoch, node),
            Event::Daemon(node, boot) => self.daemon_ready(node, boot),
            Event::DaemonGone => self.daemon_gone(),
            Event::WorkloadProbe(operator, epoch, node) => self.probe_workload(operator, epoch, node),
            Event::Workload(node) => self.workload_ready(node),
            Event::Alert => self.flip_alert(),
            Event::CheckRound(operator, number) => self.check_round(operator, number),
            Event::HookJob(operator, number, node) => self.observe_hook_job(operator, number, node),
            Event::HookAnswers => self.answer_hooks(),
            Event::Urgent => self.declares_urgent(),
            Event::Lead(operator, leads) => self.lead(operator, leads),
            Event::Rewound(operator, epoch) => self.rewound(operator, epoch),
            Event::ClockSet(operator) => self.set_clock(operator, TimeDelta::zero()),
            Event::Agent(node, source) => self.agent(node, source),
            Event::Report(node, boot) => self.report(node, boot),
            Event::Down(node, boot) => self.down(node, boot),
            Event::NotReady(node, boot) => self.not_ready(node, boot),
            Event::Up(node, boot, new) => self.up(node, boot, new),
            Event::Ready(node, boot) => self.ready(node, boot),
            Event::Heartbeat(node, boot) => self.heartbeat(node, boot),
            Event::Confined(node) => self.confine(node, Confinement::Confined),
            Event::Requires(node) => self.requires(node),
            Event::Pods(node) => self.pods(node),
            Event::LatePod(node) => self.late_pod(node),
            Event::Collect(node) => self.collect(node),
            Event::Make(node) => self.make(node),
            Event::Meddle => self.meddle(),
            Event::Trouble => self.trouble(),
            Event::Quiet => self.all_quiet(),
            Event::Round => self.round(),
        }
    }
}
