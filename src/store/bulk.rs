//! Many documents with few statements: what an import of a million takes minutes for otherwise.

use std::collections::HashMap;

use uuid::Uuid;

use super::collection::{Document, indexed};
use super::sql::Param;
use super::{Body, Error, Write};

/// Values bound to one statement; SQLite takes 32,766, PostgreSQL 65,535.
const MOST_VALUES: usize = 30_000;

/// Documents that are not there, and those that are, with what is there.
type Told = (Vec<Document>, Vec<(Document, Body)>);

impl Write {
    /// Tells new documents of a collection from those whose id is there already.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn tell_new(&mut self, collection: &str, documents: Vec<Document>) -> Result<Told, Error> {
        let ids: Vec<String> = documents.iter().map(|document| document.id.to_string()).collect();
        let marks: Vec<String> = (2..ids.len() + 2).map(|mark| format!("${mark}")).collect();
        let marks = marks.join(", ");
        let sql = format!("SELECT id, document FROM entities WHERE collection = $1 AND id IN ({marks})");
        let params: Vec<Param<'_>> =
            [Param::Text(collection)].into_iter().chain(ids.iter().map(|id| Param::Text(id))).collect();
        let mut there: HashMap<Uuid, String> = HashMap::new();
        for row in self.session.fetch(&sql, &params).await? {
            there.insert(super::read::parse(&row.text(0)?)?, row.text(1)?);
        }
        let (mut new, mut known) = (Vec::new(), Vec::new());
        for document in documents {
            match there.remove(&document.id) {
                Some(text) => known.push((document, serde_json::from_str(&text)?)),
                None => new.push(document),
            }
        }
        Ok((new, known))
    }

    /// Puts documents in whose ids are not there. `false`: one of them cannot stand beside the others or what is there, and none
    /// was put in.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn insert_together(&mut self, documents: &[Document]) -> Result<bool, Error> {
        if documents.is_empty() {
            return Ok(true);
        }
        self.session.execute("SAVEPOINT together", &[]).await?;
        match self.rows_of(documents).await {
            Ok(()) => {
                self.session.execute("RELEASE SAVEPOINT together", &[]).await?;
                self.changed = true;
                Ok(true)
            }
            // The database enforces unique values and references.
            Err(Error::Database(sqlx::Error::Database(_))) => {
                self.session.execute("ROLLBACK TO SAVEPOINT together", &[]).await?;
                Ok(false)
            }
            Err(fault) => Err(fault),
        }
    }

    async fn rows_of(&mut self, documents: &[Document]) -> Result<(), Error> {
        let mut texts = Vec::with_capacity(documents.len());
        for document in documents {
            texts.push((document.id.to_string(), serde_json::to_string(&document.body)?));
        }
        let revision = Param::Integer(self.revision);
        let (mut entities, mut changes) = (Vec::new(), Vec::new());
        let (mut keys, mut references, mut tags) = (Vec::new(), Vec::new(), Vec::new());
        let parents: Vec<Vec<String>> = documents
            .iter()
            .map(|document| document.references.iter().map(|reference| reference.id.to_string()).collect())
            .collect();
        let values: Vec<Vec<_>> = documents
            .iter()
            .map(|document| document.uniques.iter().map(|unique| indexed(&unique.value)).collect())
            .collect();
        for (n, document) in documents.iter().enumerate() {
            let (Some((id, text)), Some(parents), Some(values)) = (texts.get(n), parents.get(n), values.get(n)) else {
                continue;
            };
            let (collection, id) = (Param::Text(document.collection), Param::Text(id));
            entities.extend([collection, id, Param::Text(text), revision, Param::MaybeInteger(document.expires_at)]);
            changes.extend([revision, collection, id, Param::Integer(0)]);
            for (unique, value) in document.uniques.iter().zip(values) {
                keys.extend([collection, Param::Text(unique.name), Param::Text(value), id]);
            }
            for (reference, parent) in document.references.iter().zip(parents) {
                references.extend([
                    collection,
                    id,
                    Param::Text(reference.field),
                    Param::Text(reference.parent),
                    Param::Text(parent),
                    Param::Integer(i64::from(reference.restricts)),
                ]);
            }
            let mut said: Vec<&str> = document.tags.iter().map(String::as_str).collect();
            said.sort_unstable();
            said.dedup();
            for tag in said {
                tags.extend([collection, Param::Text(tag), id]);
            }
        }
        self.rows("entities (collection, id, document, revision, expires_at)", 5, &entities).await?;
        self.rows("entity_keys (collection, name, value, id)", 4, &keys).await?;
        let columns = "entity_refs (collection, id, field, parent_collection, parent_id, restricts)";
        self.rows(columns, 6, &references).await?;
        self.rows("entity_tags (collection, tag, id)", 3, &tags).await?;
        self.rows("changes (revision, collection, id, deleted)", 4, &changes).await
    }

    /// Inserts rows of `width` values each.
    async fn rows(&mut self, into: &str, width: usize, values: &[Param<'_>]) -> Result<(), Error> {
        for values in values.chunks(MOST_VALUES / width * width) {
            let mut sql = format!("INSERT INTO {into} VALUES ");
            for row in 0..values.len() / width {
                let marks: Vec<String> = (1..=width).map(|mark| format!("${}", row * width + mark)).collect();
                sql.push_str(if row == 0 { "(" } else { ", (" });
                sql.push_str(&marks.join(", "));
                sql.push(')');
            }
            self.session.execute(&sql, values).await?;
        }
        Ok(())
    }
}
