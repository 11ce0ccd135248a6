//! What other gateways did: tokens they ended are forgotten here, and what expired is deleted for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use super::known::Ended;
use super::writes::CHANNEL;
use super::{Shared, in_time, rows};
use crate::auth::oauth2::store::{Digest, StoreFault};
use crate::store::sql::Param;
use crate::store::{Error, Store, now_ms};

/// How often the database is asked without being told.
const POLL: Duration = Duration::from_secs(1);

/// How often what has expired is deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// How long the database remembers what was ended, in seconds.
const REMEMBERED: i64 = 3600;

/// A gateway that heard nothing for so long forgets all it knows.
const DEAF: Duration = Duration::from_secs(1800);

/// Rows deleted at once.
const CHUNK: usize = 10_000;

/// Tokens read at once.
const PAGE: usize = 2_000;

fn now() -> u64 {
    u64::try_from(now_ms() / 1000).unwrap_or_default()
}

pub async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut watcher = shared.store.watch(CHANNEL);
    let mut place: Option<i64> = None;
    let (mut heard, mut swept) = (Instant::now(), Instant::now());
    while !*stop.borrow() {
        let starts = place.is_none() || heard.elapsed() > DEAF;
        if starts {
            place = None;
        }
        match follow(&shared, &mut place).await {
            Ok(()) => {
                heard = Instant::now();
                if starts {
                    tokio::spawn(read_all(shared.clone(), stop.clone()));
                }
            }
            // The feed of the entities says that the database is lost, and when it is back.
            Err(fault) => {
                watcher.reset();
                tracing::debug!(%fault, "tokens that were ended cannot be read");
            }
        }
        if swept.elapsed() > SWEEP {
            swept = Instant::now();
            shared.known.sweep(now());
            if let Err(fault) = in_time(sweep(&shared.store)).await {
                tracing::debug!(%fault, "expired tokens were not deleted");
            }
        }
        tokio::select! {
            _ = watcher.next(POLL) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Forgets what was ended since `place`, and moves it. Without one, whatever is known may have ended unheard.
async fn follow(shared: &Shared, place: &mut Option<i64>) -> Result<(), StoreFault> {
    let (newest, ended) = in_time(news(&shared.store, *place)).await?;
    if place.is_none() {
        shared.known.clear();
    }
    shared.known.ended(&ended);
    *place = Some(newest);
    Ok(())
}

/// The newest place in the sequence, and what was ended since another; nothing for those who only start to listen.
async fn news(store: &Store, since: Option<i64>) -> Result<(i64, Vec<Ended>), Error> {
    let mut session = store.read().await?;
    let row = session.fetch_one("SELECT current FROM oauth2_sequence", &[]).await?;
    let newest = row.map_or(Ok(0), |row| row.integer(0))?;
    let mut ended = Vec::new();
    if let Some(since) = since.filter(|since| *since < newest) {
        let sql = "SELECT kind, value FROM oauth2_ended WHERE sequence > $1 ORDER BY sequence";
        for row in session.fetch(sql, &[Param::Integer(since)]).await? {
            let value = row.text(1)?;
            let id = || Uuid::try_parse(&value).ok();
            // What a newer version writes down is for newer versions.
            ended.extend(match row.text(0)?.as_str() {
                "access" => Digest::from_text(&value).map(Ended::Access),
                "credential" => id().map(Ended::Credential),
                "service" => id().map(Ended::Service),
                _ => None,
            });
        }
    }
    session.commit().await?;
    Ok((newest, ended))
}

/// Deletes what is of no use to anybody.
async fn sweep(store: &Store) -> Result<(), Error> {
    let (now, most) = (rows::stored(now()), Param::Integer(i64::try_from(CHUNK).unwrap_or(i64::MAX)));
    let sweeps = [
        ("DELETE FROM oauth2_tokens WHERE id IN (SELECT id FROM oauth2_tokens WHERE ends_at <= $1 LIMIT $2)", now),
        (
            "DELETE FROM oauth2_codes WHERE digest IN (SELECT digest FROM oauth2_codes WHERE expires_at <= $1 LIMIT $2)",
            now,
        ),
        ("DELETE FROM oauth2_ended WHERE at < $1 AND $2 > 0", now - REMEMBERED),
    ];
    for (sql, time) in sweeps {
        loop {
            let mut session = store.write_session().await?;
            let deleted = session.execute(sql, &[Param::Integer(time), most]).await?;
            session.commit().await?;
            if usize::try_from(deleted).unwrap_or(usize::MAX) < CHUNK || sql.contains("oauth2_ended") {
                break;
            }
        }
    }
    Ok(())
}

/// Reads all live tokens into memory, so that their first use here needs no question.
async fn read_all(shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    let (mut after, mut count, started) = (None, 0, Instant::now());
    while !*stop.borrow() {
        let asked = shared.known.asking();
        let page = match in_time(rows::page(&shared.store, None, after, PAGE)).await {
            Ok(page) => page,
            Err(fault) => {
                tracing::debug!(%fault, "tokens are read when they are first used");
                return;
            }
        };
        let now = now();
        let Some(last) = page.last() else { break };
        (after, count) = (Some(last.id), count + page.len());
        let live = page.into_iter().filter(|token| token.ends_at().is_none_or(|at| now < at)).collect();
        let _ended_meanwhile = shared.known.found(live, asked);
    }
    tracing::debug!(tokens = count, took = ?started.elapsed(), "issued tokens are in memory");
}
