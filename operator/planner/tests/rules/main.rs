//! What the planner decides, theme by theme; one program, as each one more costs a link.
#![allow(missing_debug_implementations, clippy::unwrap_used, clippy::panic)]

mod after_uncordon;
mod agents;
mod breaker;
mod calendar;
mod canary;
mod checks;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod daemons;
mod deadline;
mod deleted_nodes;
mod drain_grace;
mod drain_stages;
mod drain_taints;
mod exclusions;
mod failures;
mod first_waits;
mod fit;
mod forecast;
mod hooks;
mod in_vain;
mod inhibitors;
mod job_checks;
mod limits;
mod methods;
mod notice;
mod notice_checks;
mod order;
mod outages;
mod preflight;
mod reboot_loops;
mod recovery;
mod refusals;
mod refused_reboots;
mod refused_writes;
mod safety;
mod sanity;
mod scenarios;
mod soft_reboots;
mod undecodable;
mod urgent;
mod views;
mod wait_reasons;
