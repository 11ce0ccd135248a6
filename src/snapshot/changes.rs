//! A new snapshot from an old one and a few changes, sharing what did not change.

use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::{Origin, Resources, Routing, Snapshot};
use crate::diagnostic::Diagnostic;
use crate::entity::{Entity, Kind};

/// One change of a store.
#[derive(Clone, Debug)]
pub enum Change {
    /// Created or replaced.
    Put(Entity),
    /// Deleted; children that went with it are changes of their own.
    Removed(Kind, Uuid),
}

impl Snapshot {
    /// The snapshot after some changes, which are in force: what of them cannot be served is an error in the list, as in
    /// [`Self::compile_rest`]. Costs microseconds for consumers and credentials, however many there are; any other kind compiles
    /// routes and plugins anew.
    pub fn with_changes(&self, changes: Vec<Change>, origin: Origin, resources: &Resources) -> (Self, Vec<Diagnostic>) {
        let mut next = Self { origin, loaded_at: SystemTime::now(), ..self.clone() };
        let mut diagnostics = Vec::new();
        let mut routing_changed = false;
        for change in changes {
            routing_changed |= next.apply(change, &mut diagnostics);
        }
        if routing_changed {
            let routing = Routing::compile(&next.dataset, &next.directory, resources, &mut diagnostics);
            next.routing = Arc::new(routing);
        }
        (next, diagnostics)
    }

    /// Applies one change to dataset and directory; tells whether routes and plugins have to be compiled anew.
    fn apply(&mut self, change: Change, diagnostics: &mut Vec<Diagnostic>) -> bool {
        let (dataset, directory) = (&mut self.dataset, &mut self.directory);
        let in_directory = match &change {
            Change::Put(Entity::Consumer(new)) => {
                directory.put_consumer(new.clone());
                true
            }
            Change::Put(Entity::JwtSecret(new)) => {
                let before = directory.remove_jwt(dataset.jwt_secrets.get(&new.id));
                directory.put_jwt(new.clone(), before.as_ref(), diagnostics);
                true
            }
            Change::Put(Entity::KeyAuthCredential(new)) => {
                directory.remove_key_auth(dataset.keyauth_credentials.get(&new.id));
                directory.put_key_auth(new.clone());
                true
            }
            Change::Put(Entity::Oauth2Credential(new)) => {
                directory.remove_oauth2(dataset.oauth2_credentials.get(&new.id));
                directory.put_oauth2(new.clone());
                true
            }
            Change::Put(Entity::Oauth2Token(new)) => {
                directory.remove_oauth2_token(dataset.oauth2_tokens.get(&new.id));
                directory.put_oauth2_token(new);
                true
            }
            Change::Put(_) => false,
            Change::Removed(Kind::Consumer, id) => {
                directory.remove_consumer(*id);
                true
            }
            Change::Removed(Kind::JwtSecret, id) => {
                directory.remove_jwt(dataset.jwt_secrets.get(id));
                true
            }
            Change::Removed(Kind::KeyAuthCredential, id) => {
                directory.remove_key_auth(dataset.keyauth_credentials.get(id));
                true
            }
            Change::Removed(Kind::Oauth2Credential, id) => {
                directory.remove_oauth2(dataset.oauth2_credentials.get(id));
                true
            }
            Change::Removed(Kind::Oauth2Token, id) => {
                directory.remove_oauth2_token(dataset.oauth2_tokens.get(id));
                true
            }
            Change::Removed(..) => false,
        };
        match change {
            Change::Put(entity) => dataset.put(entity),
            Change::Removed(kind, id) => dataset.remove(kind, id),
        }
        !in_directory
    }
}
