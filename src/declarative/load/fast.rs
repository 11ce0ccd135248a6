//! The short way for what large files consist of: plain consumers and plain credentials.
//!
//! Does for them what the long way (`entity`) does, without the document in between: tables, ids, uniqueness, nesting. Takes only
//! documents it fully understands and leaves everything else, faults included, to the long way; a kind whose table says more than
//! it knows of is never taken. A test holds the two ways against each other.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::fault::Stage;
use super::super::path::At;
use super::index::Plan;
use super::{Loader, Parent, kept};
use crate::entity::{Consumer, JwtSecret, KeyAuthCredential, Kind, Ref};
use crate::jose::Algorithm;
use crate::schema::{Auto, Check, Type};

/// Whether the kind's table is the one the short way was written for.
pub(super) fn knows(kind: Kind, plan: &Plan) -> bool {
    let (fields, texts, unique): (&[&str], &[&str], &[&str]) = match kind {
        Kind::Consumer => (
            &["created_at", "custom_id", "id", "tags", "updated_at", "username"],
            &["custom_id", "username"],
            &["custom_id", "username"],
        ),
        Kind::JwtSecret => (
            &["algorithm", "consumer", "created_at", "id", "key", "rsa_public_key", "secret", "tags"],
            &["key", "secret"],
            &["key"],
        ),
        Kind::KeyAuthCredential => (&["consumer", "created_at", "id", "key", "tags", "ttl"], &["key"], &["key"]),
        _ => return false,
    };
    let mut names: Vec<_> = plan.table.fields().iter().map(|field| field.name).collect();
    names.sort_unstable();
    let plain = |name: &&str| {
        plan.table.field(name).is_some_and(|def| {
            matches!(def.kind, Type::String)
                && !def.referenceable
                && def.unique == unique.contains(name)
                && matches!(def.auto, None | Some(Auto::Token))
                && matches!(def.checks.as_slice(), [Check::LengthAtLeast(1)])
        })
    };
    let default = plan.table.field("algorithm").and_then(|def| def.default.as_ref());
    names == fields
        && texts.iter().all(plain)
        && (kind != Kind::JwtSecret || default.is_some_and(|default| default == "HS256"))
}

/// Whether a document holds nothing but what the short way understands.
fn is_plain(kind: Kind, document: &Map<String, Value>) -> bool {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let id = |value: &Value| value.as_str().is_some_and(|id| id.len() == 36 && Uuid::try_parse(id).is_ok());
    let plain = document.iter().all(|(key, value)| match (kind, key.as_str()) {
        (_, "id") => id(value),
        (Kind::Consumer, "username" | "custom_id") => text(value),
        (Kind::Consumer, "jwt_secrets" | "keyauth_credentials") => value.is_array(),
        (Kind::JwtSecret, "key" | "secret") | (Kind::KeyAuthCredential, "key") => text(value),
        (Kind::JwtSecret, "algorithm") => matches!(value.as_str(), Some("HS256" | "HS384" | "HS512")),
        _ => false,
    });
    plain
        && match kind {
            Kind::Consumer => document.contains_key("username") || document.contains_key("custom_id"),
            Kind::JwtSecret => document.contains_key("key") && document.contains_key("secret"),
            _ => document.contains_key("key"),
        }
}

fn take(document: &mut Map<String, Value>, field: &str) -> Option<Box<str>> {
    match document.swap_remove(field)? {
        Value::String(text) => Some(text.into_boxed_str()),
        _ => None,
    }
}

