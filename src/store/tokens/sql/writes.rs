//! Writes of many requests in one transaction, one transaction at a time.
//!
//! A commit waits for the disk; whatever arrives meanwhile goes into the next one. An answer is given after the commit alone.

use std::sync::Arc;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::known::Ended;
use super::{Answer, Shared, in_time, rows};
use crate::auth::oauth2::store::{Code, Digest, Put, Spare, StoreFault, Taken, Token};
use crate::store::sql::{Param, Session};
use crate::store::{Error, Store, now_ms};

/// Writes in one transaction.
const MOST: usize = 256;

/// The channel on which PostgreSQL tells gateways that tokens were ended.
pub const CHANNEL: &str = "portcullis_oauth2";

/// One thing to be done, whole or not at all.
#[derive(Clone, Debug)]
pub enum Task {
    Issue(Token),
    Rotate(Digest, Token),
    Code(Code),
    Redeem(Digest, Token),
    RevokeIssuedFor(Digest, Spare),
    Put(Token, Put),
    Remove(Uuid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whether there was what it needed.
    Done(bool),
    Taken(Taken),
}

/// What a transaction did, for memory.
#[derive(Debug, Default)]
struct Effects {
    written: Vec<Arc<Token>>,
    ended: Vec<Ended>,
}

impl Task {
    /// Whether it may end a token, or give a name a new meaning: it then takes its turn before it touches any.
    fn ends(&self) -> bool {
        match self {
            Self::Issue(_) | Self::Code(_) | Self::Redeem(..) => false,
            Self::Rotate(..) | Self::RevokeIssuedFor(..) | Self::Put(..) | Self::Remove(_) => true,
        }
    }

    /// Rows are touched in one order, so that gateways do not wait for each other in a ring.
    fn order(&self) -> Option<Digest> {
        match self {
            Self::Redeem(code, _) | Self::RevokeIssuedFor(code, _) => Some(*code),
            Self::Rotate(refresh, _) => Some(*refresh),
            _ => None,
        }
    }

    async fn run(&self, session: &mut Session, effects: &mut Effects) -> Result<Outcome, Error> {
        match self {
            Self::Issue(token) => {
                insert(session, token, effects).await?;
            }
            Self::Code(code) => rows::insert_code(session, code).await?,
            Self::Redeem(code, token) => {
                let sql = "DELETE FROM oauth2_codes WHERE digest = $1 RETURNING digest";
                if session.fetch_one(sql, &[Param::Text(&code.to_text())]).await?.is_none() {
                    return Ok(Outcome::Done(false));
                }
                insert(session, token, effects).await?;
            }
            Self::Rotate(refresh, new) => {
                let ended = rows::delete(session, "refresh = $1", &[Param::Text(&refresh.to_text())]).await?;
                if ended.is_empty() {
                    return Ok(Outcome::Done(false));
                }
                effects.end(ended);
                insert(session, new, effects).await?;
            }
            Self::RevokeIssuedFor(code, spare) => {
                let condition = "code = $1 AND NOT (credential = $2 AND created_at >= $3)";
                let (code, credential) = (code.to_text(), spare.credential.to_string());
                let since = Param::Integer(rows::stored(spare.since));
                let params = [Param::Text(&code), Param::Text(&credential), since];
                effects.end(rows::delete(session, condition, &params).await?);
            }
            Self::Put(token, how) => return put(session, token, *how, effects).await,
            Self::Remove(id) => {
                let ended = rows::delete(session, "id = $1", &[Param::Text(&id.to_string())]).await?;
                let there = !ended.is_empty();
                effects.end(ended);
                return Ok(Outcome::Done(there));
            }
        }
        Ok(Outcome::Done(true))
    }
}

impl Effects {
    fn end(&mut self, digests: Vec<Digest>) {
        self.written.retain(|token| !digests.contains(&token.access));
        self.ended.extend(digests.into_iter().map(Ended::Access));
    }
}

async fn insert(session: &mut Session, token: &Token, effects: &mut Effects) -> Result<(), Error> {
    if !rows::insert(session, token).await? {
        return Err(Error::Settings("a new oauth2 token has what another one has already".into()));
    }
    effects.written.push(Arc::new(token.clone()));
    Ok(())
}

async fn put(session: &mut Session, token: &Token, how: Put, effects: &mut Effects) -> Result<Outcome, Error> {
    let mut replaced = false;
    for there in rows::beside(session, token).await? {
        match there.id == token.id {
            true if how == Put::New => return Ok(Outcome::Taken(Taken::Id)),
            true => replaced = true,
            false if there.access == token.access => return Ok(Outcome::Taken(Taken::Access)),
            false => return Ok(Outcome::Taken(Taken::Refresh)),
        }
    }
    if replaced {
        effects.end(rows::delete(session, "id = $1", &[Param::Text(&token.id.to_string())]).await?);
    }
    // Others may have looked for it before it was there.
    effects.ended.push(Ended::Access(token.access));
    insert(session, token, effects).await?;
    Ok(Outcome::Done(true))
}

/// As a [`Task::Put`] that replaces, in a transaction of somebody else's.
pub async fn put_in(session: &mut Session, token: &Token) -> Result<Result<Option<bool>, Taken>, Error> {
    let there = rows::beside(session, token).await?;
    let old = there.iter().find(|there| there.id == token.id);
    if old.is_some_and(|old| **old == *token) {
        return Ok(Ok(None));
    }
    let replaced = old.is_some();
    let sequence = next_sequence(session).await?;
    let mut effects = Effects::default();
    match put(session, token, Put::Replace, &mut effects).await? {
        Outcome::Taken(taken) => Ok(Err(taken)),
        Outcome::Done(_) => {
            tell(session, sequence, &effects.ended).await?;
            Ok(Ok(Some(replaced)))
        }
    }
}

pub async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<(Task, Answer<Outcome>)>) {
    while let Some(first) = queue.recv().await {
        let mut all = vec![first];
        while all.len() < MOST
            && let Ok(next) = queue.try_recv()
        {
            all.push(next);
        }
        all.sort_by_key(|(task, _)| task.order());
        let tasks: Vec<&Task> = all.iter().map(|(task, _)| task).collect();
        let outcomes = match transaction(&shared, &tasks).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(fault) if tasks.len() == 1 || fault.1 => vec![Err(fault.0); tasks.len()],
            // One spoils the others' transaction: each gets its own.
            Err(_) => one_by_one(&shared, &tasks).await,
        };
        for ((_, answer), outcome) in all.into_iter().zip(outcomes) {
            let _gone = answer.send(outcome);
        }
    }
}

