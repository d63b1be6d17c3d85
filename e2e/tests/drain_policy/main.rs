//! The policy's drain on a real API server: a look ahead, order, delays, taints, time-outs, volumes, neighbours.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ahead;
mod neighbours;
mod order;
mod scene;
mod stages;
mod stops;
mod volumes;

use lockkeeper_e2e::stack::Stack;
use serde_json::json;
use tokio::time::Instant;

/// Runs these one after another and says how long each took.
macro_rules! scenes {
    ($stack:expr; $($module:ident::$name:ident),* $(,)?) => {
        $(
            let begin = Instant::now();
            $module::$name($stack).await;
            println!("{}: {:.1} s", stringify!($name), begin.elapsed().as_secs_f32());
        )*
    };
}

#[tokio::test]
async fn the_drain_settings_of_a_policy_hold() {
    let mut stack = Stack::start("drain-policy", 18, 1).await.unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    scenes!(&stack;
        stages::a_node_reboots_with_remaining_pods_only_after_an_event,
        volumes::volumes_of_pods_that_left_are_waited_for_and_then_named,
        neighbours::autoscalers_are_kept_off_and_what_they_set_themselves_is_left_alone,
        neighbours::a_pods_wish_not_to_be_moved_is_respected_unless_the_policy_ignores_it,
        stops::nothing_is_asked_a_second_after_a_cancel,
        stops::nothing_is_asked_a_second_after_a_hold,
        ahead::a_preflight_that_fails_gives_its_reason_and_delays_no_other_node,
        ahead::a_node_that_cannot_be_emptied_is_not_touched_and_the_next_one_goes,
        ahead::what_blocks_is_said_with_numbers_and_again_when_there_is_more_of_it,
        order::pods_leave_in_order_after_load_balancers_had_their_time,
        stages::what_is_left_after_the_time_out_is_deleted_and_that_is_said,
        neighbours::nodes_still_to_come_are_avoided,
        neighbours::a_node_that_goes_away_in_its_drain_frees_the_slot,
    );
    stack.workdir.passed();
}
