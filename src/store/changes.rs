//! What changed: how gateways follow a database.

use std::time::Duration;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::read::parse;
use super::sql::{Param, Row};
use super::{Body, Engine, Error, Store, now_ms};

/// A document as it is now, or that it is gone.
#[derive(Clone, Debug)]
pub struct Changed {
    pub collection: String,
    pub id: Uuid,
    /// `None` when deleted or expired.
    pub body: Option<Body>,
}

/// Everything between a revision and the newest.
#[derive(Debug)]
pub struct Changes {
    pub revision: i64,
    /// The list is all there is, not what changed: the reader was too far behind, or starts.
    pub complete: bool,
    pub documents: Vec<Changed>,
}

/// How many documents are fetched at once when everything is loaded.
const CHUNK: i64 = 5_000;

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
            return Ok(Changes { revision, complete: false, documents: Vec::new() });
        }
        if let Some(since) = since.filter(|since| *since < revision) {
            let next = session
                .fetch_one("SELECT revision FROM changes WHERE revision = $1 LIMIT 1", &[Param::Integer(since + 1)])
                .await?;
            if next.is_some() {
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
                return Ok(Changes { revision, complete: false, documents });
            }
        }
        let mut documents: Vec<Changed> = Vec::new();
        let mut after = (String::new(), String::new());
        loop {
            let rows = session
                .fetch(
                    "SELECT collection, id, document, expires_at FROM entities WHERE (collection, id) > ($1, $2) \
                     ORDER BY collection, id LIMIT $3",
                    &[Param::Text(&after.0), Param::Text(&after.1), Param::Integer(CHUNK)],
                )
                .await?;
            let Some(last) = rows.last() else { break };
            after = (last.text(0)?, last.text(1)?);
            for row in &rows {
                documents.push(changed(row)?);
            }
        }
        session.commit().await?;
        Ok(Changes { revision, complete: true, documents })
    }

    /// A watcher for what others tell on a channel of PostgreSQL's.
    pub(super) fn watch(&self, channel: &'static str) -> Watcher {
        Watcher { store: self.clone(), channel, listener: None }
    }
}

fn changed(row: &Row) -> Result<Changed, Error> {
    let text = row.text(2)?;
    let expired = row.maybe_integer(3)?.is_some_and(|at| at <= now_ms());
    let body = if text.is_empty() || expired { None } else { Some(serde_json::from_str(&text)?) };
    Ok(Changed { collection: row.text(0)?, id: parse(&row.text(1)?)?, body })
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
