//! What was decided about a token, kept for the next request that brings it.
//!
//! A decision follows from the token, the plugin, the consumers and credentials, the provider's keys, and the time. The token is what
//! a decision is kept with, and a [`Basis`] names the others: where any of them is another one now, what was decided is of no use. The
//! times of a token are compared anew by every request. Only acceptances are kept.

use super::changes::KeptChanges;
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
        let plugin = std::ptr::from_ref(plugin).addr();
        (request.generation > 0).then_some(Self { generation: request.generation, plugin, keys })
    }

    pub(in crate::auth) fn generation(&self) -> u64 {
        self.generation
    }

    /// All of it as one number that no other has, if no keys are part of it. Any of its bits may be another one for another basis.
    pub(in crate::auth) fn number(&self) -> Option<u128> {
        // To multiply with an odd number, and to rotate, can be undone.
        let spread = |half: u64| u128::from(half.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
        (self.keys == 0).then_some(spread(self.generation) << 64 | spread(self.plugin as u64))
    }

    /// Whether what was decided from this is still of use once something was decided from `newer`.
    fn stays_beside(&self, newer: &Self) -> bool {
        self.generation == newer.generation && self.plugin != newer.plugin
    }
}

/// An acceptance.
#[derive(Clone, Debug)]
pub struct Decided {
    basis: Basis,
    pub algorithm: Option<Algorithm>,
    pub caller: Authenticated,
    pub changes: Option<KeptChanges>,
}

impl Decided {
    /// What a plugin has just decided; `None` when it authenticated nobody.
    pub fn of(basis: Basis, algorithm: Option<Algorithm>, state: &State) -> Option<Self> {
        let changes = KeptChanges::of(&state.headers);
        Some(Self { basis, algorithm, caller: state.authenticated()?.clone(), changes })
    }

    /// In memory, about.
    fn bytes(&self) -> usize {
        const CALLER: usize = 128;
        CALLER + self.changes.as_ref().map_or(0, KeptChanges::bytes)
    }
}

/// Plugins whose decisions about one token are kept: tokens are mostly for one, and for each route's own where plugins are set up so.
const PLUGINS: usize = 16;

/// What each plugin decided about one token.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// In place, for the one plugin that most tokens are for.
    first: Option<Decided>,
    others: Box<[Decided]>,
}

impl Decisions {
    /// What was decided from the same.
    pub fn from(&self, basis: &Basis) -> Option<&Decided> {
        self.all().find(|decided| decided.basis == *basis)
    }

    /// These and another one, which takes the place of what the same plugin decided before, and of what an older configuration's
    /// plugins did. `None` where there is no more room: then nothing is to be written, else plugins in turn would write at every
    /// request.
    pub fn with(&self, decided: Decided) -> Option<Self> {
        // A request that began before a reload has nothing to tell to those that came after.
        if self.all().any(|there| there.basis.generation > decided.basis.generation) {
            return None;
        }
        let basis = decided.basis;
        if !self.has_room_for(&basis) {
            return None;
        }
        let mut kept = self.all().filter(|there| there.basis.stays_beside(&basis)).cloned().chain([decided]);
        Some(Self { first: kept.next(), others: kept.collect() })
    }

    /// Whether one more from this basis would be kept.
    pub fn has_room_for(&self, basis: &Basis) -> bool {
        self.all().filter(|there| there.basis.stays_beside(basis)).count() < PLUGINS
    }

    fn all(&self) -> impl Iterator<Item = &Decided> {
        self.first.iter().chain(&self.others)
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.others) + self.all().map(Decided::bytes).sum::<usize>()
    }
}
