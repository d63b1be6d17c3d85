//! What Prometheus sees of the operator.

mod cluster;
mod make;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;
use lockkeeper_notify::Outcome as NotificationOutcome;
use lockkeeper_planner::{Action, Outcome, RebootMethod};
use lockkeeper_silences::Outcome as SilenceOutcome;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use cluster::{Gauge, GaugeSet};
pub use make::Described;

use crate::watched_kind::WatchedKind;
use cluster::Cluster;
use make::Maker;

/// The content type of [`Metrics::text`]; Prometheus 3 refuses an answer without one.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What may come of an eviction: the pod goes, its budget says no, it is gone already, anything else.
pub const EVICTIONS: [&str; 4] = ["granted", "refused", "gone", "error"];
const EVENTS: [&str; 4] = ["posted", "repeated", "dropped", "failed"];
/// What may come of an action.
const RESULTS: [&str; 3] = ["ok", "conflict", "error"];

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
    cluster: Cluster,
    described: Vec<Described>,
    reboots: IntCounterVec,
    orders: IntCounterVec,
    drain: HistogramVec,
    down: HistogramVec,
    passes: IntCounter,
    actions: IntCounterVec,
    violations: IntCounter,
    watch_errors: IntCounterVec,
    events: IntCounterVec,
    missed: IntCounterVec,
    rewinds: IntCounter,
    clock_skew: IntGauge,
    requests: IntCounterVec,
    evictions: IntCounterVec,
    notifications: IntCounterVec,
    notification_errors: IntGauge,
    receivers: Mutex<BTreeSet<String>>,
    silences: IntCounterVec,
    policies: Mutex<BTreeSet<String>>,
}

