//! Agents: they answer orders, pass them on to their hosts, and report.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::faults::Fault;
use super::world::{Event, OrderSource, World};

/// Whether the report is of this boot and of this userspace.
fn is_of(host: &Host, boot_id: &BootId, soft_reboots: Option<i32>) -> bool {
    host.boot_id == *boot_id && host.soft_reboots.map(|soft_reboots| soft_reboots.count) == soft_reboots
}

impl World {
    /// The agent's watch shows it another order, or another phase.
    pub fn tell_agent(&mut self, node: usize, (order, rebooting): (Option<Order>, bool)) {
        // An agent that is suspended with the order in hand acts on it whenever it goes on.
        let suspended = self.faults.often(Fault::AgentSuspended, 150, &mut self.rng);
        if suspended || self.faults.often(Fault::AgentStale, 150, &mut self.rng) {
            let longest = if suspended { 4_000_000 } else { 5000 };
            let delay = self.rng.between(500, longest);
            return self.after(delay, Event::Agent(node, OrderSource::Watched(order, rebooting)));
        }
        let late = self.faults.often(Fault::AgentLate, 100, &mut self.rng);
        let delay = if late {
            self.rng.between(5_000, 1_200_000)
        } else {
            self.rng.between(5, 300)
        };
        self.after(delay, Event::Agent(node, OrderSource::Current));
    }

    /// The agent: answers each order once for each boot, and hands a reboot to the host once.
    pub fn agent(&mut self, node: usize, source: OrderSource) {
        let Some(record) = self.cluster.reboots[node].as_ref().map(|reboot| &reboot.record) else {
            return;
        };
        if !self.hosts[node].up
            || self.cluster.reboots[node]
                .as_ref()
                .is_some_and(|reboot| reboot.undecodable)
        {
            return;
        }
        let (order, rebooting) = match source {
            OrderSource::Current => {
                let operation = record.operation.as_deref();
                let rebooting = operation.is_some_and(|operation| operation.phase == Phase::Rebooting);
                (record.order.clone(), rebooting)
            }
            OrderSource::Watched(order, rebooting) => (order, rebooting),
        };
        let Some(order) = order else {
            return;
        };
        let is_current = record.order.as_ref().is_some_and(|current| current.is_same(&order));
        // Before a reboot the agent reads its object again; that an order is gone with the data is all that this finds here.
        if self.backup.restored && !is_current {
            return;
        }
        let boot_id = self.boot_id(node);
        // All that an agent says is one apply: its first answer says as well which boot it is in and what that asks for.
        let soft_reboots = self.hosts[node].soft_reboots;
        if record
            .host
            .as_ref()
            .is_none_or(|host| !is_of(host, &boot_id, soft_reboots))
        {
            return self.report(node, self.hosts[node].boot);
        }
        let other = order.boot_id != boot_id || order.soft_reboots.is_some() && order.soft_reboots != soft_reboots;
        if other && !self.accepts_any_boot() {
            if order.action == OrderAction::Prepare {
                self.answer(node, &order, AnswerState::Refused);
            }
            return;
        }
        let host = record.host.as_ref().filter(|host| host.boot_id == boot_id);
        let said = host
            .and_then(|host| host.answer.as_ref())
            .filter(|answer| answer.id == order.id);
        let for_good = said.is_some_and(|answer| match answer.state {
            AnswerState::Refused | AnswerState::Rebooting | AnswerState::Failed => true,
            AnswerState::Ready => order.action == OrderAction::Prepare,
            AnswerState::Withdrawn => false,
        });
        if for_good || self.hosts[node].obeyed.as_ref() == Some(&order.id) {
            return;
        }
        let late = order.not_after.is_some_and(|not_after| not_after < self.now());
        if late && !self.obeys_late_orders() {
            if is_current {
                self.answer(node, &order, AnswerState::Refused);
            }
            return;
        }
        // The operator writes the phase after the order.
        if order.action == OrderAction::Reboot && !rebooting {
            return;
        }
        if self.faults.often(Fault::AgentRefuses, 60, &mut self.rng) {
            if order.action == OrderAction::Reboot {
                let (boot, delay) = (self.hosts[node].boot, self.rng.between(1000, 300_000));
                self.after(delay, Event::Heartbeat(node, boot));
            }
            return self.answer(node, &order, AnswerState::Refused);
        }
        if order.action == OrderAction::Prepare {
            return self.answer(node, &order, AnswerState::Ready);
        }
        if self.faults.often(Fault::RefusesAndReboots, 150, &mut self.rng) {
            return self.reboot(node, &order, AnswerState::Refused);
        }
        if self.faults.often(Fault::AgentFails, 60, &mut self.rng) {
            return self.answer(node, &order, AnswerState::Failed);
        }
        self.reboot(node, &order, AnswerState::Rebooting);
    }

