//! From the database to the snapshot: what this gateway serves follows what is stored.
//!
//! One task per gateway. It wakes when this gateway wrote, when PostgreSQL says that another one did, and by the clock; it takes
//! everything that came since, and publishes it as one snapshot. While it publishes, further writes gather and are published
//! together. A database that is lost leaves the last snapshot in service; the task asks again until it is back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::typed::{self, Purpose, Unreadable};
use super::write::CHANNEL;
use super::{Collection, Documents, Error, Signal, Store};
use crate::diagnostic::Diagnostic;
use crate::entity::Kind;
use crate::snapshot::{self, Origin, Published, Resources, Snapshot};
use crate::telemetry::live::Difference;

/// How often the database is asked without being told.
const POLL: Duration = Duration::from_secs(1);

/// How long a short answer of the database is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long documents may take to come.
const LOADING: Duration = Duration::from_secs(600);

/// How long a writer waits for its write to be served before it answers all the same.
const SERVED: Duration = Duration::from_secs(10);

/// How long a configuration with new names of services waits for their addresses before it is published.
const NAMES: Duration = Duration::from_secs(1);

/// How often SQLite's log is folded into its file, where anything was written.
const FOLDING: Duration = Duration::from_secs(5);

/// How often what has expired is deleted.
const CLEANING: Duration = Duration::from_secs(30);

/// How far the feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The newest revision that was looked at.
    seen: i64,
    /// The revision in service; `None` before the first.
    served: Option<i64>,
}

/// Keeps a gateway's snapshot equal to the database.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    published: Arc<Published>,
    resources: Resources,
    progress: watch::Sender<Progress>,
    wake: Notify,
    reachable: AtomicBool,
    /// Snapshots that were replaced and that requests may still hold: they are freed here, not by the last such request.
    retired: parking_lot::Mutex<Vec<Arc<Snapshot>>>,
    /// Documents that are no entities to this version, by id.
    unreadable: parking_lot::Mutex<HashMap<Uuid, Diagnostic>>,
    gauges: Gauges,
}

/// What the metrics say of the feed.
#[derive(Debug)]
struct Gauges {
    reachable: Option<IntGauge>,
    revision: Option<IntGauge>,
    unservable: Option<IntGauge>,
}

impl Gauges {
    fn new(registry: &prometheus::Registry) -> Self {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).ok()?;
            // Fails when another feed of this process has registered it already.
            registry.register(Box::new(gauge.clone())).ok()?;
            Some(gauge)
        };
        Self {
            reachable: gauge("kong_datastore_reachable", "Datastore reachable from Kong, 0 is unreachable"),
            revision: gauge("portcullis_store_revision", "Revision of the database that is in service"),
            unservable: gauge(
                "portcullis_store_unservable_entities",
                "Entities in the database that this version cannot serve; requests that depend on them are refused",
            ),
        }
    }
}

