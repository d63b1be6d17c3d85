//! People and other programs, who do what they may do at any time.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cordon;
use super::faults::Fault;
use super::world::{Event, World};

const PEOPLE: &[Fault] = &[
    Fault::Cordons,
    Fault::Uncordons,
    Fault::Holds,
    Fault::HoldEnds,
    Fault::Approves,
    Fault::Acknowledges,
    Fault::Requests,
    Fault::Retries,
    Fault::Releases,
    Fault::Cancels,
    Fault::OldCommand,
    Fault::LockEdited,
    Fault::LockLost,
    Fault::RecordLost,
    Fault::LimitEdited,
    Fault::Suspends,
    Fault::WindowEdited,
    Fault::PolicyLost,
    Fault::Relabelled,
    Fault::Remade,
    Fault::Deleted,
    Fault::TwoLeaders,
    Fault::Blind,
    Fault::Takeover,
    Fault::ClockSkew,
    Fault::ClockFarOff,
    Fault::ClockBehind,
    Fault::NoLeader,
    Fault::Outage,
    Fault::Restored,
];

impl World {
    /// A person does something, and will again.
    pub fn meddle(&mut self) {
        if self.faults.off {
            return;
        }
        if let Some(fault) = self.faults.any_of(PEOPLE, &mut self.rng) {
            let node = self.somewhere();
            if self.does(fault, node) {
                self.faults.count(fault);
                self.tell(|world| format!("{}: {}", world.cluster.names[node], fault.name()));
            }
        }
        let longest = self.rng.pick(&[2_000, 60_000, 600_000]);
        let delay = self.rng.between(100, longest);
        self.after(delay, Event::Meddle);
    }

    /// A node; more often than not one where something is going on.
    fn somewhere(&mut self) -> usize {
        let busy = |node: &usize| self.cluster.operation(*node).is_some();
        let busy: Vec<usize> = (0..self.hosts.len()).filter(busy).collect();
        if busy.is_empty() || self.rng.chance(300) {
            self.rng.below(self.hosts.len())
        } else {
            self.rng.pick(&busy)
        }
    }

