//! Entities of a declarative file: read from the snapshot in service, never written.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::certificates;
use super::entities::{Entities, Key, Listed, Listing, Shown, Written, id_of, reference};
use super::fault::Fault;
use crate::entity::{Dataset, Kind};
use crate::snapshot::Published;
use crate::store::{Body, COLLECTIONS, Collection, Parent, Tagged, Tags};

/// The entities of the snapshot in service.
#[derive(Debug)]
pub struct Loaded {
    published: Arc<Published>,
}

impl Loaded {
    pub fn new(published: Arc<Published>) -> Self {
        Self { published }
    }
}

fn body(entity: &impl Serialize) -> Option<Body> {
    match serde_json::to_value(entity) {
        Ok(Value::Object(body)) => Some(body),
        _ => None,
    }
}

/// Calls `with` for every entity of a kind until it says that this is enough: with its id, and a way to its document.
fn each(dataset: &Dataset, kind: Kind, with: &mut dyn FnMut(Uuid, &dyn Fn() -> Option<Body>)) {
    macro_rules! each {
        ($entities:expr) => {
            for entity in $entities.iter() {
                with(entity.id, &|| body(&**entity));
            }
        };
    }
    match kind {
        Kind::Certificate => each!(dataset.certificates),
        Kind::CaCertificate => each!(dataset.ca_certificates),
        Kind::Consumer => each!(dataset.consumers),
        Kind::Service => each!(dataset.services),
        Kind::Upstream => each!(dataset.upstreams),
        Kind::Sni => each!(dataset.snis),
        Kind::Route => each!(dataset.routes),
        Kind::Target => each!(dataset.targets),
        Kind::JwtSecret => each!(dataset.jwt_secrets),
        Kind::KeyAuthCredential => each!(dataset.keyauth_credentials),
        Kind::Oauth2Credential => each!(dataset.oauth2_credentials),
        Kind::Oauth2Token => each!(dataset.oauth2_tokens),
        Kind::Plugin => each!(dataset.plugins),
    }
}

/// As [`each`], without a consumer's credentials of which `parent` says that they are another's: a document of each of a million
/// would be written only to look at its owner.
fn each_of(
    dataset: &Dataset,
    kind: Kind,
    parent: Option<&Parent>,
    with: &mut dyn FnMut(Uuid, &dyn Fn() -> Option<Body>),
) {
    let Some(consumer) = parent.filter(|parent| parent.field == "consumer").map(|parent| parent.id) else {
        return each(dataset, kind, with);
    };
    macro_rules! owned {
        ($entities:expr) => {
            for entity in $entities.iter().filter(|entity| entity.consumer.id == consumer) {
                with(entity.id, &|| body(&**entity));
            }
        };
    }
    match kind {
        Kind::JwtSecret => owned!(dataset.jwt_secrets),
        Kind::KeyAuthCredential => owned!(dataset.keyauth_credentials),
        Kind::Oauth2Credential => owned!(dataset.oauth2_credentials),
        _ => each(dataset, kind, with),
    }
}

/// The document of an id, found by the index where there is one.
fn by_id(dataset: &Dataset, kind: Kind, id: Uuid) -> Option<Body> {
    match kind {
        Kind::Consumer => body(&**dataset.consumers.get(&id)?),
        Kind::JwtSecret => body(&**dataset.jwt_secrets.get(&id)?),
        Kind::KeyAuthCredential => body(&**dataset.keyauth_credentials.get(&id)?),
        Kind::Oauth2Credential => body(&**dataset.oauth2_credentials.get(&id)?),
        Kind::Oauth2Token => body(&**dataset.oauth2_tokens.get(&id)?),
        _ => {
            let mut found = None;
            each(dataset, kind, &mut |there, document| {
                if there == id {
                    found = document();
                }
            });
            found
        }
    }
}

/// The document with a value in a unique field. Credentials and consumers are found by the directory's indexes.
fn by_field(published: &Published, kind: Kind, field: &str, value: &str) -> Option<Body> {
    let snapshot = published.load();
    let directory = &snapshot.directory;
    match (kind, field) {
        (Kind::Consumer, "username") => body(&**directory.by_username.get(value)?),
        (Kind::Consumer, "custom_id") => body(&**directory.by_custom_id.get(value)?),
        (Kind::JwtSecret, "key") => body(&*directory.jwt.get(value)?.entity),
        (Kind::KeyAuthCredential, "key") => body(&**directory.key_auth.get(value)?),
        (Kind::Oauth2Credential, "client_id") => body(&**directory.oauth2.get(value)?),
        _ => {
            let mut found = None;
            each(&snapshot.dataset, kind, &mut |_, document| {
                if found.is_none() {
                    found = document().filter(|body| body.get(field).and_then(Value::as_str) == Some(value));
                }
            });
            found
        }
    }
}

fn has_tags(body: &Body, tags: &Tags) -> bool {
    let there = |tag: &String| {
        body.get("tags")
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|item| item.as_str() == Some(tag)))
    };
    match tags {
        Tags::All(tags) => tags.iter().all(there),
        Tags::Any(tags) => tags.iter().any(there),
    }
}