impl Feed {
    pub fn new(store: Store, published: Arc<Published>, resources: Resources) -> Arc<Self> {
        let progress = watch::Sender::new(Progress::default());
        let gauges = Gauges::new(resources.metrics.registry());
        let feed = Arc::new(Self {
            store,
            published,
            resources,
            progress,
            wake: Notify::new(),
            reachable: AtomicBool::new(true),
            retired: parking_lot::Mutex::default(),
            unreadable: parking_lot::Mutex::default(),
            gauges,
        });
        feed.set_reachable(true);
        feed
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Whether the database answered the last time it was asked.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Notes whether the database answered; what was thought before.
    fn set_reachable(&self, reachable: bool) -> bool {
        if let Some(gauge) = &self.gauges.reachable {
            gauge.set(i64::from(reachable));
        }
        self.reachable.swap(reachable, Ordering::Relaxed)
    }

    /// Whether a configuration has been loaded.
    pub fn is_loaded(&self) -> bool {
        self.progress.borrow().served.is_some()
    }

    /// The revision in service.
    pub fn revision(&self) -> Option<i64> {
        self.progress.borrow().served
    }

    /// What the database holds and this gateway cannot serve. Such a document was written by another version: a write that
    /// cannot be served is refused.
    pub fn unservable(&self) -> Vec<Diagnostic> {
        let mut all: Vec<_> = self.unreadable.lock().values().cloned().collect();
        all.extend(self.published.load().routing.faults.iter().cloned());
        all
    }

    /// Waits until a revision is in service.
    pub async fn served(&self, revision: i64) {
        let mut progress = self.progress.subscribe();
        self.wake.notify_one();
        let waited = tokio::time::timeout(SERVED, progress.wait_for(|progress| progress.seen >= revision)).await;
        if waited.is_err() {
            tracing::warn!(revision, "a write is stored but not in service yet");
        }
    }

    /// Follows the database until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut watcher = self.store.watch(CHANNEL);
        let mut cleaned = Instant::now();
        let mut folded = (Instant::now(), self.revision());
        while !*stop.borrow() {
            if let Err(fault) = self.follow().await {
                watcher.reset();
                if self.set_reachable(false) {
                    tracing::error!(%fault, "the database cannot be read: the configuration in service stays");
                }
            } else if !self.set_reachable(true) {
                tracing::info!(revision = self.revision(), "the database answers again");
            }
            self.retired.lock().retain(|snapshot| Arc::strong_count(snapshot) > 1);
            if cleaned.elapsed() > CLEANING && self.is_reachable() {
                cleaned = Instant::now();
                if let Err(fault) = self.store.clean().await {
                    tracing::debug!(%fault, "cleaning the database");
                }
            }
            if folded.0.elapsed() > FOLDING && folded.1 != self.revision() {
                folded = (Instant::now(), self.revision());
                let store = self.store.clone();
                tokio::spawn(async move {
                    if let Err(fault) = store.fold().await {
                        tracing::debug!(%fault, "folding the database's log");
                    }
                });
            }
            tokio::select! {
                // A write of our own is looked for first: somebody waits for it.
                biased;
                () = self.wake.notified() => {}
                signal = watcher.next(POLL) => {
                    if signal == Signal::Notified {
                        tracing::trace!("told of a write");
                    }
                }
                _ = stop.changed() => {}
            }
        }
    }

