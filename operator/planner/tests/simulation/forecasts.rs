//! How good the forecast is: fifty fleets, reboots that take 300 s with a standard deviation of a fifth.

use chrono::TimeDelta;
use lockkeeper_planner::{Horizon, Instant, Policy, forecast};

use crate::sim::{Setup, World, setup};

const BOOTS_IN: i64 = 300_000;
/// By then every host has said that it wants a reboot; the first ones are under way.
const LOOKS_AT: i64 = 90_000;

/// How far a forecast is off.
#[derive(Debug)]
struct Off {
    /// By how many thousandths of the time that the rollout takes.
    thousandths: i64,
    /// By how many windows of its policy. One node more or less that finds room in a window moves the end by a whole one,
    /// which no forecast from usual times can know.
    windows: usize,
}

impl Off {
    fn is_tolerable(&self) -> bool {
        self.thousandths <= 250 || self.windows == 1
    }
}

/// How far the forecast end of a fleet's rollout is off.
fn error(seed: u64) -> Off {
    let fleet = Setup {
        nodes: Some(5 + seed as usize % 20),
        no_faults: true,
        boots_in: Some(BOOTS_IN),
        ..Setup::default()
    };
    let mut world = setup::world(seed, fleet);
    world.run_until(LOOKS_AT);
    let operator = &mut world.operators[0];
    operator.view.refresh(&operator.progress);
    let begin = world.now();
    let snapshot = &world.operators[0].view.snapshot;
    let told = forecast(snapshot, begin, Horizon::default()).end.unwrap_or(begin);
    let policy = snapshot.policies.values().next().cloned().unwrap_or_default();
    finish(&mut world, seed);
    let ended = world.start + TimeDelta::milliseconds(world.ended);
    let windows = [told, ended].map(|end| windows(&policy, begin, end));
    Off {
        thousandths: (told - ended).num_milliseconds().abs() * 1000 / (ended - begin).num_milliseconds(),
        windows: windows[0].abs_diff(windows[1]),
    }
}

fn finish(world: &mut World, seed: u64) {
    while !world.done && world.judge.violations.is_empty() {
        world.step();
    }
    let violations = &world.judge.violations;
    assert!(violations.is_empty(), "seed {seed}: {violations:?}");
}

/// How many windows open from `begin` to `end`, minute by minute.
fn windows(policy: &Policy, begin: Instant, end: Instant) -> usize {
    let schedule = policy.schedule.as_ref().ok();
    let open = |minute: i64| schedule.is_some_and(|schedule| schedule.is_open(begin + TimeDelta::minutes(minute)));
    let minutes = (end - begin).num_minutes();
    (1..=minutes)
        .filter(|minute| open(*minute) && !open(minute - 1))
        .count()
}

#[test]
fn the_forecast_end_of_a_rollout_is_off_by_a_quarter_or_one_window_at_most() {
    let errors: Vec<Off> = (0..50).map(error).collect();
    let intolerable: Vec<&Off> = errors.iter().filter(|off| !off.is_tolerable()).collect();
    let mut thousandths: Vec<i64> = errors.iter().map(|off| off.thousandths).collect();
    thousandths.sort_unstable();
    let (median, over) = (thousandths[25], thousandths.iter().filter(|off| **off > 250).count());
    println!("error of the end in thousandths: median {median}; {over} are off by more than a quarter");
    assert_eq!(intolerable.len(), 0, "{intolerable:?}");
    // That a whole window decides is rare.
    assert!(median <= 100 && over <= 2, "in thousandths: {thousandths:?}");
}
