//! The whole system in one process: the real operator and real agents over an API server in memory, in paused time.
//!
//! A story has three nodes: `n1` reboots, the pods of `n2` are kept by their budget, and `n3` does not come back. Each run
//! is repeatable; a run with faults has a seed.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub)]

mod calm;
mod clock;
mod cluster;
mod crashes;
mod end;
mod faults;
mod host;
mod housekeeping;
mod month;
mod policies;
mod processes;
mod refusals;
mod requests;
#[path = "../../../operator/planner/tests/simulation/sim/rng.rs"]
mod rng;
mod story;
mod truth;
