//! What changed: how gateways follow a database.

use std::time::Duration;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::read::parse;
use super::sql::{Param, Row, Session};
use super::{Engine, Error, Store, now_ms};

/// A document as it is now, or that it is gone.
#[derive(Clone, Debug)]
pub struct Changed {
    pub collection: String,
    pub id: Uuid,
    /// Its JSON as it is stored, not read yet: a million need not be in memory as values. `None` when deleted or expired.
    pub document: Option<String>,
}

/// Everything between a revision and the newest.
#[derive(Debug)]
pub struct Changes {
    pub revision: i64,
    pub documents: Documents,
}

/// What a reader of changes is given.
#[derive(Debug)]
pub enum Documents {
    /// What changed since.
    Since(Vec<Changed>),
    /// All there is: the reader was too far behind, or starts.
    All(Everything),
}

/// All documents of one state of the database, piece by piece.
pub struct Everything {
    session: Session,
    after: After,
}

/// How far everything was read.
enum After {
    /// In SQLite's own order: another one would look each document up in another place of the file.
    Row(i64),
    /// In the order of the primary key.
    Key(String, String),
}

impl std::fmt::Debug for Everything {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.after {
            After::Row(row) => write!(f, "Everything(after row {row})"),
            After::Key(collection, id) => write!(f, "Everything(after {collection} {id})"),
        }
    }
}

impl Everything {
    /// The next documents; none: these were all.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn next(&mut self) -> Result<Vec<Changed>, Error> {
        match &mut self.after {
            After::Row(row) => next_rows(&mut self.session, row).await,
            After::Key(collection, id) => next_keys(&mut self.session, (collection, id)).await,
        }
    }
}

async fn next_keys(session: &mut Session, (collection, id): (&mut String, &mut String)) -> Result<Vec<Changed>, Error> {
    let sql = "SELECT collection, id, document, expires_at FROM entities WHERE (collection, id) > ($1, $2) \
               ORDER BY collection, id LIMIT $3";
    let rows = session.fetch(sql, &[Param::Text(collection), Param::Text(id), Param::Integer(CHUNK)]).await?;
    if let Some(last) = rows.last() {
        (*collection, *id) = (last.text(0)?, last.text(1)?);
    }
    rows.iter().map(changed).collect()
}

/// Many documents as one text: a row of its own takes several times as long as what is in it. Neither character below stands in a
/// JSON text, nor in an id. Large documents have rows of their own, so that the text has a bound.
async fn next_rows(session: &mut Session, after: &mut i64) -> Result<Vec<Changed>, Error> {
    const FIELD: &str = "\u{1f}";
    const RECORD: &str = "\u{1e}";
    let sql = "SELECT MAX(row), COALESCE(SUM(large), 0), \
               COALESCE(string_agg(CASE WHEN NOT large THEN collection || $3 || id || $3 || COALESCE(expires_at, '') || $3 || document END, $4), '') \
               FROM (SELECT rowid AS row, octet_length(document) >= $5 AS large, * FROM entities \
                     WHERE rowid > $1 ORDER BY rowid LIMIT $2)";
    let first = *after;
    let params =
        [Param::Integer(first), Param::Integer(CHUNK), Param::Text(FIELD), Param::Text(RECORD), Param::Integer(LARGE)];
    let Some(found) = session.fetch_one(sql, &params).await? else { return Ok(Vec::new()) };
    let Some(last) = found.maybe_integer(0)? else { return Ok(Vec::new()) };
    *after = last;
    let now = now_ms();
    let mut documents = Vec::new();
    for record in found.text(2)?.split(RECORD).filter(|record| !record.is_empty()) {
        let mut fields = record.splitn(4, FIELD);
        let (Some(collection), Some(id), Some(end), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            let cut =
                documents.last().map_or_else(String::new, |cut: &Changed| format!(" of {} {}", cut.collection, cut.id));
            let message =
                format!("the document{cut} in the database holds a bare U+001E, which is no JSON: escape or remove it");
            return Err(Error::Settings(message));
        };
        let expired = end.parse::<i64>().is_ok_and(|at| at <= now);
        let document = (!text.is_empty() && !expired).then(|| text.to_owned());
        documents.push(Changed { collection: collection.to_owned(), id: parse(id)?, document });
    }
    if found.integer(1)? > 0 {
        let sql = "SELECT collection, id, document, expires_at FROM entities \
                   WHERE rowid > $1 AND rowid <= $2 AND octet_length(document) >= $3";
        let params = [Param::Integer(first), Param::Integer(last), Param::Integer(LARGE)];
        for row in session.fetch(sql, &params).await? {
            documents.push(changed(&row)?);
        }
    }
    Ok(documents)
}

