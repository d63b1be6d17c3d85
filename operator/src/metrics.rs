//! What Prometheus sees of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The content type of [`Metrics::text`]; Prometheus 3 refuses an answer without one.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const DRAIN_BUCKETS: [f64; 12] = [
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
];
const DOWN_BUCKETS: [f64; 12] = [
    10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0,
];

/// All metrics of one process.
///
/// Gauges about the cluster are whole pictures: what a picture does not show loses its series. They come from the
/// leader alone; whoever stops leading calls [`Metrics::clear`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leader: IntGauge,
    lock_limit: IntGauge,
    lock_holders: IntGauge,
    nodes: Picture,
    waiting_nodes: Picture,
    node_state: Picture,
    failed_nodes: Picture,
    window_open: Picture,
    breaker_open: Picture,
    completion: Picture,
    reboots: IntCounterVec,
    drain: HistogramVec,
    down: HistogramVec,
    passes: IntCounter,
    actions: IntCounterVec,
    violations: IntCounter,
    watch_errors: IntCounterVec,
    events: IntCounterVec,
}

impl Metrics {
    /// All metrics, with nothing counted yet.
    pub fn new() -> prometheus::Result<Self> {
        let make = Maker {
            registry: Registry::new(),
        };
        let build = make.gauges(
            "build_info",
            "Constant 1; the labels say what runs.",
            &["version", "component"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), "operator"]).set(1);
        Ok(Self {
            leader: make.gauge("leader", "1 while this replica leads.")?,
            lock_limit: make.gauge(
                "lock_limit",
                "Nodes that may be inside the reboot lock over all policies.",
            )?,
            lock_holders: make.gauge("lock_holders", "Nodes that are inside the reboot lock.")?,
            nodes: make.picture("nodes", "Nodes by policy and state.", &["policy", "state"])?,
            waiting_nodes: make.picture(
                "waiting_nodes",
                "Nodes that wait, by policy and waiting reason.",
                &["policy", "reason"],
            )?,
            node_state: make.picture(
                "node_state",
                "Constant 1; the state of each node that is not UpToDate.",
                &["node", "policy", "state"],
            )?,
            failed_nodes: make.picture("failed_nodes", "Nodes that a person must look at.", &["policy"])?,
            window_open: make.picture(
                "policy_window_open",
                "1 while nodes of the policy may start.",
                &["policy"],
            )?,
            breaker_open: make.picture(
                "breaker_open",
                "1 while failed nodes keep other nodes of the policy from starting.",
                &["policy"],
            )?,
            completion: make.picture(
                "policy_estimated_completion_timestamp_seconds",
                "When the last node of the policy will be done if nothing blocks; only during a rollout.",
                &["policy"],
            )?,
            reboots: make.counters(
                "reboots_total",
                "Operations that ended, by outcome.",
                &["policy", "outcome"],
            )?,
            drain: make.histogram(
                "drain_seconds",
                "From our marks to the order to reboot.",
                &DRAIN_BUCKETS,
            )?,
            down: make.histogram(
                "reboot_down_seconds",
                "From the order to reboot to Ready again.",
                &DOWN_BUCKETS,
            )?,
            passes: make.counter("passes_total", "Passes of observe, plan, check, execute.")?,
            actions: make.counters("actions_total", "Writes that a plan asked for.", &["action", "result"])?,
            violations: make.counter(
                "check_violations_total",
                "Plans that the safety rules refused; nothing of them was written.",
            )?,
            watch_errors: make.counters("watch_errors_total", "Failed lists and watches.", &["kind"])?,
            events: make.counters("events_total", "Events by what became of them.", &["result"])?,
            registry: make.registry,
        })
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Forgets all pictures of the cluster: somebody else paints them now.
    pub fn clear(&self) {
        self.leader.set(0);
        self.lock_limit.set(0);
        self.lock_holders.set(0);
        for picture in [
            &self.nodes,
            &self.waiting_nodes,
            &self.node_state,
            &self.failed_nodes,
            &self.window_open,
            &self.breaker_open,
            &self.completion,
        ] {
            picture.set(BTreeMap::new());
        }
    }

    /// Whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// How many are inside the lock, of how many that may be.
    pub fn set_lock(&self, holders: usize, limit: usize) {
        self.lock_holders.set(count(holders));
        self.lock_limit.set(count(limit));
    }

