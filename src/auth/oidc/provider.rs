//! One identity provider: its metadata and keys, fetched in the background and published for requests to read.
//!
//! Requests see [`Published`] through one atomic load. One task per provider does all fetching, so that there is never more
//! than one fetch at a time; a request that meets an unknown key asks it for a refresh ([`Provider::ask`]) and waits, no longer
//! than [`PATIENCE`]. The last good keys stay until better ones are there.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::calls::{self, Fault, Http};
use super::disk::{Disk, Kept};
use super::metrics::Series;
use crate::jose::{Algorithm, KeySet, Lookup, VerificationKey};

/// How long a request waits for keys.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// After a failed attempt, the next one that a request may ask for.
const FAILED_COOLDOWN: Duration = Duration::from_secs(5);
/// Requests that may wait at once.
const MOST_WAITING: usize = 4096;
/// How long a key id that no fetch brought asks for no other fetch.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// Key ids longer than this are nobody's.
const LONGEST_KID: usize = 256;
/// How long keys are kept before they are asked for again: where the provider does not say, least, and most.
const LIFETIME: Duration = Duration::from_secs(300);
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

/// What is fetched and from where. Plugins with the same of these share a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// As configured.
    pub issuer: String,
    /// Where the discovery document is; `None` for a pseudo issuer.
    pub discovery: Option<Url>,
    /// In place of the document's `jwks_uri`.
    pub jwks: Option<Url>,
    pub extra: Vec<Url>,
    /// Beside the configured issuer, what the document may call itself.
    pub allowed: Vec<String>,
    /// Sent with the request for the document.
    pub headers: Vec<(String, String)>,
    pub way: super::calls::Way,
    /// Least time between two fetches that requests ask for.
    pub cooldown: Duration,
    pub plain: bool,
}

/// What of the discovery document is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    #[serde(default)]
    pub jwks_uri: Option<String>,
    #[serde(default)]
    pub token_endpoint: Option<String>,
    #[serde(default)]
    pub introspection_endpoint: Option<String>,
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// A key set and where it came from.
#[derive(Clone, Debug)]
pub struct Keys {
    pub url: Url,
    pub set: Arc<KeySet>,
    /// As it was sent, for the disk.
    pub text: Arc<str>,
}

/// What requests see.
#[derive(Debug)]
pub struct Published {
    pub metadata: Metadata,
    /// The provider's own first.
    pub keys: Vec<Keys>,
    /// When the keys were last confirmed by the provider.
    pub confirmed: SystemTime,
}

/// What is known about a token's key.
pub enum Found<'a> {
    Key(&'a VerificationKey),
    OtherAlgorithm,
    UnknownKid,
    KidMissing,
}

impl Published {
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let mut found = Found::UnknownKid;
        for keys in &self.keys {
            match keys.set.find(kid, algorithm) {
                Lookup::Key(key) => return Found::Key(key),
                Lookup::OtherAlgorithm => found = Found::OtherAlgorithm,
                Lookup::KidMissing if matches!(found, Found::UnknownKid) => found = Found::KidMissing,
                Lookup::KidMissing | Lookup::UnknownKid => {}
            }
        }
        found
    }
}

/// When requests may ask again.
#[derive(Debug, Default)]
struct Asking {
    in_flight: bool,
    last_asked: Option<Instant>,
    last_failed: Option<Instant>,
}

#[derive(Debug)]
pub struct Provider {
    pub source: Source,
    http: Http,
    disk: Option<Disk>,
    published: ArcSwapOption<Published>,
    asking: Mutex<Asking>,
    wake: Arc<Notify>,
    /// Counts finished fetches.
    finished: watch::Sender<u64>,
    waiting: AtomicUsize,
    unknown: Cache<Box<str>, Instant>,
    pub series: Series,
    failures: AtomicU64,
    task: Mutex<Option<AbortHandle>>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

impl Provider {
    /// With what is on disk; nothing is fetched before [`Self::start`].
    pub fn new(source: Source, http: Http, disk: Option<Disk>, series: Series) -> Arc<Self> {
        let kept = disk.as_ref().and_then(|disk| disk.load(&source)).map(Arc::new);
        if let Some(kept) = &kept {
            tracing::info!(issuer = source.issuer, "keys from disk until the provider answers");
            series.keys(kept);
        }
        Arc::new(Self {
            source,
            http,
            disk,
            published: ArcSwapOption::new(kept),
            asking: Mutex::default(),
            wake: Arc::new(Notify::new()),
            finished: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            unknown: Cache::new(1024),
            series,
            failures: AtomicU64::new(0),
            task: Mutex::default(),
        })
    }

