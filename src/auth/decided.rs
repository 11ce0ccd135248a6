//! What was decided about a token, kept for the next request that brings it.
//!
//! A decision follows from the token, the plugin, the consumers and credentials, the provider's keys, and the time. The token is what
//! a decision is kept with, and a [`Basis`] names the others: where any of them is another one now, what was decided is of no use. The
//! times of a token are compared anew by every request. Only acceptances are kept.

use std::sync::Arc;

use super::state::HeaderChanges;
use super::{Authenticated, Request, State};
use crate::jose::Algorithm;

/// What a decision was made from, besides the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    generation: u64,
    /// The plugin's address, which is its own for as long as the generation is the same.
    plugin: usize,
    keys: u64,
}

impl Basis {
    /// For what a plugin decides; `keys` counts the changes of keys that are no part of the configuration. `None` where nothing is to
    /// be kept: the plugin is not in force.
    pub fn new<P>(request: &Request<'_>, plugin: &P, keys: u64) -> Option<Self> {
        Self::of(request, std::ptr::from_ref(plugin).addr(), keys)
    }

    /// For what follows from consumers and credentials alone, whichever plugin asks.
    pub fn of_entities(request: &Request<'_>) -> Option<Self> {
        Self::of(request, 0, 0)
    }

    fn of(request: &Request<'_>, plugin: usize, keys: u64) -> Option<Self> {
        (request.generation > 0).then_some(Self { generation: request.generation, plugin, keys })
    }
}

/// An acceptance.
#[derive(Debug)]
pub struct Decided {
    basis: Basis,
    pub algorithm: Option<Algorithm>,
    pub caller: Authenticated,
    pub changes: Option<Arc<HeaderChanges>>,
}

impl Decided {
    /// What a plugin has just decided; `None` when it authenticated nobody.
    pub fn of(basis: Basis, algorithm: Option<Algorithm>, state: &State) -> Option<Self> {
        let changes = (!state.headers.is_empty()).then(|| Arc::new(state.headers.clone()));
        Some(Self { basis, algorithm, caller: state.authenticated()?.clone(), changes })
    }

    pub fn is_from(&self, basis: &Basis) -> bool {
        self.basis == *basis
    }

    /// Whether what was decided from `basis` takes this one's place: where one token comes by several plugins in turn, the first keeps
    /// its own, so that not every request writes.
    pub fn gives_way_to(&self, basis: &Basis) -> bool {
        self.basis.plugin == basis.plugin || self.basis.generation < basis.generation
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        const CALLER: usize = 128;
        const FIELD: usize = 160;
        let fields = |changes: &Arc<HeaderChanges>| changes.remove.len() + changes.set.len() + changes.response.len();
        CALLER + self.changes.as_ref().map_or(0, fields) * FIELD
    }
}