    /// Takes what is new and puts it into service, as far as it can be served.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn follow(&self) -> Result<(), Error> {
        let since = self.progress.borrow().served;
        // A database that is gone is noticed by a small question; an answer of a million documents takes its time.
        let newest = tokio::time::timeout(PATIENCE, self.store.revision()).await.map_err(|_| Error::Timeout)??;
        if since == Some(newest) {
            // Somebody may wait for a revision that was rolled back or served already.
            self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.seen, newest) != newest);
            return Ok(());
        }
        let started = Instant::now();
        let read = async {
            let changes = self.store.changes(since).await?;
            Ok::<_, Error>((changes.revision, self.compile(changes.documents, changes.revision).await?))
        };
        let (revision, compiled) = tokio::time::timeout(LOADING, read).await.map_err(|_| Error::Timeout)??;
        let diagnostics = self.publish(compiled).await?;
        let (took, metrics) = (started.elapsed(), &self.resources.metrics);
        metrics.reloaded(true, took);
        metrics.live.history.attempted(true, took, self.published.load().generation, &diagnostics);
        tracing::debug!(revision, took = ?started.elapsed(), "in service");
        if let Some(gauge) = &self.gauges.revision {
            gauge.set(revision);
        }
        self.progress.send_replace(Progress { seen: revision, served: Some(revision) });
        Ok(())
    }

    /// Compiles documents. Compiling routes or a million keys is no work for a thread that answers requests.
    async fn compile(&self, documents: Documents, revision: i64) -> Result<Compiled, Error> {
        let origin = Origin { source: self.store.location().to_owned(), hash: format!("{revision:032x}") };
        let (published, resources) = (self.published.clone(), self.resources.clone());
        match documents {
            Documents::All(documents) => {
                let read = typed::everything(documents, Purpose::Serve).await?;
                let work = move || Snapshot::compile_rest(read.entities, origin, &resources);
                Ok(Compiled { known: None, unreadable: read.unreadable, done: blocking(work).await? })
            }
            Documents::Since(documents) => {
                let kind = |collection: &str| Some(Collection::find(collection)?.kind);
                let known =
                    documents.iter().filter_map(|document| Some((kind(&document.collection)?, document.id))).collect();
                let work = move || {
                    let read = typed::changes(documents);
                    (published.load().with_changes(read.entities, origin, &resources), read.unreadable)
                };
                let (done, unreadable) = blocking(work).await?;
                Ok(Compiled { known: Some(known), unreadable, done })
            }
        }
    }

    /// Publishes a snapshot; what was to be said of it.
    async fn publish(&self, compiled: Compiled) -> Result<Vec<Diagnostic>, Error> {
        let Compiled { known, unreadable, done: (snapshot, diagnostics) } = compiled;
        let replaced = self.published.load();
        let new_routes = !Arc::ptr_eq(&replaced.routing, &snapshot.routing);
        for finding in &diagnostics {
            match finding.is_error() {
                // Said once, and not with every later change of a route.
                true if replaced.routing.faults.contains(finding) => {}
                true => tracing::error!(code = finding.code, "stored, but cannot be served: {finding}"),
                false => tracing::warn!(code = finding.code, "{finding}"),
            }
        }
        self.note_unreadable(known.as_ref(), unreadable);
        if let Some(gauge) = &self.gauges.unservable {
            let count = self.unreadable.lock().len() + snapshot.routing.faults.len();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.retired.lock().push(replaced.clone());
        let (published, resources) = (self.published.clone(), self.resources.clone());
        let work = move || {
            if new_routes {
                resources.upstreams.settle(NAMES);
            }
            let entities =
                Kind::ALL.into_iter().map(|kind| (kind.collection(), snapshot.dataset.count(kind))).collect();
            let loaded_at = snapshot.loaded_at;
            let dataset = snapshot.dataset.clone();
            let generation = published.store(snapshot);
            resources.metrics.published(generation, loaded_at, entities);
            match known {
                None => snapshot::note_difference(&resources.metrics, replaced, dataset, generation),
                Some(written) => {
                    let kinds = snapshot::difference_of(&replaced.dataset, &dataset, &written);
                    let difference = Difference { from: replaced.generation, to: generation, pending: false, kinds };
                    resources.metrics.live.history.differs(difference);
                }
            }
        };
        if new_routes {
            blocking(work).await?;
        } else {
            work();
        }
        Ok(diagnostics)
    }

    /// Remembers what cannot be read. `known`: only of these documents anything new is known.
    fn note_unreadable(&self, known: Option<&HashSet<(Kind, Uuid)>>, unreadable: Vec<Unreadable>) {
        let mut there = self.unreadable.lock();
        let before = std::mem::take(&mut *there);
        if let Some(known) = known {
            *there = before.clone();
            for (_, id) in known {
                there.remove(id);
            }
        }
        for Unreadable { id, finding } in unreadable {
            if before.get(&id) != Some(&finding) {
                tracing::error!(code = finding.code, "stored, but cannot be served: {finding}");
            }
            there.insert(id, finding);
        }
    }
}

/// A snapshot that is about to be published.
struct Compiled {
    /// The documents it was made from; none: all.
    known: Option<HashSet<(Kind, Uuid)>>,
    unreadable: Vec<Unreadable>,
    done: (Snapshot, Vec<Diagnostic>),
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|fault| Error::Settings(format!("compiling failed: {fault}")))
}
