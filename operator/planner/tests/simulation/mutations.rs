//! The mutation check: guards broken on purpose, one at a time; the simulator must catch every one.
//!
//! What each one breaks is said in `sim/mutants.rs`; nothing of it is in the planner's source. The guards of the executor
//! are tried with two operators that lead at the same time, the rest with what any seed brings. What only `check` judges
//! (`Mutant::is_for_the_last_gate`) is judged by `check` on what was really seen.

use crate::sim::mutants::Mutant;
use crate::sim::{Setup, run};

/// A guard is broken: with two leaders all the time or not, from which seed on it is noticed.
///
/// A change of planner or simulator gives the seeds other stories. `make soak MUTANT=NAME` (with `DUEL=1`) finds new ones.
const CAUGHT: &[(Mutant, bool, u64)] = &[
    (Mutant::NoCompareAndSwap, true, 3),
    (Mutant::NoRecordVersion, true, 1),
    (Mutant::NoNodeVersion, true, 6),
    (Mutant::NoFreshLock, true, 319),
    (Mutant::NoFreshNode, true, 73),
    (Mutant::NoFreshOperation, true, 27),
    (Mutant::NoFreshMarks, true, 6),
    (Mutant::NoFreshPolicies, false, 633),
    (Mutant::NoFreshCordons, false, 33_011_972),
    (Mutant::LiftsAnyCordon, false, 0),
    (Mutant::OrdersUndrained, false, 0),
    (Mutant::IgnoresLimits, false, 7),
    (Mutant::LostLockIsEmpty, false, 30),
    (Mutant::FailedGoesFree, false, 6),
    (Mutant::NeverLooksAgain, false, 1),
    (Mutant::LooksTooLate, false, 13),
    (Mutant::KeepsMarks, false, 0),
    (Mutant::KeepsOrder, false, 0),
    (Mutant::IgnoresWindows, false, 1),
    (Mutant::IgnoresControlPlane, false, 73),
    (Mutant::KeepsCommand, false, 0),
    (Mutant::ObeysAnyBoot, false, 0),
    (Mutant::ReusesIds, false, 143),
    (Mutant::TakesTheListsOrder, false, 0),
    (Mutant::WritesAgain, false, 0),
    (Mutant::KeepsTaint, false, 0),
    (Mutant::IgnoresCanary, false, 15),
    (Mutant::IgnoresOwnNode, false, 4),
    (Mutant::IgnoresBreaker, false, 36),
    (Mutant::IgnoresFit, false, 21),
    (Mutant::IgnoresHold, false, 0),
    (Mutant::BelievesItStaysUp, false, 41_591_797),
    (Mutant::IgnoresDaemons, false, 0),
    (Mutant::TakesTheOldWord, false, 0),
];
/// So many seeds from there on may pass it by; for most, one in four shows it.
const PATIENCE: u64 = 150;

#[test]
fn every_guard_that_is_broken_on_purpose_is_noticed() {
    assert_eq!(CAUGHT.len(), Mutant::ALL.len());
    let unnoticed = |(mutant, duel, from): &&(Mutant, bool, u64)| {
        let setup = Setup {
            mutant: Some(*mutant),
            duel: *duel,
            // The others are known by stories that were found before there was a DaemonSet.
            daemons: Some(matches!(mutant, Mutant::IgnoresDaemons | Mutant::TakesTheOldWord)),
            ..Setup::default()
        };
        (*from..from + PATIENCE).all(|seed| run(seed, setup).judge.violations.is_empty())
    };
    let unnoticed: Vec<Mutant> = CAUGHT.iter().filter(unnoticed).map(|(mutant, ..)| *mutant).collect();
    assert!(unnoticed.is_empty(), "nobody noticed {unnoticed:?}");
}