    /// Fetches now and then on, until the provider is let go.
    pub fn start(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        self.asking.lock().in_flight = true;
        let task = runtime.spawn(run(Arc::downgrade(self), self.wake.clone()));
        *self.task.lock() = Some(task.abort_handle());
    }

    pub fn published(&self) -> arc_swap::Guard<Option<Arc<Published>>> {
        self.published.load()
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Asks for a fetch on behalf of a request; `None` when that is no use now. A key id that nobody knows asks once.
    pub fn ask(&self, kid: Option<&str>) -> Option<Waiting> {
        if kid.is_some_and(|kid| kid.len() > LONGEST_KID) || self.waiting.load(Relaxed) >= MOST_WAITING {
            return None;
        }
        let finished = self.finished.subscribe();
        let mut asking = self.asking.lock();
        if !asking.in_flight {
            let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
            let after_failure = FAILED_COOLDOWN.min(self.source.cooldown);
            let cooldown = if asking.last_failed > asking.last_asked { after_failure } else { self.source.cooldown };
            let rested = since(asking.last_asked) >= cooldown && since(asking.last_failed) >= after_failure;
            let known = kid.and_then(|kid| self.unknown.get(kid)).is_some_and(|at| at.elapsed() < UNKNOWN_FOR);
            if !rested || known || self.task.lock().is_none() {
                return None;
            }
            asking.in_flight = true;
            asking.last_asked = Some(Instant::now());
            self.wake.notify_one();
        }
        self.waiting.fetch_add(1, Relaxed);
        Some(Waiting { finished })
    }

    /// Waits for the fetch that is under way, no longer than until `deadline`.
    pub async fn wait(&self, mut waiting: Waiting, deadline: Instant) {
        let _leave = Leave(&self.waiting);
        let _ = timeout_at(deadline, waiting.finished.changed()).await;
    }

    /// Counts a key id that is unknown; `looked`: a fetch that was to bring it did not, so that it asks for none again soon.
    pub fn note_unknown(&self, kid: Option<&str>, looked: bool) {
        self.series.unknown_kid();
        if let Some(kid) = kid.filter(|kid| looked && kid.len() <= LONGEST_KID && self.failures.load(Relaxed) == 0) {
            self.unknown.insert(kid.into(), Instant::now());
        }
    }

    /// Fetches and publishes; yields how long to wait before the next time.
    async fn refresh(&self) -> Duration {
        self.asking.lock().in_flight = true;
        let before = self.published.load_full();
        let outcome = self.fetch(before.as_deref()).await;
        let pause = match outcome {
            Ok((published, lifetime)) => {
                self.failures.store(0, Relaxed);
                self.series.fetched("success");
                self.publish(published);
                lifetime.mul_f64(0.8)
            }
            Err((fault, partial)) => {
                let failures = self.failures.fetch_add(1, Relaxed);
                self.series.fetched(fault.label());
                if let Some(partial) = partial {
                    self.publish(partial);
                }
                let kept = self.published.load().is_some();
                tracing::warn!(
                    issuer = self.source.issuer, %fault, keys_kept = kept,
                    "the identity provider's keys could not be fetched"
                );
                Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
            }
        };
        let mut asking = self.asking.lock();
        asking.in_flight = false;
        if self.failures.load(Relaxed) > 0 {
            asking.last_failed = Some(Instant::now());
        }
        drop(asking);
        self.finished.send_modify(|count| *count += 1);
        jittered(pause)
    }

    fn publish(&self, published: Published) {
        self.series.keys(&published);
        let published = Arc::new(published);
        self.published.store(Some(published.clone()));
        if let Some(disk) = self.disk.clone() {
            let kept = Kept::of(&self.source, &published);
            // Not awaited: a slow disk keeps no request waiting.
            tokio::task::spawn_blocking(move || disk.keep(&kept));
        }
    }

    /// Fetches all there is. Where only a part of it fails, the rest of `before` stands in for it.
    async fn fetch(&self, before: Option<&Published>) -> Result<(Published, Duration), (Fault, Option<Published>)> {
        let known = self.source.jwks.clone().or_else(|| {
            before.and_then(|before| before.metadata.jwks_uri.as_deref()).and_then(|uri| self.usable(uri).ok())
        });
        let early = async {
            match &known {
                Some(url) => Some(self.fetch_keys(url.clone()).await),
                None => None,
            }
        };
        let extra = futures::future::join_all(self.source.extra.iter().map(|url| self.fetch_keys(url.clone())));
        let (document, early, extra) = futures::join!(self.fetch_document(), early, extra);

        let mut fault = None;
        let mut note = |found: Fault| {
            fault.get_or_insert(found);
        };
        let metadata = match document {
            Ok(metadata) => metadata,
            Err(found) => {
                note(found);
                before
                    .map(|before| before.metadata.clone())
                    .unwrap_or_else(|| Metadata { issuer: self.source.issuer.clone(), ..Metadata::default() })
            }
        };
        // Only the document says which issuer's keys these would be.
        let trusted = self.source.discovery.is_none() || before.is_some() || fault_is_none(&fault);
        let url = match (&self.source.jwks, metadata.jwks_uri.as_deref()) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(uri)) => match self.usable(uri) {
                Ok(url) => Some(url),
                Err(found) => {
                    fault.get_or_insert(found);
                    None
                }
            },
            (None, None) => {
                if self.source.discovery.is_some() {
                    fault.get_or_insert(Fault::Content("the discovery document names no jwks_uri"));
                }
                None
            }
        };
        let own = match (url, early) {
            (Some(url), Some(keys)) if known.as_ref() == Some(&url) => Some((url, keys)),
            (Some(url), _) if trusted => Some((url.clone(), self.fetch_keys(url).await)),
            _ => None,
        };
        let mut lifetime = LONGEST;
        let mut keys = Vec::new();
        let fetched = own.into_iter().chain(self.source.extra.iter().cloned().zip(extra));
        for (url, outcome) in fetched {
            match outcome {
                Ok((found, lives)) => {
                    lifetime = lifetime.min(lives);
                    keys.push(found);
                }
                Err(found) => {
                    fault.get_or_insert(found);
                    keys.extend(before.iter().flat_map(|before| &before.keys).find(|there| there.url == url).cloned());
                }
            }
        }
        if keys.is_empty() && before.is_some_and(|before| !before.keys.is_empty()) {
            return Err((fault.unwrap_or(Fault::Content("no keys")), None));
        }
        match fault {
            None => Ok((Published { metadata, keys, confirmed: SystemTime::now() }, lifetime)),
            Some(fault) if keys.is_empty() || !trusted => Err((fault, None)),
            Some(fault) => {
                let confirmed = before.map_or_else(SystemTime::now, |before| before.confirmed);
                Err((fault, Some(Published { metadata, keys, confirmed })))
            }
        }
    }

