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
    issuers: Mutex<HashMap<Arc<str>, Known>>,
}

/// An issuer that is in use.
#[derive(Debug, Default)]
struct Known {
    /// How many providers have its name.
    users: usize,
    /// When its keys were last confirmed.
    confirmed: Option<SystemTime>,
}

#[derive(Debug)]
struct Families {
    age: GaugeVec,
    keys: IntGaugeVec,
    fetches: IntCounterVec,
    unknown: IntCounterVec,
    stale: IntCounterVec,
    calls: HistogramVec,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let calls = HistogramOpts::new("portcullis_oidc_call_seconds", "Calls of a provider's endpoints.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let age = Opts::new("portcullis_oidc_key_set_age_seconds", "Since the issuer's keys were last confirmed.");
        Ok(Self {
            age: GaugeVec::new(age, &["issuer"])?,
            keys: IntGaugeVec::new(
                Opts::new("portcullis_oidc_keys", "Keys of the issuer that can be used."),
                &["issuer"],
            )?,
            fetches: counter(
                "portcullis_oidc_fetches_total",
                "Fetches of the issuer's metadata and keys, by result.",
                &["issuer", "result"],
            )?,
            unknown: counter(
                "portcullis_oidc_unknown_kids_total",
                "Tokens whose key the issuer does not have, by what came of it.",
                &["issuer", "action"],
            )?,
            stale: counter(
                "portcullis_oidc_stale_serves_total",
                "Tokens verified with keys that have outlived the time their provider gave them.",
                &["issuer"],
            )?,
            calls: HistogramVec::new(calls, &["issuer", "endpoint", "result"])?,
        })
    }

    fn all(&self) -> [&dyn Collector; 6] {
        [&self.age, &self.keys, &self.fetches, &self.unknown, &self.stale, &self.calls]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // Fails only for names that are no metric's.
        Self { families: Families::new().ok(), issuers: Mutex::default() }
    }
}

impl Metrics {
    /// Handles for one issuer.
    pub fn series(self: &Arc<Self>, issuer: &str) -> Series {
        let issuer: Arc<str> = issuer.into();
        self.issuers.lock().entry(issuer.clone()).or_default().users += 1;
        let stale = self.families.as_ref().map(|families| families.stale.with_label_values(&[&*issuer]));
        Series(Arc::new(Handles { metrics: self.clone(), issuer, stale }))
    }
}

/// For the registry of a process.
#[derive(Debug)]
pub struct Collected(pub Arc<Metrics>);

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        let Some(families) = &self.0.families else { return Vec::new() };
        families.all().into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(families) = &self.0.families else { return Vec::new() };
        for (issuer, known) in self.0.issuers.lock().iter() {
            if let Some(confirmed) = known.confirmed {
                let age = confirmed.elapsed().unwrap_or_default().as_secs_f64();
                families.age.with_label_values(&[&**issuer]).set(age);
            }
        }
        families.all().into_iter().flat_map(|family| family.collect()).collect()
    }
}

/// Metrics of one issuer. Cheap to clone; what is a state, not a count, ends with the last of an issuer.
#[derive(Clone, Debug)]
pub struct Series(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    metrics: Arc<Metrics>,
    issuer: Arc<str>,
    stale: Option<IntCounter>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        let mut issuers = self.metrics.issuers.lock();
        let Some(known) = issuers.get_mut(&self.issuer) else { return };
        known.users = known.users.saturating_sub(1);
        if known.users > 0 {
            return;
        }
        issuers.remove(&self.issuer);
        if let Some(families) = &self.metrics.families {
            // They are not there when nothing was ever fetched.
            let _ = families.age.remove_label_values(&[&*self.issuer]);
            let _ = families.keys.remove_label_values(&[&*self.issuer]);
        }
    }
}

impl Series {
    fn families(&self) -> Option<&Families> {
        self.0.metrics.families.as_ref()
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    pub fn keys(&self, published: &Published) {
        if let Some(known) = self.0.metrics.issuers.lock().get_mut(&self.0.issuer) {
            known.confirmed = Some(published.confirmed);
        }
        if let Some(families) = self.families() {
            let count: usize = published.keys.iter().map(|keys| keys.set.len()).sum();
            families.keys.with_label_values(&[self.issuer()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub fn fetched(&self, result: &str) {
        if let Some(families) = self.families() {
            families.fetches.with_label_values(&[self.issuer(), result]).inc();
        }
    }

    /// `action`: what came of it.
    pub fn unknown_kid(&self, action: &str) {
        if let Some(families) = self.families() {
            families.unknown.with_label_values(&[self.issuer(), action]).inc();
        }
    }

    pub fn stale_serve(&self) {
        if let Some(stale) = &self.0.stale {
            stale.inc();
        }
    }

    pub fn called(&self, endpoint: &str, result: &str, took: Duration) {
        if let Some(families) = self.families() {
            families.calls.with_label_values(&[self.issuer(), endpoint, result]).observe(took.as_secs_f64());
        }
    }
}
