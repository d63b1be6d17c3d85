//! The real directory and files of a host.

use std::fs;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{ANSWER, Channel, FACTS, FACTS_WANTED, FactsWanted, HostOrder, ORDER};
use lockkeeper_crds::HostReport;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_node_agent::detect::DetectorSettings;
use lockkeeper_node_agent::directory_host::{DirectoryHost, HostPaths};
use lockkeeper_node_agent::facts::FactPaths;
use serde_json::json;
use tokio::time::timeout;

use super::rebooting;
use super::world::{Api, capable, start};

/// Real files and real notification, so real time; the actuator's part is played by hand.
#[tokio::test]
async fn real_files_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (run, shared) = (directory.path().join("run"), directory.path().join("shared"));
    fs::create_dir(&run).unwrap();
    fs::create_dir(&shared).unwrap();
    let boot_id = directory.path().join("boot_id");
    fs::write(&boot_id, "a\n").unwrap();
    let paths = HostPaths {
        run: run.clone(),
        modules: directory.path().join("modules"),
        rpm: directory.path().join("rpm"),
        facts: FactPaths {
            boot_id,
            uptime: "/proc/uptime".into(),
            os_release: "/etc/os-release".into(),
        },
    };
    let channel = Channel::new(&shared);
    let host = DirectoryHost::new(paths, channel.clone(), &DetectorSettings::default()).unwrap();
    let api = Api::default();
    api.make();
    let _agent = start(&api, host);

    channel.write(FACTS, &capable("a", "")).unwrap();
    let long = Duration::from_secs(30);
    let report = timeout(long, api.wait(|_| true)).await.expect("a report");
    assert!(report.reboot_capable && !report.reboot_required.required && !report.kernel.is_empty());

    let sentinel = run.join("reboot-required");
    fs::write(&sentinel, "").unwrap();
    fs::File::options()
        .append(true)
        .open(&sentinel)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let began = whole_seconds(Utc::now());
    let report = timeout(long, api.wait(|report| report.reboot_required.required))
        .await
        .expect("required");
    assert!(
        report.reboot_required.since >= Some(began - TimeDelta::seconds(1)),
        "{report:?}"
    );
    let drop_directory = run.join("lockkeeper/reboot-required.d");
    fs::create_dir_all(&drop_directory).unwrap();
    fs::write(
        drop_directory.join("firmware"),
        json!({"reasons": ["microcode"]}).to_string(),
    )
    .unwrap();
    let both = |report: &HostReport| report.reboot_required.source == "Debian sentinel, firmware";
    timeout(long, api.wait(both)).await.expect("both detectors");

    let mut watch = DirectoryWatch::new(vec![Watched::new(&shared, &[FACTS_WANTED, ORDER])]).unwrap();
    api.order("1-0", "Prepare", "a");
    timeout(long, watch.changed()).await.expect("a question").unwrap();
    assert_eq!(
        channel.read::<FactsWanted>(FACTS_WANTED).unwrap().unwrap().order_id,
        "1-0"
    );
    channel.write(FACTS, &capable("a", "1-0")).unwrap();
    timeout(long, api.answer("1-0", "Ready")).await.expect("ready");

    api.order("1-0", "Reboot", "a");
    timeout(long, watch.changed()).await.expect("an order").unwrap();
    assert_eq!(channel.read::<HostOrder>(ORDER).unwrap().unwrap().id, "1-0");
    channel.write(ANSWER, &rebooting("1-0")).unwrap();
    timeout(long, api.answer("1-0", "Rebooting")).await.expect("rebooting");
    assert!(!shared.join(ORDER).exists(), "an answered order is taken away");
}