    /// How many nodes each policy has in each state.
    pub fn set_nodes(&self, nodes: &BTreeMap<(String, String), u64>) {
        self.nodes.set(pairs(nodes));
    }

    /// How many nodes of each policy wait for each reason.
    pub fn set_waiting(&self, waiting: &BTreeMap<(String, String), u64>) {
        self.waiting_nodes.set(pairs(waiting));
    }

    /// Policy and state of each node that is not up to date.
    pub fn set_node_states(&self, nodes: &BTreeMap<String, (String, String)>) {
        let series = nodes
            .iter()
            .map(|(node, (policy, state))| (vec![node.clone(), policy.clone(), state.clone()], 1));
        self.node_state.set(series.collect());
    }

    /// How many nodes of each policy have failed; a policy without failures is there with 0.
    pub fn set_failed(&self, failed: &BTreeMap<String, u64>) {
        self.failed_nodes.set(
            failed
                .iter()
                .map(|(policy, nodes)| (vec![policy.clone()], signed(*nodes)))
                .collect(),
        );
    }

    /// Whether each policy's window is open.
    pub fn set_windows(&self, open: &BTreeMap<String, bool>) {
        self.window_open.set(flags(open));
    }

    /// When each policy's rollout will be over.
    pub fn set_completions(&self, ends: &BTreeMap<String, DateTime<Utc>>) {
        let series = ends.iter().map(|(policy, end)| (vec![policy.clone()], end.timestamp()));
        self.completion.set(series.collect());
    }

    /// Whether each policy's breaker is open.
    pub fn set_breakers(&self, open: &BTreeMap<String, bool>) {
        self.breaker_open.set(flags(open));
    }

    /// An operation has ended.
    pub fn count_reboot(&self, policy: &str, outcome: &str) {
        self.reboots.with_label_values(&[policy, outcome]).inc();
    }

    /// A node was drained.
    pub fn observe_drain(&self, policy: &str, seconds: f64) {
        self.drain.with_label_values(&[policy]).observe(seconds);
    }

    /// A node is back.
    pub fn observe_down(&self, policy: &str, seconds: f64) {
        self.down.with_label_values(&[policy]).observe(seconds);
    }

    /// A pass has ended.
    pub fn count_pass(&self) {
        self.passes.inc();
    }

    /// A write has been tried; `result` is a word such as `ok`, `conflict` or `error`.
    pub fn count_action(&self, action: &str, result: &str) {
        self.actions.with_label_values(&[action, result]).inc();
    }

    /// The safety rules refused a plan.
    pub fn count_violation(&self) {
        self.violations.inc();
    }

    /// A list or a watch has failed.
    pub fn count_watch_error(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    /// An Event was `posted`, `repeated`, `dropped` or `failed`.
    pub fn count_event(&self, result: &str) {
        self.events.with_label_values(&[result]).inc();
    }
}

/// A family of gauges that is always set as a whole.
#[derive(Debug)]
struct Picture {
    gauges: IntGaugeVec,
    shown: Mutex<BTreeSet<Vec<String>>>,
}

impl Picture {
    /// Sets what is in the picture and drops what no longer is; a series that stays is never absent in between.
    fn set(&self, series: BTreeMap<Vec<String>, i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|labels| !series.contains_key(*labels)) {
            // It fails only for a series that is not there, which is what we want.
            let _ = self.gauges.remove_label_values(gone);
        }
        for (labels, value) in &series {
            self.gauges.with_label_values(labels).set(*value);
        }
        *shown = series.into_keys().collect();
    }
}

/// Makes metrics with our prefix and registers them.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::with_opts(options(name, help))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(options(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn picture(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Picture> {
        Ok(Picture {
            gauges: self.gauges(name, help, labels)?,
            shown: Mutex::default(),
        })
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::with_opts(options(name, help))?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(options(name, help), labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        let histogram = HistogramVec::new(options, &["policy"])?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("lockkeeper")
}

fn flags(by_policy: &BTreeMap<String, bool>) -> BTreeMap<Vec<String>, i64> {
    let series = by_policy.iter();
    series
        .map(|(policy, yes)| (vec![policy.clone()], (*yes).into()))
        .collect()
}

fn pairs(counts: &BTreeMap<(String, String), u64>) -> BTreeMap<Vec<String>, i64> {
    counts
        .iter()
        .map(|((first, second), nodes)| (vec![first.clone(), second.clone()], signed(*nodes)))
        .collect()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
