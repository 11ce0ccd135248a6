//! Between declarative configurations and a database: `portcullis config import`, `export` and `diff`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::typed::{self, Unreadable};
use super::{Body, COLLECTIONS, Collection, Conflict, Document, Error, Store};
use crate::auth::oauth2::store::{Taken, Token};
use crate::entity::{Dataset, Kind};

/// How many documents are written with one statement.
const TOGETHER: usize = 500;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub created: usize,
    pub replaced: usize,
    pub unchanged: usize,
    /// The revision this became; that of before when nothing changed.
    pub revision: i64,
}

/// Why an import did not happen; nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("{collection} {id}: {}", describe(conflict))]
    Conflict { collection: &'static str, id: Uuid, conflict: Conflict },
}

fn describe(conflict: &Conflict) -> String {
    match conflict {
        Conflict::PrimaryKey(id) => format!("the id {id} is taken"),
        Conflict::Unique { fields } => {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            format!("another entity in the database has the same {}", names.join(", "))
        }
        Conflict::Missing { field, parent, id } => format!("{field} refers to {id}, which is not among the {parent}"),
        Conflict::Restricted { by } => format!("an entity of {by} refers to it"),
    }
}

/// How two configurations differ in one entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Difference {
    Added {
        collection: &'static str,
        id: Uuid,
        name: String,
    },
    Removed {
        collection: &'static str,
        id: Uuid,
        name: String,
    },
    /// Names of the fields; their values may be secrets.
    Changed {
        collection: &'static str,
        id: Uuid,
        name: String,
        fields: Vec<String>,
    },
}

/// Every entity as a document, what is referred to before what refers to it, each kind in the order of its ids: an index that
/// grows at its end is quick to build, and pages read what lies together.
fn documents(dataset: &Dataset) -> impl Iterator<Item = (&'static Collection, Body)> + Send + '_ {
    fn bodies<'d, T: Serialize + Send + Sync + 'd>(
        entities: impl Iterator<Item = &'d Arc<T>>,
        id: fn(&T) -> Uuid,
    ) -> Box<dyn Iterator<Item = Body> + Send + 'd> {
        let mut entities: Vec<&Arc<T>> = entities.collect();
        entities.sort_by_key(|entity| id(entity));
        Box::new(entities.into_iter().filter_map(|entity| match serde_json::to_value(&**entity) {
            Ok(Value::Object(body)) => Some(body),
            _ => None,
        }))
    }
    COLLECTIONS.iter().flat_map(move |collection| {
        let bodies = match collection.kind {
            Kind::Certificate => bodies(dataset.certificates.iter(), |e| e.id),
            Kind::CaCertificate => bodies(dataset.ca_certificates.iter(), |e| e.id),
            Kind::Consumer => bodies(dataset.consumers.iter(), |e| e.id),
            Kind::Service => bodies(dataset.services.iter(), |e| e.id),
            Kind::Upstream => bodies(dataset.upstreams.iter(), |e| e.id),
            Kind::Sni => bodies(dataset.snis.iter(), |e| e.id),
            Kind::Route => bodies(dataset.routes.iter(), |e| e.id),
            Kind::Target => bodies(dataset.targets.iter(), |e| e.id),
            Kind::JwtSecret => bodies(dataset.jwt_secrets.iter(), |e| e.id),
            Kind::KeyAuthCredential => bodies(dataset.keyauth_credentials.iter(), |e| e.id),
            Kind::Oauth2Credential => bodies(dataset.oauth2_credentials.iter(), |e| e.id),
            Kind::Plugin => bodies(dataset.plugins.iter(), |e| e.id),
            // Kept as digests, in tables of their own.
            Kind::Oauth2Token => Box::new(std::iter::empty()),
        };
        bodies.map(move |body| (collection, body))
    })
}

/// When a document with a `ttl` ends: it counts from its creation.
fn expires_at(collection: &Collection, body: &Body) -> Option<i64> {
    let ttl = body.get("ttl").and_then(Value::as_i64).filter(|ttl| collection.ttl && *ttl > 0)?;
    let created = body.get("created_at").and_then(Value::as_i64)?;
    Some(created.saturating_add(ttl).saturating_mul(1000))
}

fn accepted(document: &Document, written: Result<(), Conflict>) -> Result<(), ImportError> {
    let (id, collection) = (document.id, document.collection);
    written.map_err(|conflict| ImportError::Conflict { collection, id, conflict })
}

/// Whether two documents say the same, apart from when.
fn same(one: &Body, two: &Body) -> bool {
    changed_fields(one, two).is_empty()
}