    /// The host reboots, whatever its agent answers: the reply of the host may be lost.
    fn reboot(&mut self, node: usize, order: &Order, answer: AnswerState) {
        self.judge.reboots(&self.cluster, &self.hosts[node], node, order);
        self.coverage.reboots += 1;
        self.tell(|world| format!("{} reboots for order {}", world.cluster.names[node], order.id));
        let (now, clocks_jump) = (self.now(), self.faults.is_known(Fault::ClockFarOff));
        let host = &mut self.hosts[node];
        host.obeyed = Some(order.id.clone());
        // What an operator ordered whose clock was far ahead never expires, and its planner is not to blame.
        let expires = order
            .not_after
            .is_none_or(|not_after| not_after < now + TimeDelta::hours(2));
        // The wait after a refusal is measured on the clock of an operator.
        let is_judged = expires && (answer != AnswerState::Refused || !clocks_jump);
        let operation = order.id.rsplit_once('-').filter(|_| is_judged);
        host.ordered = operation.map(|(operation, _)| operation.to_owned());
        host.soft = order.soft_reboots.is_some();
        let boot = host.boot;
        self.answer(node, order, answer);
        let longest = if answer == AnswerState::Refused { 50_000 } else { 3000 };
        let delay = self.rng.between(300, longest);
        self.after(delay, Event::Down(node, boot));
    }

    fn answer(&mut self, node: usize, order: &Order, state: AnswerState) {
        let (id, boot_id) = (order.id.clone(), self.boot_id(node));
        self.tell(|world| format!("{} answers {:?} to {id}", world.cluster.names[node], state));
        let message = if state == AnswerState::Refused {
            "polkit asks for a password"
        } else {
            ""
        };
        let message = message.to_owned();
        self.cluster.edit_record(node, |record| {
            let host = record.host.get_or_insert_with(lockkeeper_planner::Host::default);
            host.boot_id = boot_id;
            host.answer = Some(HostAnswer { id, state, message });
        });
    }

    /// The agent reports its boot and whether the host requires a reboot.
    pub fn report(&mut self, node: usize, boot: u32) {
        let host = &self.hosts[node];
        if !host.up || host.boot != boot {
            return;
        }
        if self.cluster.reboots[node].is_none() {
            // Its watch shows it the record once there is one.
            return;
        }
        self.cluster.set_undecodable(node, false);
        let (boot_id, now) = (self.boot_id(node), self.now());
        let booted = self.start + TimeDelta::milliseconds(self.hosts[node].booted);
        let known = self.cluster.reboots[node]
            .as_ref()
            .and_then(|reboot| reboot.record.host.as_ref());
        let soft_reboots = self.hosts[node].soft_reboots;
        let same_boot = known.is_some_and(|host| is_of(host, &boot_id, soft_reboots));
        let still = !same_boot
            && self.hosts[node].rebooted == Some(boot)
            && self.faults.often(Fault::StillRequired, 100, &mut self.rng);
        let rebooted = !same_boot && self.hosts[node].rebooted == Some(boot);
        let begins = rebooted && self.faults.often(Fault::ReasonsChange, 200, &mut self.rng);
        self.hosts[node].loops |= begins;
        let loops = rebooted && self.hosts[node].loops && self.faults.on(Fault::ReasonsChange);
        let still = still || loops;
        let obeyed = self.hosts[node].obeyed.clone();
        self.cluster.edit_record(node, |record| {
            let host = record.host.get_or_insert_with(lockkeeper_planner::Host::default);
            if !same_boot {
                let mut reasons = std::mem::take(&mut host.reasons);
                if loops {
                    reasons = vec![format!("sshd (pid {boot})")];
                }
                // What it handed to its host in this boot it says to a new record, too.
                let answer = obeyed.map(|id| HostAnswer {
                    id,
                    state: AnswerState::Rebooting,
                    message: String::new(),
                });
                *host = lockkeeper_planner::Host {
                    boot_id,
                    boot_time: Some(booted),
                    soft_reboots: soft_reboots.map(|count| SoftReboots {
                        count,
                        last: Some(booted),
                    }),
                    kernel: "6.1.0-28".to_owned(),
                    required: still,
                    required_since: still.then_some(if loops { now - TimeDelta::days(99) } else { now }),
                    reasons: if still { reasons } else { vec![] },
                    answer,
                    confinement: Confinement::Confined,
                    ..lockkeeper_planner::Host::default()
                };
            }
        });
        self.after(10, Event::Agent(node, OrderSource::Current));
    }

    /// The agent reports whether it is confined.
    pub fn confine(&mut self, node: usize, confinement: Confinement) {
        self.cluster.edit_record(node, |record| {
            if let Some(host) = &mut record.host {
                host.confinement = confinement;
            }
        });
    }

    pub fn requires(&mut self, node: usize) {
        let (now, seed) = (self.now(), self.seed);
        if self.cluster.reboots[node]
            .as_ref()
            .is_none_or(|reboot| reboot.record.host.is_none())
            && self.cluster.nodes[node].is_some()
        {
            return self.after(60_000, Event::Requires(node));
        }
        self.cluster.edit_record(node, |record| {
            if let Some(host) = &mut record.host {
                host.required = true;
                host.required_since = Some(now);
                host.userspace_only = (seed + node as u64).is_multiple_of(3);
                let package = if host.userspace_only { "libc6" } else { "linux-image" };
                host.reasons = vec![format!("{package}-6.1.{}", seed % 7 + 28)];
            }
        });
    }
}
