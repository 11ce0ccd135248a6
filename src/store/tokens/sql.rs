//! Tokens in the database of the entities: SQLite, or PostgreSQL that several gateways share.
//!
//! The database is the truth, memory what this gateway knows of it: a token found there needs no question. One that is unknown
//! is asked for once, however many requests bring it ([`lookups`]); what is not there either is remembered for a while. Writes of
//! many requests go to the database in one transaction ([`writes`]). What any gateway ends, all others forget ([`follow`]).

mod follow;
mod known;
mod lookups;
mod rows;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use self::known::{Ended, Known};
use self::writes::{Outcome, Task};
use crate::auth::oauth2::store::{
    Code, Digest, Name, Owner, Put, Redemption, Spare, StoreFault, Taken, Token, TokenStore,
};
use crate::store::sql::{Param, Session};
use crate::store::{Error, Store};

/// How long a request waits for the database, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests that wait at once for a write or a lookup; more are turned away.
const QUEUE: usize = 10_000;

type Answer<T> = oneshot::Sender<Result<T, StoreFault>>;

/// Tokens in a database.
#[derive(Debug)]
pub struct SqlTokens {
    shared: Arc<Shared>,
    writes: mpsc::Sender<(Task, Answer<Outcome>)>,
    lookups: mpsc::Sender<(Digest, Answer<Option<Arc<Token>>>)>,
    /// Where the database's connections live: not among the threads that serve requests.
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    known: Known,
}

impl From<Error> for StoreFault {
    fn from(fault: Error) -> Self {
        Self(fault.to_string())
    }
}

/// As much of a question as the database answers in time.
async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, StoreFault> {
    Ok(tokio::time::timeout(PATIENCE, work).await.map_err(|_| Error::Timeout)??)
}

impl SqlTokens {
    /// Tokens of a database whose tables are up to date. Its work is done on the runtime this is called on.
    pub fn new(store: Store) -> Arc<Self> {
        let shared = Arc::new(Shared { store, known: Known::default() });
        let (writes, to_write) = mpsc::channel(QUEUE);
        let (lookups, to_look_up) = mpsc::channel(QUEUE);
        tokio::spawn(writes::run(shared.clone(), to_write));
        tokio::spawn(lookups::run(shared.clone(), to_look_up));
        Arc::new(Self { shared, writes, lookups, runtime: Handle::current() })
    }

    /// Reads what is there into memory, forgets what others end, deletes what has expired; until told to stop.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        follow::run(self.shared.clone(), stop).await;
    }

    async fn write(&self, task: Task) -> Result<Outcome, StoreFault> {
        let (answer, answered) = oneshot::channel();
        self.writes.try_send((task, answer)).map_err(|_| overloaded())?;
        waited(answered).await
    }

    /// Runs a question where the database's connections live.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Arc<Shared>) -> std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
    ) -> Result<T, StoreFault> {
        let question = question(self.shared.clone());
        self.runtime.spawn(in_time(question)).await.map_err(|fault| StoreFault(fault.to_string()))?
    }
}

/// Deletes the tokens and codes of credentials and services that are being deleted, in the same transaction.
///
/// # Errors
/// When the database cannot be reached.
pub(in crate::store) async fn end_owned(session: &mut Session, owners: &[Owner]) -> Result<(), Error> {
    if owners.is_empty() {
        return Ok(());
    }
    let sequence = writes::next_sequence(session).await?;
    let mut ended = Vec::with_capacity(owners.len());
    for owner in owners {
        let (column, id, what) = match *owner {
            Owner::Credential(id) => ("credential", id, Ended::Credential(id)),
            Owner::Service(id) => ("service", id, Ended::Service(id)),
        };
        let id = id.to_string();
        for table in ["oauth2_tokens", "oauth2_codes"] {
            session.execute(&format!("DELETE FROM {table} WHERE {column} = $1"), &[Param::Text(&id)]).await?;
        }
        ended.push(what);
    }
    writes::tell(session, sequence, &ended).await
}

