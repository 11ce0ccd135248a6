//! Issuers and their keys, for people who look.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::Registry;
use super::provider::Provider;

impl Registry {
    /// Every provider in use.
    pub fn report(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.in_use().iter().map(|provider| report(provider)).collect();
        all.sort_by_key(|issuer| issuer["issuer"].as_str().unwrap_or_default().to_owned());
        all
    }
}

fn report(provider: &Provider) -> Value {
    let published = provider.published();
    let published = published.as_deref();
    let confirmed = published.and_then(|there| there.confirmed.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_secs());
    let age = published.and_then(|there| there.confirmed.elapsed().ok()).map(|age| age.as_secs());
    json!({
        "issuer": provider.source.issuer,
        "state": if published.is_some() { "ok" } else { "pending" },
        "discovery": provider.source.discovery.as_ref().map(|url| url.as_str()),
        "jwks_uri": published.and_then(|there| there.keys.first()).map(|keys| keys.url.as_str()),
        "source": null,
        "confirmed": confirmed,
        "age": age,
        "next_refresh": null,
        "last_error": null,
        "failures": null,
        "keys": [],
    })
}
