//! Hosts: a kubelet, pods, and what befalls them.

use lockkeeper_planner::*;

use super::cluster::{Cordon, NodeObject};
use super::faults::Fault;
use super::world::{Event, OrderSource, World};

#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct Host {
    /// The boot it is in.
    pub boot: u32,
    /// The name of that boot.
    pub boot_id: BootId,
    /// When that boot began, in milliseconds since the start.
    pub booted: i64,
    pub up: bool,
    /// The soft-reboots of that boot, on a host that counts them.
    pub soft_reboots: Option<i32>,
    /// It goes down for a soft-reboot: the boot stays.
    pub soft: bool,
    /// It goes down because it was ordered to, under this operation.
    pub ordered: Option<String>,
    /// The last boot that an order led to.
    pub rebooted: Option<u32>,
    /// It was handed this order in this boot.
    pub obeyed: Option<String>,
    /// The order that its agent was told of last, and whether the operation was in phase Rebooting.
    pub notified: (Option<Order>, bool),
    pub takes_pods: bool,
    pub blocked_until: i64,
    /// Pods that landed after the cordon.
    pub late_pods: usize,
    /// It requires a reboot after each boot, each time for another reason.
    pub loops: bool,
    /// A person must press its power button.
    pub lost: bool,
    /// How often its Node was made.
    pub made: u32,
}

pub fn boot_id(node: usize, boot: u32) -> BootId {
    format!("boot-{node}-{boot}").into()
}

impl World {
    pub fn boot_id(&self, node: usize) -> BootId {
        self.hosts[node].boot_id.clone()
    }

    /// The host goes away, with all that runs on it.
    pub fn down(&mut self, node: usize, boot: u32) {
        let host = &mut self.hosts[node];
        if !host.up || host.boot != boot {
            return;
        }
        host.up = false;
        // The wait for late pods is measured on the clocks of two operators; an operator whose clock is off is not blamed for that.
        let skewed = [Fault::ClockSkew, Fault::ClockFarOff];
        let skewed = skewed.iter().any(|fault| self.faults.counts[*fault as usize] > 0);
        let late = if skewed { self.hosts[node].late_pods } else { 0 };
        self.judge.goes_down(&self.cluster, &self.hosts[node], node, late);
        self.cluster.pods[node] = 0;
        self.hosts[node].late_pods = 0;
        self.tell(|world| format!("{} is down", world.cluster.names[node]));
        let delay = self.rng.between(0, 40_000);
        self.after(delay, Event::NotReady(node, boot));
        if self.faults.often(Fault::NeverBack, 100, &mut self.rng) {
            self.hosts[node].lost = true;
        } else if self.faults.often(Fault::OldBoot, 100, &mut self.rng) {
            let delay = self.rng.between(15_000, 1_500_000);
            self.after(delay, Event::Up(node, boot, false));
        } else {
            let slow = self.faults.often(Fault::SlowBoot, 100, &mut self.rng);
            let delay = match self.boots_in {
                // Evenly spread by a third to both sides: a standard deviation of a fifth.
                Some(usual) => self.rng.between(usual * 653 / 1000, usual * 1347 / 1000),
                None if slow => self.rng.between(15_000, 2_000_000),
                None => self.rng.between(15_000, 60_000),
            };
            self.after(delay, Event::Up(node, boot, true));
        }
    }

    pub fn not_ready(&mut self, node: usize, boot: u32) {
        if !self.hosts[node].up && self.hosts[node].boot == boot {
            self.set_ready(node, false);
            self.daemon_does_not_report(node);
        }
    }

    pub fn up(&mut self, node: usize, boot: u32, new: bool) {
        let host = &mut self.hosts[node];
        if host.up || host.boot != boot {
            return;
        }
        host.up = true;
        host.lost = false;
        self.judge.is_up(node);
        let host = &mut self.hosts[node];
        let ordered = host.ordered.take().is_some();
        let soft = std::mem::take(&mut host.soft);
        if new {
            host.booted = self.at;
            host.boot += 1;
            if soft {
                host.soft_reboots = host.soft_reboots.map(|count| count + 1);
            } else {
                host.soft_reboots = host.soft_reboots.map(|_| 0);
                host.boot_id = boot_id(node, host.boot);
            }
            host.obeyed = None;
            host.rebooted = ordered.then_some(host.boot).or(host.rebooted);
        }
        let boot = host.boot;
        self.tell(|world| format!("{} is up in boot {boot}", world.cluster.names[node]));
        self.set_ready(node, false);
        let (kubelet, agent) = (self.rng.between(500, 10_000), self.rng.between(500, 15_000));
        self.after(kubelet, Event::Ready(node, boot));
        self.after(agent, Event::Report(node, boot));
    }

    pub fn ready(&mut self, node: usize, boot: u32) {
        if self.hosts[node].up && self.hosts[node].boot == boot {
            self.set_ready(node, true);
            self.daemon_starts(node);
            self.after(2_000, Event::Pods(node));
        }
    }

