//! One identity provider: its metadata and keys, fetched in the background and published for requests to read.
//!
//! Requests see [`Published`] through one atomic load. One task per provider does all fetching, so that there is never more
//! than one fetch at a time; a request that meets an unknown key asks it for a refresh ([`Provider::ask`]) and waits, no longer
//! than [`PATIENCE`]. The last good keys stay until better ones are there.

mod fetch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::fetch::read_keys;
use super::calls::Http;
use super::disk::{Disk, Kept};
use super::metrics::Series;
use super::registry::Edition;
use crate::jose::KeySet;

/// How long a request waits for keys.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// After a failed attempt, the next one that a request may ask for.
const FAILED_COOLDOWN: Duration = Duration::from_secs(5);
/// Requests that may wait at once.
const MOST_WAITING: usize = 4096;
/// How long a key id that no fetch brought asks for no other fetch.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How many such key ids are remembered.
const MOST_UNKNOWN: usize = 1024;
/// Key ids longer than this are nobody's.
const LONGEST_KID: usize = 256;

/// What is fetched and from where. Plugins with the same of these share a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// As configured.
    pub issuer: String,
    /// What the document has to call itself, a slash at its end apart.
    pub name: String,
    /// Where the discovery document is; `None` for a pseudo issuer.
    pub discovery: Option<Url>,
    /// In place of the document's `jwks_uri`.
    pub jwks: Option<Url>,
    pub extra: Vec<Url>,
    /// Sent with the request for the document.
    pub headers: Vec<(String, String)>,
    pub way: super::calls::Way,
    /// Least time between two fetches that requests ask for.
    pub cooldown: Duration,
    pub plain: bool,
}

impl Source {
    /// Whether a document of this name is the one that is looked for.
    pub fn is_named(&self, issuer: &str) -> bool {
        issuer.trim_end_matches('/') == self.name.trim_end_matches('/')
    }
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

impl Metadata {
    /// Of an issuer that says nothing else of itself.
    pub fn named(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), ..Self::default() }
    }
}

/// A key set and where it came from.
#[derive(Clone, Debug)]
pub struct Keys {
    pub url: Url,
    /// One of `extra_jwks_uris`, not the issuer's own.
    pub extra: bool,
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

impl Published {
    /// Whether nothing is decided in another way than by the other; when it was confirmed is no part of that.
    fn says_the_same_as(&self, other: &Self) -> bool {
        let keys = |keys: &Keys| (keys.url.clone(), keys.extra, keys.text.clone());
        self.metadata == other.metadata && self.keys.iter().map(keys).eq(other.keys.iter().map(keys))
    }

    fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|keys| keys.set.kids().any(|there| there == kid))
    }
}

/// What comes of asking for a fetch.
#[derive(Debug)]
pub enum Asked {
    /// Somebody is at it.
    Waiting(Waiting),
    /// The last one was too short a while ago, or too many wait already.
    Cooldown,
    /// A fetch was made for this key id lately and did not bring it.
    KnownUnknown,
}

