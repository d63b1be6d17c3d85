//! The planner with a virtual cluster, seeded faults and a perturbed order.
//!
//! One truth, as the API server holds it; two operators, each with stale views of its own for each kind of object; agents,
//! kubelets, pods and people. Every action of the planner is written as `operator/src/execute` writes it, one call after
//! the other, and anything may happen between two calls. What is judged is the truth (`sim/judge.rs`), and `check` of
//! every plan. Half-way the faults stop; then everything must come to rest (`sim/end.rs`).
//!
//! A seed that fails is told at length; `cargo test` runs the same seeds every time, `make soak SEEDS=n` others.

// These are tests, helpers included.
#![allow(clippy::panic)]

mod forecasts;
mod mutations;
mod refused_writes;
mod sim;
mod small_cluster;

use sim::coverage::Coverage;
use sim::faults::Fault;
use sim::{Setup, World, run};

/// So many as take some five seconds in a debug build on one core of its own.
const SEEDS: u64 = 60;

/// Runs a seed; if a rule breaks, runs it again to tell the story.
fn judge(seed: u64, setup: Setup) -> World {
    let world = run(seed, setup);
    if !world.judge.violations.is_empty() {
        let story = run(seed, Setup { traced: true, ..setup });
        let trace = story.trace.unwrap_or_default();
        let lines: Vec<&str> = trace.lines().collect();
        let tail = lines[lines.len().saturating_sub(80)..].join("\n");
        panic!("seed {seed}\n{tail}\n{}", world.judge.violations.join("\n"));
    }
    world
}

#[test]
fn a_rollout_without_faults_ends_with_every_node_rebooted_once() {
    for seed in 0..10 {
        let no_faults = Setup {
            no_faults: true,
            nodes: Some(6),
            ..Setup::default()
        };
        assert_eq!(judge(seed, no_faults).coverage.reboots, 6, "seed {seed}");
    }
}

#[test]
fn every_rollout_is_safe_and_finishes_whatever_goes_wrong() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        coverage.add(&judge(seed, Setup::default()).coverage);
    }
    // A simulator in which nothing happens proves nothing.
    let silent: Vec<_> = coverage.faults.iter().filter(|(_, count)| **count == 0).collect();
    assert!(silent.len() < 5, "these faults never came up: {silent:?}");
    assert!(coverage.soft_reboots > 20, "{coverage}");
    for phase in ["Preparing", "Draining", "Rebooting", "Verifying", "Failed"] {
        assert!(
            coverage.phases.contains_key(phase),
            "{phase} was never reached\n{coverage}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..5 {
        let traced = Setup {
            traced: true,
            ..Setup::default()
        };
        let (one, other) = (run(seed, traced), run(seed, traced));
        assert!(
            one.trace.as_ref().is_some_and(|trace| trace.len() > 1000),
            "seed {seed} tells nothing"
        );
        assert_eq!(one.trace, other.trace);
    }
}

/// L5: what the agent of one node reports delays that node alone.
#[test]
fn a_record_that_cannot_be_decoded_delays_its_own_node_only() {
    let undecodable = Setup {
        faults: &[Fault::Undecodable],
        ..Setup::default()
    };
    let mut coverage = Coverage::default();
    for seed in 0..20 {
        coverage.add(&judge(seed, undecodable).coverage);
    }
    assert!(
        coverage.faults["agent reports what no operator can decode"] > 20,
        "{coverage}"
    );
    assert!(coverage.reboots > 20, "{coverage}");
}
