//! What a run has met: a fault, a state or a reason that never comes up was not tested.

use std::collections::BTreeMap;

use lockkeeper_planner::*;

use super::cluster::Refusal;
use super::faults::{Fault, Faults};

#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub runs: u64,
    pub passes: u64,
    pub events: u64,
    pub writes: u64,
    pub reboots: u64,
    /// Operations that succeeded in the boot in which they began.
    pub soft_reboots: u64,
    /// Writes of what a policy's status remembers.
    pub published: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub actions: BTreeMap<&'static str, u64>,
    pub refusals: BTreeMap<&'static str, u64>,
    pub phases: BTreeMap<String, u64>,
    pub outcomes: BTreeMap<String, u64>,
    pub waiting: BTreeMap<&'static str, u64>,
    /// The same while it is counted: few enough to be looked through.
    reasons: Vec<(&'static str, u64)>,
}

impl Coverage {
    pub fn plan(&mut self, plan: &Plan) {
        for why in plan.wait_reasons.values() {
            let reason = why.name().as_str();
            match self.reasons.iter().position(|(known, _)| *known == reason) {
                Some(place) => {
                    self.reasons[place].1 += 1;
                    // What one node waits for, as a rule the next one does.
                    self.reasons.swap(0, place);
                }
                None => self.reasons.push((reason, 1)),
            }
        }
    }

    pub fn wrote(&mut self, action: &Action) {
        self.writes += 1;
        *self.actions.entry(action.name()).or_default() += 1;
        let Action::WriteRecord { change, .. } = action else {
            return;
        };
        if let Change::Set(Some(operation)) = &change.operation {
            *self.phases.entry(format!("{:?}", operation.phase)).or_default() += 1;
        }
        if let Some(finished) = &change.finished {
            *self.outcomes.entry(format!("{:?}", finished.outcome)).or_default() += 1;
            let soft = finished.boot_id_after == finished.operation.boot_id_before;
            self.soft_reboots += u64::from(soft && finished.outcome == Outcome::Succeeded);
        }
    }

    pub fn refused(&mut self, refusal: Refusal) {
        let name = match refusal {
            Refusal::Conflict => "409",
            Refusal::Stale => "stale at the last look",
            Refusal::NotEmpty => "not empty at the last look",
            Refusal::Trouble => "5xx or reply lost",
            Refusal::Denied => "not allowed",
        };
        *self.refusals.entry(name).or_default() += 1;
    }

    pub fn finish(&mut self, faults: &Faults, passes: u64, events: u64) {
        (self.runs, self.passes, self.events) = (1, passes, events);
        for (reason, count) in self.reasons.drain(..) {
            *self.waiting.entry(reason).or_default() += count;
        }
        for fault in Fault::ALL {
            *self.faults.entry(fault.name()).or_default() += faults.counts[*fault as usize];
        }
    }

    pub fn add(&mut self, other: &Self) {
        fn merge<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key.clone()).or_default() += count;
            }
        }
        self.runs += other.runs;
        self.passes += other.passes;
        self.events += other.events;
        self.writes += other.writes;
        self.reboots += other.reboots;
        self.soft_reboots += other.soft_reboots;
        self.published += other.published;
        merge(&mut self.faults, &other.faults);
        merge(&mut self.actions, &other.actions);
        merge(&mut self.refusals, &other.refusals);
        merge(&mut self.phases, &other.phases);
        merge(&mut self.outcomes, &other.outcomes);
        merge(&mut self.waiting, &other.waiting);
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn list<K: std::fmt::Display>(
            f: &mut std::fmt::Formatter<'_>,
            title: &str,
            map: &BTreeMap<K, u64>,
        ) -> std::fmt::Result {
            writeln!(f, "{title}")?;
            map.iter()
                .try_for_each(|(key, count)| writeln!(f, "  {count:>12} {key}"))
        }
        writeln!(
            f,
            "{} rollouts, {} passes, {} events, {} writes, {} of policies' states, {} reboots",
            self.runs, self.passes, self.events, self.writes, self.published, self.reboots
        )?;
        list(f, "faults", &self.faults)?;
        list(f, "writes", &self.actions)?;
        list(f, "refused writes", &self.refusals)?;
        list(f, "phases entered", &self.phases)?;
        list(f, "outcomes", &self.outcomes)?;
        list(f, "waiting reasons, by node and pass", &self.waiting)
    }
}
