//! Writes: one transaction each, in one order for the whole database.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::collection::{Document, Reference};
use super::read::stored;
use super::sql::{Param, Session};
use super::{Body, Error, Store, Stored, now_ms};
use crate::auth::oauth2::store::{Owner, Taken, Token};

/// The channel on which PostgreSQL tells gateways of a new revision.
pub(super) const CHANNEL: &str = "portcullis_revision";

/// Revisions whose changes are kept; a gateway further behind loads everything.
const KEPT_REVISIONS: i64 = 100_000;

/// What the rest of the database has against a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflict {
    /// The id is taken.
    PrimaryKey(Uuid),
    /// Another document has these values.
    Unique { fields: Body },
    /// The document refers to one that is not there.
    Missing { field: &'static str, parent: &'static str, id: Uuid },
    /// A document of this collection refers to the one to be deleted and is not to be deleted with it.
    Restricted { by: String },
}

/// A document that a delete took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    pub collection: String,
    pub id: Uuid,
}

/// An open write. Dropped without [`Write::commit`] it has not happened.
///
/// The first statement takes the revision, and with it the turn: writes of all gateways follow one another, checks inside see
/// every earlier write, and whoever has seen revision N has seen all before it.
pub struct Write {
    pub(super) session: Session,
    pub(super) revision: i64,
    pub(super) changed: bool,
}

impl Store {
    /// Starts a write; waits for its turn.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn write(&self) -> Result<Write, Error> {
        let mut session = self.write_session().await?;
        let row = session
            .fetch_one("UPDATE revision SET current = current + 1 WHERE one = 1 RETURNING current", &[])
            .await?
            .ok_or_else(|| {
                Error::Settings("the table `revision` is empty: this is not a database of portcullis".into())
            })?;
        Ok(Write { revision: row.integer(0)?, session, changed: false })
    }

    /// Deletes what has expired and changes nobody needs any more; how many documents went.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn clean(&self) -> Result<usize, Error> {
        let mut session = self.read().await?;
        let rows = session
            .fetch(
                "SELECT collection, id FROM entities WHERE expires_at IS NOT NULL AND expires_at <= $1 LIMIT 1000",
                &[Param::Integer(now_ms())],
            )
            .await?;
        let oldest = session.fetch_one("SELECT COALESCE(MIN(revision), 0) FROM changes", &[]).await?;
        let oldest = oldest.map(|row| row.integer(0)).transpose()?.unwrap_or(0);
        let current = session.fetch_one("SELECT current FROM revision", &[]).await?;
        let current = current.map(|row| row.integer(0)).transpose()?.unwrap_or(0);
        session.commit().await?;
        let crowded = current - oldest > KEPT_REVISIONS + KEPT_REVISIONS / 10;
        if rows.is_empty() && !crowded {
            return Ok(0);
        }
        let mut write = self.write().await?;
        for row in &rows {
            write.remove(&row.text(0)?, &row.text(1)?).await?;
        }
        let before = Param::Integer(write.revision - KEPT_REVISIONS);
        write.session.execute("DELETE FROM changes WHERE revision < $1", &[before]).await?;
        write.commit().await?;
        Ok(rows.len())
    }
}

impl Write {
    /// The revision that this write becomes.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// A document as this write sees it.
    ///
    /// # Errors
    /// When the database cannot be reached, as for all that follow.
    pub async fn get(&mut self, collection: &str, id: Uuid) -> Result<Option<Stored>, Error> {
        stored(&mut self.session, collection, id).await
    }

