//! Every metric the host exposes, by its documented name. Each app has its own recorder, so that
//! several hosts in one process do not count into each other.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Events performed by the relay. Labels: topic, event_type.
pub const PUBLISHED: &str = "events_published_total";
/// Seconds from handing an event to Dapr to its answer. Labels: topic.
pub const PUBLISH_DURATION: &str = "event_publish_duration_seconds";
/// Offers of a component. Labels: component, result (`swapped`, `refused`, or `same`: it runs already).
pub const SWAPS: &str = "wharf_swaps_total";
/// Effects handed to Dapr. Labels: kind (`publish`, `state`, `schedule`, `cancel`, `invoke`), result
/// (`performed`, `unavailable` or `refused`).
pub const EFFECTS: &str = "wharf_effects_total";
/// Labels: topic, error_type (`unavailable` or `refused`).
pub const PUBLISH_ERRORS: &str = "event_publish_errors_total";
/// Deliveries handled, repeats excepted. Labels: topic, consumer, event_type.
pub const CONSUMED: &str = "events_consumed_total";
/// Seconds from taking the delivery to its being durable. Labels: consumer, event_type.
pub const PROCESSING_DURATION: &str = "event_processing_duration_seconds";
/// Deliveries that failed an attempt. Labels: consumer, event_type.
pub const PROCESSING_ERRORS: &str = "event_processing_errors_total";
/// Events that broke their schema. Labels: topic, schema_version.
pub const SCHEMA_ERRORS: &str = "schema_validation_errors_total";
/// Events of another schema version than the contract's. Labels: topic, expected, actual.
pub const SCHEMA_MISMATCHES: &str = "schema_version_mismatches_total";
/// Deliveries that the ledger had already. Labels: component.
pub const REPEATS: &str = "wharf_repeats_total";
/// Events of a type that no contract knows: acknowledged. Labels: topic.
pub const UNKNOWN: &str = "wharf_unknown_events_total";
/// Events that could not be decoded: kept as dead. Labels: topic.
pub const UNREADABLE: &str = "wharf_unreadable_events_total";
/// Entries of a bulk callback to `/`, which daprd could not route. No labels.
pub const UNROUTED: &str = "wharf_unrouted_entries_total";
/// Events of callbacks that are in progress now, at most `[ingress] max_events`. No labels.
pub const EVENTS_IN_PROGRESS: &str = "wharf_ingress_events";
/// Their bytes as they came, at most `[ingress] max_bytes` or one callback. No labels.
pub const BYTES_IN_PROGRESS: &str = "wharf_ingress_bytes";
/// Events answered RETRY at once since too much was in progress. Labels: room (`events` or `bytes`;
/// a callback whose bytes found no room counts as one).
pub const TURNED_AWAY: &str = "wharf_ingress_turned_away_total";
/// Deliveries being handled now. No labels.
pub const IN_FLIGHT: &str = "wharf_deliveries_in_flight";
/// Deliveries by state, read from the ledger. Labels: component, status (`parked` or `dead`).
pub const DELIVERIES: &str = "wharf_deliveries";
/// Effects by state, read from the ledger. Labels: status (`waiting` or `dead`).
pub const OUTBOX: &str = "wharf_outbox";
/// Seconds since the oldest waiting effect was committed. No labels.
pub const OUTBOX_LAG: &str = "wharf_outbox_lag_seconds";
/// Deliveries older than the dedup window that the ledger let go of. No labels.
pub const PRUNED: &str = "wharf_pruned_total";
/// Seconds inside the sandbox. Labels: component.
pub const SANDBOX_DURATION: &str = "wharf_sandbox_duration_seconds";
/// Fuel used. Labels: component.
pub const FUEL: &str = "wharf_fuel_total";
/// Most bytes of linear memory and tables of one invocation. Labels: component.
pub const MEMORY: &str = "wharf_memory_bytes";

const METADATA: Metadata<'static> = Metadata::new("wharf", Level::INFO, None);

