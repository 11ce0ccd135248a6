//! Entities in a database: Kong's rules for writing them, in one transaction each.
//!
//! Reads come from the database; a write is answered when this gateway serves it.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::certificates::{self, Snis};
use super::entities::{Entities, Key, Listed, Listing, Shown, Written, reference, table};
use super::fault::Fault;
use super::servable;
use crate::schema::{Now, Table};
use crate::store::{Body, Collection, Document, Feed, Query, Stored as Row, Tagged, Write, cache_key_of, now_ms};

/// The entities of a database.
#[derive(Debug)]
pub struct Stored {
    feed: Arc<Feed>,
}

impl Stored {
    pub fn new(feed: Arc<Feed>) -> Self {
        Self { feed }
    }

    /// Commits, and waits until the write is in service here.
    async fn finish(&self, write: Write) -> Result<i64, Fault> {
        let revision = write.commit().await?;
        self.feed.served(revision).await;
        Ok(revision)
    }

    async fn find(&self, of: &'static Collection, key: &Key) -> Result<Option<Row>, Fault> {
        let store = self.feed.store();
        Ok(match key {
            Key::Id(id) => store.get(of.name, *id).await?,
            Key::Unique(field, value) => store.by_key(of.name, field, value).await?,
            Key::Target { upstream, target } => {
                store.by_key(of.name, "cache_key", &cache_key_of(&[&upstream.to_string(), target])).await?
            }
        })
    }

    /// References given by name become ids; `{"id": …}` and null stay as they are.
    async fn resolve(&self, of: &'static Collection, input: &mut Body) -> Result<(), Fault> {
        let mut misses = Vec::new();
        for foreign in of.foreign {
            let Some(Value::Object(given)) = input.get(foreign.field) else { continue };
            if given.contains_key("id") {
                continue;
            }
            let Some(to) = Collection::find(foreign.to) else { continue };
            let (mut tried, mut found) = (Vec::new(), None);
            for unique in to.unique {
                let Some(Value::String(value)) = given.get(*unique) else { continue };
                match self.feed.store().by_key(to.name, unique, value).await? {
                    Some(row) => {
                        found = Some(row.id);
                        break;
                    }
                    None => tried.push(((*unique).to_owned(), Value::from(value.as_str()))),
                }
            }
            if let Some(id) = found {
                input.insert(foreign.field.to_owned(), json!({"id": id}));
            } else if !tried.is_empty() {
                misses.push((foreign.field, tried, to.name));
            }
        }
        if misses.is_empty() { Ok(()) } else { Err(Fault::unresolved(&misses)) }
    }

    /// A plugin's protocols have one in common with its route, or with a route of its service.
    async fn check_protocols(&self, plugin: &Body) -> Result<(), Fault> {
        let Some(protocols) = plugin.get("protocols").and_then(Value::as_array) else { return Ok(()) };
        let shared = |route: &Body| {
            let routes = route.get("protocols").and_then(Value::as_array);
            routes.is_none_or(|there| there.iter().any(|protocol| protocols.contains(protocol)))
        };
        let store = self.feed.store();
        if let Some(route) = reference(plugin, "route") {
            if let Some(route) = store.get("routes", route).await?
                && !shared(&route.body)
            {
                return Err(Fault::field("protocols", "must match the associated route's protocols"));
            }
        } else if let Some(service) = reference(plugin, "service") {
            let routes = store.children("routes", "service", "services", service).await?;
            if !routes.is_empty() && !routes.iter().any(|route| shared(&route.body)) {
                let message = "must match the protocols of at least one route pointing to this Plugin's service";
                return Err(Fault::field("protocols", message));
            }
        }
        Ok(())
    }

    /// Whether it can be served, once it is stored.
    async fn check(&self, of: &Collection, body: &Body) -> Result<(), Fault> {
        servable::check(self.feed.store(), self.feed.resources(), of, body).await
    }

    /// The form an entity is answered in.
    async fn shown(&self, of: &'static Collection, row: Row) -> Result<Body, Fault> {
        let mut body = with_ttl(of, row.body, row.expires_at);
        if of.name == "certificates" {
            let snis = self.feed.store().children("snis", "certificate", "certificates", row.id).await?;
            certificates::show_snis(&mut body, snis.iter().map(|sni| &sni.body));
        }
        Ok(body)
    }
}

/// Whether the answer holds nothing that is not in the stored document.
fn is_shown_as_stored(of: &Collection) -> bool {
    !of.ttl && of.name != "certificates"
}

/// `ttl` is stored as seconds from creation and answered as seconds that are left.
fn with_ttl(of: &Collection, mut body: Body, expires_at: Option<i64>) -> Body {
    if of.ttl {
        let left = expires_at.map(|at| (at - now_ms() - 1).div_euclid(1000).max(0));
        body.insert("ttl".to_owned(), left.map_or(Value::Null, Value::from));
    }
    body
}