    /// The document that has a value for itself.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn by_key(&mut self, collection: &str, name: &str, value: &str) -> Result<Option<Stored>, Error> {
        super::read::by_key(&mut self.session, collection, name, value).await
    }

    /// Children of a document in one collection.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn children(
        &mut self,
        collection: &str,
        field: &str,
        parent: &str,
        id: Uuid,
    ) -> Result<Vec<Stored>, Error> {
        super::read::children(&mut self.session, collection, field, parent, id).await
    }

    /// Creates a document.
    ///
    /// # Errors
    /// The outer for the database, the inner for what it holds: an id that is taken, then values that are, then references to
    /// nothing, in the order in which Kong's database finds them.
    pub async fn insert(&mut self, document: &Document) -> Result<Result<(), Conflict>, Error> {
        let id = document.id.to_string();
        let collection = document.collection;
        if self.get(collection, document.id).await?.is_some() {
            return Ok(Err(Conflict::PrimaryKey(document.id)));
        }
        // An expired one that has not been cleaned away yet.
        self.session
            .execute(
                "DELETE FROM entity_refs WHERE collection = $1 AND id = $2",
                &[Param::Text(collection), Param::Text(&id)],
            )
            .await?;
        self.session
            .execute(
                "DELETE FROM entities WHERE collection = $1 AND id = $2",
                &[Param::Text(collection), Param::Text(&id)],
            )
            .await?;
        if let Err(conflict) = self.check(document).await? {
            return Ok(Err(conflict));
        }
        let text = serde_json::to_string(&document.body)?;
        self.session
            .execute(
                "INSERT INTO entities (collection, id, document, revision, expires_at) VALUES ($1, $2, $3, $4, $5)",
                &[
                    Param::Text(collection),
                    Param::Text(&id),
                    Param::Text(&text),
                    Param::Integer(self.revision),
                    Param::MaybeInteger(document.expires_at),
                ],
            )
            .await?;
        self.attach(document, &id).await?;
        self.note(collection, &id, false).await?;
        Ok(Ok(()))
    }

    /// Puts a document in place of the one with its id, which must be there.
    ///
    /// # Errors
    /// As [`Write::insert`].
    pub async fn replace(&mut self, document: &Document) -> Result<Result<(), Conflict>, Error> {
        let id = document.id.to_string();
        if let Err(conflict) = self.check(document).await? {
            return Ok(Err(conflict));
        }
        let text = serde_json::to_string(&document.body)?;
        let owner = [Param::Text(document.collection), Param::Text(&id)];
        self.session
            .execute(
                "UPDATE entities SET document = $3, revision = $4, expires_at = $5 WHERE collection = $1 AND id = $2",
                &[
                    Param::Text(document.collection),
                    Param::Text(&id),
                    Param::Text(&text),
                    Param::Integer(self.revision),
                    Param::MaybeInteger(document.expires_at),
                ],
            )
            .await?;
        self.session.execute("DELETE FROM entity_keys WHERE collection = $1 AND id = $2", &owner).await?;
        self.session.execute("DELETE FROM entity_refs WHERE collection = $1 AND id = $2", &owner).await?;
        self.session.execute("DELETE FROM entity_tags WHERE collection = $1 AND id = $2", &owner).await?;
        self.attach(document, &id).await?;
        self.note(document.collection, &id, false).await?;
        Ok(Ok(()))
    }

    /// Deletes a document with everything that goes with it.
    ///
    /// # Errors
    /// The inner when something refers to it, or to what would go with it, that must stay.
    pub async fn delete(&mut self, collection: &str, id: Uuid) -> Result<Result<Vec<Deleted>, Conflict>, Error> {
        let mut closure = vec![(collection.to_owned(), id.to_string())];
        let mut seen: BTreeSet<(String, String)> = closure.iter().cloned().collect();
        let mut at = 0;
        while let Some((parent, parent_id)) = closure.get(at).cloned() {
            at += 1;
            let rows = self
                .session
                .fetch(
                    "SELECT collection, id, restricts FROM entity_refs WHERE parent_collection = $1 AND parent_id = $2",
                    &[Param::Text(&parent), Param::Text(&parent_id)],
                )
                .await?;
            for row in rows {
                let child = (row.text(0)?, row.text(1)?);
                if row.integer(2)? != 0 {
                    return Ok(Err(Conflict::Restricted { by: child.0 }));
                }
                if seen.insert(child.clone()) {
                    closure.push(child);
                }
            }
        }
        let owners: Vec<Owner> = closure
            .iter()
            .filter_map(|(collection, id)| match collection.as_str() {
                "oauth2_credentials" => Some(Owner::Credential(Uuid::try_parse(id).ok()?)),
                "services" => Some(Owner::Service(Uuid::try_parse(id).ok()?)),
                _ => None,
            })
            .collect();
        super::tokens::end_owned(&mut self.session, &owners).await?;
        // Whatever order they refer to each other in, none stands in the way of another.
        for (collection, id) in &closure {
            let owner = [Param::Text(collection), Param::Text(id)];
            self.session.execute("DELETE FROM entity_refs WHERE collection = $1 AND id = $2", &owner).await?;
        }
        let mut deleted = Vec::with_capacity(closure.len());
        for (collection, id) in closure {
            self.remove(&collection, &id).await?;
            deleted.push(Deleted { id: Uuid::try_parse(&id).unwrap_or_default(), collection });
        }
        Ok(Ok(deleted))
    }

    /// Keeps a token, in place of the one with its id; whether there was one, and `None` where it said the same.
    ///
    /// # Errors
    /// The inner when another token has what this one has.
    pub async fn put_token(&mut self, token: &Token) -> Result<Result<Option<bool>, Taken>, Error> {
        let done = super::tokens::put_in(&mut self.session, token).await?;
        if matches!(done, Ok(Some(_))) {
            self.note("oauth2_tokens", &token.id.to_string(), false).await?;
        }
        Ok(done)
    }

    /// Makes the write happen; its revision. On PostgreSQL every gateway is told.
    ///
    /// # Errors
    /// When the database cannot be reached: the write may or may not have happened.
    pub async fn commit(mut self) -> Result<i64, Error> {
        if self.changed && self.session.is_postgres() {
            let revision = self.revision.to_string();
            self.session.execute("SELECT pg_notify($1, $2)", &[Param::Text(CHANNEL), Param::Text(&revision)]).await?;
        }
        if !self.changed {
            // The revision stays as it was; what was read is not newer than it.
            return Ok(self.revision - 1);
        }
        self.session.commit().await?;
        Ok(self.revision)
    }

    /// Whether values are free and references hold.
    async fn check(&mut self, document: &Document) -> Result<Result<(), Conflict>, Error> {
        for unique in &document.uniques {
            if let Some(other) = self.by_key(document.collection, unique.name, &unique.value).await? {
                if other.id != document.id {
                    return Ok(Err(Conflict::Unique { fields: unique.fields.clone() }));
                }
            } else {
                let value = super::collection::indexed(&unique.value);
                // The value of an expired document is free.
                self.session
                    .execute(
                        "DELETE FROM entity_keys WHERE collection = $1 AND name = $2 AND value = $3",
                        &[Param::Text(document.collection), Param::Text(unique.name), Param::Text(&value)],
                    )
                    .await?;
            }
        }
        for Reference { field, parent, id, .. } in &document.references {
            if self.get(parent, *id).await?.is_none() {
                return Ok(Err(Conflict::Missing { field, parent, id: *id }));
            }
        }
        Ok(Ok(()))
    }

    /// Writes down values, references and tags of a document.
    async fn attach(&mut self, document: &Document, id: &str) -> Result<(), Error> {
        let collection = Param::Text(document.collection);
        for unique in &document.uniques {
            let value = super::collection::indexed(&unique.value);
            self.session
                .execute(
                    "INSERT INTO entity_keys (collection, name, value, id) VALUES ($1, $2, $3, $4)",
                    &[collection, Param::Text(unique.name), Param::Text(&value), Param::Text(id)],
                )
                .await?;
        }
        for reference in &document.references {
            let parent_id = reference.id.to_string();
            self.session
                .execute(
                    "INSERT INTO entity_refs (collection, id, field, parent_collection, parent_id, restricts) VALUES ($1, $2, $3, $4, $5, $6)",
                    &[
                        collection,
                        Param::Text(id),
                        Param::Text(reference.field),
                        Param::Text(reference.parent),
                        Param::Text(&parent_id),
                        Param::Integer(i64::from(reference.restricts)),
                    ],
                )
                .await?;
        }
        for tag in &document.tags {
            self.session
                .execute(
                    "INSERT INTO entity_tags (collection, tag, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    &[collection, Param::Text(tag), Param::Text(id)],
                )
                .await?;
        }
        Ok(())
    }

    async fn remove(&mut self, collection: &str, id: &str) -> Result<(), Error> {
        let owner = [Param::Text(collection), Param::Text(id)];
        if self.session.execute("DELETE FROM entities WHERE collection = $1 AND id = $2", &owner).await? > 0 {
            self.note(collection, id, true).await?;
        }
        Ok(())
    }

    async fn note(&mut self, collection: &str, id: &str, deleted: bool) -> Result<(), Error> {
        self.changed = true;
        self.session
            .execute(
                "INSERT INTO changes (revision, collection, id, deleted) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (revision, collection, id) DO UPDATE SET deleted = excluded.deleted",
                &[
                    Param::Integer(self.revision),
                    Param::Text(collection),
                    Param::Text(id),
                    Param::Integer(i64::from(deleted)),
                ],
            )
            .await?;
        Ok(())
    }
}