/// How many documents are fetched at once when everything is loaded.
const CHUNK: i64 = 5_000;

/// Bytes of a document that is fetched by itself. A chunk without them is below what SQLite takes for one text.
const LARGE: i64 = 64 * 1024;

/// Beyond so many changes everything is loaded anew, piece by piece.
const MOST_CHANGES: i64 = 20_000;

impl Store {
    /// What changed after a revision; `None`: everything.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn changes(&self, since: Option<i64>) -> Result<Changes, Error> {
        let mut session = self.read().await?;
        let row = session.fetch_one("SELECT current FROM revision", &[]).await?;
        let revision = row.map_or(Ok(0), |row| row.integer(0))?;
        if since == Some(revision) {
            session.commit().await?;
            return Ok(Changes { revision, documents: Documents::Since(Vec::new()) });
        }
        if let Some(since) = since.filter(|since| *since < revision) {
            let noted = session
                .fetch(
                    "SELECT revision FROM changes WHERE revision > $1 ORDER BY revision LIMIT $2",
                    &[Param::Integer(since), Param::Integer(MOST_CHANGES + 1)],
                )
                .await?;
            let first = noted.first().map(|row| row.integer(0)).transpose()?;
            if first == Some(since + 1) && i64::try_from(noted.len()).is_ok_and(|count| count <= MOST_CHANGES) {
                let rows = session
                    .fetch(
                        "SELECT c.collection, c.id, COALESCE(e.document, ''), e.expires_at \
                         FROM (SELECT DISTINCT collection, id FROM changes WHERE revision > $1) c \
                         LEFT JOIN entities e ON e.collection = c.collection AND e.id = c.id",
                        &[Param::Integer(since)],
                    )
                    .await?;
                session.commit().await?;
                let documents = rows.iter().map(changed).collect::<Result<_, _>>()?;
                return Ok(Changes { revision, documents: Documents::Since(documents) });
            }
        }
        let after = if session.is_postgres() { After::Key(String::new(), String::new()) } else { After::Row(0) };
        Ok(Changes { revision, documents: Documents::All(Everything { session, after }) })
    }

    /// A watcher for what others tell on a channel of PostgreSQL's.
    pub(super) fn watch(&self, channel: &'static str) -> Watcher {
        Watcher { store: self.clone(), channel, listener: None }
    }
}

fn changed(row: &Row) -> Result<Changed, Error> {
    let text = row.text(2)?;
    let expired = row.maybe_integer(3)?.is_some_and(|at| at <= now_ms());
    let document = Some(text).filter(|text| !text.is_empty() && !expired);
    Ok(Changed { collection: row.text(0)?, id: parse(&row.text(1)?)?, document })
}

/// Why a watcher returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Somebody wrote.
    Notified,
    /// The time is over: have a look.
    Due,
}

/// Waits for writes of other gateways: by NOTIFY on PostgreSQL, and by the clock everywhere.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    channel: &'static str,
    listener: Option<PgListener>,
}

impl Watcher {
    /// Waits until somebody wrote, at most `poll`. Without a listener it tries to get one, and lets the clock do otherwise.
    pub async fn next(&mut self, poll: Duration) -> Signal {
        let listening = async {
            if self.listener.is_none() {
                if self.connect().await {
                    // What was written before nobody told us of.
                    return Signal::Due;
                }
                return std::future::pending().await;
            }
            match &mut self.listener {
                Some(listener) => match listener.try_recv().await {
                    Ok(Some(_)) => {
                        while listener.next_buffered().is_some() {}
                        Signal::Notified
                    }
                    // The connection was lost: notifications may have been missed.
                    Ok(None) | Err(_) => {
                        self.listener = None;
                        tokio::time::sleep(poll / 4).await;
                        Signal::Due
                    }
                },
                None => std::future::pending().await,
            }
        };
        tokio::time::timeout(poll, listening).await.unwrap_or(Signal::Due)
    }

    /// Forgets the connection: after a failure it may hang without an error.
    pub fn reset(&mut self) {
        self.listener = None;
    }

    async fn connect(&mut self) -> bool {
        let Engine::Postgres(pool) = &self.store.engine else { return false };
        let Ok(mut listener) = PgListener::connect_with(pool).await else { return false };
        if listener.listen(self.channel).await.is_err() {
            return false;
        }
        self.listener = Some(listener);
        true
    }
}
