//! From the database to the snapshot: what this gateway serves follows what is stored.
//!
//! One task per gateway. It wakes when this gateway wrote, when PostgreSQL says that another one did, and by the clock; it takes
//! everything that came since, and publishes it as one snapshot. While it publishes, further writes gather and are published
//! together. A database that is lost leaves the last snapshot in service; the task asks again until it is back.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::write::CHANNEL;
use super::{Body, Changed, Changes, Collection, Error, Signal, Store};
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Entity, Kind};
use crate::snapshot::{self, Change, Origin, Published, Resources, Snapshot};
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

/// How often what has expired is deleted.
const CLEANING: Duration = Duration::from_secs(30);

/// How far the feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The newest revision that was looked at, whether it could be served or not.
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
    gauges: Gauges,
}

/// What the metrics say of the feed.
#[derive(Debug)]
struct Gauges {
    reachable: Option<IntGauge>,
    revision: Option<IntGauge>,
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
        }
    }
}

impl Feed {
    pub fn new(store: Store, published: Arc<Published>, resources: Resources) -> Arc<Self> {
        let progress = watch::Sender::new(Progress::default());
        let (wake, reachable, retired) = (Notify::new(), AtomicBool::new(true), parking_lot::Mutex::default());
        let gauges = Gauges::new(resources.metrics.registry());
        let feed = Arc::new(Self { store, published, resources, progress, wake, reachable, retired, gauges });
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

    /// Waits until a revision is in service, or was found to be unfit for it, which the log says.
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

    /// Takes what is new and puts it into service.
    ///
    /// # Errors
    /// When the database cannot be read. A configuration that cannot be served is logged, not returned.
    pub async fn follow(&self) -> Result<(), Error> {
        let since = self.progress.borrow().served;
        // A database that is gone is noticed by a small question; an answer of a million documents takes its time.
        let newest = tokio::time::timeout(PATIENCE, self.store.revision()).await.map_err(|_| Error::Timeout)??;
        if since == Some(newest) {
            // Somebody may wait for a revision that was rolled back or served already.
            self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.seen, newest) != newest);
            return Ok(());
        }
        let changes = tokio::time::timeout(LOADING, self.store.changes(since)).await.map_err(|_| Error::Timeout)??;
        let revision = changes.revision;
        let started = Instant::now();
        let (complete, count) = (changes.complete, changes.documents.len());
        match self.publish(changes).await {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!(code = warning.code, "{warning}");
                }
                self.note(true, started.elapsed(), &warnings);
                tracing::debug!(revision, complete, documents = count, took = ?started.elapsed(), "in service");
                if let Some(gauge) = &self.gauges.revision {
                    gauge.set(revision);
                }
                self.progress.send_replace(Progress { seen: revision, served: Some(revision) });
            }
            Err(faults) => {
                self.note(false, started.elapsed(), &faults);
                for fault in faults.iter().filter(|fault| fault.is_error()) {
                    tracing::error!(revision, code = fault.code, "the stored configuration cannot be served: {fault}");
                }
                self.progress.send_modify(|progress| progress.seen = revision);
            }
        }
        Ok(())
    }

    /// Notes what became of an attempt.
    fn note(&self, success: bool, took: Duration, diagnostics: &[Diagnostic]) {
        let metrics = &self.resources.metrics;
        metrics.reloaded(success, took);
        metrics.live.history.attempted(success, took, self.published.load().generation, diagnostics);
    }

    async fn publish(&self, changes: Changes) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let (published, resources) = (self.published.clone(), self.resources.clone());
        let origin = Origin { source: self.store.location().to_owned(), hash: format!("{:032x}", changes.revision) };
        let replaced = self.published.load();
        let routing = replaced.routing.clone();
        self.retired.lock().push(replaced.clone());
        let work = move || {
            let written: HashSet<(Kind, uuid::Uuid)> = match changes.complete {
                true => HashSet::new(),
                false => changes.documents.iter().filter_map(|document| Some((kind(document)?, document.id))).collect(),
            };
            let complete = changes.complete;
            let (snapshot, warnings) = if complete {
                Snapshot::compile(dataset(changes.documents), origin, &resources)?
            } else {
                published.load().with_changes(as_changes(changes.documents), origin, &resources)?
            };
            if !Arc::ptr_eq(&routing, &snapshot.routing) {
                resources.upstreams.settle(NAMES);
            }
            let entities =
                Kind::ALL.into_iter().map(|kind| (kind.collection(), snapshot.dataset.count(kind))).collect();
            let loaded_at = snapshot.loaded_at;
            let dataset = snapshot.dataset.clone();
            let generation = published.store(snapshot);
            resources.metrics.published(generation, loaded_at, entities);
            if complete {
                snapshot::note_difference(&resources.metrics, replaced, dataset, generation);
            } else {
                let kinds = snapshot::difference_of(&replaced.dataset, &dataset, &written);
                let difference = Difference { from: replaced.generation, to: generation, pending: false, kinds };
                resources.metrics.live.history.differs(difference);
            }
            Ok(warnings)
        };
        // Compiling routes or a million keys is no work for a thread that answers requests.
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|fault| Err(vec![Diagnostic::error("internal", "", format!("compiling failed: {fault}"))]))
    }
}