/// When an entity with this `ttl` ends, and what of it is stored; a `ttl` of 0 never ends.
fn expiry(of: &Collection, body: &mut Body, now: i64) -> Option<i64> {
    let ttl = body.get("ttl").and_then(Value::as_i64).filter(|_| of.ttl).filter(|ttl| *ttl > 0)?;
    let expires_at = now.saturating_add(ttl.saturating_mul(1000));
    let created_at = body.get("created_at").and_then(Value::as_i64).unwrap_or(now / 1000);
    body.insert("ttl".to_owned(), Value::from((expires_at / 1000).saturating_sub(created_at)));
    Some(expires_at)
}

/// Checks and completes a new document.
fn complete(table: &Table, input: Body) -> Result<Body, Fault> {
    let mut body = table.insert(input, Now::system()).map_err(Fault::schema)?;
    table.transform(&mut body);
    Ok(body)
}

fn document(of: &'static Collection, body: Body, expires_at: Option<i64>) -> Result<Document, Fault> {
    Document::new(of, body, expires_at).ok_or_else(|| Fault::field("id", "expected a valid UUID"))
}

#[async_trait]
impl Entities for Stored {
    async fn select(&self, of: &'static Collection, key: &Key) -> Result<Option<Body>, Fault> {
        match self.find(of, key).await? {
            Some(row) => Ok(Some(self.shown(of, row).await?)),
            None => Ok(None),
        }
    }

    async fn list(&self, of: &'static Collection, listing: &Listing) -> Result<Listed, Fault> {
        if let Some((field, value)) = &listing.only {
            let found = self.find(of, &Key::Unique(field, value.clone())).await?;
            return Ok(Listed {
                data: found.map(|row| Shown::Body(with_ttl(of, row.body, row.expires_at))).into_iter().collect(),
                next: None,
            });
        }
        let query = Query {
            parent: listing.parent.clone(),
            tags: listing.tags.clone(),
            after: listing.after,
            size: listing.size,
        };
        let page = self.feed.store().list(of.name, &query).await?;
        let mut data = Vec::with_capacity(page.documents.len());
        for row in page.documents {
            data.push(if is_shown_as_stored(of) {
                Shown::Text(row.text)
            } else {
                let row = Row { id: row.id, body: row.body()?, expires_at: row.expires_at };
                Shown::Body(self.shown(of, row).await?)
            });
        }
        Ok(Listed { data, next: page.next })
    }

    async fn tags(&self, of: Option<&str>, after: Option<&Tagged>, size: usize) -> Result<(Vec<Tagged>, bool), Fault> {
        Ok(self.feed.store().tags(of, after, size).await?)
    }

    async fn insert(&self, of: &'static Collection, mut input: Body) -> Result<Written, Fault> {
        let snis = certificates::take_snis(of, &mut input)?;
        self.resolve(of, &mut input).await?;
        if of.name == "plugins" {
            self.check_protocols(&input).await?;
        }
        let mut body = complete(table(of), input)?;
        self.check(of, &body).await?;
        let expires_at = expiry(of, &mut body, now_ms());
        let document = document(of, body, expires_at)?;
        let mut write = self.feed.store().write().await?;
        write.insert(&document).await?.map_err(|conflict| Fault::conflict(conflict, of.name))?;
        snis.apply(&mut write, document.id).await?;
        let revision = self.finish(write).await?;
        let row = Row { id: document.id, body: document.body, expires_at };
        Ok(Written { body: self.shown(of, row).await?, revision: Some(revision) })
    }

    async fn upsert(&self, of: &'static Collection, key: &Key, mut input: Body) -> Result<Written, Fault> {
        let snis = certificates::take_snis(of, &mut input)?;
        match key {
            Key::Id(id) => drop(input.insert("id".to_owned(), Value::from(id.to_string()))),
            Key::Unique(field, value) => drop(input.insert((*field).to_owned(), Value::from(value.as_str()))),
            Key::Target { upstream, target } => {
                input.insert("upstream".to_owned(), json!({"id": upstream}));
                input.insert("target".to_owned(), Value::from(target.as_str()));
            }
        }
        self.resolve(of, &mut input).await?;
        if of.name == "plugins" {
            self.check_protocols(&input).await?;
        }
        let mut body = complete(table(of), input)?;
        self.check(of, &body).await?;
        let expires_at = expiry(of, &mut body, now_ms());
        let mut write = self.feed.store().write().await?;
        let current = within(&mut write, of, key).await?;
        if let Some(current) = &current {
            body.insert("id".to_owned(), Value::from(current.id.to_string()));
        }
        let document = document(of, body, expires_at)?;
        let written = match current {
            Some(_) => write.replace(&document).await?,
            None => write.insert(&document).await?,
        };
        written.map_err(|conflict| Fault::conflict(conflict, of.name))?;
        let snis = if of.name == "certificates" { snis.or_none() } else { snis };
        snis.apply(&mut write, document.id).await?;
        let revision = self.finish(write).await?;
        let row = Row { id: document.id, body: document.body, expires_at };
        Ok(Written { body: self.shown(of, row).await?, revision: Some(revision) })
    }

