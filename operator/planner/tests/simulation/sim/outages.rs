//! An outage of the API server for all: operators, kubelets, agents and people.

use super::faults::Fault;
use super::world::{Event, World};

/// So long after the begin of an outage a leader has lost its Lease.
const LEASE: i64 = 8_000;

/// Whether this needs the API server; a host goes down and comes up without it.
pub fn needs_the_server(what: &Event) -> bool {
    match what {
        Event::Deliver(..)
        | Event::List(..)
        | Event::Rewound(..)
        | Event::Drain(..)
        | Event::Preflight(..)
        | Event::Probe(..)
        | Event::WorkloadProbe(..)
        | Event::Workload(..)
        | Event::HookJob(..)
        | Event::HookAnswers
        | Event::Agent(..)
        | Event::Report(..)
        | Event::Confined(..)
        | Event::NotReady(..)
        | Event::Ready(..)
        | Event::Heartbeat(..)
        | Event::Daemon(..)
        | Event::DaemonGone
        | Event::Requires(..)
        | Event::Pods(..)
        | Event::LatePod(..)
        | Event::Collect(..)
        | Event::Make(..)
        | Event::Urgent
        | Event::Meddle
        | Event::Trouble
        | Event::Quiet
        | Event::Round
        | Event::Lead(_, true) => true,
        Event::Wake(..)
        | Event::Alert
        | Event::CheckRound(..)
        | Event::Call(..)
        | Event::Lead(_, false)
        | Event::ClockSet(..)
        | Event::Down(..)
        | Event::Up(..) => false,
    }
}

impl World {
    pub fn is_out(&self) -> bool {
        self.at < self.out_until
    }

    /// Each client is back some seconds after the API server.
    pub fn happens_after_the_outage(&mut self, what: Event) {
        let at = self.out_until + self.rng.between(0, 10_000);
        self.on(at, what);
    }

    /// The API server is away. Operators lose their Leases, and one of them leads again afterwards.
    pub fn goes_out(&mut self) -> bool {
        if self.is_out() {
            return false;
        }
        let longest = self.rng.pick(&[30_000, 300_000, 3_000_000]);
        self.out_until = self.at + self.rng.between(1000, longest);
        let next = self.rng.below(self.operators.len());
        for operator in 0..self.operators.len() {
            if self.out_until - self.at > LEASE {
                self.after(LEASE, Event::Lead(operator, false));
            }
            let known = &mut self.operators[operator];
            known.interrupted = self.out_until;
            known.view.changed = true;
            for lag in &mut known.lags {
                *lag = self.out_until.max(*lag);
            }
        }
        let until = self.out_until;
        if until - self.at > LEASE {
            self.on(until, Event::Lead(next, true));
        }
        self.tell(|world| format!("{}: until {:.3}", Fault::Outage.name(), world.out_until as f64 / 1000.0));
        true
    }
}
