//! Loading the configuration and publishing it: at the start, and anew when told.
//!
//! Off the serving threads. A configuration that cannot be served changes nothing: the one before stays, and every reason is
//! handed back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::huge_pages;
use super::settings::Settings;
use crate::diagnostic::Diagnostic;
use crate::entity::Kind;
use crate::snapshot::{self, Origin, Published, Resources, Snapshot};
use crate::{background, declarative};

/// How long a new configuration waits for the names of its services before it is published.
const NAMES: Duration = Duration::from_secs(5);

/// How long a replaced snapshot is looked after; whoever holds it longer frees it.
const RETIREMENT: Duration = Duration::from_secs(60);

/// Where declarative configuration comes from.
#[derive(Clone, Debug)]
enum Source {
    Files(Vec<PathBuf>),
    Text(String),
    /// No setting names any: the process starts empty and keeps what it is sent.
    None,
}

/// Loads and publishes.
#[derive(Debug)]
pub struct Loader {
    source: Source,
    ignore_unsupported: bool,
    published: Arc<Published>,
    resources: Resources,
    /// One at a time.
    loading: parking_lot::Mutex<()>,
}

/// What a load came to.
#[derive(Debug)]
pub struct Outcome {
    pub generation: u64,
    /// Warnings, or what kept the configuration from being served.
    pub diagnostics: Vec<Diagnostic>,
    pub took: Duration,
}

impl Loader {
    pub fn new(settings: &Settings, published: Arc<Published>, resources: Resources) -> Self {
        let source = match &settings.declarative_config_string {
            Some(text) => Source::Text(text.clone()),
            None if settings.declarative_config.is_empty() => Source::None,
            None => Source::Files(settings.declarative_config.clone()),
        };
        Self {
            source,
            ignore_unsupported: settings.ignore_unsupported,
            published,
            resources,
            loading: parking_lot::Mutex::new(()),
        }
    }

    /// The destinations of services, whose background task is the process's to run.
    pub fn upstreams(&self) -> Arc<crate::upstream::Registry> {
        self.resources.upstreams.clone()
    }

    /// Whether settings name a declarative configuration; without one a reload leaves what there is.
    pub fn has_source(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// Loads the configuration that the settings name, and publishes it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Every fault; nothing has changed then.
    pub fn load(&self) -> Result<Outcome, Outcome> {
        let _one_at_a_time = self.loading.lock();
        let start = Instant::now();
        let previous = self.published.load();
        let result = self.read(&previous).and_then(|(dataset, origin, mut warnings)| {
            let (snapshot, more) = Snapshot::compile_after(Some(&previous), dataset, origin, &self.resources)?;
            warnings.extend(more);
            Ok((snapshot, warnings))
        });
        let metrics = &self.resources.metrics;
        match result {
            Ok((snapshot, diagnostics)) => {
                let unresolved = self.resources.upstreams.settle(NAMES);
                if unresolved > 0 {
                    tracing::warn!(unresolved, "names of services are not resolved yet; their requests wait for them");
                }
                let generation = self.publish(snapshot);
                let took = start.elapsed();
                metrics.reloaded(true, took);
                metrics.live.history.attempted(true, took, generation, &diagnostics);
                Ok(Outcome { generation, diagnostics, took })
            }
            Err(diagnostics) => {
                let took = start.elapsed();
                metrics.reloaded(false, took);
                let generation = self.published.load().generation;
                metrics.live.history.attempted(false, took, generation, &diagnostics);
                Err(Outcome { generation, diagnostics, took })
            }
        }
    }

    fn read(&self, previous: &Snapshot) -> Result<(crate::entity::Dataset, Origin, Vec<Diagnostic>), Vec<Diagnostic>> {
        let options = declarative::Options {
            ignore_unsupported: self.ignore_unsupported,
            previous: previous.dataset.clone(),
            ..declarative::Options::default()
        };
        let (loaded, source) = match &self.source {
            Source::Files(paths) => {
                huge_pages::let_go_for(paths);
                let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                (declarative::load_files(paths, &options), names.join(", "))
            }
            Source::Text(text) => {
                let name = "declarative_config_string";
                (declarative::load_text(name, text, &options), name.to_owned())
            }
            Source::None => return Ok((crate::entity::Dataset::default(), Origin::none(), Vec::new())),
        };
        let loaded = loaded.map_err(|refused| refused.diagnostics)?;
        Ok((loaded.dataset, Origin { source, hash: loaded.hash }, loaded.diagnostics))
    }

    /// Publishes a snapshot and sees to it that the one it replaces is freed here, not by the request that happens to be its last.
    fn publish(&self, snapshot: Snapshot) -> u64 {
        let (dataset, loaded_at) = (snapshot.dataset.clone(), snapshot.loaded_at);
        let replaced = self.published.load();
        let generation = self.published.store(snapshot);
        let entities = Kind::ALL.iter().map(|kind| (kind.collection(), dataset.count(*kind))).collect();
        self.resources.metrics.published(generation, loaded_at, entities);
        snapshot::note_difference(&self.resources.metrics, replaced.clone(), dataset, generation);
        let waited = background::spawn("retire-snapshot", move || {
            let start = Instant::now();
            while Arc::strong_count(&replaced) > 1 && start.elapsed() < RETIREMENT {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // Without a thread it is freed by its last request.
        drop(waited);
        generation
    }
}
