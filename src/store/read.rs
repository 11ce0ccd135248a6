//! Reads: one document, pages of them, tags. Each sees one state of the database.

use std::fmt::Write as _;

use uuid::Uuid;

use super::collection::indexed;
use super::sql::{Param, Row, Session};
use super::{Body, Error, Store, Stored, now_ms};

/// Which documents a page is of.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only children of this document.
    pub parent: Option<Parent>,
    pub tags: Option<Tags>,
    /// Only those after this id.
    pub after: Option<Uuid>,
    /// At most so many.
    pub size: usize,
}

/// A document whose children are meant.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The child's field that refers to it.
    pub field: &'static str,
    pub collection: &'static str,
    pub id: Uuid,
}

/// Tags that a document must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    All(Vec<String>),
    Any(Vec<String>),
}

/// Some documents in order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub documents: Vec<Listed>,
    /// The last id, when there are more.
    pub next: Option<Uuid>,
}

/// A document of a page, as it is stored: who passes it on has no need to read it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: Uuid,
    /// A JSON object.
    pub text: String,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl Listed {
    /// The document's fields.
    ///
    /// # Errors
    /// When the database holds something else than a document.
    pub fn body(&self) -> Result<Body, Error> {
        Ok(serde_json::from_str(&self.text)?)
    }
}

/// A tag of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    pub collection: String,
    pub id: Uuid,
    pub tag: String,
}

impl Store {
    /// The newest revision.
    ///
    /// # Errors
    /// When the database cannot be reached, as for all that follow.
    pub async fn revision(&self) -> Result<i64, Error> {
        let mut session = self.read().await?;
        let row = session.fetch_one("SELECT current FROM revision", &[]).await?;
        row.map_or(Ok(0), |row| row.integer(0))
    }

    /// A document.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn get(&self, collection: &str, id: Uuid) -> Result<Option<Stored>, Error> {
        let mut session = self.read().await?;
        let found = stored(&mut session, collection, id).await?;
        session.commit().await?;
        Ok(found)
    }

    /// The document that has a value for itself.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn by_key(&self, collection: &str, name: &str, value: &str) -> Result<Option<Stored>, Error> {
        let mut session = self.read().await?;
        let found = by_key(&mut session, collection, name, value).await?;
        session.commit().await?;
        Ok(found)
    }

    /// All children of a document in one collection.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn children(&self, collection: &str, field: &str, parent: &str, id: Uuid) -> Result<Vec<Stored>, Error> {
        let mut session = self.read().await?;
        let found = children(&mut session, collection, field, parent, id).await?;
        session.commit().await?;
        Ok(found)
    }

    /// A page of a collection.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn list(&self, collection: &str, query: &Query) -> Result<Page, Error> {
        let mut session = self.read().await?;
        let after = query.after.map(|id| id.to_string()).unwrap_or_default();
        let parent_id = query.parent.as_ref().map(|parent| parent.id.to_string()).unwrap_or_default();
        let mut params = vec![Param::Text(collection), Param::Text(&after), Param::Integer(now_ms())];
        let limit = i64::try_from(query.size).unwrap_or(i64::MAX - 1).saturating_add(1);
        params.push(Param::Integer(limit));
        let mut sql = String::from("SELECT e.id, e.document, e.expires_at FROM ");
        let mut ids = "e.id";
        let mut conditions = String::new();
        if let Some(parent) = &query.parent {
            ids = "r.id";
            sql.push_str("entity_refs r JOIN entities e ON e.collection = r.collection AND e.id = r.id");
            conditions
                .push_str(" AND r.parent_collection = $5 AND r.parent_id = $6 AND r.field = $7 AND r.collection = $1");
            params.extend([Param::Text(parent.collection), Param::Text(&parent_id), Param::Text(parent.field)]);
        } else {
            match &query.tags {
                // The first tag's index is walked in order of ids, the others are looked up.
                Some(Tags::All(tags)) => {
                    ids = "t.id";
                    sql.push_str("entity_tags t JOIN entities e ON e.collection = t.collection AND e.id = t.id");
                    for (index, tag) in tags.iter().enumerate() {
                        params.push(Param::Text(tag));
                        let place = params.len();
                        let _ = match index {
                            0 => write!(conditions, " AND t.collection = $1 AND t.tag = ${place}"),
                            _ => write!(
                                conditions,
                                " AND EXISTS (SELECT 1 FROM entity_tags o WHERE o.collection = $1 AND o.tag = ${place} AND o.id = t.id)"
                            ),
                        };
                    }
                }
                Some(Tags::Any(tags)) => {
                    sql.push_str("entities e");
                    let places: Vec<String> = tags
                        .iter()
                        .map(|tag| {
                            params.push(Param::Text(tag));
                            format!("${}", params.len())
                        })
                        .collect();
                    let _ = write!(
                        conditions,
                        " AND e.id IN (SELECT o.id FROM entity_tags o WHERE o.collection = $1 AND o.id > $2 AND o.tag IN ({}))",
                        places.join(", ")
                    );
                }
                None => sql.push_str("entities e"),
            }
        }
        let _ = write!(
            sql,
            " WHERE e.collection = $1 AND {ids} > $2 AND (e.expires_at IS NULL OR e.expires_at > $3){conditions} ORDER BY {ids} LIMIT $4"
        );
        let rows = session.fetch(&sql, &params).await?;
        session.commit().await?;
        let listed =
            |row: &Row| Ok(Listed { id: parse(&row.text(0)?)?, text: row.text(1)?, expires_at: row.maybe_integer(2)? });
        let mut documents = rows.iter().map(listed).collect::<Result<Vec<_>, Error>>()?;
        let more = documents.len() > query.size;
        documents.truncate(query.size);
        let next = documents.last().filter(|_| more).map(|last| last.id);
        Ok(Page { documents, next })
    }

    /// Tags and who carries them, ordered by tag, collection and id; `of`: one tag only.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn tags(
        &self,
        of: Option<&str>,
        after: Option<&Tagged>,
        size: usize,
    ) -> Result<(Vec<Tagged>, bool), Error> {
        let last_parts = after.map(|after| [after.tag.as_str(), after.collection.as_str()]);
        // No tag holds one, and PostgreSQL takes none in a text.
        if of.into_iter().chain(last_parts.into_iter().flatten()).any(|text| text.contains('\0')) {
            return Ok((Vec::new(), false));
        }
        let mut session = self.read().await?;
        let limit = Param::Integer(i64::try_from(size).unwrap_or(i64::MAX - 1).saturating_add(1));
        let last = after.map(|after| (after.tag.as_str(), after.collection.as_str(), after.id.to_string()));
        let (tag, collection, id) = last.as_ref().map_or(("", "", ""), |(tag, collection, id)| (tag, collection, id));
        let place = [limit, Param::Text(tag), Param::Text(collection), Param::Text(id)];
        let rows = match of {
            None => {
                let sql = "SELECT tag, collection, id FROM entity_tags WHERE (tag, collection, id) > ($2, $3, $4) \
                           ORDER BY tag, collection, id LIMIT $1";
                session.fetch(sql, &place).await?
            }
            Some(of) => {
                let sql = "SELECT tag, collection, id FROM entity_tags WHERE (tag, collection, id) > ($2, $3, $4) AND tag = $5 \
                           ORDER BY tag, collection, id LIMIT $1";
                let [a, b, c, d] = place;
                session.fetch(sql, &[a, b, c, d, Param::Text(of)]).await?
            }
        };
        session.commit().await?;
        let mut found = rows
            .iter()
            .map(|row| Ok(Tagged { tag: row.text(0)?, collection: row.text(1)?, id: parse(&row.text(2)?)? }))
            .collect::<Result<Vec<_>, Error>>()?;
        let more = found.len() > size;
        found.truncate(size);
        Ok((found, more))
    }

    /// How many documents a collection has.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn count(&self, collection: &str) -> Result<i64, Error> {
        let mut session = self.read().await?;
        let row = session
            .fetch_one("SELECT COUNT(*) FROM entities WHERE collection = $1", &[Param::Text(collection)])
            .await?;
        row.map_or(Ok(0), |row| row.integer(0))
    }
}