impl Loader<'_> {
    /// Takes an entity in, or gives it back for the long way.
    pub(super) fn fast(
        &mut self,
        kind: Kind,
        mut document: Map<String, Value>,
        at: &At<'_>,
        parent: Option<&Parent>,
    ) -> Option<Map<String, Value>> {
        let known = self.plans.get(kind as usize).is_some_and(|plan| plan.fast);
        let decorated = !self.header.tags.is_empty() || self.header.defaults.contains_key(&kind);
        if !known || decorated || (kind == Kind::Consumer) == parent.is_some() || !is_plain(kind, &document) {
            return Some(document);
        }
        let given = take(&mut document, "id").and_then(|id| Uuid::try_parse(&id).ok());
        match (kind, parent) {
            (Kind::Consumer, _) => self.fast_consumer(document, given, at),
            (Kind::JwtSecret, Some(parent)) => self.fast_jwt_secret(document, given, at, parent),
            (_, Some(parent)) => self.fast_key(document, given, at, parent),
            _ => {}
        }
        None
    }

    fn fast_consumer(&mut self, mut document: Map<String, Value>, given: Option<Uuid>, at: &At<'_>) {
        const KIND: Kind = Kind::Consumer;
        let (username, custom_id) = (take(&mut document, "username"), take(&mut document, "custom_id"));
        let id = given.unwrap_or_else(|| match (&username, &custom_id) {
            (Some(username), _) => self.ids.of(KIND, username),
            (None, custom_id) => self.ids.of(KIND, &format!("custom_id:{}", custom_id.as_deref().unwrap_or_default())),
        });
        let mut unique = self.fast_is_unique(KIND, "username", username.as_deref(), id, at);
        if let Some(custom_id) = custom_id.as_deref()
            && !self.index.value(KIND, "custom_id", custom_id)
        {
            self.clash(KIND, Stage::Unique, "custom_id", custom_id, username.as_deref(), id, at);
            unique = false;
        }
        let key = if document.is_empty() { None } else { username.clone() };
        if unique {
            let (created_at, updated_at) = (self.now.seconds(), self.now.seconds());
            let new = Consumer { id, created_at, updated_at, username, custom_id, tags: None };
            self.dataset.consumers.insert(kept::consumer(&self.options.previous, Arc::new(new), false));
            self.remember(KIND, id, at);
        } else {
            self.index.broken(KIND, None, id);
        }
        let me = Parent { kind: KIND, id, key };
        for (name, list) in document {
            let kind = if name == "jwt_secrets" { Kind::JwtSecret } else { Kind::KeyAuthCredential };
            self.children(&me, name, kind, list, at);
        }
    }

    fn fast_jwt_secret(&mut self, mut document: Map<String, Value>, given: Option<Uuid>, at: &At<'_>, parent: &Parent) {
        const KIND: Kind = Kind::JwtSecret;
        let (key, secret) =
            (take(&mut document, "key").unwrap_or_default(), take(&mut document, "secret").unwrap_or_default());
        let algorithm =
            take(&mut document, "algorithm").and_then(|name| Algorithm::from_name(&name)).unwrap_or(Algorithm::Hs256);
        let id = given.unwrap_or_else(|| self.ids.of(KIND, &key));
        if self.fast_is_unique(KIND, "key", Some(&key), id, at) {
            let (consumer, created_at) = (Ref { id: parent.id }, self.now.seconds());
            let new = JwtSecret { id, created_at, consumer, key, secret, algorithm, rsa_public_key: None, tags: None };
            self.dataset.jwt_secrets.insert(kept::jwt_secret(&self.options.previous, Arc::new(new), false));
            self.remember(KIND, id, at);
        }
    }

    fn fast_key(&mut self, mut document: Map<String, Value>, given: Option<Uuid>, at: &At<'_>, parent: &Parent) {
        const KIND: Kind = Kind::KeyAuthCredential;
        let key = take(&mut document, "key").unwrap_or_default();
        let id = given.unwrap_or_else(|| self.ids.of(KIND, &key));
        if self.fast_is_unique(KIND, "key", Some(&key), id, at) {
            let (consumer, created_at) = (Ref { id: parent.id }, self.now.seconds());
            let new = KeyAuthCredential { id, created_at, consumer, key, ttl: None, tags: None };
            self.dataset.keyauth_credentials.insert(kept::key(&self.options.previous, Arc::new(new), false));
            self.remember(KIND, id, at);
        }
    }

    /// Endpoint key and id.
    fn fast_is_unique(&mut self, kind: Kind, field: &'static str, name: Option<&str>, id: Uuid, at: &At<'_>) -> bool {
        if let Some(name) = name
            && !self.index.name(kind, field, name, id)
        {
            self.clash(kind, Stage::Reference, field, name, Some(name), id, at);
            return false;
        }
        let unique = self.index.id(&self.dataset, kind, id);
        if !unique {
            self.clash(kind, Stage::Reference, "primary key", &id.to_string(), name, id, at);
        }
        unique
    }
}