    async fn update(&self, of: &'static Collection, key: &Key, mut patch: Body) -> Result<Written, Fault> {
        let snis = certificates::take_snis(of, &mut patch)?;
        self.resolve(of, &mut patch).await?;
        let table = table(of);
        if of.name == "plugins"
            && let Some(current) = self.find(of, key).await?
        {
            let mut merged = current.body;
            merged.extend(patch.iter().map(|(name, value)| (name.clone(), value.clone())));
            self.check_protocols(&merged).await?;
        }
        let mut write = self.feed.store().write().await?;
        let Some(current) = within(&mut write, of, key).await? else {
            return Err(Fault::nothing_to_update(key.fields()));
        };
        let ends = patch.contains_key("ttl") && of.ttl;
        let mut body = table.update(&current.body, patch, Now::system()).map_err(Fault::schema)?;
        table.transform(&mut body);
        self.check(of, &body).await?;
        let expires_at = if ends { expiry(of, &mut body, now_ms()) } else { current.expires_at };
        let document = document(of, body, expires_at)?;
        write.replace(&document).await?.map_err(|conflict| Fault::conflict(conflict, of.name))?;
        snis.apply(&mut write, document.id).await?;
        let revision = self.finish(write).await?;
        let row = Row { id: document.id, body: document.body, expires_at };
        Ok(Written { body: self.shown(of, row).await?, revision: Some(revision) })
    }

    async fn delete(&self, of: &'static Collection, key: &Key) -> Result<Option<i64>, Fault> {
        let mut write = self.feed.store().write().await?;
        let Some(current) = within(&mut write, of, key).await? else { return Ok(None) };
        if of.name == "ca_certificates" {
            self.check_unused(current.id).await?;
        }
        write.delete(of.name, current.id).await?.map_err(|conflict| Fault::conflict(conflict, of.name))?;
        self.finish(write).await.map(Some)
    }

    async fn plugins_in_use(&self) -> Result<Vec<String>, Fault> {
        Ok(super::loaded::plugins_in_use(&self.feed.published().load().dataset))
    }
}

impl Stored {
    /// A CA certificate that a service trusts stays; services name them in a list, which the database does not follow.
    async fn check_unused(&self, id: Uuid) -> Result<(), Fault> {
        let snapshot = self.feed.published().load();
        let user = snapshot
            .dataset
            .services
            .iter()
            .find(|service| service.ca_certificates.as_ref().is_some_and(|list| list.contains(&id)));
        match user {
            Some(service) => Err(Fault::referenced_by_others(format!(
                "ca certificate {id} is still referenced by services (id = {})",
                service.id
            ))),
            None => Ok(()),
        }
    }
}

/// The current row, as the write sees it.
async fn within(write: &mut Write, of: &'static Collection, key: &Key) -> Result<Option<Row>, Fault> {
    Ok(match key {
        Key::Id(id) => write.get(of.name, *id).await?,
        Key::Unique(field, value) => write.by_key(of.name, field, value).await?,
        Key::Target { upstream, target } => {
            write.by_key(of.name, "cache_key", &cache_key_of(&[&upstream.to_string(), target])).await?
        }
    })
}

impl Snis {
    /// Makes the given names, and only them, names of the certificate.
    async fn apply(self, write: &mut Write, certificate: Uuid) -> Result<(), Fault> {
        let Self(Some(names)) = self else { return Ok(()) };
        let there = write.children("snis", "certificate", "certificates", certificate).await?;
        let snis =
            Collection::find("snis").ok_or_else(|| Fault::plain(StatusCode::INTERNAL_SERVER_ERROR, "no snis"))?;
        for row in &there {
            let kept = row
                .body
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| names.iter().any(|given| given == name));
            if !kept {
                write.delete("snis", row.id).await?.map_err(|conflict| Fault::conflict(conflict, "snis"))?;
            }
        }
        for name in names {
            if let Some(owner) = write.by_key("snis", "name", &name).await? {
                match reference(&owner.body, "certificate") {
                    Some(other) if other != certificate => {
                        let message = format!("{name} already associated with existing certificate '{other}'");
                        return Err(Fault::field("snis", message));
                    }
                    _ => continue,
                }
            }
            let input = Body::from_iter([
                ("name".to_owned(), Value::from(name)),
                ("certificate".to_owned(), json!({"id": certificate})),
            ]);
            let document = document(snis, complete(table(snis), input)?, None)?;
            write.insert(&document).await?.map_err(|conflict| Fault::conflict(conflict, "snis"))?;
        }
        Ok(())
    }
}
