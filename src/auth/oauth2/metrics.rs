//! Metrics of the token endpoints. Uses of tokens are counted with those of every other plugin (`portcullis_auth_requests_total`);
//! here is what only this plugin does. Labels are closed sets.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, Opts};

use super::store::TokenStore;

/// Of all instances of the plugin; one value a process.
#[derive(Debug)]
pub struct Metrics {
    families: Option<Families>,
}

#[derive(Debug)]
struct Families {
    issued: IntCounterVec,
    refused: IntCounterVec,
    lookups: IntCounterVec,
    tokens: IntGauge,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            issued: IntCounterVec::new(
                Opts::new(
                    "portcullis_oauth2_issued_total",
                    "Access tokens issued, by grant; `code`: authorization codes.",
                ),
                &["grant"],
            )?,
            refused: IntCounterVec::new(
                Opts::new("portcullis_oauth2_refused_total", "Refusals of the plugin's endpoints, by OAuth 2.0 error."),
                &["endpoint", "error"],
            )?,
            lookups: IntCounterVec::new(
                Opts::new(
                    "portcullis_oauth2_lookups_total",
                    "Tokens not in memory that the shared store was asked for, by result: found, unknown, failed.",
                ),
                &["result"],
            )?,
            tokens: IntGauge::new("portcullis_oauth2_tokens", "Issued tokens in memory.")?,
        })
    }

    fn all(&self) -> [&dyn Collector; 4] {
        [&self.issued, &self.refused, &self.lookups, &self.tokens]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // Fails only for names that are no metric's.
        Self { families: Families::new().ok() }
    }
}

impl Metrics {
    pub fn issued(&self, grant: &str) {
        if let Some(families) = &self.families {
            families.issued.with_label_values(&[grant]).inc();
        }
    }

    pub fn refused(&self, endpoint: &str, error: &str) {
        if let Some(families) = &self.families {
            families.refused.with_label_values(&[endpoint, error]).inc();
        }
    }

    pub fn looked_up(&self, result: &str) {
        if let Some(families) = &self.families {
            families.lookups.with_label_values(&[result]).inc();
        }
    }
}

/// For the registry of a process.
#[derive(Debug)]
pub struct Collected {
    pub metrics: Arc<Metrics>,
    pub tokens: Arc<dyn TokenStore>,
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.families.iter().flat_map(Families::all).flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(families) = &self.metrics.families else { return Vec::new() };
        families.tokens.set(i64::try_from(self.tokens.in_memory()).unwrap_or(i64::MAX));
        families.all().into_iter().flat_map(|family| family.collect()).collect()
    }
}