impl Metrics {
    /// All metrics, with nothing counted yet.
    pub fn new() -> prometheus::Result<Self> {
        let mut make = Maker::default();
        let build = make.gauges(
            "build_info",
            "Constant 1; the labels say what runs.",
            &["version", "component"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), "operator"]).set(1);
        let metrics = Self {
            leader: make.gauge("leader", "1 while this replica leads.")?,
            lock_limit: make.gauge(
                "lock_limit",
                "Nodes that may be in progress at the same time over all policies.",
            )?,
            lock_holders: make.gauge("lock_holders", "Nodes in progress, over all policies.")?,
            cluster: Cluster::new(&mut make)?,
            reboots: make.counters(
                "reboots_total",
                "Operations that ended, by outcome.",
                &["policy", "outcome"],
            )?,
            orders: make.counters(
                "reboot_orders_total",
                "Reboots that were ordered, by method.",
                &["policy", "method"],
            )?,
            drain: make.histogram("drain_seconds", "From the cordon to the reboot order.", &DRAIN_BUCKETS)?,
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
            missed: make.counters(
                "windows_closed_with_pending_nodes_total",
                "Windows that closed while nodes of the policy were pending.",
                &["policy"],
            )?,
            rewinds: make.counter(
                "api_rewinds_total",
                "Times that the resource versions of the API server went back, as after a restore of etcd.",
            )?,
            clock_skew: make.gauge(
                "clock_skew_seconds",
                "How far the clock of this replica is ahead of that of the API server (negative: behind), at least.",
            )?,
            requests: make.counters(
                "api_requests_total",
                "Requests to the API server by verb and code; code none means that there was no answer.",
                &["verb", "code"],
            )?,
            evictions: make.counters(
                "evictions_total",
                "Pods that were asked to leave, by what came of it; a pod may be asked more than once.",
                &["result"],
            )?,
            notifications: make.counters(
                "notifications_total",
                "Notifications by receiver and by what became of them; receiver all means that none was asked.",
                &["receiver", "result"],
            )?,
            notification_errors: make.gauge(
                "notification_config_errors",
                "Errors in the configuration of notifications; each leaves out one receiver, or all.",
            )?,
            receivers: Mutex::default(),
            silences: make.counters(
                "silences_total",
                "Silences in Alertmanager that were created, extended or ended, and failed attempts.",
                &["result"],
            )?,
            policies: Mutex::default(),
            registry: make.registry,
            described: make.described,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Series that are known begin with 0: the first of its kind is a change, not a series out of nothing.
    fn begin(&self) {
        for result in EVENTS {
            self.events.with_label_values(&[result]);
        }
        for result in EVICTIONS {
            self.evictions.with_label_values(&[result]);
        }
        self.notifications
            .with_label_values(&["all", NotificationOutcome::Dropped.as_str()]);
        for outcome in SilenceOutcome::ALL {
            self.silences.with_label_values(&[outcome.as_str()]);
        }
        for kind in WatchedKind::ALL {
            self.watch_errors.with_label_values(&[kind.as_str()]);
        }
        for (action, result) in Action::NAMES
            .iter()
            .flat_map(|action| RESULTS.map(|result| (*action, result)))
        {
            self.actions.with_label_values(&[action, result]);
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// What each metric is, in the order of their making.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Removes all metrics of the cluster: another replica exports them now.
    pub fn clear(&self) {
        self.leader.set(0);
        self.lock_limit.set(0);
        self.lock_holders.set(0);
        self.cluster.clear();
    }

    /// Whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// How many nodes are in progress, and how many may be.
    pub fn set_lock(&self, holders: usize, limit: usize) {
        self.lock_holders.set(count(holders));
        self.lock_limit.set(count(limit));
    }

    /// What a look shows of nodes and policies; what it does not show loses its series.
    pub fn show(&self, gauges: GaugeSet) {
        self.cluster.show(gauges, false);
    }

    /// What the policies' statuses say.
    pub fn show_statuses(&self, gauges: GaugeSet) {
        self.cluster.show(gauges, true);
    }

    /// The policies that there are: their counters begin with 0, and those of a policy that is gone are dropped.
    pub fn set_policies<'a>(&self, policies: impl Iterator<Item = &'a str>) {
        let now: BTreeSet<String> = policies.map(str::to_owned).collect();
        let mut before = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == now {
            return;
        }
        for new in now.difference(&before) {
            for outcome in Outcome::ALL {
                self.reboots.with_label_values(&[new.as_str(), outcome.as_str()]);
            }
            for method in RebootMethod::ORDERED {
                self.orders.with_label_values(&[new.as_str(), method.as_str()]);
            }
            self.drain.with_label_values(&[new]);
            self.down.with_label_values(&[new]);
            self.missed.with_label_values(&[new]);
        }
        for gone in before.difference(&now) {
            // Each fails only for a series that is not there, which is what we want.
            for outcome in Outcome::ALL {
                let _ = self.reboots.remove_label_values(&[gone.as_str(), outcome.as_str()]);
            }
            for method in RebootMethod::ORDERED {
                let _ = self.orders.remove_label_values(&[gone.as_str(), method.as_str()]);
            }
            let _ = self.drain.remove_label_values(&[gone]);
            let _ = self.down.remove_label_values(&[gone]);
            let _ = self.missed.remove_label_values(&[gone]);
        }
        *before = now;
    }

    /// A window closed while nodes of the policy were pending.
    pub fn count_missed(&self, policy: &str) {
        self.missed.with_label_values(&[policy]).inc();
    }

    /// The resource versions of the API server went back.
    pub fn count_rewind(&self) {
        self.rewinds.inc();
    }

    /// How far our clock is ahead of that of the API server.
    pub fn set_clock_skew(&self, skew: TimeDelta) {
        self.clock_skew.set(skew.num_seconds());
    }

    /// A request was answered with this code; none if there was no answer.
    pub fn count_request(&self, verb: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.requests.with_label_values(&[verb, &code]).inc();
    }

    /// A pod was asked to leave, and this is what came of it.
    pub fn count_eviction(&self, result: &str) {
        self.evictions.with_label_values(&[result]).inc();
    }

    /// An operation has ended.
    pub fn count_reboot(&self, policy: &str, outcome: Outcome) {
        self.reboots.with_label_values(&[policy, outcome.as_str()]).inc();
    }

    /// A reboot was ordered.
    pub fn count_order(&self, policy: &str, method: RebootMethod) {
        self.orders.with_label_values(&[policy, method.as_str()]).inc();
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

impl lockkeeper_notify::Observer for Metrics {
    fn count(&self, receiver: &str, outcome: NotificationOutcome, events: u64) {
        self.notifications
            .with_label_values(&[receiver, outcome.as_str()])
            .inc_by(events);
    }

    fn configured(&self, receivers: &[&str], errors: usize) {
        self.notification_errors.set(count(errors));
        let now: BTreeSet<String> = receivers.iter().map(|&name| name.to_owned()).collect();
        let mut before = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        for outcome in NotificationOutcome::ALL {
            for new in now.difference(&before) {
                self.notifications.with_label_values(&[new.as_str(), outcome.as_str()]);
            }
            for gone in before.difference(&now) {
                // It fails only for a series that is not there, which is what we want.
                let _ = self
                    .notifications
                    .remove_label_values(&[gone.as_str(), outcome.as_str()]);
            }
        }
        *before = now;
    }
}

impl lockkeeper_silences::Observer for Metrics {
    fn count_silence(&self, outcome: SilenceOutcome) {
        self.silences.with_label_values(&[outcome.as_str()]).inc();
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
