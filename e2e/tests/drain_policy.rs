//! The policy's drain on a real API server: a look ahead, order, delays, taints, time-outs, volumes, neighbours.

mod ahead;
mod methods;
mod neighbours;
mod obstacles;
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
    let mut stack = Stack::start("drain-policy", 26, 1).await.unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    scenes!(&stack;
        methods::a_node_is_drained_and_waits_until_another_system_has_rebooted_it,
        stages::a_node_reboots_with_remaining_pods_only_after_an_event,
        volumes::volumes_of_pods_that_left_are_waited_for_and_then_named,
        volumes::a_volume_of_an_in_tree_driver_of_a_pod_that_stays_is_not_waited_for,
        obstacles::a_budget_that_its_controller_opens_after_the_cordon_does_not_keep_the_node,
        obstacles::pods_that_return_to_the_cordoned_node_go_down_with_it,
        obstacles::a_pod_stuck_in_its_shutdown_leaves_the_node_alone_and_names_the_finalizer,
        obstacles::a_grace_period_longer_than_the_drain_is_waited_for,
        neighbours::a_node_that_an_autoscaler_is_about_to_delete_does_not_start,
        neighbours::a_node_labelled_virtual_later_loses_its_record_until_the_label_is_removed,
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
