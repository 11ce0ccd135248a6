//! Public documents of plugins by their places: what is answered before any route is looked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;

use super::Instance;
use crate::auth::Place;
use crate::diagnostic::Diagnostic;

/// Every document's path begins so: nothing else is looked up.
const FRONT: &str = "/.well-known/";

/// Documents of a configuration.
#[derive(Debug, Default)]
pub struct Documents(HashMap<Place, Arc<Instance>>);

impl Documents {
    pub(super) fn new<'i>(
        instances: impl Iterator<Item = &'i Arc<Instance>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut with_documents: Vec<_> =
            instances.filter_map(|instance| Some((instance.plugin.document_place()?.clone(), instance))).collect();
        with_documents.sort_by_key(|(_, instance)| instance.entity.id);
        let mut all = HashMap::new();
        for (place, instance) in with_documents {
            match all.entry(place) {
                Entry::Vacant(free) => {
                    free.insert(instance.clone());
                }
                Entry::Occupied(there) => {
                    let (place, other): (&Place, &Arc<Instance>) = (there.key(), there.get());
                    let message = format!("{}{} is the document of plugin {}", place.host, place.path, other.entity.id);
                    let path = format!("plugins.{}", instance.entity.id);
                    diagnostics.push(Diagnostic::warning("duplicate-document", path, message));
                }
            }
        }
        Self(all)
    }

    /// The document at a place. The host only chooses among what is configured.
    pub fn find(&self, host: &str, path: &str) -> Option<Bytes> {
        if self.0.is_empty() || !path.starts_with(FRONT) {
            return None;
        }
        let place = Place { host: host.to_ascii_lowercase().into(), path: path.into() };
        self.0.get(&place)?.plugin.document()
    }
}
