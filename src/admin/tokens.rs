//! `/oauth2_tokens`: the tokens that were issued, wherever they are kept, beside the other entities.
//!
//! A token is kept as a digest. It is told to whoever creates it and shown again only to whoever names it in the path; the
//! refresh token is told once. Everything else about a token is in every answer.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::entities::{Entities, Key, Listed, Listing, Shown, Written, id_of, reference, table};
use super::fault::Fault;
use crate::auth::oauth2::TokenStore;
use crate::auth::oauth2::store::{Digest, Gone, Name, Owner, Put, StoreFault, Taken, Token};
use crate::schema::Now;
use crate::store::{Body, Collection, Conflict, Tagged, now_ms};

/// Entities of which the tokens are in a store of their own.
pub struct WithTokens {
    inner: Box<dyn Entities>,
    tokens: Arc<dyn TokenStore>,
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        tracing::error!(%fault, "admin api");
        Self::unexpected()
    }
}

fn is_ours(of: &Collection) -> bool {
    of.name == "oauth2_tokens"
}

fn now() -> u64 {
    u64::try_from(now_ms() / 1000).unwrap_or_default()
}

/// A token as the Admin API shows it. `known`: the access token, where the client has it already.
fn shown(token: &Token, known: Option<&str>) -> Body {
    let left = token.purge_at.map(|at| at.saturating_sub(now()));
    let body = json!({
        "id": token.id,
        "created_at": token.created_at,
        "service": token.service.map(|id| json!({"id": id})),
        "credential": {"id": token.credential},
        "token_type": "bearer",
        "expires_in": token.expires_in,
        "access_token": known,
        "refresh_token": null,
        "authenticated_userid": token.userid,
        "scope": token.scope,
        "ttl": left,
    });
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}

/// The token of a complete document. `old`: what it takes the place of, for what the document does not say.
fn token_of(body: &Body, old: Option<&Token>, keeps_refresh: bool) -> Result<Token, Fault> {
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let number = |field: &str| body.get(field).and_then(Value::as_i64).map(|number| u64::try_from(number).unwrap_or(0));
    let credential =
        reference(body, "credential").ok_or_else(|| Fault::field("credential", "required field missing"))?;
    let access = text("access_token").map(Digest::of).or_else(|| old.map(|old| old.access));
    let refresh = text("refresh_token").map(Digest::of);
    let ttl = number("ttl").filter(|ttl| *ttl > 0);
    Ok(Token {
        id: body
            .get("id")
            .and_then(Value::as_str)
            .and_then(|id| Uuid::try_parse(id).ok())
            .ok_or_else(|| Fault::field("id", "expected a valid UUID"))?,
        access: access.ok_or_else(|| Fault::field("access_token", "required field missing"))?,
        refresh: refresh.or_else(|| old.filter(|_| keeps_refresh).and_then(|old| old.refresh)),
        credential,
        service: reference(body, "service"),
        userid: text("authenticated_userid").map(Into::into),
        scope: text("scope").map(Into::into),
        created_at: number("created_at").unwrap_or_else(now),
        expires_in: number("expires_in").unwrap_or(0),
        purge_at: ttl.map(|ttl| now().saturating_add(ttl)),
        code: old.and_then(|old| old.code),
        gone: Gone::default(),
    })
}

impl WithTokens {
    pub fn new(inner: Box<dyn Entities>, tokens: Arc<dyn TokenStore>) -> Self {
        Self { inner, tokens }
    }

