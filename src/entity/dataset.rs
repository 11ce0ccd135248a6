//! Everything a configuration holds, typed: what a source yields and a snapshot is compiled from.
//!
//! Cheap to clone: the large kinds are tables that copies share, the small ones vectors of `Arc`s. References inside it hold:
//! whoever builds a dataset has checked foreign keys and uniqueness.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::shared_table::{KeyOf, SharedTable};

/// The kinds of entity, in Kong's load order (what is referred to comes first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Certificate,
    CaCertificate,
    Consumer,
    Service,
    Upstream,
    Sni,
    Route,
    Target,
    JwtSecret,
    KeyAuthCredential,
    Oauth2Credential,
    Oauth2Token,
    Plugin,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Certificate,
        Self::CaCertificate,
        Self::Consumer,
        Self::Service,
        Self::Upstream,
        Self::Sni,
        Self::Route,
        Self::Target,
        Self::JwtSecret,
        Self::KeyAuthCredential,
        Self::Oauth2Credential,
        Self::Oauth2Token,
        Self::Plugin,
    ];

    /// Kong's collection name in declarative files and error messages.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Certificate => "certificates",
            Self::CaCertificate => "ca_certificates",
            Self::Consumer => "consumers",
            Self::Service => "services",
            Self::Upstream => "upstreams",
            Self::Sni => "snis",
            Self::Route => "routes",
            Self::Target => "targets",
            Self::JwtSecret => "jwt_secrets",
            Self::KeyAuthCredential => "keyauth_credentials",
            Self::Oauth2Credential => "oauth2_credentials",
            Self::Oauth2Token => "oauth2_tokens",
            Self::Plugin => "plugins",
        }
    }

    pub fn from_collection(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.collection() == name)
    }
}

/// Index of the large kinds by their id.
#[derive(Debug)]
pub struct ById;

macro_rules! by_id {
    ($($entity:ty),*) => {$(
        impl KeyOf<$entity> for ById {
            type Key = Uuid;
            fn key(entry: &$entity) -> &Uuid {
                &entry.id
            }
        }
    )*};
}
by_id!(Consumer, JwtSecret, KeyAuthCredential, Oauth2Credential, Oauth2Token);

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    pub certificates: Vec<Arc<Certificate>>,
    pub ca_certificates: Vec<Arc<CaCertificate>>,
    pub services: Vec<Arc<Service>>,
    pub upstreams: Vec<Arc<Upstream>>,
    pub snis: Vec<Arc<Sni>>,
    pub routes: Vec<Arc<Route>>,
    pub targets: Vec<Arc<Target>>,
    pub plugins: Vec<Arc<Plugin>>,
    pub consumers: SharedTable<Consumer, ById>,
    pub jwt_secrets: SharedTable<JwtSecret, ById>,
    pub keyauth_credentials: SharedTable<KeyAuthCredential, ById>,
    pub oauth2_credentials: SharedTable<Oauth2Credential, ById>,
    /// Those that a configuration declares; issued ones are in a store of their own.
    pub oauth2_tokens: SharedTable<Oauth2Token, ById>,
}

/// One entity of any kind, typed.
#[derive(Clone, Debug)]
pub enum Entity {
    Certificate(Arc<Certificate>),
    CaCertificate(Arc<CaCertificate>),
    Consumer(Arc<Consumer>),
    Service(Arc<Service>),
    Upstream(Arc<Upstream>),
    Sni(Arc<Sni>),
    Route(Arc<Route>),
    Target(Arc<Target>),
    JwtSecret(Arc<JwtSecret>),
    KeyAuthCredential(Arc<KeyAuthCredential>),
    Oauth2Credential(Arc<Oauth2Credential>),
    Oauth2Token(Arc<Oauth2Token>),
    Plugin(Arc<Plugin>),
}

fn put<T>(list: &mut Vec<Arc<T>>, entry: Arc<T>, id: impl Fn(&T) -> Uuid) {
    match list.iter_mut().find(|there| id(there) == id(&entry)) {
        Some(there) => *there = entry,
        None => list.push(entry),
    }
}

impl Entity {
    /// Types a document that passed its schema table.
    ///
    /// # Errors
    /// Only when the document did not pass the table of `kind`.
    pub fn from_document(kind: Kind, document: Value) -> Result<Self, serde_json::Error> {
        use serde_json::from_value;
        Ok(match kind {
            Kind::Certificate => Self::Certificate(from_value(document)?),
            Kind::CaCertificate => Self::CaCertificate(from_value(document)?),
            Kind::Consumer => Self::Consumer(from_value(document)?),
            Kind::Service => Self::Service(from_value(document)?),
            Kind::Upstream => Self::Upstream(from_value(document)?),
            Kind::Sni => Self::Sni(from_value(document)?),
            Kind::Route => Self::Route(from_value(document)?),
            Kind::Target => Self::Target(from_value(document)?),
            Kind::JwtSecret => Self::JwtSecret(from_value(document)?),
            Kind::KeyAuthCredential => Self::KeyAuthCredential(from_value(document)?),
            Kind::Oauth2Credential => Self::Oauth2Credential(from_value(document)?),
            Kind::Oauth2Token => Self::Oauth2Token(from_value(document)?),
            Kind::Plugin => Self::Plugin(from_value(document)?),
        })
    }
}