fn changed_fields(one: &Body, two: &Body) -> Vec<String> {
    let timeless = |name: &&String| !matches!(name.as_str(), "created_at" | "updated_at");
    let mut names: Vec<&String> = one.keys().chain(two.keys()).filter(timeless).collect();
    names.sort();
    names.dedup();
    let value = |body: &Body, name: &String| body.get(name).cloned().unwrap_or_default();
    names.into_iter().filter(|name| value(one, name) != value(two, name)).cloned().collect()
}

/// What people call an entity, never a secret.
fn name_of(collection: &Collection, body: &Body) -> String {
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    match collection.name {
        "keyauth_credentials" => None,
        "plugins" => text("instance_name").or_else(|| text("name")),
        "targets" => text("target"),
        _ => collection.endpoint_key.and_then(text),
    }
    .or_else(|| text("id"))
    .unwrap_or_default()
}

impl Store {
    /// Puts every entity of a configuration in, in place of the one with its id; what else the database has stays. All or nothing.
    ///
    /// # Errors
    /// When something of it cannot stand beside what is there.
    pub async fn import(&self, dataset: &Dataset) -> Result<Imported, ImportError> {
        let mut done = Imported::default();
        let mut write = self.write().await?;
        let mut all = documents(dataset).peekable();
        while let Some((first, _)) = all.peek() {
            let collection = *first;
            let some: Vec<Document> = std::iter::from_fn(|| all.next_if(|(next, _)| next.name == collection.name))
                .take(TOGETHER)
                .filter_map(|(_, body)| {
                    let expires_at = expires_at(collection, &body);
                    Document::new(collection, body, expires_at)
                })
                .collect();
            let (new, known) = write.tell_new(collection.name, some).await?;
            for (document, there) in known {
                if same(&there, &document.body) {
                    done.unchanged += 1;
                } else {
                    done.replaced += 1;
                    accepted(&document, write.replace(&document).await?)?;
                }
            }
            done.created += new.len();
            if !write.insert_together(&new).await? {
                // One of them cannot stand beside what is there: one by one it is found, and said.
                for document in &new {
                    accepted(document, write.insert(document).await?)?;
                }
            }
        }
        for entity in dataset.oauth2_tokens.iter() {
            let token = Token::declared(entity);
            match write.put_token(&token).await? {
                Ok(Some(true)) => done.replaced += 1,
                Ok(Some(false)) => done.created += 1,
                Ok(None) => done.unchanged += 1,
                Err(taken) => {
                    let field = match taken {
                        Taken::Refresh => "refresh_token",
                        Taken::Id | Taken::Access => "access_token",
                    };
                    let fields = Body::from_iter([(field.to_owned(), Value::Null)]);
                    let conflict = Conflict::Unique { fields };
                    return Err(ImportError::Conflict { collection: "oauth2_tokens", id: token.id, conflict });
                }
            }
        }
        done.revision = write.commit().await?;
        Ok(done)
    }

    /// Everything a configuration can hold, as one. Issued tokens are not part of one.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn export(&self) -> Result<Dataset, Error> {
        let read = typed::exported(self.changes(None).await?.documents).await?;
        for Unreadable { finding, .. } in &read.unreadable {
            tracing::error!(code = finding.code, "left out: {finding}");
        }
        Ok(read.entities)
    }
}

/// What it would take to make `from` into `to`.
pub fn diff(from: &Dataset, to: &Dataset) -> Vec<Difference> {
    let index = |dataset: &Dataset| -> BTreeMap<(usize, Uuid), (&'static Collection, Body)> {
        let position = |of: &Collection| COLLECTIONS.iter().position(|there| there.name == of.name).unwrap_or(0);
        documents(dataset)
            .filter_map(|(of, body)| {
                let id = Uuid::try_parse(body.get("id")?.as_str()?).ok()?;
                Some(((position(of), id), (of, body)))
            })
            .collect()
    };
    let (from, mut to) = (index(from), index(to));
    let mut found = Vec::new();
    for (key, (of, body)) in from {
        let (collection, id, name) = (of.name, key.1, name_of(of, &body));
        match to.remove(&key) {
            None => found.push(Difference::Removed { collection, id, name }),
            Some((_, other)) => {
                let fields = changed_fields(&body, &other);
                if !fields.is_empty() {
                    found.push(Difference::Changed { collection, id, name, fields });
                }
            }
        }
    }
    found.extend(to.into_iter().map(|(key, (of, body))| Difference::Added {
        collection: of.name,
        id: key.1,
        name: name_of(of, &body),
    }));
    found
}