    /// Whether it could be done.
    fn does(&mut self, fault: Fault, node: usize) -> bool {
        match fault {
            Fault::Cordons => self.cordons(node),
            Fault::Uncordons => self.uncordons(node),
            Fault::Holds => self.holds(node),
            Fault::HoldEnds => self
                .cluster
                .edit_node(node, |object| object.value.hold = None)
                .is_some(),
            Fault::Approves => self.approves(node),
            Fault::Acknowledges => {
                let index = self.rng.below(self.cluster.policies.len());
                let edited = self.cluster.edit_policy(index, |object| {
                    object.value.acknowledged = object.value.state.breaker.opened;
                });
                let name = self.cluster.policy_names[index].clone();
                self.judge.history.acknowledges(&name, self.at);
                edited.is_some()
            }
            Fault::Requests => {
                let request = Some("firmware".to_owned());
                self.cluster
                    .edit_node(node, |object| object.value.requested = request)
                    .is_some()
            }
            Fault::Retries => self.command(node, "retry", false),
            Fault::Releases => self.command(node, "release", false),
            Fault::Cancels => self.command(node, "cancel", false),
            Fault::OldCommand => {
                let verb = self.rng.pick(&["retry", "release", "cancel", "reboot"]);
                self.command(node, verb, true)
            }
            Fault::LockEdited => self.edits_lock(),
            Fault::LockLost => {
                (0..self.hosts.len()).for_each(|node| self.judge.slot_may_go(node));
                self.cluster.lock.is_some() && self.cluster.put_lock(None).version > 0
            }
            Fault::RecordLost => {
                let boot = self.hosts[node].boot;
                self.after(2000, Event::Report(node, boot));
                self.judge.record_lost(node);
                self.cluster.reboots[node].is_some() && self.cluster.put_reboot(node, None).version > 0
            }
            Fault::Relabelled => {
                let group = self.rng.pick(&[0, 1, 1, 2, 3]);
                self.cluster.edit_node(node, |object| object.group = group).is_some()
            }
            Fault::Remade | Fault::Deleted => self.deletes(node, fault == Fault::Remade),
            Fault::LimitEdited | Fault::Suspends | Fault::WindowEdited | Fault::PolicyLost => self.edits_policy(fault),
            Fault::TwoLeaders => {
                let other = usize::from(self.operators[0].leading);
                self.after(0, Event::Lead(other, true));
                let (delay, leaves) = (self.rng.between(1000, 400_000), self.rng.below(2));
                self.after(delay, Event::Lead(leaves, false));
                self.after(delay, Event::Lead(1 - leaves, true));
                if self.faults.on(Fault::Blind) && self.rng.chance(500) {
                    self.goes_blind();
                }
                true
            }
            Fault::Blind => self.goes_blind(),
            Fault::Takeover => {
                let next = usize::from(self.operators[0].leading);
                self.after(0, Event::Lead(1 - next, false));
                let delay = self.rng.between(0, 9000);
                self.after(delay, Event::Lead(next, true));
                true
            }
            Fault::ClockSkew => {
                let (operator, seconds) = (self.rng.below(2), self.rng.between(-40, 40));
                self.set_clock(operator, TimeDelta::seconds(seconds));
                true
            }
            Fault::ClockFarOff => {
                let (operator, days) = (self.rng.below(2), self.rng.pick(&[-3, 1, 3, 60]));
                self.set_clock(operator, TimeDelta::days(days));
                // Or it is never set right. One that is behind and leads all the same must be: its orders have expired when
                // they are written.
                if self.rng.chance(700) || days < 0 {
                    let delay = self.rng.between(1000, 600_000);
                    self.after(delay, Event::ClockSet(operator));
                }
                true
            }
            Fault::ClockBehind => self.stays_behind(),
            Fault::NoLeader => {
                let (other, delay) = (self.rng.below(2), self.rng.between(60_000, 3_000_000));
                self.after(0, Event::Lead(0, false));
                self.after(0, Event::Lead(1, false));
                self.after(delay, Event::Lead(other, true));
                true
            }
            Fault::Outage => self.goes_out(),
            Fault::Restored => self.restores(),
            _ => false,
        }
    }

    /// A plan that was made by another clock says nothing about when this one must be asked again.
    pub fn set_clock(&mut self, operator: usize, skew: TimeDelta) {
        if !self.operators[operator].stays_behind {
            self.operators[operator].skew = skew;
            self.operators[operator].rests_on = None;
        }
    }

    /// The clock of an operator is behind and no one sets it right: the operator sees that in the answers of the API server,
    /// and hands over to the other one.
    fn stays_behind(&mut self) -> bool {
        let operator = self.rng.below(2);
        if self.operators.iter().any(|operator| operator.stays_behind) {
            return false;
        }
        let days = self.rng.between(1, 60);
        self.set_clock(operator, TimeDelta::days(-days));
        self.operators[operator].stays_behind = true;
        if self.operators[operator].leading && !self.may_lead(operator) {
            self.after(0, Event::Lead(operator, false));
            let delay = self.rng.between(0, 9000);
            self.after(delay, Event::Lead(1 - operator, true));
        }
        true
    }

    /// Its writes go through, and none of its watches shows anything.
    fn goes_blind(&mut self) -> bool {
        let (operator, longest) = (self.rng.below(2), self.rng.pick(&[5_000, 60_000, 400_000]));
        let until = self.at + self.rng.between(500, longest);
        self.operators[operator].lags = [until; 4];
        true
    }

    /// `kubectl cordon`: nothing is written if the node is cordoned already.
    fn cordons(&mut self, node: usize) -> bool {
        let open = self.cluster.nodes[node]
            .as_ref()
            .is_some_and(|object| !object.value.unschedulable);
        open && self
            .cluster
            .edit_node(node, |object| object.cordon.human = true)
            .is_some()
    }

    /// `kubectl uncordon`: takes the field away from whoever owns it.
    pub fn uncordons(&mut self, node: usize) -> bool {
        let cordoned = self.cluster.nodes[node]
            .as_ref()
            .is_some_and(|object| object.value.unschedulable);
        self.judge.uncordoned(node);
        cordoned
            && self
                .cluster
                .edit_node(node, |object| object.cordon = Cordon::default())
                .is_some()
    }

