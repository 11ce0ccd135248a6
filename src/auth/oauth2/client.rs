//! Who asks at the token endpoint: client credentials, verified in the same time whether the client exists or not, with a
//! budget of failures per client and per address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pingora_limits::rate::Rate;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Oauth2, secret};
use crate::auth::Request;
use crate::auth::arguments::Arguments;
use crate::entity::Oauth2Credential;

/// Hashes that are computed at once: they are slow on purpose, and requests must go on beside them.
const HASHING: usize = 2;

/// Failures a minute after which a client id, or an address, has to wait.
const FAILURES_PER_MINUTE: f64 = 60.0;

/// What is remembered of clients over all snapshots.
pub struct Clients {
    failures: Rate,
    /// Hashed secrets that were verified: credential and stored hash, under a keyed digest of the secret.
    verified: Cache<[u8; 32], ()>,
    key: hmac::Key,
    hashing: Semaphore,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

impl Default for Clients {
    fn default() -> Self {
        // Without random numbers no TLS handshake would work either; a fixed key then only makes the cache predictable.
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let key =
            hmac::Key::generate(hmac::HMAC_SHA256, &rng).unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[0]));
        Self {
            failures: Rate::new(Duration::from_secs(60)),
            verified: Cache::new(10_000),
            key,
            hashing: Semaphore::new(HASHING),
        }
    }
}

impl Clients {
    /// Whether a client id at an address, or the address, has failed too often within the last minute.
    pub fn is_over_budget(&self, address: IpAddr, client_id: Option<&str>) -> bool {
        let over = |failures: f64| failures >= FAILURES_PER_MINUTE;
        over(self.recent(&address)) || client_id.is_some_and(|id| over(self.recent(&(id, address))))
    }

    /// Failures within the last minute: those of this one so far, and their share of the one before.
    fn recent<K: std::hash::Hash>(&self, key: &K) -> f64 {
        self.failures.rate_with(key, |seen| {
            seen.prev_samples as f64 * (1.0 - seen.current_interval_fraction) + seen.curr_samples as f64
        })
    }

    pub fn failed(&self, address: IpAddr, client_id: Option<&str>) {
        self.failures.observe(&address, 1);
        if let Some(id) = client_id {
            self.failures.observe(&(id, address), 1);
        }
    }

    fn digest(&self, credential: Uuid, stored: &str, secret: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [credential.as_bytes().as_slice(), stored.as_bytes(), secret.as_bytes()] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Verifies a secret, a hash off the serving threads. `None`: meanwhile too many attempts have failed.
    pub async fn verify(
        &self,
        address: IpAddr,
        client_id: Option<&str>,
        client: Option<&Arc<Oauth2Credential>>,
        presented: &Presented,
    ) -> Option<bool> {
        let given = presented.client_secret.as_deref().unwrap_or_default();
        let readings = std::iter::once(given).chain(presented.decoded_secret.as_deref());
        let hashed = client.filter(|client| client.hash_secret || secret::is_hash(&client.client_secret));
        for given in readings.clone() {
            let good = match (hashed, client) {
                (Some(client), _) => self.verified.get(&self.digest(client.id, &client.client_secret, given)).is_some(),
                (None, client) => client.is_some_and(|client| secret::verify_plain(&client.client_secret, given)),
            };
            if good {
                return Some(true);
            }
        }
        let _permit = self.hashing.acquire().await.ok()?;
        if self.is_over_budget(address, client_id) {
            return None;
        }
        let stored = hashed.map(|client| client.client_secret.clone());
        let readings: Vec<String> = readings.map(str::to_owned).collect();
        let work = move || {
            readings.into_iter().find(|given| match &stored {
                Some(stored) => secret::verify_hash(stored, given),
                None => {
                    secret::verify_nothing(given);
                    false
                }
            })
        };
        let good = tokio::task::spawn_blocking(work).await.unwrap_or(None);
        match (&good, hashed) {
            (Some(good), Some(client)) => {
                self.verified.insert(self.digest(client.id, &client.client_secret, good), ());
            }
            // Counted before the next one gets its turn.
            _ => self.failed(address, client_id),
        }
        Some(good.is_some())
    }
}

/// The credentials a client presented.
#[derive(Debug, Default)]
pub struct Presented {
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    /// The secret of a header as RFC 6749 section 2.3.1 has it, percent-encoded, where that is another one. Most clients, and
    /// Kong, leave it as it is.
    pub decoded_secret: Option<String>,
    pub from_header: bool,
}

impl Oauth2 {
    /// Parameters first, then a `Basic` header, then the id alone.
    pub(super) fn presented(&self, request: &Request<'_>, arguments: &Arguments) -> Presented {
        let (id, secret) = (arguments.text("client_id"), arguments.text("client_secret"));
        if let (Some(id), Some(secret)) = (id, secret) {
            return Presented {
                client_id: Some(id.into()),
                client_secret: Some(secret.into()),
                ..Presented::default()
            };
        }
        if let Some((id, secret)) = request.headers.get(&self.header).and_then(|value| basic(value.to_str().ok()?)) {
            let known = |id: &str| request.directory.oauth2.get(id).is_some();
            let decoded_id = decoded(&id).filter(|decoded| !known(&id) && known(decoded));
            return Presented {
                client_id: Some(decoded_id.unwrap_or(id)),
                decoded_secret: decoded(&secret),
                client_secret: Some(secret),
                from_header: true,
            };
        }
        Presented { client_id: id.map(Into::into), ..Presented::default() }
    }
}

/// The text that was percent-encoded as in a form; `None` where that changes nothing, or is no text.
fn decoded(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

/// Id and secret of a `Basic` header.
fn basic(value: &str) -> Option<(String, String)> {
    let value = value.trim_start();
    let encoded = value.strip_prefix("Basic").or_else(|| value.strip_prefix("basic"))?;
    let encoded = encoded.strip_prefix(char::is_whitespace)?.trim();
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