    /// A URL out of the discovery document, if it may be called.
    pub fn usable(&self, uri: &str) -> Result<Url, Fault> {
        let url =
            Url::parse(uri).map_err(|_| Fault::Content("the discovery document names something that is no URL"))?;
        let local = self.source.discovery.as_ref().is_none_or(calls::is_loopback);
        let permitted = match calls::is_loopback(&url) {
            true => url.scheme() == "https" || local || self.source.plain,
            false => calls::permitted(&url, self.source.plain),
        };
        if permitted { Ok(url) } else { Err(Fault::Content("the discovery document names a URL without TLS")) }
    }

    async fn fetch_document(&self) -> Result<Metadata, Fault> {
        let Some(url) = self.source.discovery.clone() else {
            return Ok(Metadata { issuer: self.source.issuer.clone(), ..Metadata::default() });
        };
        let mut request = self.http.get(url).header("accept", "application/json");
        for (name, value) in &self.source.headers {
            request = request.header(name, value);
        }
        let answer = calls::call(request).await?.successful()?;
        let metadata: Metadata = serde_json::from_slice(&answer.body)
            .map_err(|_| Fault::Content("what was found is no discovery document"))?;
        let same = |wanted: &str| wanted.trim_end_matches('/') == metadata.issuer.trim_end_matches('/');
        if !same(&self.source.issuer) && !self.source.allowed.contains(&metadata.issuer) {
            return Err(Fault::Content("the discovery document is another issuer's"));
        }
        Ok(metadata)
    }

