//! Golden traces: rollouts told as logs, so that a change of behaviour shows in review. `UPDATE_EXPECT=1` writes them anew.
//!
//! Each line is a write of the operator (second, object, write) or, set in, why a node waits from then on.

// These are tests, helpers included.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod failures;
mod limits;
mod people;
mod rollouts;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::World;

/// A rollout as it is told.
struct Story {
    world: World,
    log: String,
    told: usize,
    waiting: BTreeMap<String, String>,
}

impl Story {
    /// Nodes `n1`.. under policy `general`, all asking for a reboot.
    fn new(nodes: usize) -> Self {
        Self {
            world: World::new(nodes),
            log: String::new(),
            told: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// So many seconds go by; a first look is taken at once.
    fn run(&mut self, seconds: i64) -> &mut Self {
        self.world.run_until_idle();
        self.tell();
        for _ in 0..seconds {
            self.world.run(1);
            self.tell();
        }
        self
    }

    /// Something happens that no write of ours causes.
    fn then(&mut self, what: &str, happens: impl FnOnce(&mut World)) -> &mut Self {
        writeln!(self.log, "     -- {what}").unwrap();
        happens(&mut self.world);
        self
    }

    fn tell(&mut self) {
        self.log.push_str(&self.world.trace[self.told..]);
        self.told = self.world.trace.len();
        let waiting = self.world.plan().wait_reasons;
        for (name, why) in &waiting {
            // A reason is told when it begins; its words may count on.
            if self.waiting.get(name).map(String::as_str) != Some(why.name().as_str()) {
                writeln!(self.log, "     {name} waits, {}: {why}", why.name()).unwrap();
            }
        }
        self.waiting = waiting
            .iter()
            .map(|(name, why)| (name.to_owned(), why.name().to_string()))
            .collect();
    }

    fn told(&self) -> String {
        let lines: Vec<&str> = self.log.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }
}
