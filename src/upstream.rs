//! Services' destinations.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Service};

/// Where a service's requests go.
#[derive(Debug)]
pub struct Destination;

/// What is known of destinations over all snapshots.
#[derive(Debug, Default)]
pub struct Registry;

impl Registry {
    pub fn destination(
        &self,
        _service: &Arc<Service>,
        _dataset: &Dataset,
        _diagnostics: &mut Vec<Diagnostic>,
    ) -> Arc<Destination> {
        Arc::new(Destination)
    }
}
