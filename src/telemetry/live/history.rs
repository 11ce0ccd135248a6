//! What became of the configurations that were loaded, and how the current one differs from the one before.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::diagnostic::Diagnostic;

/// Diagnostics that are kept of one attempt.
const KEPT: usize = 100;

/// An attempt to load a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Seconds since the UNIX epoch.
    pub at: u64,
    pub success: bool,
    pub took_ms: f64,
    /// The generation in service afterwards.
    pub generation: u64,
    pub diagnostics: Vec<Diagnostic>,
    pub diagnostics_total: usize,
}

/// Entities by name, or id where they have none; the first some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

/// How one kind of entity differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindDifference {
    pub kind: &'static str,
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
    pub names: Names,
}

/// How a configuration differs from the one before.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub from: u64,
    pub to: u64,
    /// Still being worked out.
    pub pending: bool,
    pub kinds: Vec<KindDifference>,
}

#[derive(Debug, Default)]
struct Kept {
    last: Option<Arc<Attempt>>,
    last_failure: Option<Arc<Attempt>>,
    difference: Option<Arc<Difference>>,
}

/// The last attempts and the last difference.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

impl History {
    /// Notes an attempt.
    pub fn attempted(&self, success: bool, took: Duration, generation: u64, diagnostics: &[Diagnostic]) {
        let attempt = Arc::new(Attempt {
            at: super::now(),
            success,
            took_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            generation,
            diagnostics: diagnostics.iter().take(KEPT).cloned().collect(),
            diagnostics_total: diagnostics.len(),
        });
        let mut kept = self.0.lock();
        if !success {
            kept.last_failure = Some(attempt.clone());
        }
        kept.last = Some(attempt);
    }

    /// Notes a difference, unless a newer one is known.
    pub fn differs(&self, difference: Difference) {
        let mut kept = self.0.lock();
        if kept.difference.as_ref().is_none_or(|there| there.to <= difference.to) {
            kept.difference = Some(Arc::new(difference));
        }
    }

    pub fn last(&self) -> Option<Arc<Attempt>> {
        self.0.lock().last.clone()
    }

    pub fn last_failure(&self) -> Option<Arc<Attempt>> {
        self.0.lock().last_failure.clone()
    }

    pub fn difference(&self) -> Option<Arc<Difference>> {
        self.0.lock().difference.clone()
    }
}