    /// The token of a path, and the access token if the path says it.
    async fn find<'k>(&self, key: &'k Key) -> Result<Option<(Arc<Token>, Option<&'k str>)>, Fault> {
        let (name, known) = match key {
            Key::Id(id) => (Name::Id(*id), None),
            Key::Unique("access_token", token) => (Name::Access(Digest::of(token)), Some(token.as_str())),
            Key::Unique(..) | Key::Target { .. } => return Ok(None),
        };
        let found = self.tokens.find(name).await?.filter(|token| !token.is_purged(now()));
        Ok(found.map(|token| (token, known)))
    }

    /// References given by name become ids.
    async fn resolve(&self, of: &'static Collection, input: &mut Body) -> Result<(), Fault> {
        let mut misses = Vec::new();
        for foreign in of.foreign {
            let Some(Value::Object(given)) = input.get(foreign.field).filter(|given| given.get("id").is_none()) else {
                continue;
            };
            let Some(to) = Collection::find(foreign.to) else { continue };
            let (mut tried, mut found) = (Vec::new(), None);
            for unique in to.unique {
                let Some(Value::String(value)) = given.get(*unique) else { continue };
                match self.inner.select(to, &Key::Unique(unique, value.clone())).await? {
                    Some(body) => found = found.or_else(|| body.get("id").cloned()),
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

    /// Keeps a token whose document is complete, once what it refers to is there.
    async fn keep(&self, of: &'static Collection, token: Token, how: Put, body: &Body) -> Result<(), Fault> {
        for foreign in of.foreign {
            let (Some(id), Some(to)) = (reference(body, foreign.field), Collection::find(foreign.to)) else { continue };
            if self.inner.select(to, &Key::Id(id)).await?.is_none() {
                let conflict = Conflict::Missing { field: foreign.field, parent: foreign.to, id };
                return Err(Fault::conflict(conflict, of.name));
            }
        }
        let declared = body.get("access_token").and_then(Value::as_str);
        if let Some(declared) = declared
            && self.inner.select(of, &Key::Unique("access_token", declared.to_owned())).await?.is_some()
        {
            let fields = Body::from_iter([("access_token".to_owned(), Value::from(declared))]);
            return Err(Fault::conflict(Conflict::Unique { fields }, of.name));
        }
        let id = token.id;
        let unique = |field: &str| {
            let value = body.get(field).cloned().unwrap_or_default();
            Conflict::Unique { fields: Body::from_iter([(field.to_owned(), value)]) }
        };
        let kept = self.tokens.put(token, how).await?;
        kept.map_err(|taken| {
            let conflict = match taken {
                Taken::Id => Conflict::PrimaryKey(id),
                Taken::Access => unique("access_token"),
                Taken::Refresh => unique("refresh_token"),
            };
            Fault::conflict(conflict, of.name)
        })
    }

    async fn create(&self, of: &'static Collection, mut input: Body, how: Put) -> Result<Written, Fault> {
        self.resolve(of, &mut input).await?;
        let mut body = table(of).insert(input, Now::system()).map_err(Fault::schema)?;
        table(of).transform(&mut body);
        let token = token_of(&body, None, false)?;
        body.insert("ttl".to_owned(), token.purge_at.map(|at| at.saturating_sub(now())).into());
        self.keep(of, token, how, &body).await?;
        Ok(Written { body, revision: None })
    }
}

#[async_trait]
impl Entities for WithTokens {
    async fn select(&self, of: &'static Collection, key: &Key) -> Result<Option<Body>, Fault> {
        if !is_ours(of) {
            return self.inner.select(of, key).await;
        }
        match self.find(key).await? {
            Some((token, known)) => Ok(Some(shown(&token, known))),
            // One that the configuration declares.
            None => self.inner.select(of, key).await,
        }
    }

    async fn list(&self, of: &'static Collection, listing: &Listing) -> Result<Listed, Fault> {
        if !is_ours(of) {
            return self.inner.list(of, listing).await;
        }
        // Tokens carry no tags.
        if listing.tags.is_some() || listing.only.is_some() {
            return Ok(Listed::default());
        }
        let owner = listing.parent.as_ref().map(|parent| match parent.field {
            "service" => Owner::Service(parent.id),
            _ => Owner::Credential(parent.id),
        });
        let issued = self.tokens.list(owner, listing.after, listing.size.saturating_add(1)).await?;
        let declared = self.inner.list(of, listing).await?;
        let more = declared.next.is_some();
        let declared = declared.data.into_iter().map(Shown::into_body).collect::<Result<Vec<_>, _>>()?;
        let declared = declared.into_iter().filter_map(|body| Some((id_of(&body)?, Some(body))));
        let mut all: Vec<(Uuid, Option<Body>)> = issued
            .iter()
            .map(|token| (token.id, (!token.is_purged(now())).then(|| shown(token, None))))
            .chain(declared)
            .collect();
        all.sort_by_key(|(id, _)| *id);
        let more = more || all.len() > listing.size;
        all.truncate(listing.size);
        let next = all.last().filter(|_| more).map(|(id, _)| *id);
        Ok(Listed { data: all.into_iter().filter_map(|(_, body)| body.map(Shown::Body)).collect(), next })
    }

    async fn tags(&self, of: Option<&str>, after: Option<&Tagged>, size: usize) -> Result<(Vec<Tagged>, bool), Fault> {
        self.inner.tags(of, after, size).await
    }

    async fn insert(&self, of: &'static Collection, input: Body) -> Result<Written, Fault> {
        match is_ours(of) {
            true => self.create(of, input, Put::New).await,
            false => self.inner.insert(of, input).await,
        }
    }

    async fn upsert(&self, of: &'static Collection, key: &Key, mut input: Body) -> Result<Written, Fault> {
        if !is_ours(of) {
            return self.inner.upsert(of, key, input).await;
        }
        let there = self.find(key).await?.map(|(token, _)| token.id);
        if there.is_none() && self.inner.select(of, key).await?.is_some() {
            return self.inner.upsert(of, key, input).await;
        }
        match key {
            Key::Id(id) => drop(input.insert("id".to_owned(), Value::from(id.to_string()))),
            Key::Unique(field, value) => drop(input.insert((*field).to_owned(), Value::from(value.as_str()))),
            Key::Target { .. } => {}
        }
        if let Some(id) = there {
            input.insert("id".to_owned(), Value::from(id.to_string()));
        }
        self.create(of, input, Put::Replace).await
    }

    async fn update(&self, of: &'static Collection, key: &Key, mut patch: Body) -> Result<Written, Fault> {
        if !is_ours(of) {
            return self.inner.update(of, key, patch).await;
        }
        self.resolve(of, &mut patch).await?;
        let Some((old, known)) = self.find(key).await? else {
            return match self.inner.select(of, key).await? {
                Some(_) => self.inner.update(of, key, patch).await,
                None => Err(Fault::nothing_to_update(key.fields())),
            };
        };
        let keeps_refresh = !patch.contains_key("refresh_token");
        let keeps_end = !patch.contains_key("ttl");
        let mut body = table(of).update(&shown(&old, known), patch, Now::system()).map_err(Fault::schema)?;
        let mut token = token_of(&body, Some(&old), keeps_refresh)?;
        if keeps_end {
            token.purge_at = old.purge_at;
        }
        body.insert("ttl".to_owned(), token.purge_at.map(|at| at.saturating_sub(now())).into());
        self.keep(of, token, Put::Replace, &body).await?;
        Ok(Written { body, revision: None })
    }

    async fn delete(&self, of: &'static Collection, key: &Key) -> Result<Option<i64>, Fault> {
        if !is_ours(of) {
            return self.inner.delete(of, key).await;
        }
        if let Some((token, _)) = self.find(key).await? {
            self.tokens.remove(token.id).await?;
        } else if self.inner.select(of, key).await?.is_some() {
            // It is changed where it is declared.
            return self.inner.delete(of, key).await;
        }
        Ok(None)
    }

    async fn plugins_in_use(&self) -> Result<Vec<String>, Fault> {
        self.inner.plugins_in_use().await
    }
}