    fn holds(&mut self, node: usize) -> bool {
        let until = self.rng.chance(500).then(|| self.now() + TimeDelta::minutes(30));
        let reason = "debugging the NIC".to_owned();
        let hold = Some(Hold {
            reason,
            until,
            invalid_until: None,
        });
        self.cluster
            .edit_node(node, |object| object.value.hold = hold)
            .is_some()
    }

    /// A word on the operation that is there; the plugin's version guard is in reading and writing at once.
    pub fn command(&mut self, node: usize, verb: &str, old: bool) -> bool {
        let id = self.cluster.operation(node).map(|operation| operation.id.clone());
        let operation_id = if old {
            "0bad0bad".to_owned()
        } else {
            id.unwrap_or_default()
        };
        self.judge.slot_may_go(node);
        let verb = verb.to_owned();
        let command = Some(Command { verb, operation_id });
        self.cluster
            .edit_record(node, |record| record.command = command)
            .is_some()
    }

    pub fn approves(&mut self, node: usize) -> bool {
        let approved = Some("seen".to_owned());
        self.cluster
            .edit_node(node, |object| object.value.approved = approved)
            .is_some()
    }

    fn edits_lock(&mut self) -> bool {
        let Some(lock) = self.cluster.lock.as_deref() else {
            return false;
        };
        let mut object = lock.clone();
        (0..self.hosts.len()).for_each(|node| self.judge.slot_may_go(node));
        self.judge.lock_edited = Some(self.at);
        // Another one each time, as an id that was used never comes again.
        let unknown = format!("unknown{}", self.at);
        let holders = &mut object.value.holders;
        match self.rng.below(4) {
            0 => holders.clear(),
            1 if !holders.is_empty() => {
                let place = self.rng.below(holders.len());
                holders.remove(place);
            }
            2 if !holders.is_empty() => holders[0].operation_id = unknown,
            _ => holders.push(Holder {
                node: "ghost".to_owned(),
                node_uid: "uid-ghost".to_owned(),
                policy: "a".into(),
                operation_id: unknown,
                acquired: self.start,
                reboot: None,
            }),
        }
        self.cluster.put_lock(Some(object));
        true
    }

    fn edits_policy(&mut self, fault: Fault) -> bool {
        let index = self.rng.below(self.cluster.policies.len());
        match fault {
            Fault::Suspends => {
                let suspend = self.rng.chance(500);
                self.cluster
                    .edit_policy(index, |object| object.value.suspend = suspend)
                    .is_some()
            }
            Fault::WindowEdited => {
                let schedule = super::setup::schedule(&mut self.rng);
                self.cluster
                    .edit_policy(index, |object| object.value.schedule = schedule)
                    .is_some()
            }
            Fault::LimitEdited => {
                let (limit, unavailable) = (super::setup::limit(&mut self.rng), super::setup::limit(&mut self.rng));
                let edited = self.cluster.edit_policy(index, |object| {
                    object.value.max_in_progress = limit;
                    object.value.max_unavailable = unavailable;
                });
                edited.is_some()
            }
            _ if self.cluster.policies[index].is_some() => self.cluster.put_policy(index, None).version > 0,
            _ => {
                let made = super::setup::policy_object(index, &mut self.rng);
                self.cluster.put_policy(index, Some(made));
                true
            }
        }
    }

    /// The Node goes; its record is collected; it may come again, with another uid.
    fn deletes(&mut self, node: usize, again: bool) -> bool {
        if self.cluster.nodes[node].is_none() {
            return false;
        }
        self.cluster.put_node(node, None);
        self.judge.node_gone(node);
        let (collected, made) = (self.rng.between(100, 30_000), self.rng.between(50, 60_000));
        self.after(collected, Event::Collect(node));
        if again {
            self.after(made, Event::Make(node));
            self.after(made + 31_000, Event::Collect(node));
        }
        true
    }
}
