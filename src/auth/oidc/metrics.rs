//! Metrics of identity providers. The only unbounded label would be the issuer, which the configuration names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, proto::MetricFamily,
};

use super::provider::Published;

/// Of all providers; one value a process.
#[derive(Debug)]
pub struct Metrics {
    families: Option<Families>,
    /// When each issuer's keys were last confirmed.
    confirmed: Mutex<HashMap<Arc<str>, SystemTime>>,
}

#[derive(Debug)]
struct Families {
    age: GaugeVec,
    keys: IntGaugeVec,
    fetches: IntCounterVec,
    unknown: IntCounterVec,
    calls: HistogramVec,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let calls = HistogramOpts::new("portcullis_oidc_call_seconds", "Calls of a provider's endpoints.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let opts = Opts::new;
        Ok(Self {
            age: GaugeVec::new(
                opts("portcullis_oidc_key_set_age_seconds", "Since the issuer's keys were last confirmed."),
                &["issuer"],
            )?,
            keys: IntGaugeVec::new(opts("portcullis_oidc_keys", "Keys of the issuer that can be used."), &["issuer"])?,
            fetches: IntCounterVec::new(
                opts("portcullis_oidc_fetches_total", "Fetches of the issuer's metadata and keys, by result."),
                &["issuer", "result"],
            )?,
            unknown: IntCounterVec::new(
                opts("portcullis_oidc_unknown_kids_total", "Tokens whose key the issuer does not have."),
                &["issuer"],
            )?,
            calls: HistogramVec::new(calls, &["issuer", "endpoint", "result"])?,
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // Fails only for names that are no metric's.
        Self { families: Families::new().ok(), confirmed: Mutex::default() }
    }
}

impl Metrics {
    /// Handles for one issuer.
    pub fn series(self: &Arc<Self>, issuer: &str) -> Series {
        let unknown = self.families.as_ref().map(|families| families.unknown.with_label_values(&[issuer]));
        Series { metrics: self.clone(), issuer: issuer.into(), unknown }
    }
}

/// For the registry of a process.
#[derive(Debug)]
pub struct Collected(pub Arc<Metrics>);

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        let Some(families) = &self.0.families else { return Vec::new() };
        let all: [&dyn Collector; 5] =
            [&families.age, &families.keys, &families.fetches, &families.unknown, &families.calls];
        all.into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(families) = &self.0.families else { return Vec::new() };
        for (issuer, confirmed) in self.0.confirmed.lock().iter() {
            let age = confirmed.elapsed().unwrap_or_default().as_secs_f64();
            families.age.with_label_values(&[issuer]).set(age);
        }
        let all: [&dyn Collector; 5] =
            [&families.age, &families.keys, &families.fetches, &families.unknown, &families.calls];
        all.into_iter().flat_map(|family| family.collect()).collect()
    }
}

/// Metrics of one issuer.
#[derive(Clone, Debug)]
pub struct Series {
    metrics: Arc<Metrics>,
    issuer: Arc<str>,
    unknown: Option<IntCounter>,
}

impl Series {
    pub fn keys(&self, published: &Published) {
        self.metrics.confirmed.lock().insert(self.issuer.clone(), published.confirmed);
        if let Some(families) = &self.metrics.families {
            let count: usize = published.keys.iter().map(|keys| keys.set.len()).sum();
            families.keys.with_label_values(&[&*self.issuer]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub fn fetched(&self, result: &str) {
        if let Some(families) = &self.metrics.families {
            families.fetches.with_label_values(&[&*self.issuer, result]).inc();
        }
    }

    pub fn unknown_kid(&self) {
        if let Some(unknown) = &self.unknown {
            unknown.inc();
        }
    }

    pub fn called(&self, endpoint: &str, result: &str, took: Duration) {
        if let Some(families) = &self.metrics.families {
            families.calls.with_label_values(&[&*self.issuer, endpoint, result]).observe(took.as_secs_f64());
        }
    }
}
