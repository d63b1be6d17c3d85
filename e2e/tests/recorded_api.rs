//! The answers of a real API server to the requests by which the one in memory is compared with it.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::workdir::Workdir;
use lockkeeper_fake_api::exchanges::{Exchange, exchanges};

/// The only controller that pods need. Others write to Nodes, as the TTL controller does to each new one, and make the
/// version that an exchange has just read an older one.
const CONTROLLERS: &str = "--controllers=serviceaccount-controller";

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_answers_are_those_of_the_real_api_server() -> Result<()> {
    let mut workdir = Workdir::new("recorded-api")?;
    let options = Options {
        controller_manager_args: vec![CONTROLLERS.to_owned()],
        ..Options::default()
    };
    let plane = ControlPlane::start(workdir.path(), options).await?;
    plane.install()?;
    let answered = exchanges(without_retries(&plane).await?)
        .await
        .map_err(|error| anyhow!(error))?;
    let path = repository().join("fake-api/tests/recorded/exchanges.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&answered)? + "\n").context("write the answers")?;
    }
    let recorded: Vec<Exchange> = serde_json::from_slice(&fs::read(&path)?).context("read the answers")?;
    for (answered, recorded) in answered.iter().zip(&recorded) {
        ensure!(
            answered == recorded,
            "answered {answered:#?}\nrecorded {recorded:#?}\nUPDATE_EXPECT=1 writes the new answers"
        );
    }
    ensure!(
        answered.len() == recorded.len(),
        "the requests have changed: UPDATE_EXPECT=1"
    );
    drop(plane);
    workdir.passed();
    Ok(())
}

/// A client that shows a refused eviction instead of asking again for minutes.
async fn without_retries(plane: &ControlPlane) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).context("read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Client::try_from(config).context("make a client")
}