    /// The kubelet, or the node controller for it, says how the node is.
    fn set_ready(&mut self, node: usize, ready: bool) {
        if self.is_out() {
            return;
        }
        let (now, boot_id) = (self.now(), self.boot_id(node));
        let up = self.hosts[node].up;
        self.cluster.edit_node(node, |object| {
            let value = &mut object.value;
            if up {
                value.boot_id = boot_id;
            }
            let since = if value.ready.ready == ready {
                value.ready.since
            } else {
                now
            };
            let heartbeat = if up { now } else { value.ready.heartbeat };
            let message = if ready { "KubeletReady" } else { "NodeStatusUnknown" }.to_owned();
            value.ready = Ready {
                ready,
                since,
                heartbeat,
                message,
            };
        });
    }

    /// The kubelet reports what it reported before.
    pub fn heartbeat(&mut self, node: usize, boot: u32) {
        let now = self.now();
        if self.hosts[node].up && self.hosts[node].boot == boot {
            self.cluster
                .edit_node(node, |object| object.value.ready.heartbeat = now);
        }
    }

    /// Workloads come back to a node that takes them.
    pub fn pods(&mut self, node: usize) {
        let takes = |object: &NodeObject| object.value.ready.ready && !object.value.unschedulable;
        if self.cluster.nodes[node].as_deref().is_some_and(takes) && self.cluster.pods[node] == 0 {
            self.cluster.pods[node] = self.rng.below(3) + 1;
        }
    }

    /// A pod that was bound right before the cordon shows up.
    pub fn late_pod(&mut self, node: usize) {
        if self.hosts[node].up && self.cluster.nodes[node].is_some() {
            self.cluster.pods[node] += 1;
            self.hosts[node].late_pods += 1;
        }
    }

    /// The garbage collector finds a record whose Node is gone.
    pub fn collect(&mut self, node: usize) {
        let owned = self.cluster.nodes[node]
            .as_ref()
            .map(|object| object.value.uid.as_str());
        let orphan = |owner: &str| Some(owner) != owned;
        if self.cluster.reboots[node]
            .as_ref()
            .is_some_and(|reboot| orphan(&reboot.owner))
        {
            self.cluster.put_reboot(node, None);
            self.judge.record_collected(node);
        }
    }

    /// The kubelet registers its Node.
    pub fn make(&mut self, node: usize) {
        if self.cluster.nodes[node].is_some() {
            return;
        }
        let host = &mut self.hosts[node];
        host.made += 1;
        host.takes_pods = true;
        let (made, boot, up) = (host.made, host.boot, host.up);
        let object = self.new_node(node, made, up);
        self.cluster.put_node(node, Some(object));
        self.after(1000, Event::Report(node, boot));
        self.after(3000, Event::Pods(node));
    }

    fn new_node(&mut self, node: usize, made: u32, up: bool) -> NodeObject {
        let now = self.now();
        NodeObject {
            version: 0,
            group: 1,
            cordon: Cordon::default(),
            value: super::setup::node(self.boot_id(node), format!("uid-{node}-{made}"), now, up),
        }
    }

    /// Something befalls some host.
    pub fn trouble(&mut self) {
        if self.faults.off {
            return;
        }
        let node = self.rng.below(self.hosts.len());
        let (boot, up) = (self.hosts[node].boot, self.hosts[node].up);
        let fault = self.faults.any_of(
            &[
                Fault::Dies,
                Fault::Flaps,
                Fault::AgentRestarts,
                Fault::AgentUnconfined,
                Fault::SlowBoot,
                Fault::Undecodable,
            ],
            &mut self.rng,
        );
        if let Some(fault) = fault.filter(|_| up) {
            self.faults.count(fault);
            self.tell(|world| format!("{}: {}", world.cluster.names[node], fault.name()));
            match fault {
                Fault::Dies => self.down(node, boot),
                Fault::Flaps => {
                    self.set_ready(node, false);
                    let delay = self.rng.between(1000, 900_000);
                    self.after(delay, Event::Ready(node, boot));
                }
                Fault::Undecodable => {
                    self.cluster.set_undecodable(node, true);
                    self.judge.history.loses_sight(node);
                    let delay = self.rng.between(1000, 7_200_000);
                    self.after(delay, Event::Report(node, boot));
                }
                Fault::AgentUnconfined => {
                    let missing = "the binding of the admission policy is missing".to_owned();
                    self.confine(node, Confinement::NotConfined(missing));
                    let delay = self.rng.between(1000, 900_000);
                    self.after(delay, Event::Confined(node));
                }
                _ => self.after(100, Event::Agent(node, OrderSource::Current)),
            }
        }
        let delay = self.rng.between(10_000, 900_000);
        self.after(delay, Event::Trouble);
    }
}