/// Names of the plugins that a configuration uses, sorted.
pub fn plugins_in_use(dataset: &Dataset) -> Vec<String> {
    dataset.plugins.iter().map(|plugin| plugin.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn refused(verb: &str, of: &Collection, key: Option<&Key>) -> Fault {
    let by = match key {
        Some(Key::Unique(field, _)) => format!(" by '{field}'"),
        _ => String::new(),
    };
    Fault::unsupported(format!("cannot {verb} '{}' entities{by} when not using a database", of.name))
}

#[async_trait]
impl Entities for Loaded {
    async fn select(&self, of: &'static Collection, key: &Key) -> Result<Option<Body>, Fault> {
        let kind = of.kind;
        let snapshot = self.published.load();
        let found = match key {
            Key::Id(id) => by_id(&snapshot.dataset, kind, *id),
            Key::Unique(field, value) => by_field(&self.published, kind, field, value),
            Key::Target { upstream, target } => {
                let found = snapshot
                    .dataset
                    .targets
                    .iter()
                    .find(|there| there.upstream.id == *upstream && there.target == *target);
                found.and_then(|target| body(&**target))
            }
        };
        Ok(found.map(|body| shown(of, body, &snapshot.dataset)))
    }

    async fn list(&self, of: &'static Collection, listing: &Listing) -> Result<Listed, Fault> {
        let kind = of.kind;
        if let Some((field, value)) = &listing.only {
            return Ok(Listed {
                data: by_field(&self.published, kind, field, value).map(Shown::Body).into_iter().collect(),
                next: None,
            });
        }
        let snapshot = self.published.load();
        let fits = |body: &Body| {
            let child = |parent: &Parent| reference(body, parent.field) == Some(parent.id);
            listing.parent.as_ref().is_none_or(child) && listing.tags.as_ref().is_none_or(|tags| has_tags(body, tags))
        };
        let plain = listing.parent.is_none() && listing.tags.is_none();
        // The smallest ids beyond the offset, one more than the page holds.
        let mut ids = std::collections::BinaryHeap::with_capacity(listing.size + 2);
        each_of(&snapshot.dataset, kind, listing.parent.as_ref(), &mut |id, document| {
            if listing.after.is_some_and(|after| id <= after)
                || ids.len() > listing.size && ids.peek().is_some_and(|last| id > *last)
            {
                return;
            }
            if plain || document().as_ref().is_some_and(fits) {
                ids.push(id);
                if ids.len() > listing.size + 1 {
                    ids.pop();
                }
            }
        });
        let mut ids = ids.into_sorted_vec();
        let more = ids.len() > listing.size;
        ids.truncate(listing.size);
        let next = ids.last().copied().filter(|_| more);
        let data = ids.into_iter().filter_map(|id| by_id(&snapshot.dataset, kind, id));
        Ok(Listed { data: data.map(|body| Shown::Body(shown(of, body, &snapshot.dataset))).collect(), next })
    }

    async fn tags(&self, of: Option<&str>, after: Option<&Tagged>, size: usize) -> Result<(Vec<Tagged>, bool), Fault> {
        let snapshot = self.published.load();
        let mut found = BTreeSet::new();
        for collection in &COLLECTIONS {
            each(&snapshot.dataset, collection.kind, &mut |id, document| {
                let tags = document().and_then(|mut body| body.shift_remove("tags"));
                for tag in tags.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                    if of.is_none_or(|of| of == tag) {
                        found.insert((tag.to_owned(), collection.name, id));
                    }
                }
            });
        }
        let after = after.map(|after| (after.tag.as_str(), after.collection.as_str(), after.id));
        let mut found: Vec<Tagged> = found
            .into_iter()
            .filter(|(tag, collection, id)| after.is_none_or(|after| (tag.as_str(), *collection, *id) > after))
            .take(size + 1)
            .map(|(tag, collection, id)| Tagged { tag, collection: collection.to_owned(), id })
            .collect();
        let more = found.len() > size;
        found.truncate(size);
        Ok((found, more))
    }

    async fn insert(&self, of: &'static Collection, _: Body) -> Result<Written, Fault> {
        Err(refused("create", of, None))
    }

    async fn upsert(&self, of: &'static Collection, key: &Key, _: Body) -> Result<Written, Fault> {
        Err(refused("create or update", of, Some(key)))
    }

    async fn update(&self, of: &'static Collection, key: &Key, _: Body) -> Result<Written, Fault> {
        Err(refused("update", of, Some(key)))
    }

    async fn delete(&self, of: &'static Collection, key: &Key) -> Result<Option<i64>, Fault> {
        Err(refused("remove", of, Some(key)))
    }

    async fn plugins_in_use(&self) -> Result<Vec<String>, Fault> {
        Ok(plugins_in_use(&self.published.load().dataset))
    }
}

fn shown(of: &Collection, mut body: Body, dataset: &Dataset) -> Body {
    if of.name == "certificates"
        && let Some(id) = id_of(&body)
    {
        let snis: Vec<Body> =
            dataset.snis.iter().filter(|sni| sni.certificate.id == id).filter_map(|sni| self::body(&**sni)).collect();
        certificates::show_snis(&mut body, snis.iter());
    }
    body
}
