//! The mutation check: guards broken on purpose, one at a time; the simulator must notice every one.
//!
//! `sim/mutants.rs` says what each mutant breaks; nothing of it is in the planner's source. Each mutant is tried on the
//! seeds from 0 on until one breaks a rule. A mutant that needs a rare story gets a setup that makes the story likely, or a
//! scenario that leads straight to it.

use std::collections::BTreeMap;

use lockkeeper_planner::*;

use crate::sim::cluster::Kind;
use crate::sim::faults::Fault;
use crate::sim::hosts;
use crate::sim::judge::Judge;
use crate::sim::mutants::{self, Mutant};
use crate::sim::view::View;
use crate::sim::{Setup, run};
use crate::small_cluster::*;

/// A mutant must be noticed within so many seeds.
const SEEDS: u64 = 2_000;

/// What makes the story likely in which the broken guard matters.
fn setup(mutant: Mutant) -> Setup {
    let any = Setup {
        mutant: Some(mutant),
        ..Setup::default()
    };
    match mutant {
        // Two operators that lead at the same time with stale views.
        Mutant::NoCompareAndSwap
        | Mutant::NoRecordVersion
        | Mutant::NoNodeVersion
        | Mutant::NoFreshLock
        | Mutant::NoFreshNode
        | Mutant::NoFreshOperation
        | Mutant::NoReleaseCheck
        | Mutant::NoFreshCordon => Setup {
            two_leaders: true,
            ..any
        },
        Mutant::NoFreshPolicies => Setup {
            faults: &[
                Fault::PolicyLost,
                Fault::LimitEdited,
                Fault::LagPolicies,
                Fault::Blind,
                Fault::TwoLeaders,
            ],
            ..any
        },
        Mutant::CountsPassedTime => Setup {
            faults: &[Fault::NoLeader, Fault::Takeover, Fault::Blocked, Fault::Outage],
            ..any
        },
        Mutant::JudgesAtOnce | Mutant::NeverLate => Setup {
            faults: &[Fault::Outage, Fault::SlowBoot],
            ..any
        },
        Mutant::NoFreshHold => Setup {
            faults: &[Fault::Holds, Fault::LagNodes, Fault::Blind, Fault::Stall],
            ..any
        },
        Mutant::OrdersAtOnce => Setup {
            faults: &[Fault::Outage, Fault::PodLands],
            ..any
        },
        Mutant::BelievesAnyTime => Setup {
            faults: &[Fault::ClockFarOff, Fault::Takeover, Fault::NeverBack],
            ..any
        },
        Mutant::WaitsForAnyTime => Setup {
            faults: &[Fault::ClockFarOff, Fault::AgentRefuses, Fault::Cancels],
            ..any
        },
        Mutant::StaysBlind => Setup {
            faults: &[Fault::Restored],
            ..any
        },
        Mutant::LeadsWithAnyClock => Setup {
            faults: &[Fault::ClockBehind],
            ..any
        },
        Mutant::CountsNoReboots => Setup {
            faults: &[Fault::ReasonsChange],
            ..any
        },
        Mutant::ReachesRungsEarly | Mutant::StaysUrgent => Setup {
            deadlines: Some(true),
            ..any
        },
        Mutant::BelievesAnyNotice | Mutant::KeepsNotice => Setup {
            notices: Some(true),
            ..any
        },
        Mutant::IgnoresDaemons | Mutant::CountsAnOldReport => Setup {
            daemons: Some(true),
            ..any
        },
        _ => any,
    }
}

/// The rules that a mutant breaks in a scenario of its own; empty if there is none for it.
fn scenario(mutant: Mutant) -> Vec<String> {
    match mutant {
        Mutant::NoUnknownCordons => cordon_beside_an_unknown_cordon(Some(mutant)),
        Mutant::AssumesNoReboot => lost_record_of_a_node_that_goes_down(Some(mutant)),
        _ => vec![],
    }
}

/// The record and the slot of `n2` are deleted by hand, and the operator does not observe its cordon when it cordons `n1`.
fn cordon_beside_an_unknown_cordon(mutant: Option<Mutant>) -> Vec<String> {
    let observed = in_phase(Phase::Preparing);
    let mut cluster = observed.clone();
    cordon(&mut cluster, N2, "lost");
    let mut judge = Judge::new(&cluster);
    let _ = write(&observed, &mut cluster, &cordon_n1(), mutant);
    judge.look(&cluster);
    judge.violations
}

/// The record of `n1` is deleted by hand after its host has accepted the reboot order, and the host then goes down.
fn lost_record_of_a_node_that_goes_down(mutant: Option<Mutant>) -> Vec<String> {
    let mut cluster = in_phase(Phase::Rebooting);
    let mut judge = Judge::new(&cluster);
    judge.record_lost(N1);
    set_holders(&mut cluster, vec![]);
    let answer = HostAnswer {
        id: operation("op-1", Phase::Rebooting).order_id(),
        state: AnswerState::Rebooting,
        message: String::new(),
    };
    let host = Host {
        boot_id: "boot-0".into(),
        answer: Some(answer),
        ..Host::default()
    };
    cluster.edit_record(N1, |record| {
        *record = Record {
            policy: Some("a".into()),
            host: Some(host),
            ..Record::default()
        };
    });
    let mut view = View::new(&cluster, None);
    for kind in Kind::ALL {
        view.relist(kind, &cluster);
    }
    view.refresh(&BTreeMap::new());
    let observed = cluster.clone();
    for action in mutants::plan(mutant, &view.snapshot, now()).actions {
        let _ = write(&observed, &mut cluster, &action, mutant);
    }
    let host = hosts::Host {
        ordered: Some("op-1".to_owned()),
        ..hosts::Host::default()
    };
    judge.goes_down(&cluster, &host, N1, 0);
    judge.violations
}

/// The first seed that notices the mutant.
fn first_seed(mutant: Mutant) -> Option<u64> {
    (0..SEEDS).find(|seed| !run(*seed, setup(mutant)).judge.violations.is_empty())
}

#[test]
fn each_guard_that_is_broken_on_purpose_is_noticed() {
    let noticed = |mutant: &Mutant| !scenario(*mutant).is_empty() || first_seed(*mutant).is_some();
    let missed: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|mutant| !noticed(mutant)).collect();
    assert!(missed.is_empty(), "no seed below {SEEDS} notices {missed:?}");
}

#[test]
fn the_scenarios_of_the_mutation_check_break_no_rule_without_a_mutant() {
    assert_eq!(cordon_beside_an_unknown_cordon(None), Vec::<String>::new());
    assert_eq!(lost_record_of_a_node_that_goes_down(None), Vec::<String>::new());
}

/// Otherwise it would be the faults that are noticed, and not the mutant.
#[test]
fn the_faults_of_a_mutant_break_no_rule_without_it() {
    for mutant in Mutant::ALL {
        let faults = Setup {
            mutant: None,
            ..setup(*mutant)
        };
        // Other seeds have any of the faults, as those of every rollout.
        let seeds = if faults.faults.is_empty() { 0 } else { 20 };
        for seed in 0..seeds {
            let violations = run(seed, faults).judge.violations;
            assert_eq!(violations, Vec::<String>::new(), "{mutant:?}, seed {seed}");
        }
    }
}
