//! Whatever a host's files contain: the report about them fits the definition.

use std::fs;

use chrono::{DateTime, Utc};
use lockkeeper_channel::{Channel, FACTS, HostFacts};
use lockkeeper_crds::HostReport;
use lockkeeper_fuzz::fuzz;
use lockkeeper_kube_util::is_printable;
use lockkeeper_node_agent::detect::{
    BootSpan, DEBIAN, DEBIAN_PACKAGES, DROP_DIRECTORY, DetectorSettings, Detectors, HostDirectories, LOCKKEEPER, SUSE,
};
use lockkeeper_node_agent::host::HostView;
use lockkeeper_node_agent::report::{Confinement, host_report};

fn assert_fits(text: &str, most: usize) {
    assert!(
        text.chars().count() <= most && text.chars().all(is_printable),
        "{text:?}"
    );
}

#[test]
fn a_file_that_requires_a_reboot_gives_short_printable_reasons() {
    let run = tempfile::tempdir().unwrap();
    let drop_directory = run.path().join(LOCKKEEPER).join(DROP_DIRECTORY);
    fs::create_dir_all(&drop_directory).unwrap();
    fs::write(run.path().join(DEBIAN), "").unwrap();
    let now: DateTime<Utc> = "2026-11-24T22:10:00Z".parse().unwrap();
    let host = HostDirectories {
        run: run.path().to_owned(),
        ..HostDirectories::default()
    };
    let detectors = Detectors::new(&DetectorSettings::default(), &host).unwrap();
    fuzz("host-file", |input| {
        for file in [
            run.path().join(DEBIAN_PACKAGES),
            run.path().join(SUSE),
            drop_directory.join("vendor"),
        ] {
            fs::write(file, input).unwrap();
        }
        let required = detectors
            .look(BootSpan {
                began: None,
                soft_rebooted: None,
                now,
            })
            .required;
        assert!(required.required && !required.reasons.is_empty(), "{required:?}");
        assert!(required.reasons.len() <= 32 && required.failing.len() <= 16);
        for reason in required.reasons.iter().chain(&required.failing) {
            assert_fits(&reason.0, 256);
            assert!(!reason.0.is_empty());
        }
        assert_fits(&required.source, 128);
    });
}

#[test]
fn whatever_the_actuator_publishes_the_report_fits_the_definition() {
    let directory = tempfile::tempdir().unwrap();
    let channel = Channel::new(directory.path());
    fuzz("channel", |input| {
        fs::write(directory.path().join(FACTS), input).unwrap();
        let Ok(Some(facts)) = channel.read::<HostFacts>(FACTS) else {
            return;
        };
        let view = HostView {
            boot_id: facts.boot_id.clone(),
            facts: Some(facts),
            ..HostView::default()
        };
        let report = host_report(&view, None, &Confinement::default(), "0.1.0");
        assert_fits(&report.reboot_capable_message, 1024);
        assert!(report.inhibitors.len() <= 16);
        for inhibitor in &report.inhibitors {
            assert_fits(&inhibitor.who, 256);
            assert_fits(&inhibitor.why, 256);
        }
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<HostReport>(&text).unwrap(), report);
    });
}
