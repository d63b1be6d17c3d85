//! A schedule that cannot do what it is asked is said to be too tight.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::{World, windows};

fn told(world: &World) -> String {
    let plan = world.plan();
    assert_eq!(plan.actions, vec![], "only a pass at rest looks for it");
    plan.insufficient_window_time
        .get("general")
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn closed(count: usize, all: &[(&str, i64)]) -> World {
    let mut world = World::new(count);
    world.policy().schedule = Ok(windows(all));
    world
}

#[test]
fn too_little_window_time_in_a_month_is_reported() {
    assert_eq!(
        told(&closed(1, &[("0 22 * * SUN", 1800)])),
        "nodes may start for 2 h 30 min in the next 32 days, less than 4 h; widen spec.windows or spec.exclusions"
    );
    assert_eq!(told(&closed(1, &[("0 22 * * SUN", 3600)])), "");
    assert_eq!(
        told(&closed(1, &[("0 0 31 FEB *", 3600)])),
        "nodes may start for 0 s in the next 32 days, less than 4 h; widen spec.windows or spec.exclusions"
    );
}

#[test]
fn more_nodes_than_fit_into_a_month_are_reported_with_numbers() {
    // 32 nights of one hour, four nodes an hour one after the other.
    let mut world = closed(200, &[("0 22 * * *", 3600)]);
    assert_eq!(
        told(&world),
        "about 128 of 200 nodes fit into the 32 h that are open in the next 32 days, 15 min each; \
         widen spec.windows or raise spec.disruption.maxInProgress"
    );
    world.limit(2);
    assert_eq!(told(&world), "");
    world.policy().pace = TimeDelta::seconds(3600);
    assert!(
        told(&world).starts_with("about 64 of 200 nodes fit"),
        "{}",
        told(&world)
    );
}

#[test]
fn many_short_windows_are_added_up_quickly() {
    // 15 minutes of every hour: 192 h a month.
    let mut world = closed(1000, &[("30 * * * *", 900)]);
    assert!(
        told(&world).starts_with("about 768 of 1000 nodes fit into the 192 h"),
        "{}",
        told(&world)
    );
    world.limit(5);
    assert_eq!(told(&world), "");
}

#[test]
fn a_policy_that_is_closed_on_purpose_is_not_reported() {
    let mut world = closed(1, &[("0 22 * * SUN", 1800)]);
    world.policy().suspend = true;
    assert_eq!(told(&world), "");
    let mut world = closed(1, &[("0 22 * * SUN", 1800)]);
    world.policy().max_in_progress = Limit::Count(0);
    assert_eq!(told(&world), "");
}
