//! The snapshot: everything a request needs to know of the configuration, compiled, immutable, read without a lock.
//!
//! Owns [`Snapshot`] (compile, apply changes) and [`Published`], the only holder of the `ArcSwap` through which serving threads
//! see it. A request loads one snapshot once and keeps it until it ends. Must not know where the configuration comes from.

mod chain;
mod changes;
mod compile;
mod difference;
mod documents;
mod endings;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

pub use self::{
    chain::{Chain, Instance, Runner},
    changes::Change,
    compile::Resources,
    difference::{difference_of, note_difference},
    documents::Documents,
    endings::{Collected, Ending, endings},
};
use crate::auth::Directory;
use crate::diagnostic::Diagnostic;
use crate::entity::{self, Dataset};
use crate::router::Router;
use crate::telemetry::RouteMetrics;
use crate::tls::Certificates;
use crate::upstream::{Destination, Upstreams};

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// For people: file names, `POST /config`, a database.
    pub source: String,
    /// MD5 of the declarative text in hex, as Kong's `configuration_hash`; of a store's revision otherwise.
    pub hash: String,
}

impl Origin {
    /// Kong's hash of "nothing loaded".
    pub const EMPTY_HASH: &'static str = "00000000000000000000000000000000";

    pub fn none() -> Self {
        Self { source: "none".into(), hash: Self::EMPTY_HASH.into() }
    }
}

/// A service, ready to be connected to.
#[derive(Debug)]
pub struct Service {
    pub entity: Arc<entity::Service>,
    pub destination: Arc<Destination>,
    /// Name, or host where it has none: the label in metrics and logs.
    pub label: Arc<str>,
}

/// A route with its plugins.
#[derive(Debug)]
pub struct Route {
    pub entity: Arc<entity::Route>,
    pub service: Option<Arc<Service>>,
    pub chain: Chain,
    /// Name, or id where it has none: the label in metrics and logs.
    pub label: Arc<str>,
    pub metrics: RouteMetrics,
}

/// Routes, services and their plugins: what changes when anything but a consumer or a credential does.
#[derive(Debug, Default)]
pub struct Routing {
    pub router: Router,
    /// In the order the router's indexes refer to.
    pub routes: Vec<Route>,
    /// All of them, also those no service refers to.
    pub upstreams: Upstreams,
    pub certificates: Certificates,
    pub documents: Documents,
    /// What of the configuration cannot be served; empty unless it was in force before it was compiled.
    pub faults: Vec<Diagnostic>,
}

/// One configuration, compiled.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts up with every snapshot this process publishes.
    pub generation: u64,
    pub origin: Origin,
    pub loaded_at: SystemTime,
    pub dataset: Dataset,
    pub directory: Directory,
    pub routing: Arc<Routing>,
}

impl Snapshot {
    /// A snapshot of nothing: every request is answered 404.
    pub fn empty() -> Self {
        Self {
            generation: 0,
            origin: Origin::none(),
            loaded_at: SystemTime::UNIX_EPOCH,
            dataset: Dataset::default(),
            directory: Directory::default(),
            routing: Arc::default(),
        }
    }

    /// Whether any configuration has been loaded.
    pub fn is_loaded(&self) -> bool {
        self.generation > 0
    }
}

/// The place where serving threads find the current snapshot.
#[derive(Debug)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    publishing: parking_lot::Mutex<()>,
}

impl Default for Published {
    fn default() -> Self {
        Self { current: ArcSwap::from_pointee(Snapshot::empty()), publishing: parking_lot::Mutex::new(()) }
    }
}

impl Published {
    /// The current snapshot: one atomic load. A request calls it once.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes a snapshot the current one for every request that starts from now on, and returns its generation.
    pub fn store(&self, mut snapshot: Snapshot) -> u64 {
        let _one_at_a_time = self.publishing.lock();
        snapshot.generation = self.current.load().generation + 1;
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        generation
    }
}