/// Keeps a token within a write of entities; whether it replaced one, and `None` where it says what that says.
///
/// # Errors
/// The inner when another token has what this one has.
pub(in crate::store) async fn put_in(
    session: &mut Session,
    token: &Token,
) -> Result<Result<Option<bool>, Taken>, Error> {
    writes::put_in(session, token).await
}

fn overloaded() -> StoreFault {
    StoreFault("too many requests wait for the database".into())
}

async fn waited<T>(answered: oneshot::Receiver<Result<T, StoreFault>>) -> Result<T, StoreFault> {
    match tokio::time::timeout(2 * PATIENCE, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(StoreFault("the gateway stops".into())),
        Err(_) => Err(Error::Timeout.into()),
    }
}

#[async_trait]
impl TokenStore for SqlTokens {
    fn lookup(&self, access: &Digest) -> Option<Arc<Token>> {
        self.shared.known.get(access)
    }

    fn departures(&self) -> u64 {
        self.shared.known.departures()
    }

    fn in_memory(&self) -> usize {
        self.shared.known.len()
    }

    fn may_know_more(&self, access: &Digest) -> bool {
        !self.shared.known.is_missing(access)
    }

    async fn fetch(&self, access: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        let (answer, answered) = oneshot::channel();
        self.lookups.try_send((*access, answer)).map_err(|_| overloaded())?;
        waited(answered).await
    }

    async fn by_refresh(&self, refresh: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        let refresh = refresh.to_text();
        self.ask(|shared| {
            Box::pin(async move { rows::one(&shared.store, "refresh = $1", &[Param::Text(&refresh)]).await })
        })
        .await
    }

    async fn issue(&self, token: Token) -> Result<(), StoreFault> {
        self.write(Task::Issue(token)).await.map(drop)
    }

    async fn rotate(&self, refresh: &Digest, new: Token) -> Result<bool, StoreFault> {
        Ok(self.write(Task::Rotate(*refresh, new)).await? == Outcome::Done(true))
    }

    async fn put_code(&self, code: Code) -> Result<(), StoreFault> {
        self.write(Task::Code(code)).await.map(drop)
    }

    async fn code(&self, digest: &Digest, now: u64) -> Result<Option<Code>, StoreFault> {
        let digest = *digest;
        let found = self.ask(move |shared| Box::pin(async move { rows::code(&shared.store, digest).await })).await?;
        Ok(found.filter(|code| now < code.expires_at))
    }

    async fn redeem(&self, digest: &Digest, token: Token) -> Result<Redemption, StoreFault> {
        Ok(match self.write(Task::Redeem(*digest, token)).await? {
            Outcome::Done(true) => Redemption::Taken,
            _ => Redemption::Gone,
        })
    }

    async fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> Result<(), StoreFault> {
        let digest = *code;
        // Most of those who ask never had a code: they do not get to move the sequence.
        let any = self.ask(move |shared| Box::pin(async move { rows::issued_for(&shared.store, digest, spare).await }));
        match any.await? {
            true => self.write(Task::RevokeIssuedFor(digest, spare)).await.map(drop),
            false => Ok(()),
        }
    }

    async fn list(&self, of: Option<Owner>, after: Option<Uuid>, size: usize) -> Result<Vec<Arc<Token>>, StoreFault> {
        self.ask(move |shared| Box::pin(async move { rows::page(&shared.store, of, after, size).await })).await
    }

    async fn find(&self, name: Name) -> Result<Option<Arc<Token>>, StoreFault> {
        let (condition, value) = match name {
            Name::Id(id) => ("id = $1", id.to_string()),
            Name::Access(access) => ("access = $1", access.to_text()),
        };
        self.ask(move |shared| {
            Box::pin(async move { rows::one(&shared.store, condition, &[Param::Text(&value)]).await })
        })
        .await
    }

    async fn put(&self, token: Token, how: Put) -> Result<Result<(), Taken>, StoreFault> {
        Ok(match self.write(Task::Put(token, how)).await? {
            Outcome::Taken(taken) => Err(taken),
            Outcome::Done(_) => Ok(()),
        })
    }

    async fn remove(&self, id: Uuid) -> Result<bool, StoreFault> {
        Ok(self.write(Task::Remove(id)).await? == Outcome::Done(true))
    }
}