/// A whole dataset of documents.
pub fn dataset(documents: Vec<Changed>) -> Dataset {
    let mut dataset = Dataset::default();
    // The vectors are filled without looking for what is not there; ids are unique.
    for document in documents {
        let Some((kind, _, Some(entity))) = typed(document) else { continue };
        match (kind, entity) {
            (_, Entity::Certificate(e)) => dataset.certificates.push(e),
            (_, Entity::CaCertificate(e)) => dataset.ca_certificates.push(e),
            (_, Entity::Service(e)) => dataset.services.push(e),
            (_, Entity::Upstream(e)) => dataset.upstreams.push(e),
            (_, Entity::Sni(e)) => dataset.snis.push(e),
            (_, Entity::Route(e)) => dataset.routes.push(e),
            (_, Entity::Target(e)) => dataset.targets.push(e),
            (_, Entity::Plugin(e)) => dataset.plugins.push(e),
            (_, entity) => dataset.put(entity),
        }
    }
    dataset
}

/// Removals first: a key that moves from one credential to another within one batch ends where it belongs.
fn as_changes(documents: Vec<Changed>) -> Vec<Change> {
    let mut changes = Vec::with_capacity(documents.len() * 2);
    let mut puts = Vec::with_capacity(documents.len());
    for document in documents {
        let Some((kind, id, entity)) = typed(document) else { continue };
        let indexed =
            matches!(kind, Kind::Consumer | Kind::JwtSecret | Kind::KeyAuthCredential | Kind::Oauth2Credential);
        match entity {
            Some(entity) => {
                if indexed {
                    changes.push(Change::Removed(kind, id));
                }
                puts.push(Change::Put(entity));
            }
            None => changes.push(Change::Removed(kind, id)),
        }
    }
    changes.extend(puts);
    changes
}

fn kind(document: &Changed) -> Option<Kind> {
    Some(Collection::find(&document.collection)?.kind)
}

/// The entity of a document; none where it is gone, or cannot authenticate anybody (a JWT credential without a key). `None` for
/// collections that nobody knows.
fn typed(document: Changed) -> Option<(Kind, uuid::Uuid, Option<Entity>)> {
    let kind = Collection::find(&document.collection)?.kind;
    let entity = document.body.and_then(|body| {
        let body = served_form(kind, body)?;
        Entity::from_document(kind, Value::Object(body))
            .inspect_err(
                |fault| tracing::error!(collection = document.collection, id = %document.id, %fault, "left out"),
            )
            .ok()
    });
    Some((kind, document.id, entity))
}

/// Kong stores JWT credentials whose key or secret was set to null. One without a key is found by no token; one without a
/// secret is of use only where the algorithm needs none.
fn served_form(kind: Kind, mut body: Body) -> Option<Body> {
    match kind {
        Kind::JwtSecret => {
            if body.get("key").is_none_or(Value::is_null) {
                return None;
            }
            if body.get("secret").is_none_or(Value::is_null) {
                let symmetric =
                    body.get("algorithm").and_then(Value::as_str).is_some_and(|name| name.starts_with("HS"));
                if symmetric {
                    return None;
                }
                body.insert("secret".into(), Value::from(""));
            }
        }
        Kind::KeyAuthCredential if body.get("key").is_none_or(Value::is_null) => return None,
        Kind::Oauth2Credential => {
            for field in ["client_id", "client_secret"] {
                body.get(field).filter(|value| value.is_string())?;
            }
        }
        _ => {}
    }
    Some(body)
}
