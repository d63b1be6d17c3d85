use super::*;

fn nodes(counts: &[(&str, &str, u64)]) -> BTreeMap<(String, String), u64> {
    counts
        .iter()
        .map(|(policy, state, nodes)| (((*policy).into(), (*state).into()), *nodes))
        .collect()
}

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.text().unwrap();
    text.lines()
        .filter(|line| line.starts_with(name))
        .map(ToOwned::to_owned)
        .collect()
}

/// One of each, as a scrape of a leader shows them.
fn all() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.set_leader(true);
    metrics.set_lock(1, 2);
    metrics.set_nodes(&nodes(&[("workers", "Pending", 3)]));
    metrics.set_waiting(&nodes(&[("workers", "NoFreeSlot", 2)]));
    metrics.set_node_states(&BTreeMap::from([(
        "w-01".into(),
        ("workers".into(), "Draining".into()),
    )]));
    metrics.set_failed(&BTreeMap::from([("workers".into(), 0)]));
    metrics.set_windows(&BTreeMap::from([("workers".into(), true)]));
    metrics.count_reboot("workers", "Succeeded");
    metrics.observe_drain("workers", 12.0);
    metrics.observe_down("workers", 41.0);
    metrics.count_pass();
    metrics.count_action("SetHolders", "ok");
    metrics.count_violation();
    metrics.count_watch_error("Nodes");
    metrics.count_event("posted");
    metrics
}

#[test]
fn a_picture_drops_what_it_no_longer_shows() {
    let metrics = Metrics::new().unwrap();
    metrics.set_nodes(&nodes(&[("workers", "Pending", 3), ("old", "UpToDate", 1)]));
    metrics.set_nodes(&nodes(&[("workers", "Pending", 2)]));
    assert_eq!(
        lines(&metrics, "lockkeeper_nodes"),
        [r#"lockkeeper_nodes{policy="workers",state="Pending"} 2"#]
    );
}

#[test]
fn who_stops_leading_leaves_no_picture_of_the_cluster() {
    let metrics = all();
    metrics.clear();
    for name in [
        "lockkeeper_nodes",
        "lockkeeper_waiting_nodes",
        "lockkeeper_node_state",
        "lockkeeper_failed_nodes",
    ] {
        assert_eq!(lines(&metrics, name), [""; 0], "{name}");
    }
    assert_eq!(lines(&metrics, "lockkeeper_leader"), ["lockkeeper_leader 0"]);
    assert_eq!(
        lines(&metrics, "lockkeeper_passes_total"),
        ["lockkeeper_passes_total 1"]
    );
}

#[test]
fn every_metric_has_help_and_a_name_by_the_rules() {
    let text = all().text().unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut seen = 0;
    for line in types {
        let (name, kind) = line.split_once(' ').unwrap();
        seen += 1;
        assert!(name.starts_with("lockkeeper_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert_eq!(name.ends_with("_seconds"), kind == "histogram", "{name} is a {kind}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert_eq!(seen, 17);
}

#[test]
fn the_version_is_told() {
    let metrics = Metrics::new().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(r#"lockkeeper_build_info{{component="operator",version="{version}"}} 1"#);
    assert_eq!(lines(&metrics, "lockkeeper_build_info"), [expected]);
}