async fn one_by_one(shared: &Shared, tasks: &[&Task]) -> Vec<Result<Outcome, StoreFault>> {
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(match transaction(shared, &[task]).await {
            Ok(mut done) => done.pop().ok_or_else(|| StoreFault("nothing was done".into())),
            Err((fault, _)) => Err(fault),
        });
    }
    outcomes
}

/// Does everything in one transaction. The fault tells whether the database is out of reach, so that no other attempt helps.
async fn transaction(shared: &Shared, tasks: &[&Task]) -> Result<Vec<Outcome>, (StoreFault, bool)> {
    let mut lost = true;
    let asked = shared.known.asking();
    let work = async {
        let done = attempt(&shared.store, tasks).await;
        lost = matches!(&done, Err(Error::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)));
        done
    };
    let (outcomes, effects) = in_time(work).await.map_err(|fault| (fault, lost))?;
    shared.known.done(effects.written, &effects.ended, asked);
    Ok(outcomes)
}

async fn attempt(store: &Store, tasks: &[&Task]) -> Result<(Vec<Outcome>, Effects), Error> {
    let mut session = store.write_session().await?;
    let sequence = match tasks.iter().any(|task| task.ends()) {
        true => Some(next_sequence(&mut session).await?),
        false => None,
    };
    let mut effects = Effects::default();
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.run(&mut session, &mut effects).await?);
    }
    if let Some(sequence) = sequence.filter(|_| !effects.ended.is_empty()) {
        tell(&mut session, sequence, &effects.ended).await?;
    }
    session.commit().await?;
    Ok((outcomes, effects))
}

/// Takes the turn among those that end tokens.
pub async fn next_sequence(session: &mut Session) -> Result<i64, Error> {
    let row = session
        .fetch_one("UPDATE oauth2_sequence SET current = current + 1 WHERE one = 1 RETURNING current", &[])
        .await?
        .ok_or_else(|| Error::Settings("the table `oauth2_sequence` is empty".into()))?;
    row.integer(0)
}

/// Writes down what was ended, and wakes the other gateways when this is committed.
pub async fn tell(session: &mut Session, sequence: i64, ended: &[Ended]) -> Result<(), Error> {
    for what in ended {
        let (kind, value) = match what {
            Ended::Access(digest) => ("access", digest.to_text()),
            Ended::Credential(id) => ("credential", id.to_string()),
            Ended::Service(id) => ("service", id.to_string()),
        };
        session
            .execute(
                "INSERT INTO oauth2_ended (sequence, kind, value, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[Param::Integer(sequence), Param::Text(kind), Param::Text(&value), Param::Integer(now_ms() / 1000)],
            )
            .await?;
    }
    if session.is_postgres() {
        let sequence = sequence.to_string();
        session.execute("SELECT pg_notify($1, $2)", &[Param::Text(CHANNEL), Param::Text(&sequence)]).await?;
    }
    Ok(())
}