impl Entity {
    /// As [`Self::from_document`], of a document's text.
    ///
    /// # Errors
    /// As there, and when the text is no JSON.
    pub fn from_text(kind: Kind, text: &str) -> Result<Self, serde_json::Error> {
        use serde_json::from_str;
        Ok(match kind {
            Kind::Certificate => Self::Certificate(from_str(text)?),
            Kind::CaCertificate => Self::CaCertificate(from_str(text)?),
            Kind::Consumer => Self::Consumer(from_str(text)?),
            Kind::Service => Self::Service(from_str(text)?),
            Kind::Upstream => Self::Upstream(from_str(text)?),
            Kind::Sni => Self::Sni(from_str(text)?),
            Kind::Route => Self::Route(from_str(text)?),
            Kind::Target => Self::Target(from_str(text)?),
            Kind::JwtSecret => Self::JwtSecret(from_str(text)?),
            Kind::KeyAuthCredential => Self::KeyAuthCredential(from_str(text)?),
            Kind::Oauth2Credential => Self::Oauth2Credential(from_str(text)?),
            Kind::Plugin => Self::Plugin(from_str(text)?),
            Kind::Oauth2Token => Self::Oauth2Token(from_str(text)?),
        })
    }
}

impl Dataset {
    /// Puts the small kinds, which are lists, into the order of ids.
    pub fn sort(&mut self) {
        self.certificates.sort_unstable_by_key(|e| e.id);
        self.ca_certificates.sort_unstable_by_key(|e| e.id);
        self.services.sort_unstable_by_key(|e| e.id);
        self.upstreams.sort_unstable_by_key(|e| e.id);
        self.snis.sort_unstable_by_key(|e| e.id);
        self.routes.sort_unstable_by_key(|e| e.id);
        self.targets.sort_unstable_by_key(|e| e.id);
        self.plugins.sort_unstable_by_key(|e| e.id);
    }

    /// Adds an entity, in place of the one with the same id.
    pub fn put(&mut self, entity: Entity) {
        match entity {
            Entity::Certificate(e) => put(&mut self.certificates, e, |e| e.id),
            Entity::CaCertificate(e) => put(&mut self.ca_certificates, e, |e| e.id),
            Entity::Service(e) => put(&mut self.services, e, |e| e.id),
            Entity::Upstream(e) => put(&mut self.upstreams, e, |e| e.id),
            Entity::Sni(e) => put(&mut self.snis, e, |e| e.id),
            Entity::Route(e) => put(&mut self.routes, e, |e| e.id),
            Entity::Target(e) => put(&mut self.targets, e, |e| e.id),
            Entity::Plugin(e) => put(&mut self.plugins, e, |e| e.id),
            Entity::Consumer(e) => drop(self.consumers.insert(e)),
            Entity::JwtSecret(e) => drop(self.jwt_secrets.insert(e)),
            Entity::KeyAuthCredential(e) => drop(self.keyauth_credentials.insert(e)),
            Entity::Oauth2Credential(e) => drop(self.oauth2_credentials.insert(e)),
            Entity::Oauth2Token(e) => drop(self.oauth2_tokens.insert(e)),
        }
    }

    /// Takes an entity out; its children are the caller's to take out as well.
    pub fn remove(&mut self, kind: Kind, id: Uuid) {
        match kind {
            Kind::Certificate => self.certificates.retain(|e| e.id != id),
            Kind::CaCertificate => self.ca_certificates.retain(|e| e.id != id),
            Kind::Service => self.services.retain(|e| e.id != id),
            Kind::Upstream => self.upstreams.retain(|e| e.id != id),
            Kind::Sni => self.snis.retain(|e| e.id != id),
            Kind::Route => self.routes.retain(|e| e.id != id),
            Kind::Target => self.targets.retain(|e| e.id != id),
            Kind::Plugin => self.plugins.retain(|e| e.id != id),
            Kind::Consumer => drop(self.consumers.remove(&id)),
            Kind::JwtSecret => drop(self.jwt_secrets.remove(&id)),
            Kind::KeyAuthCredential => drop(self.keyauth_credentials.remove(&id)),
            Kind::Oauth2Credential => drop(self.oauth2_credentials.remove(&id)),
            Kind::Oauth2Token => drop(self.oauth2_tokens.remove(&id)),
        }
    }

    /// How many entities of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Certificate => self.certificates.len(),
            Kind::CaCertificate => self.ca_certificates.len(),
            Kind::Service => self.services.len(),
            Kind::Upstream => self.upstreams.len(),
            Kind::Sni => self.snis.len(),
            Kind::Route => self.routes.len(),
            Kind::Target => self.targets.len(),
            Kind::Plugin => self.plugins.len(),
            Kind::Consumer => self.consumers.len(),
            Kind::JwtSecret => self.jwt_secrets.len(),
            Kind::KeyAuthCredential => self.keyauth_credentials.len(),
            Kind::Oauth2Credential => self.oauth2_credentials.len(),
            Kind::Oauth2Token => self.oauth2_tokens.len(),
        }
    }
}
