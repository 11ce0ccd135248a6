//! What outlives snapshots: providers with their keys, connections, and what endpoints answered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::calls::{Http, Trust, Way};
use super::disk::Disk;
use super::flights::Flights;
use super::grant::Granted;
use super::metrics::{Collected, Metrics};
use super::provider::{Provider, Source};
use super::remote::Told;
use crate::auth::uses::Uses;

/// What the process allows.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub trust: Trust,
    /// Where keys are kept for the next start; nowhere without.
    pub cache_dir: Option<PathBuf>,
    /// Whether providers beyond this machine may be called without TLS.
    pub plain_http: bool,
}

/// Tokens and answers that are kept of each kind.
const ENTRIES: usize = 65_536;

#[derive(Debug)]
pub struct Registry {
    pub options: Options,
    /// Where fetching is done: the runtime that first compiled a configuration, which serves no requests. None in a command
    /// that only checks one; then nothing is fetched.
    runtime: OnceLock<Handle>,
    providers: Mutex<HashMap<Source, Weak<Provider>>>,
    clients: Mutex<HashMap<Way, Http>>,
    metrics: Arc<Metrics>,
    pub granted: Arc<Flights<Granted>>,
    pub told: Arc<Flights<Told>>,
    /// When each issuer's keys were last used, by key id.
    pub key_uses: Uses,
    edition: Arc<Edition>,
}

/// Counts what changes of any provider's keys and of their state, so that what was decided by them is known to be out of date.
#[derive(Debug, Default)]
pub struct Edition(AtomicU64);

impl Edition {
    /// To be called after a change.
    pub fn next(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Registry {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            runtime: OnceLock::new(),
            providers: Mutex::default(),
            clients: Mutex::default(),
            metrics: Arc::default(),
            granted: Flights::new(ENTRIES),
            told: Flights::new(ENTRIES),
            key_uses: Uses::default(),
            edition: Arc::default(),
        }
    }

    /// Which keys are in force. To be read before they are.
    pub fn edition(&self) -> u64 {
        self.edition.0.load(Ordering::Acquire)
    }

    /// The metrics of all providers, for the process's registry.
    pub fn collector(&self) -> Collected {
        Collected(self.metrics.clone())
    }

    pub fn runtime(&self) -> Option<&Handle> {
        if self.runtime.get().is_none()
            && let Ok(current) = Handle::try_current()
        {
            return Some(self.runtime.get_or_init(|| current));
        }
        self.runtime.get()
    }

    /// The provider of a source: the one that another plugin uses already, or a new one.
    ///
    /// # Errors
    /// When its connections cannot be made as configured.
    pub fn provider(&self, source: Source) -> Result<Arc<Provider>, String> {
        let mut providers = self.providers.lock();
        if let Some(provider) = providers.get(&source).and_then(Weak::upgrade) {
            return Ok(provider);
        }
        providers.retain(|_, provider| provider.strong_count() > 0);
        let http = self.http(&source.way)?;
        let disk = self.options.cache_dir.clone().map(|folder| Disk { folder });
        let series = self.metrics.series(&source.issuer);
        let provider = Provider::new(source.clone(), http, disk, series, self.edition.clone());
        if let Some(runtime) = self.runtime() {
            provider.start(runtime);
        }
        providers.insert(source, Arc::downgrade(&provider));
        Ok(provider)
    }

    /// The providers that a configuration in use names.
    pub fn in_use(&self) -> Vec<Arc<Provider>> {
        self.providers.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn http(&self, way: &Way) -> Result<Http, String> {
        let mut clients = self.clients.lock();
        if let Some(http) = clients.get(way) {
            return Ok(http.clone());
        }
        let http = Http::new(way, &self.options.trust)?;
        clients.insert(way.clone(), http.clone());
        Ok(http)
    }
}
