//! The simulator: see `../main.rs`.
// Each of the two programs that use it needs its part.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::wildcard_imports)]

pub mod agents;
pub mod calls;
pub mod checks;
pub mod cluster;
pub mod coverage;
pub mod daemons;
pub mod deadlines;
pub mod drains;
pub mod end;
pub mod execute;
pub mod failed_writes;
pub mod faults;
pub mod history;
pub mod hooks;
pub mod hosts;
pub mod jobs;
pub mod judge;
pub mod mutants;
pub mod notices;
pub mod operator;
pub mod outages;
pub mod people;
pub mod preconditions;
pub mod reboots;
pub mod restore;
pub mod rng;
pub mod rules;
pub mod setup;
pub mod spread;
pub mod view;
pub mod workloads;
pub mod world;
pub mod writer;

pub use world::{Setup, World, run};
