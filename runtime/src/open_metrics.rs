//! A host's counters as a monitoring system reads them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::host::{Host, Inner};
use crate::latency::LatencySnapshot;
use crate::metrics::AppTotals;

impl Host {
    /// All counters, as [OpenMetrics](https://github.com/prometheus/OpenMetrics) text: by app and method, launch
    /// phases, ends by reason, refused launches by code, limits met. An app's figures are those of all its versions and
    /// users. Counters never fall: those of instances that have ended are kept.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// assert!(host.open_metrics().contains("miniapp_host_memory_budget_bytes 268435456"));
    /// assert!(host.open_metrics().ends_with("# EOF\n"));
    /// # });
    /// ```
    pub fn open_metrics(&self) -> String {
        let mut registry = Registry::with_prefix("miniapp");
        registry.register_collector(Box::new(Scrape::of(self)));
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }
}

/// Every figure, collected once so that they belong together.
#[derive(Debug)]
struct Scrape {
    apps: BTreeMap<String, AppTotals>,
    live: BTreeMap<(String, &'static str), u64>,
    memory: BTreeMap<String, u64>,
    phases: Vec<(&'static str, LatencySnapshot)>,
    stops: Vec<(&'static str, u64)>,
    refused: BTreeMap<&'static str, u64>,
    compiles: u64,
    host_memory: (u64, u64),
}

impl Scrape {
    fn of(host: &Host) -> Self {
        let inner: &Inner = &host.inner;
        let metrics = &inner.living.metrics;
        let (mut live, mut memory) = (BTreeMap::new(), BTreeMap::new());
        for life in inner.living.with_memory() {
            *live.entry((life.app_id.clone(), life.state().label())).or_default() += 1;
            if let Some(shared) = life.shared() {
                *memory.entry(life.app_id.clone()).or_default() += shared.session.seat.bytes();
            }
        }
        Self {
            apps: metrics.totals(),
            live,
            memory,
            phases: metrics.phases().map(|(phase, latency)| (phase.label(), latency)).collect(),
            stops: metrics.stops().collect(),
            refused: metrics.refusals(),
            compiles: metrics.compiles.load(Ordering::Relaxed),
            host_memory: (inner.memory.used(), inner.memory.budget()),
        }
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One family of metrics, its values by labels.
struct Family<'e, 'd>(&'e mut DescriptorEncoder<'d>);

impl Family<'_, '_> {
    fn write<'a, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'a>, M)>,
    ) -> std::fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in values {
            if labels.is_empty() {
                return value.encode(encoder);
            }
            value.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> std::fmt::Result {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.write(name, help, None, MetricType::Counter, values)
    }

    fn seconds<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, Duration)>,
    ) -> std::fmt::Result {
        let value = |time: Duration| ConstCounter::new(time.as_secs_f64());
        let values = values.into_iter().map(|(labels, time)| (labels, value(time)));
        self.write(name, help, Some(&Unit::Seconds), MetricType::Counter, values)
    }

    fn bytes<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> std::fmt::Result {
        let value = |bytes: u64| ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        let values = values.into_iter().map(|(labels, bytes)| (labels, value(bytes)));
        self.write(name, help, Some(&Unit::Bytes), MetricType::Gauge, values)
    }

    fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, LatencySnapshot)>,
    ) -> std::fmt::Result {
        self.write(name, help, Some(&Unit::Seconds), MetricType::Histogram, values)
    }
}

