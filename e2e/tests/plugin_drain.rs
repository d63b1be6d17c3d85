//! `kubectl lockkeeper drain` and `report` as people run them, on a real control plane with hollow nodes.

mod alone;
mod installed;
mod plugin;
mod stops;

use anyhow::Result;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::HollowCluster;
use lockkeeper_e2e::workdir::Workdir;

#[tokio::test(flavor = "multi_thread")]
async fn people_drain_nodes_with_and_without_the_operator() -> Result<()> {
    let mut workdir = Workdir::new("plugin-drain")?;
    let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let hollow = HollowCluster::start(&plane, 10).await?;
    let nodes: Vec<&str> = hollow.names().iter().map(String::as_str).collect();
    alone::drains_without_lockkeeper_in_the_cluster(&plane, nodes[0], nodes[1]).await?;
    alone::a_dry_run_writes_nothing_and_what_blocks_leaves_the_node_alone(&plane, nodes[2]).await?;
    stops::a_drain_that_times_out_uncordons_but_keeps_an_admins_cordon(&plane, nodes[3]).await?;
    stops::ctrl_c_uncordons_and_a_killed_run_can_continue(&plane, nodes[3]).await?;
    stops::a_drain_stops_when_its_node_is_uncordoned(&plane, nodes[3]).await?;
    stops::nothing_is_asked_a_second_after_the_word(&plane, nodes[9]).await?;
    alone::a_refused_cordon_evicts_nothing(&plane, nodes[4], nodes[5]).await?;
    plane.install()?;
    installed::refuses_a_node_that_the_operator_holds(&plane, nodes[6]).await?;
    installed::drains_as_the_nodes_own_policy_says(&plane, nodes[7]).await?;
    installed::reports_what_blocks_and_on_which_nodes(&plane, nodes[2], nodes[8]).await?;
    drop((hollow, plane));
    workdir.passed();
    Ok(())
}
