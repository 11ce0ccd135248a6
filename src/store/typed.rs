//! Stored documents as the entities that are served.
//!
//! A document that another version wrote may be none to this one. It is left out, and said; where it may be a guard (a plugin),
//! something stands in its place that lets nobody pass.

use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Body, Changed, Collection, Documents, Error, Everything};
use crate::declarative;
use crate::diagnostic::Diagnostic;
use crate::entity::{self, Dataset, Entity, Kind, Protocol};
use crate::snapshot::Change;

/// What documents are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Values that are kept elsewhere are looked up.
    Serve,
    /// References to them stay what they are.
    Export,
}

/// A document that is not served as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub id: Uuid,
    pub finding: Diagnostic,
}

/// What came out of some documents.
#[derive(Debug, Default)]
pub struct Read<T> {
    pub entities: T,
    pub unreadable: Vec<Unreadable>,
}

/// Reads all documents, piece by piece: while one is being read, the next is fetched.
///
/// # Errors
/// When the database cannot be reached.
pub async fn everything(mut documents: Everything, purpose: Purpose) -> Result<Read<Dataset>, Error> {
    let mut reading: Option<JoinHandle<Read<Dataset>>> = None;
    let joined = |done: Result<Read<Dataset>, tokio::task::JoinError>| {
        done.map_err(|fault| Error::Settings(format!("reading documents failed: {fault}")))
    };
    loop {
        let next = documents.next().await?;
        let mut so_far = match reading.take() {
            Some(reading) => joined(reading.await)?,
            None => Read::default(),
        };
        if next.is_empty() {
            // In whatever order they came: the same documents are the same configuration.
            so_far.entities.sort();
            return Ok(so_far);
        }
        reading = Some(tokio::task::spawn_blocking(move || {
            for document in next {
                add(&mut so_far, document, purpose);
            }
            so_far
        }));
    }
}

fn add(read: &mut Read<Dataset>, document: Changed, purpose: Purpose) {
    let dataset = &mut read.entities;
    // Ids are unique: the vectors are filled without looking for what is not there.
    match one(document, purpose, &mut read.unreadable).and_then(|(_, _, entity)| entity) {
        Some(Entity::Certificate(e)) => dataset.certificates.push(e),
        Some(Entity::CaCertificate(e)) => dataset.ca_certificates.push(e),
        Some(Entity::Service(e)) => dataset.services.push(e),
        Some(Entity::Upstream(e)) => dataset.upstreams.push(e),
        Some(Entity::Sni(e)) => dataset.snis.push(e),
        Some(Entity::Route(e)) => dataset.routes.push(e),
        Some(Entity::Target(e)) => dataset.targets.push(e),
        Some(Entity::Plugin(e)) => dataset.plugins.push(e),
        Some(entity) => dataset.put(entity),
        None => {}
    }
}

/// Changed documents as changes of a snapshot. Removals first: a key that moves from one credential to another within one batch
/// ends where it belongs.
pub fn changes(documents: Vec<Changed>) -> Read<Vec<Change>> {
    let mut read = Read { entities: Vec::with_capacity(documents.len() * 2), unreadable: Vec::new() };
    let mut puts = Vec::with_capacity(documents.len());
    for document in documents {
        let Some((kind, id, entity)) = one(document, Purpose::Serve, &mut read.unreadable) else { continue };
        let indexed =
            matches!(kind, Kind::Consumer | Kind::JwtSecret | Kind::KeyAuthCredential | Kind::Oauth2Credential);
        if indexed || entity.is_none() {
            read.entities.push(Change::Removed(kind, id));
        }
        puts.extend(entity.map(Change::Put));
    }
    read.entities.extend(puts);
    read
}

/// The entity of a document; none where it is gone or cannot be read. `None` for collections that no request needs.
fn one(document: Changed, purpose: Purpose, unreadable: &mut Vec<Unreadable>) -> Option<(Kind, Uuid, Option<Entity>)> {
    let Changed { collection, id, document } = document;
    let kind = Collection::find(&collection)?.kind;
    let Some(text) = document else { return Some((kind, id, None)) };
    let entity = match read(kind, &text, purpose) {
        Ok(entity) => Some(entity),
        Err(fault) => {
            let path = format!("{collection}.{id}");
            let finding = Diagnostic::error("unreadable-document", path, format!("not known to this version: {fault}"));
            unreadable.push(Unreadable { id, finding });
            (kind == Kind::Plugin).then(|| in_place_of(id, &text))
        }
    };
    Some((kind, id, entity))
}

fn read(kind: Kind, text: &str, purpose: Purpose) -> Result<Entity, serde_json::Error> {
    if purpose == Purpose::Export || !declarative::may_refer(text) {
        return Entity::from_text(kind, text);
    }
    let mut body: Body = serde_json::from_str(text)?;
    resolve(kind, &mut body);
    Entity::from_document(kind, Value::Object(body))
}

/// Looks up what a document refers to, and says what cannot be found: it is empty then, which lets nobody pass.
pub fn resolve(kind: Kind, body: &mut Body) {
    for (field, message) in declarative::resolve_references(entity::tables::table(kind), body) {
        let id = body.get("id").and_then(Value::as_str).unwrap_or_default();
        tracing::warn!(code = "vault", "{}.{id}.{field}: {message}; the field is empty", kind.collection());
    }
}

/// A plugin that cannot be read may be a guard: something of no known name stands where it stood, as far as that can be told, and
/// refuses.
fn in_place_of(id: Uuid, text: &str) -> Entity {
    let body: Body = serde_json::from_str(text).unwrap_or_default();
    let reference = |field: &str| -> Option<entity::Ref> { serde_json::from_value(body.get(field)?.clone()).ok()? };
    let name = body.get("name").and_then(Value::as_str).unwrap_or("unknown");
    Entity::Plugin(std::sync::Arc::new(entity::Plugin {
        id,
        created_at: 0,
        updated_at: 0,
        name: format!("{name} (unreadable)"),
        instance_name: None,
        route: reference("route"),
        service: reference("service"),
        consumer: reference("consumer"),
        config: Body::new(),
        protocols: vec![Protocol::Grpc, Protocol::Grpcs, Protocol::Http, Protocol::Https, Protocol::Ws, Protocol::Wss],
        enabled: body.get("enabled") != Some(&Value::Bool(false)),
        tags: None,
    }))
}

/// Everything there is, as a configuration to be written down.
///
/// # Errors
/// When the database cannot be reached.
pub async fn exported(documents: Documents) -> Result<Read<Dataset>, Error> {
    match documents {
        Documents::All(documents) => everything(documents, Purpose::Export).await,
        Documents::Since(_) => Ok(Read::default()),
    }
}