/// One app's metrics.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    counters: Arc<Known<Counter>>,
    histograms: Arc<Known<Histogram>>,
}

impl Metrics {
    pub fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full(MEMORY.to_owned()), &BYTES)?
            .build_recorder();
        let handle = recorder.handle();
        let (counters, histograms) = (Arc::default(), Arc::default());
        Ok(Self { recorder: Arc::new(recorder), handle, counters, histograms })
    }

    /// Adds to a counter.
    pub fn count(&self, name: &'static str, labels: &[(&'static str, &str)], by: u64) {
        let register = |key: &Key| self.recorder.register_counter(key, &METADATA);
        self.counters.with(name, labels, register, |counter| counter.increment(by));
    }

    /// Adds a duration to a histogram, in seconds.
    pub fn time(&self, name: &'static str, labels: &[(&'static str, &str)], duration: Duration) {
        self.observe(name, labels, duration.as_secs_f64());
    }

    /// Adds a value to a histogram.
    pub fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let register = |key: &Key| self.recorder.register_histogram(key, &METADATA);
        self.histograms.with(name, labels, register, |histogram| histogram.record(value));
    }

    /// Sets a gauge.
    pub fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(value);
    }

    /// Adds to a gauge, or takes from it.
    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], by: f64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).increment(by);
    }

    /// Sorts observed values into their buckets, now and then: until then each one is kept.
    pub async fn keep_up(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(KEEP_UP)).await.is_some() {
            self.handle.run_upkeep();
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// How long observed values are kept one by one; a busy host has some 100,000 of them by then.
const KEEP_UP: Duration = Duration::from_secs(5);

type Labels<'a> = &'a [(&'static str, &'a str)];

/// Metrics by a hash of their name and labels, since making a key for each event would cost several
/// allocations.
struct Known<T> {
    hasher: RandomState,
    metrics: RwLock<HashMap<u64, Vec<(Key, T)>>>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), metrics: RwLock::default() }
    }
}

impl<T> Known<T> {
    fn with(
        &self,
        name: &'static str,
        labels: Labels<'_>,
        register: impl FnOnce(&Key) -> T,
        use_it: impl FnOnce(&T),
    ) {
        let hash = self.hasher.hash_one((name, labels));
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        let known =
            metrics.get(&hash).and_then(|same| same.iter().find(|(key, _)| is(key, name, labels)));
        if let Some((_, metric)) = known {
            return use_it(metric);
        }
        drop(metrics);
        let key = key(name, labels);
        let metric = register(&key);
        use_it(&metric);
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        metrics.entry(hash).or_default().push((key, metric));
    }
}

fn is(key: &Key, name: &str, labels: Labels<'_>) -> bool {
    let known = key.labels().map(|label| (label.key(), label.value()));
    key.name() == name && known.eq(labels.iter().copied())
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

const SECONDS: [f64; 14] =
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5, 1.0, 5.0];
const BYTES: [f64; 6] = [1e6, 2e6, 4e6, 8e6, 16e6, 64e6];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_apps_do_not_count_into_each_other() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.count(REPEATS, &[("component", "audit")], 2);
        assert!(one.render().contains("wharf_repeats_total{component=\"audit\"} 2"));
        assert!(!other.render().contains("wharf_repeats_total"));
    }

    #[test]
    fn a_metric_counts_on_and_labels_keep_metrics_apart() {
        let metrics = Metrics::new().unwrap();
        for component in ["audit", "reminder", "audit"] {
            metrics.count(REPEATS, &[("component", component)], 2);
            metrics.observe(MEMORY, &[("component", component)], 2e6);
        }
        metrics.count(UNKNOWN, &[("component", "audit")], 1);
        let text = metrics.render();
        for line in [
            "wharf_repeats_total{component=\"audit\"} 4",
            "wharf_repeats_total{component=\"reminder\"} 2",
            "wharf_unknown_events_total{component=\"audit\"} 1",
            "wharf_memory_bytes_count{component=\"audit\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
