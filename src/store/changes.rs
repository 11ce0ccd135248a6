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
    after: (String, String),
}

impl std::fmt::Debug for Everything {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Everything(after {:?})", self.after)
    }
}

impl Everything {
    /// The next documents; none: these were all.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn next(&mut self) -> Result<Vec<Changed>, Error> {
        let rows = self
            .session
            .fetch(
                "SELECT collection, id, document, expires_at FROM entities WHERE (collection, id) > ($1, $2) \
                 ORDER BY collection, id LIMIT $3",
                &[Param::Text(&self.after.0), Param::Text(&self.after.1), Param::Integer(CHUNK)],
            )
            .await?;
        if let Some(last) = rows.last() {
            self.after = (last.text(0)?, last.text(1)?);
        }
        rows.iter().map(changed).collect()
    }
}

/// How many documents are fetched at once when everything is loaded.
const CHUNK: i64 = 5_000;

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
        Ok(Changes { revision, documents: Documents::All(Everything { session, after: Default::default() }) })
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