impl EncodeMetric for LatencySnapshot {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.seconds(), self.count(), &self.buckets(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut family = Family(&mut encoder);
        let by_app = |value: fn(&AppTotals) -> u64| {
            self.apps.iter().map(move |(app, totals)| (vec![("app", app.as_str())], value(totals)))
        };
        family.counter("calls", "Calls into the app that have ended.", by_app(|t| t.latency.count()))?;
        family.counter("call_errors", "Calls into the app that ended in an error.", by_app(|t| t.errors))?;
        let latency = self.apps.iter().map(|(app, t)| (vec![("app", app.as_str())], t.latency));
        family.histogram("call_duration", "Time of a call into the app, waiting included.", latency)?;
        let cpu = self.apps.iter().map(|(app, t)| (vec![("app", app.as_str())], t.cpu));
        family.seconds("cpu", "CPU time of the app.", cpu)?;
        let throttled = self.apps.iter().map(|(app, t)| (vec![("app", app.as_str())], t.throttled));
        family.seconds("throttled", "Time the app had to wait for CPU time.", throttled)?;
        family.counter("log_lines", "Log lines written.", by_app(|t| t.log_lines))?;
        family.counter("log_dropped", "Log lines dropped.", by_app(|t| t.log_dropped))?;
        family.counter("network_sent_bytes", "Bytes sent to servers.", by_app(|t| t.network_sent))?;
        family.counter(
            "network_received_bytes",
            "Bytes received from servers.",
            by_app(|t| t.network_received),
        )?;
        family.counter(
            "inbox_delivered",
            "Events, changes and timers that the app took.",
            by_app(|t| t.inbox_delivered),
        )?;
        family.counter("inbox_dropped", "Those that were given up.", by_app(|t| t.inbox_dropped))?;
        family.bytes("memory_peak", "The most an instance was ever charged.", by_app(|t| t.memory_peak))?;
        let memory = self.memory.iter().map(|(app, bytes)| (vec![("app", app.as_str())], *bytes));
        family.bytes("memory", "What the app's instances have resident.", memory)?;
        let limits = self.apps.iter().flat_map(|(app, totals)| {
            totals
                .limits_met
                .iter()
                .map(|(limit, n)| (vec![("app", app.as_str()), ("limit", limit.label())], *n))
        });
        family.counter("limits_met", "How often a limit was met.", limits)?;

        let methods = || {
            self.apps.iter().flat_map(|(app, totals)| {
                let labels = move |method| vec![("app", app.as_str()), ("method", method)];
                totals.bridge.iter().map(move |(method, counts)| (labels(method.as_str()), counts))
            })
        };
        let calls = methods().map(|(labels, counts)| (labels, counts.calls));
        family.counter("bridge_calls", "Authorized calls of the app to its host.", calls)?;
        let errors = methods().map(|(labels, counts)| (labels, counts.errors));
        family.counter("bridge_errors", "Those that ended in an error.", errors)?;
        let denied = methods().map(|(labels, counts)| (labels, counts.denied));
        family.counter("bridge_denied", "Calls of the app to its host that were denied.", denied)?;
        let waited = methods().filter(|(_, c)| c.waited.count() > 0).map(|(labels, c)| (labels, c.waited));
        family.histogram("bridge_duration", "Time of calls to the host that may wait.", waited)?;

        let live = self.live.iter().map(|((app, state), n)| {
            let gauge = ConstGauge::new(i64::try_from(*n).unwrap_or(i64::MAX));
            (vec![("app", app.as_str()), ("state", *state)], gauge)
        });
        family.write("instances", "Instances that live.", None, MetricType::Gauge, live)?;
        let stops = self.stops.iter().map(|(reason, n)| (vec![("reason", *reason)], *n));
        family.counter("stops", "Instances that have ended.", stops)?;
        let refused = self.refused.iter().map(|(code, n)| (vec![("code", *code)], *n));
        family.counter("launches_refused", "Launches that came to nothing.", refused)?;
        let phases = self.phases.iter().map(|(phase, latency)| (vec![("phase", *phase)], *latency));
        family.histogram("launch_phase", "Time of a part of a launch.", phases)?;
        family.counter("compiles", "Components compiled.", [(vec![], self.compiles)])?;
        let (used, budget) = self.host_memory;
        family.bytes("host_memory", "What all instances have resident.", [(vec![], used)])?;
        family.bytes("host_memory_budget", "What all instances may have resident.", [(vec![], budget)])
    }
}
