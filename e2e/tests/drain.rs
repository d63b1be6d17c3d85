//! The drain engine on a real control plane with hollow nodes.

mod budgets;
pub(crate) mod fixture;
mod order;
mod pods;
mod refusals;
mod stopped;
mod volumes;
mod webhook;

use anyhow::{Context, Result, ensure};
use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, stream};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::HollowCluster;
use lockkeeper_e2e::workdir::Workdir;
use tokio::time::Instant;

/// Scenes wait more than they work.
const AT_ONCE: usize = 4;

/// One control plane for all scenes: starting it takes longer than most of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_keeps_its_rules_on_a_real_control_plane() -> Result<()> {
    let mut workdir = Workdir::new("drain")?;
    let mut plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let hollow = HollowCluster::start(&plane, 27).await?;
    let names = hollow.names().to_vec();
    let results: Vec<Result<()>> = stream::iter(scenes(&plane, &names).into_iter().map(|(name, scene)| async move {
        let begin = Instant::now();
        scene.await.context(name)?;
        println!("{name}: {:?}", begin.elapsed());
        anyhow::Ok(())
    }))
    .buffer_unordered(AT_ONCE)
    .collect()
    .await;
    let failed: Vec<String> = results
        .iter()
        .filter_map(|result| result.as_ref().err().map(|error| format!("{error:#}")))
        .collect();
    ensure!(
        failed.is_empty(),
        "{} of {} scenes: {failed:#?}",
        failed.len(),
        results.len()
    );
    refusals::an_api_server_that_is_away_fails_nothing(&mut plane, &names[15]).await?;
    drop((hollow, plane));
    workdir.passed();
    Ok(())
}

type Scenes<'a> = Vec<(&'static str, BoxFuture<'a, Result<()>>)>;

macro_rules! scene {
    ($module:ident :: $name:ident ( $($argument:expr),* )) => {
        (stringify!($name), $module::$name($($argument),*).boxed())
    };
}

fn scenes<'a>(plane: &'a ControlPlane, nodes: &'a [String]) -> Scenes<'a> {
    vec![
        scene!(pods::asks_each_pod_once_and_makes_seven_requests_besides(
            plane, &nodes[0]
        )),
        scene!(budgets::an_exhausted_budget_is_named_with_its_numbers_and_goes_on_when_it_opens(plane, &nodes[1])),
        scene!(budgets::two_budgets_over_one_pod_delay_no_other_pod(plane, &nodes[2])),
        scene!(budgets::a_pod_that_came_back_elsewhere_under_its_name_is_left_alone(
            plane, &nodes[3], &nodes[4]
        )),
        scene!(budgets::pods_that_are_not_ready_go_as_their_budget_says(
            plane, &nodes[5]
        )),
        scene!(budgets::one_at_a_time_needs_hardly_more_requests_than_pods(
            plane, &nodes[6], &nodes[7]
        )),
        scene!(pods::an_unmanaged_pod_blocks_unless_the_policy_evicts_it(
            plane, &nodes[8]
        )),
        scene!(pods::a_pod_bound_after_the_cordon_is_drained_too(plane, &nodes[9])),
        scene!(pods::finished_pods_are_left_alone(plane, &nodes[10])),
        scene!(pods::a_pod_without_grace_is_given_a_second(plane, &nodes[11])),
        scene!(pods::a_pending_pod_needs_no_budget(plane, &nodes[12])),
        scene!(refusals::an_admission_policys_words_are_shown(plane, &nodes[17])),
        scene!(pods::a_preflight_finds_what_never_opens_and_changes_nothing(
            plane, &nodes[16]
        )),
        scene!(refusals::a_missing_permission_is_named_and_asked_for_again(
            plane, &nodes[13]
        )),
        scene!(webhook::what_a_webhook_says_is_shown_and_asked_again_until_it_agrees(
            plane, &nodes[18]
        )),
        scene!(volumes::a_volume_of_a_pod_that_left_is_waited_for(plane, &nodes[19])),
        scene!(order::one_tier_leaves_after_the_other(plane, &nodes[20])),
        scene!(order::a_pod_that_may_complete_is_waited_for(plane, &nodes[21])),
        scene!(order::the_later_stage_deletes_past_a_closed_budget(plane, &nodes[22])),
        scene!(refusals::a_pod_that_shuts_down_is_not_asked_again(plane, &nodes[23])),
        scene!(refusals::pods_of_a_namespace_that_goes_are_waited_for(
            plane, &nodes[24]
        )),
        scene!(refusals::a_node_that_is_deleted_ends_its_drain(plane, &nodes[25])),
        scene!(stopped::a_pod_of_a_stateful_set_is_not_deleted_from_a_stopped_node(
            plane, &nodes[26]
        )),
        scene!(refusals::the_api_server_still_uses_the_words_we_know(plane, &nodes[14])),
    ]
}
