//! Metrics with our prefix, registered and described.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// What a metric is, for the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name without the prefix `lockkeeper_`.
    pub name: &'static str,
    /// `gauge`, `counter` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is, in one sentence.
    pub help: &'static str,
}

/// Series of a gauge: values of the labels, value.
pub(super) type Series = BTreeMap<Vec<String>, i64>;

/// A family of gauges that is always set as a whole.
#[derive(Debug)]
pub(super) struct GaugeFamily {
    gauges: IntGaugeVec,
    shown: Mutex<Series>,
}

impl GaugeFamily {
    /// Sets what is in the picture and drops what no longer is; a series that stays is never absent in between.
    pub(super) fn set(&self, series: Series) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.keys().filter(|labels| !series.contains_key(*labels)) {
            // It fails only for a series that is not there, which is what we want.
            let _ = self.gauges.remove_label_values(gone);
        }
        for (labels, value) in series
            .iter()
            .filter(|(labels, value)| shown.get(*labels) != Some(value))
        {
            self.gauges.with_label_values(labels).set(*value);
        }
        *shown = series;
    }
}

/// Makes metrics and registers them.
#[derive(Default)]
pub(super) struct Maker {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
}

impl Maker {
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::with_opts(self.describe("gauge", name, help, &[]))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    pub(super) fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> prometheus::Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(self.describe("gauge", name, help, labels), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    pub(super) fn family(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> prometheus::Result<GaugeFamily> {
        Ok(GaugeFamily {
            gauges: self.gauges(name, help, labels)?,
            shown: Mutex::default(),
        })
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::with_opts(self.describe("counter", name, help, &[]))?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    pub(super) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(self.describe("counter", name, help, labels), labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    /// By policy.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        const LABELS: &[&str] = &["policy"];
        let options = HistogramOpts::from(self.describe("histogram", name, help, LABELS)).buckets(buckets.to_vec());
        let histogram = HistogramVec::new(options, LABELS)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn describe(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Opts {
        self.described.push(Described {
            name,
            kind,
            labels,
            help,
        });
        Opts::new(name, help).namespace("lockkeeper")
    }
}
