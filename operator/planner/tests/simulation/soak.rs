//! Seeds without end: `make soak SEEDS=1000000`, or `--seed N` to be told the story of one.
//!
//! Prints progress, every violation with its seed, and what was covered. Ends with 1 if a rule broke.
// This program measures how fast it is; the planner itself never sees a clock.
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

mod sim;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sim::coverage::Coverage;
use sim::faults::Fault;
use sim::mutants::Mutant;
use sim::{Setup, World, run};

const THREADS: u64 = 2;
const EVERY: Duration = Duration::from_secs(10);
/// Where a soak begins: the seeds below are run by each `cargo test`.
const FROM: u64 = 10_000;

struct Arguments {
    seeds: u64,
    from: u64,
    /// Only this one, told.
    one: Option<u64>,
    setup: Setup,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!(
            "soak [--seeds COUNT] [--from SEED] [--seed SEED] [--nodes COUNT] [--no-faults] [--two_leaders] [--[no-]daemons] [--[no-]workloads] [--[no-]checks] [--[no-]hooks] [--[no-]notices] [--[no-]deadlines] [--mutant NAME] [--faults NAME,NAME]"
        );
        return ExitCode::from(2);
    };
    match arguments.one {
        Some(seed) => tell(seed, arguments.setup),
        None => soak(&arguments),
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        seeds: 10_000,
        from: FROM,
        one: None,
        setup: Setup::default(),
    };
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => arguments.one = Some(number()?),
            "--nodes" => arguments.setup.nodes = Some(number()? as usize),
            "--mutant" => {
                let name = words.next()?;
                let mutant = Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == name)?;
                arguments.setup.mutant = Some(*mutant);
            }
            "--faults" => {
                let names = words.next()?;
                let known = |name: &str| Fault::ALL.iter().copied().find(|fault| format!("{fault:?}") == name);
                let chosen: Option<Vec<Fault>> = names.split(',').map(known).collect();
                arguments.setup.faults = chosen?.leak();
            }
            "--daemons" => arguments.setup.daemons = Some(true),
            "--no-daemons" => arguments.setup.daemons = Some(false),
            "--checks" => arguments.setup.checks = Some(true),
            "--no-checks" => arguments.setup.checks = Some(false),
            "--hooks" => arguments.setup.hooks = Some(true),
            "--notices" => arguments.setup.notices = Some(true),
            "--no-notices" => arguments.setup.notices = Some(false),
            "--no-hooks" => arguments.setup.hooks = Some(false),
            "--deadlines" => arguments.setup.deadlines = Some(true),
            "--no-deadlines" => arguments.setup.deadlines = Some(false),
            "--workloads" => arguments.setup.workloads = Some(true),
            "--no-workloads" => arguments.setup.workloads = Some(false),
            "--two-leaders" => arguments.setup.two_leaders = true,
            "--no-faults" => arguments.setup.no_faults = true,
            _ => return None,
        }
    }
    Some(arguments)
}

fn tell(seed: u64, setup: Setup) -> ExitCode {
    let world: World = run(seed, Setup { traced: true, ..setup });
    println!("{}{}", world.trace.unwrap_or_default(), world.coverage);
    for violation in &world.judge.violations {
        println!("{violation}");
    }
    ExitCode::from(u8::from(!world.judge.violations.is_empty()))
}

fn soak(arguments: &Arguments) -> ExitCode {
    let (next, end, setup) = (
        AtomicU64::new(arguments.from),
        arguments.from + arguments.seeds,
        arguments.setup,
    );
    let begin = Instant::now();
    let (sender, results) = mpsc::channel();
    let (mut coverage, mut broken) = (Coverage::default(), Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
                    let world = run(seed, setup);
                    let _ = sender.send((seed, world.judge.violations, world.coverage));
                }
            });
        }
        drop(sender);
        let mut told = Instant::now();
        for (seed, violations, one) in results {
            coverage.add(&one);
            if let Some(first) = violations.first() {
                println!("seed {seed}: {}", first.lines().next().unwrap_or_default());
                broken.push(seed);
            }
            if told.elapsed() >= EVERY {
                told = Instant::now();
                println!(
                    "{} rollouts, {} broken, {} s",
                    coverage.runs,
                    broken.len(),
                    begin.elapsed().as_secs()
                );
            }
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    println!("{coverage}");
    let rate = coverage.runs as f64 / seconds;
    println!(
        "{} seeds in {seconds:.1} s ({rate:.0} a second), {} broke a rule",
        coverage.runs,
        broken.len()
    );
    if !broken.is_empty() {
        println!("seeds: {broken:?}; print one with --seed N, then add its rule as a scenario to tests/rules");
    }
    ExitCode::from(u8::from(!broken.is_empty()))
}