pub(super) fn parse(id: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(id).map_err(|fault| Error::Settings(format!("the database holds `{id}` as an id: {fault}")))
}

/// Reads `id, document, expires_at`.
fn read_row(row: &Row) -> Result<Stored, Error> {
    Ok(Stored {
        id: parse(&row.text(0)?)?,
        body: serde_json::from_str(&row.text(1)?)?,
        expires_at: row.maybe_integer(2)?,
    })
}

pub(super) async fn stored(session: &mut Session, collection: &str, id: Uuid) -> Result<Option<Stored>, Error> {
    let id = id.to_string();
    let row = session
        .fetch_one(
            "SELECT id, document, expires_at FROM entities WHERE collection = $1 AND id = $2 AND (expires_at IS NULL OR expires_at > $3)",
            &[Param::Text(collection), Param::Text(&id), Param::Integer(now_ms())],
        )
        .await?;
    row.as_ref().map(read_row).transpose()
}

pub(super) async fn by_key(
    session: &mut Session,
    collection: &str,
    name: &str,
    value: &str,
) -> Result<Option<Stored>, Error> {
    let value = indexed(value);
    let row = session
        .fetch_one(
            "SELECT e.id, e.document, e.expires_at FROM entity_keys k JOIN entities e ON e.collection = k.collection AND e.id = k.id \
             WHERE k.collection = $1 AND k.name = $2 AND k.value = $3 AND (e.expires_at IS NULL OR e.expires_at > $4)",
            &[Param::Text(collection), Param::Text(name), Param::Text(&value), Param::Integer(now_ms())],
        )
        .await?;
    row.as_ref().map(read_row).transpose()
}

pub(super) async fn children(
    session: &mut Session,
    collection: &str,
    field: &str,
    parent: &str,
    id: Uuid,
) -> Result<Vec<Stored>, Error> {
    let id = id.to_string();
    let rows = session
        .fetch(
            "SELECT e.id, e.document, e.expires_at FROM entity_refs r JOIN entities e ON e.collection = r.collection AND e.id = r.id \
             WHERE r.collection = $1 AND r.field = $2 AND r.parent_collection = $3 AND r.parent_id = $4 ORDER BY r.id",
            &[Param::Text(collection), Param::Text(field), Param::Text(parent), Param::Text(&id)],
        )
        .await?;
    rows.iter().map(read_row).collect()
}
