//! Issuers and their keys, for people who look.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Registry;
use super::provider::Provider;
use crate::jose::{Algorithm, KeySet, Lookup};

impl Registry {
    /// Every provider in use, with its keys.
    pub fn report(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.in_use().iter().map(|provider| self.report_on(provider)).collect();
        all.sort_by_key(|issuer| issuer["issuer"].as_str().unwrap_or_default().to_owned());
        all
    }

    fn report_on(&self, provider: &Provider) -> Value {
        let (published, history) = (provider.published(), provider.history());
        let published = published.as_deref();
        let state = match (published.is_some(), provider.is_failing()) {
            (true, false) => "ok",
            (true, true) => "stale",
            (false, false) => "pending",
            (false, true) => "failed",
        };
        let issuer = provider.series.issuer();
        let key = |kid: &str, algorithm: Option<&str>, there: bool| {
            let last_used = self.key_uses.last(issuer, kid);
            let state = match (there, last_used) {
                (false, _) => "withdrawn",
                (true, Some(_)) => "active",
                (true, None) => "unused",
            };
            json!({
                "kid": kid, "algorithm": algorithm, "use": "sig", "state": state,
                "first_seen": history.seen.get(kid).map(|at| seconds(*at)), "last_used": last_used, "uses": null,
            })
        };
        let mut keys: Vec<Value> = Vec::new();
        for set in published.iter().flat_map(|published| &published.keys) {
            keys.extend(set.set.kids().map(|kid| key(kid, algorithms(&set.set, kid).as_deref(), true)));
        }
        let there: Vec<String> = keys.iter().filter_map(|key| Some(key["kid"].as_str()?.to_owned())).collect();
        keys.extend(
            history
                .seen
                .keys()
                .filter(|kid| !there.iter().any(|known| **known == ***kid))
                .map(|kid| key(kid, None, false)),
        );
        keys.sort_by_key(|key| key["kid"].as_str().unwrap_or_default().to_owned());
        json!({
            "issuer": published.map_or(provider.source.issuer.as_str(), |there| there.metadata.issuer.as_str()),
            "state": state,
            "discovery": provider.source.discovery.as_ref().map(reqwest::Url::as_str),
            "jwks_uri": published.and_then(|there| there.keys.first()).map(|keys| keys.url.as_str()),
            "source": published.map(|_| if history.from_disk { "disk" } else { "provider" }),
            "confirmed": published.map(|there| seconds(there.confirmed)),
            "age": published.map(|there| there.confirmed.elapsed().unwrap_or_default().as_secs()),
            "next_refresh": history.next.map(seconds),
            "last_error": history.last_error.map(|(at, message)| json!({ "at": seconds(at), "message": message })),
            "failures": provider.failures(),
            "keys": keys,
        })
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a key is for.
fn algorithms(set: &KeySet, kid: &str) -> Option<String> {
    let is = |algorithm: &&Algorithm| matches!(set.find(Some(kid), **algorithm), Lookup::Key(_));
    let names: Vec<&str> = Algorithm::ALL.iter().filter(is).map(|algorithm| algorithm.name()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}