/// When requests may ask again.
#[derive(Debug, Default)]
struct Asking {
    in_flight: bool,
    last_asked: Option<Instant>,
    last_failed: Option<Instant>,
    /// The key id that the last fetch was asked for.
    kid: Option<Box<str>>,
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
    waiting: Arc<AtomicUsize>,
    unknown: Cache<Box<str>, Instant>,
    pub series: Series,
    edition: Arc<Edition>,
    failures: AtomicU64,
    /// Until when what is published is good by the provider's own account.
    fresh: Mutex<Option<Instant>>,
    stale: AtomicBool,
    history: Mutex<History>,
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
    pub fn new(source: Source, http: Http, disk: Option<Disk>, series: Series, edition: Arc<Edition>) -> Arc<Self> {
        let kept = disk.as_ref().and_then(|disk| disk.load(&source)).map(Arc::new);
        if let Some(kept) = &kept {
            tracing::info!(issuer = source.issuer, "keys from disk until the provider answers");
            series.keys(kept);
        }
        let mut history = History::default();
        if let Some(kept) = &kept {
            history.saw(kept);
            history.from_disk = true;
        }
        Arc::new(Self {
            source,
            http,
            disk,
            stale: AtomicBool::new(kept.is_some()),
            published: ArcSwapOption::new(kept),
            asking: Mutex::default(),
            wake: Arc::new(Notify::new()),
            finished: watch::Sender::new(0),
            waiting: Arc::default(),
            unknown: Cache::new(MOST_UNKNOWN),
            series,
            edition,
            failures: AtomicU64::new(0),
            fresh: Mutex::default(),
            history: Mutex::new(history),
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

    pub fn history(&self) -> History {
        self.history.lock().clone()
    }

    /// Fetches in a row that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Whether the last fetch failed: what is published may lack something.
    pub fn is_failing(&self) -> bool {
        self.failures.load(Relaxed) > 0
    }

    /// Whether what is published has outlived the time that the provider gave it.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Asks for a fetch on behalf of a request. A key id that nobody knows asks once.
    pub fn ask(&self, kid: Option<&str>) -> Asked {
        if kid.is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Asked::KnownUnknown;
        }
        if self.waiting.load(Relaxed) >= MOST_WAITING {
            return Asked::Cooldown;
        }
        let finished = self.finished.subscribe();
        let mut asking = self.asking.lock();
        if !asking.in_flight {
            if kid.and_then(|kid| self.unknown.get(kid)).is_some_and(|at| at.elapsed() < UNKNOWN_FOR) {
                return Asked::KnownUnknown;
            }
            let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
            let after_failure = FAILED_COOLDOWN.min(self.source.cooldown);
            let cooldown = if asking.last_failed > asking.last_asked { after_failure } else { self.source.cooldown };
            let rested = since(asking.last_asked) >= cooldown && since(asking.last_failed) >= after_failure;
            if !rested || self.task.lock().is_none() {
                return Asked::Cooldown;
            }
            tracing::info!(issuer = self.source.issuer, ?kid, "the issuer's keys are asked for anew");
            asking.in_flight = true;
            asking.last_asked = Some(Instant::now());
            asking.kid = kid.map(Into::into);
            self.wake.notify_one();
        }
        drop(asking);
        self.waiting.fetch_add(1, Relaxed);
        Asked::Waiting(Waiting { finished, _place: Place(self.waiting.clone()) })
    }

    /// Remembers a key id that a fetch was to bring and did not, so that it asks for none again soon.
    pub fn note_unknown(&self, kid: &str) {
        if kid.len() <= LONGEST_KID && !self.is_failing() {
            self.unknown.insert(kid.into(), Instant::now());
        }
    }

    /// Fetches and publishes; yields how long to wait before the next time.
    async fn refresh(&self) -> Duration {
        self.asking.lock().in_flight = true;
        let before = self.published.load_full();
        let fetched = self.fetch(before.as_deref()).await;
        let wanted = self.asking.lock().kid.take();
        let brought = |published: &Published| {
            let new = |kid: &str| published.has(kid) && !before.as_ref().is_some_and(|before| before.has(kid));
            wanted.as_deref().is_some_and(new)
        };
        // Somebody knew of a key before we did: the issuer has changed its keys, and may do so again. Only the issuer can make
        // such a fetch; nobody else can make it a way around the cooldown.
        let worth_it = fetched.published.as_ref().is_some_and(brought);
        if let Some(published) = fetched.published {
            self.publish(before.as_deref(), published);
        }
        let was_stale = self.stale.load(Relaxed);
        let pause = match &fetched.fault {
            None => {
                if self.failures.swap(0, Relaxed) > 0 {
                    tracing::info!(issuer = self.source.issuer, "the identity provider answers again");
                }
                self.series.fetched("success");
                *self.fresh.lock() = Some(Instant::now() + fetched.lifetime);
                self.stale.store(false, Relaxed);
                fetched.lifetime.mul_f64(0.8)
            }
            Some(fault) => {
                let failures = self.failures.fetch_add(1, Relaxed);
                self.series.fetched(fault.label());
                self.history.lock().last_error = Some((SystemTime::now(), fault.to_string()));
                let kept = self.published.load().is_some();
                let past = self.fresh.lock().is_none_or(|fresh| fresh <= Instant::now());
                self.stale.store(kept && past, Relaxed);
                tracing::warn!(
                    issuer = self.source.issuer, %fault, keys_kept = kept,
                    "the identity provider's keys could not be fetched"
                );
                Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
            }
        };
        if self.stale.load(Relaxed) != was_stale {
            self.edition.next();
        }
        let mut asking = self.asking.lock();
        asking.in_flight = false;
        if fetched.fault.is_some() {
            asking.last_failed = Some(Instant::now());
        } else if worth_it {
            asking.last_asked = None;
        }
        drop(asking);
        self.finished.send_modify(|count| *count += 1);
        let pause = jittered(pause);
        self.history.lock().next = Some(SystemTime::now() + pause);
        pause
    }

    fn publish(&self, before: Option<&Published>, published: Published) {
        self.series.keys(&published);
        self.log_changes(before, &published);
        let mut history = self.history.lock();
        history.saw(&published);
        history.from_disk = false;
        drop(history);
        let published = Arc::new(published);
        self.published.store(Some(published.clone()));
        // Anybody can make up a key id and have the same fetched again: what was decided from it stays.
        if !before.is_some_and(|before| before.says_the_same_as(&published)) {
            self.edition.next();
        }
        if let Some(disk) = self.disk.clone() {
            let kept = Kept::of(&self.source, &published);
            // Not awaited: a slow disk keeps no request waiting.
            tokio::task::spawn_blocking(move || disk.keep(&kept));
        }
    }

    fn log_changes(&self, before: Option<&Published>, after: &Published) {
        let kids = |published: &Published, missing: &dyn Fn(&str) -> bool| -> Vec<String> {
            let all = published.keys.iter().flat_map(|keys| keys.set.kids());
            all.filter(|kid| missing(kid)).take(20).map(str::to_owned).collect()
        };
        let added = kids(after, &|kid| !before.is_some_and(|before| before.has(kid)));
        let withdrawn = before.map(|before| kids(before, &|kid| !after.has(kid))).unwrap_or_default();
        if !added.is_empty() || !withdrawn.is_empty() {
            tracing::info!(issuer = self.source.issuer, ?added, ?withdrawn, "the issuer's keys have changed");
        }
    }
}

/// What has been, for people who look.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last fault, which may be mended since.
    pub last_error: Option<(SystemTime, String)>,
    /// When keys are asked for next.
    pub next: Option<SystemTime>,
    /// What is published has not been confirmed in this process.
    pub from_disk: bool,
    /// When each key id was seen first; those that were withdrawn stay for a while.
    pub seen: HashMap<Box<str>, SystemTime>,
}

/// Key ids that are remembered of one issuer.
const MOST_SEEN: usize = 200;

impl History {
    fn saw(&mut self, published: &Published) {
        for kid in published.keys.iter().flat_map(|keys| keys.set.kids()) {
            if !self.seen.contains_key(kid) {
                self.seen.insert(kid.into(), SystemTime::now());
            }
        }
        if self.seen.len() > MOST_SEEN {
            self.seen.retain(|kid, _| published.has(kid));
        }
    }
}

/// A fetch that is under way, and a place among those that wait for it.
#[derive(Debug)]
pub struct Waiting {
    finished: watch::Receiver<u64>,
    _place: Place,
}

impl Waiting {
    /// Waits for it, no longer than until `deadline`.
    pub async fn wait(mut self, deadline: Instant) {
        let _ = timeout_at(deadline, self.finished.changed()).await;
    }
}

/// Given back also when nobody waits after all.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
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

/// Up to a tenth shorter or longer, so that gateways do not ask in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness they ask in step, which is no fault.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause.mul_f64(0.9 + f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX) * 0.2)
}
