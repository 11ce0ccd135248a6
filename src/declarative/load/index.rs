//! What has been declared: ids, endpoint keys, and every other value that may stand only once.
//!
//! Holds hashes instead of texts: two of 64 bits under random seeds, so that a million names cost 16 bytes each and that any two of
//! them meet is as good as impossible (below 2⁻⁴⁰, were the second hash to add nothing for the worst of them).

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use serde_json::Value;
use uuid::Uuid;

use crate::entity::{Dataset, Kind, tables};
use crate::prehashed::Prehashed;
use crate::schema::Table;

/// What a kind's table says, in the form the loader asks for it.
pub struct Plan {
    pub table: &'static Table,
    /// Foreign keys: field and what it refers to.
    pub foreign: Vec<(&'static str, Kind)>,
    /// Unique fields beside the endpoint key.
    pub unique: Vec<&'static str>,
    /// The endpoint key, where it is unique.
    pub endpoint: Option<&'static str>,
    /// Fields that may stand together only once, where they are several.
    pub together: &'static [&'static str],
    /// Whether plain documents may go the short way.
    pub fast: bool,
}

impl Plan {
    pub fn of(kind: Kind) -> Self {
        let table = tables::table(kind);
        let foreign =
            table.foreign_keys().filter_map(|(field, collection, _)| Some((field, Kind::from_collection(collection)?)));
        let endpoint = table.endpoint_key.filter(|key| table.unique_fields().any(|field| field == *key));
        let mut plan = Self {
            table,
            foreign: foreign.collect(),
            unique: table.unique_fields().filter(|field| Some(*field) != endpoint && *field != "id").collect(),
            endpoint,
            together: if table.cache_key.len() > 1 { table.cache_key } else { &[] },
            fast: false,
        };
        plan.fast = super::fast::knows(kind, &plan);
        plan
    }
}

/// What has been declared so far.
#[derive(Default)]
pub struct Index {
    /// Two seeds: each half of a hash is taken under its own.
    keys: (RandomState, RandomState),
    /// Endpoint keys of the kinds that are referred to by them.
    names: HashMap<u128, Uuid, Prehashed>,
    /// Other unique values.
    values: HashSet<u128, Prehashed>,
    /// Ids of the kinds that are lists in a dataset, and of entities at fault, which must not make references dangle.
    ids: HashSet<(Kind, Uuid), RandomState>,
}

impl Index {
    fn hash(&self, of: (Kind, &str, &str)) -> u128 {
        u128::from(self.keys.0.hash_one(of)) << 64 | u128::from(self.keys.1.hash_one(of))
    }

    /// Whether entities of the kind are referred to by their endpoint key.
    pub fn is_named(kind: Kind) -> bool {
        matches!(kind, Kind::Service | Kind::Route | Kind::Upstream | Kind::Consumer | Kind::Oauth2Credential)
    }

    /// Takes an endpoint key; `false` if it was taken.
    pub fn name(&mut self, kind: Kind, field: &str, name: &str, id: Uuid) -> bool {
        let hash = self.hash((kind, field, name));
        if !Self::is_named(kind) {
            return self.values.insert(hash);
        }
        match self.names.entry(hash) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(id);
                true
            }
        }
    }

    /// Takes a unique value; `false` if it was taken.
    pub fn value(&mut self, kind: Kind, field: &str, value: &str) -> bool {
        let hash = self.hash((kind, field, value));
        self.values.insert(hash)
    }

    /// Takes an id; `false` if it was taken.
    pub fn id(&mut self, dataset: &Dataset, kind: Kind, id: Uuid) -> bool {
        !self.has_id(dataset, kind, id) && (is_large(kind) || self.ids.insert((kind, id)))
    }

    pub fn has_id(&self, dataset: &Dataset, kind: Kind, id: Uuid) -> bool {
        let large = match kind {
            Kind::Consumer => dataset.consumers.get(&id).is_some(),
            Kind::JwtSecret => dataset.jwt_secrets.get(&id).is_some(),
            Kind::KeyAuthCredential => dataset.keyauth_credentials.get(&id).is_some(),
            Kind::Oauth2Credential => dataset.oauth2_credentials.get(&id).is_some(),
            Kind::Oauth2Token => dataset.oauth2_tokens.get(&id).is_some(),
            _ => false,
        };
        large || self.ids.contains(&(kind, id))
    }

    /// An entity at fault was declared nevertheless.
    pub fn broken(&mut self, kind: Kind, endpoint: Option<(&str, &str)>, id: Uuid) {
        if let Some((field, name)) = endpoint.filter(|_| Self::is_named(kind)) {
            let hash = self.hash((kind, field, name));
            self.names.entry(hash).or_insert(id);
        }
        self.ids.insert((kind, id));
    }

    /// The entity that a name or an id refers to; names go first, as in Kong.
    pub fn find(&self, dataset: &Dataset, plan: &Plan, kind: Kind, reference: &str) -> Option<Uuid> {
        let named = plan.table.endpoint_key.filter(|_| Self::is_named(kind));
        let named = named.and_then(|field| self.names.get(&self.hash((kind, field, reference))).copied());
        named.or_else(|| {
            Uuid::try_parse(reference).ok().filter(|id| reference.len() == 36 && self.has_id(dataset, kind, *id))
        })
    }
}

fn is_large(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Consumer | Kind::JwtSecret | Kind::KeyAuthCredential | Kind::Oauth2Credential | Kind::Oauth2Token
    )
}

/// The text of a unique value, whatever its type; `None` for null.
pub fn unique_text(value: Option<&Value>) -> Option<std::borrow::Cow<'_, str>> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        Value::Object(reference) if reference.contains_key("id") => {
            reference.get("id").and_then(Value::as_str).map(Into::into)
        }
        other => Some(other.to_string().into()),
    }
}
