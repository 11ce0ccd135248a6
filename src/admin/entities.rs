//! What the Admin API asks of whatever holds the entities: a database, or the file that was loaded.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::fault::Fault;
use crate::entity::tables;
use crate::schema::Table;
use crate::store::{self, Body, Collection, Foreign, Parent, Tagged, Tags};

/// How an entity is named in a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    Id(Uuid),
    /// A unique field and its value.
    Unique(&'static str, String),
    /// A target by its address within an upstream.
    Target {
        upstream: Uuid,
        target: String,
    },
}

impl Key {
    /// Reads a path segment: a UUID is an id, anything else the endpoint key.
    ///
    /// # Errors
    /// Where the collection has no endpoint key.
    pub fn parse(collection: &Collection, segment: &str) -> Result<Self, Fault> {
        if let Some(id) = parse_id(segment) {
            return Ok(Self::Id(id));
        }
        match collection.endpoint_key {
            Some(field) => Ok(Self::Unique(field, segment.to_owned())),
            None => Err(Fault::invalid_primary_key()),
        }
    }

    /// What it looks for, for a message.
    pub fn fields(&self) -> Body {
        match self {
            Self::Id(id) => Body::from_iter([("id".to_owned(), Value::from(id.to_string()))]),
            Self::Unique(field, value) => Body::from_iter([((*field).to_owned(), Value::from(value.as_str()))]),
            Self::Target { target, .. } => Body::from_iter([("target".to_owned(), Value::from(target.as_str()))]),
        }
    }
}

/// A UUID in its one form with dashes; others are names.
pub fn parse_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Which page of a collection.
#[derive(Clone, Debug)]
pub struct Listing {
    pub size: usize,
    pub after: Option<Uuid>,
    pub tags: Option<Tags>,
    pub parent: Option<Parent>,
    /// Only the one with this value in a unique field (`/consumers?custom_id=`).
    pub only: Option<(&'static str, String)>,
}

/// Some entities, and where to go on.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub data: Vec<Shown>,
    pub next: Option<Uuid>,
}

/// An entity in the form it is answered in.
#[derive(Clone, Debug)]
pub enum Shown {
    Body(Body),
    /// Its JSON, as it is stored.
    Text(String),
}

impl Shown {
    /// Its fields.
    ///
    /// # Errors
    /// When a stored text is no JSON object.
    pub fn into_body(self) -> Result<Body, Fault> {
        match self {
            Self::Body(body) => Ok(body),
            Self::Text(text) => Ok(serde_json::from_str(&text).map_err(store::Error::from)?),
        }
    }

    /// Adds its JSON to a text.
    ///
    /// # Errors
    /// Never for a body that came from JSON.
    pub fn write(self, out: &mut String) -> Result<(), Fault> {
        match self {
            Self::Body(body) => out.push_str(&serde_json::to_string(&body).map_err(store::Error::from)?),
            Self::Text(text) => out.push_str(&text),
        }
        Ok(())
    }
}

/// An entity that was written, and the revision this became; tokens have none.
#[derive(Clone, Debug)]
pub struct Written {
    pub body: Body,
    pub revision: Option<i64>,
}

/// Where the entities are.
#[async_trait]
pub trait Entities: Send + Sync {
    async fn select(&self, of: &'static Collection, key: &Key) -> Result<Option<Body>, Fault>;
    async fn list(&self, of: &'static Collection, listing: &Listing) -> Result<Listed, Fault>;
    async fn tags(&self, of: Option<&str>, after: Option<&Tagged>, size: usize) -> Result<(Vec<Tagged>, bool), Fault>;
    /// POST.
    async fn insert(&self, of: &'static Collection, input: Body) -> Result<Written, Fault>;
    /// PUT.
    async fn upsert(&self, of: &'static Collection, key: &Key, input: Body) -> Result<Written, Fault>;
    /// PATCH.
    async fn update(&self, of: &'static Collection, key: &Key, patch: Body) -> Result<Written, Fault>;
    /// DELETE; the revision this became, none when there was nothing.
    async fn delete(&self, of: &'static Collection, key: &Key) -> Result<Option<i64>, Fault>;
    /// Names of the plugins in use.
    async fn plugins_in_use(&self) -> Result<Vec<String>, Fault>;
}

/// The schema of a collection.
pub fn table(of: &Collection) -> &'static Table {
    tables::table(of.kind)
}

/// The parent a nested list belongs to.
pub fn parent(foreign: &'static Foreign, id: Uuid) -> Parent {
    Parent { field: foreign.field, collection: foreign.to, id }
}

/// An entity's id.
pub fn id_of(body: &Body) -> Option<Uuid> {
    parse_id(body.get("id")?.as_str()?)
}

/// The id an entity refers to in a field.
pub fn reference(body: &Body, field: &str) -> Option<Uuid> {
    parse_id(body.get(field)?.get("id")?.as_str()?)
}