    async fn fetch_keys(&self, url: Url) -> Result<(Keys, Duration), Fault> {
        let request = self.http.get(url.clone()).header("accept", "application/jwk-set+json, application/json");
        let answer = calls::call(request).await?.successful()?;
        let lifetime = lifetime(&answer.headers);
        let text = std::str::from_utf8(&answer.body).map_err(|_| Fault::Content("the key set is not UTF-8"))?;
        let keys = read_keys(url, text)?;
        for rejected in &keys.set.rejected {
            tracing::debug!(issuer = self.source.issuer, index = rejected.index, "a key of the set is left out");
        }
        Ok((keys, lifetime))
    }
}

fn fault_is_none(fault: &Option<Fault>) -> bool {
    fault.is_none()
}

/// Reads a key set that has keys.
pub fn read_keys(url: Url, text: &str) -> Result<Keys, Fault> {
    let set = KeySet::parse(text.as_bytes()).map_err(|fault| match fault {
        crate::jose::SetFault::TooMany => Fault::Content("the key set has too many keys"),
        crate::jose::SetFault::NotASet => Fault::Content("what was found is no key set"),
    })?;
    if set.is_empty() {
        return Err(Fault::Content("the key set has no key that can be used"));
    }
    Ok(Keys { url, set: Arc::new(set), text: text.into() })
}

/// A place among those that wait.
#[derive(Debug)]
pub struct Waiting {
    finished: watch::Receiver<u64>,
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn run(provider: Weak<Provider>, wake: Arc<Notify>) {
    loop {
        let pause = match provider.upgrade() {
            Some(provider) => provider.refresh().await,
            None => return,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = wake.notified() => {}
        }
    }
}

/// How long an answer is good for, by its cache headers.
fn lifetime(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all("cache-control").iter().filter_map(|line| line.to_str().ok());
    let mut seconds = None;
    for directive in directives.flat_map(|line| line.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return LIFETIME,
            "max-age" => seconds = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get("age").and_then(|age| age.to_str().ok()).and_then(|age| age.parse::<u64>().ok()).unwrap_or(0);
    let from_date = || {
        let expires = httpdate::parse_http_date(headers.get("expires")?.to_str().ok()?).ok()?;
        expires.duration_since(SystemTime::now()).ok()
    };
    let said = seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(age))).or_else(from_date);
    said.unwrap_or(LIFETIME).clamp(SHORTEST, LONGEST)
}

/// Up to a tenth shorter or longer, so that gateways do not ask in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness they ask in step, which is no fault.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause.mul_f64(0.9 + f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX) * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_the_providers_within_limits() {
        let lives = |name: &'static str, value: &str| {
            lifetime(&HeaderMap::from_iter([(http_name(name), value.parse().unwrap())])).as_secs()
        };
        assert_eq!(lives("cache-control", "public, max-age=600"), 600);
        assert_eq!(lives("cache-control", "max-age=1"), 10);
        assert_eq!(lives("cache-control", "max-age=99999999"), 3600);
        assert_eq!(lives("cache-control", "no-cache, max-age=9"), 300);
        assert_eq!(lives("cache-control", "max-age=x"), 300);
        assert_eq!(lives("expires", "0"), 300);
        assert_eq!(lifetime(&HeaderMap::new()).as_secs(), 300);
    }

    fn http_name(name: &'static str) -> http::HeaderName {
        http::HeaderName::from_static(name)
    }
}
