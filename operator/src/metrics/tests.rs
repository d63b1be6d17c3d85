use lockkeeper_planner::RebootMethod;

use super::*;

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.text().unwrap();
    text.lines()
        .filter(|line| line.starts_with(name))
        .map(ToOwned::to_owned)
        .collect()
}

fn nodes(counts: &[(&str, &str, i64)]) -> GaugeSet {
    let mut gauges = GaugeSet::default();
    for (policy, state, nodes) in counts {
        gauges.put(Gauge::Nodes, &[policy, state], *nodes);
    }
    gauges
}

/// One of each, as a scrape of a leader shows them.
fn all() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.set_leader(true);
    metrics.set_lock(1, 2);
    metrics.set_policies(["workers"].into_iter());
    let mut gauges = GaugeSet::default();
    for (gauge, _, _, labels) in cluster::ALL {
        gauges.put(gauge, labels, 1);
    }
    metrics.show(gauges.clone());
    metrics.show_statuses(gauges);
    metrics.count_pass();
    metrics.count_action("SetHolders", "ok");
    metrics.count_watch_error("Nodes");
    metrics.count_request("get", Some(200));
    metrics
}

#[test]
fn a_picture_drops_what_it_no_longer_shows() {
    let metrics = Metrics::new().unwrap();
    metrics.show(nodes(&[("workers", "Pending", 3), ("old", "UpToDate", 1)]));
    metrics.show(nodes(&[("workers", "Pending", 2)]));
    assert_eq!(
        lines(&metrics, "lockkeeper_nodes"),
        [r#"lockkeeper_nodes{policy="workers",state="Pending"} 2"#]
    );
}

#[test]
fn who_stops_leading_leaves_no_picture_of_the_cluster() {
    let metrics = all();
    metrics.clear();
    for (_, name, ..) in cluster::ALL {
        assert_eq!(lines(&metrics, &format!("lockkeeper_{name}{{")), [""; 0], "{name}");
    }
    assert_eq!(lines(&metrics, "lockkeeper_leader"), ["lockkeeper_leader 0"]);
    assert_eq!(
        lines(&metrics, "lockkeeper_passes_total"),
        ["lockkeeper_passes_total 1"]
    );
}

#[test]
fn the_counters_of_a_policy_begin_with_nothing_and_go_with_it() {
    let metrics = Metrics::new().unwrap();
    metrics.set_policies(["workers"].into_iter());
    let begun = lines(&metrics, "lockkeeper_reboots_total");
    assert_eq!(begun.len(), Outcome::ALL.len());
    assert!(begun.iter().all(|line| line.ends_with(" 0")), "{begun:?}");
    metrics.count_reboot("workers", Outcome::Succeeded);
    metrics.observe_drain("workers", 12.0);
    metrics.count_order("workers", RebootMethod::SoftReboot);
    let orders = lines(&metrics, "lockkeeper_reboot_orders_total");
    assert_eq!(orders.len(), RebootMethod::ORDERED.len());
    let soft = r#"lockkeeper_reboot_orders_total{method="SoftReboot",policy="workers"} 1"#;
    assert!(orders.iter().any(|line| line == soft), "{orders:?}");
    metrics.set_policies(["workers", "others"].into_iter());
    let succeeded = r#"lockkeeper_reboots_total{outcome="Succeeded",policy="workers"}"#;
    assert_eq!(lines(&metrics, succeeded), [format!("{succeeded} 1")]);
    metrics.set_policies(std::iter::empty());
    for name in [
        "reboots_total",
        "reboot_orders_total",
        "drain_seconds",
        "reboot_down_seconds",
        "windows_closed",
    ] {
        assert_eq!(lines(&metrics, &format!("lockkeeper_{name}")), [""; 0], "{name}");
    }
}

#[test]
fn every_metric_has_help_and_a_name_by_the_rules() {
    let metrics = all();
    let text = metrics.text().unwrap();
    for Described { name, kind, help, .. } in metrics.described() {
        assert!(text.contains(&format!("# HELP lockkeeper_{name} {help}")), "{name}");
        assert!(text.contains(&format!("# TYPE lockkeeper_{name} {kind}\n")), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        assert!(name.ends_with("_seconds") || *kind != "histogram", "{name} is a {kind}");
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(types, metrics.described().len());
}

#[test]
fn a_counter_with_a_closed_list_of_labels_begins_with_0() {
    let metrics = Metrics::new().unwrap();
    for (name, series) in [
        ("actions_total", Action::NAMES.len() * RESULTS.len()),
        ("watch_errors_total", WatchedKind::ALL.len()),
        ("events_total", EVENTS.len()),
        ("evictions_total", EVICTIONS.len()),
    ] {
        let begun = lines(&metrics, &format!("lockkeeper_{name}"));
        assert_eq!(begun.len(), series, "{name}");
        assert!(begun.iter().all(|line| line.ends_with(" 0")), "{begun:?}");
    }
}

#[test]
fn the_version_is_told() {
    let metrics = Metrics::new().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(r#"lockkeeper_build_info{{component="operator",version="{version}"}} 1"#);
    assert_eq!(lines(&metrics, "lockkeeper_build_info"), [expected]);
}
