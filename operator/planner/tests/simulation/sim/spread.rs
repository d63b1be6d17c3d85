//! Who is told of what was written, and when: the watches of the operators, and the programs on each host.

use super::cluster::{Kind, News, Object};
use super::faults::Fault;
use super::world::{Event, World};
use lockkeeper_planner::Phase;

impl World {
    /// Tells all watches of what was written.
    pub fn spread(&mut self) {
        for news in std::mem::take(&mut self.cluster.news) {
            for operator in 0..self.operators.len() {
                let ready = self.at + self.lag(operator, news.kind());
                let ready = self.operators[operator].view.enqueue(ready, news.clone());
                self.on(ready, Event::Deliver(operator, news.kind()));
            }
            self.tell_host(&news);
        }
    }

    /// How long a watch takes to show what was written just now.
    fn lag(&mut self, operator: usize, kind: Kind) -> i64 {
        let fault = match kind {
            Kind::Nodes => Fault::LagNodes,
            Kind::Reboots => Fault::LagReboots,
            Kind::Policies => Fault::LagPolicies,
            Kind::Lock => Fault::LagLock,
        };
        if self.faults.strikes(fault, &mut self.rng) {
            let longest = self.rng.pick(&[500, 5_000, 60_000, 300_000]);
            let lag = self.rng.between(100, longest);
            let until = self.at + lag;
            let lags = &mut self.operators[operator].lags[kind as usize];
            *lags = until.max(*lags);
        }
        let usual = self.rng.between(1, 30);
        usual.max(self.operators[operator].lags[kind as usize] - self.at)
    }

    /// What the programs on the node itself notice.
    fn tell_host(&mut self, news: &News) {
        match &news.object {
            Object::Reboot(Some(reboot)) => {
                let (order, boot) = (&reboot.record.order, self.hosts[news.index].boot);
                let owned = self.cluster.nodes[news.index]
                    .as_ref()
                    .is_some_and(|node| node.value.uid == reboot.owner);
                if !owned {
                    let delay = self.rng.between(100, 30_000);
                    self.after(delay, Event::Collect(news.index));
                }
                if reboot.record.host.is_none() {
                    let delay = self.rng.between(10, 3000);
                    self.after(delay, Event::Report(news.index, boot));
                }
                let operation = reboot.record.operation.as_deref();
                if let Some(operation) = operation {
                    self.evict_workload(news.index, operation);
                }
                let notified = (
                    order.clone(),
                    operation.is_some_and(|operation| operation.phase == Phase::Rebooting),
                );
                if self.hosts[news.index].notified != notified {
                    self.hosts[news.index].notified = notified.clone();
                    self.tell_agent(news.index, notified);
                }
            }
            Object::Node(Some(node)) => {
                let (takes, took) = (!node.value.unschedulable, self.hosts[news.index].takes_pods);
                self.hosts[news.index].takes_pods = takes;
                if takes && !took {
                    let delay = self.rng.between(200, 20_000);
                    self.after(delay, Event::Pods(news.index));
                }
                if took && !takes && self.faults.often(Fault::PodLands, 300, &mut self.rng) {
                    let delay = self.rng.between(0, 2000);
                    self.after(delay, Event::LatePod(news.index));
                }
            }
            Object::Node(None) | Object::Reboot(None) | Object::Policy(_) | Object::Lock(_) => {}
        }
    }
}
