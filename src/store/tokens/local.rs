//! Tokens of one gateway alone: memory, and where wanted a file.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use super::journal::{Entry, Journal, JournalFault};
use super::memory::Memory;
use crate::auth::oauth2::store::{
    Code, Digest, Name, Owner, Put, Redemption, Spare, StoreFault, Taken, Token, TokenStore,
};

/// Tokens of this gateway alone.
#[derive(Debug)]
pub struct LocalTokens {
    memory: Arc<Memory>,
    journal: Option<Arc<Journal>>,
    /// Held from a change of memory until the file's writer has it.
    telling: Mutex<()>,
}

impl LocalTokens {
    /// Tokens that end with the process.
    pub fn in_memory() -> Self {
        Self { memory: Arc::default(), journal: None, telling: Mutex::default() }
    }

    /// Tokens that are kept in a file; what it holds is read first, and a file grown past its use is written anew.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn in_file(path: &Path, now: u64) -> Result<Self, JournalFault> {
        let memory = Arc::<Memory>::default();
        let journal = Journal::open(path, memory.clone())?;
        memory.sweep(now);
        if journal.wants_rewriting(memory.len()) {
            journal.rewrite()?;
        }
        Ok(Self { memory, journal: Some(Arc::new(journal)), telling: Mutex::default() })
    }

    /// Takes in what another process wrote to the file, which takes over from this one or was taken over from: tokens that it ended are in
    /// use here until then. Costs next to nothing where there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn follow(&self) -> Result<(), JournalFault> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.catch_up())
    }

    /// Forgets what has ended; run now and then.
    ///
    /// # Errors
    /// When the file, grown past its use, cannot be written anew.
    pub fn sweep(&self, now: u64) -> Result<(), JournalFault> {
        self.memory.sweep(now);
        match self.journal.as_ref().is_some_and(|journal| journal.wants_rewriting(self.memory.len())) {
            true => self.write_anew(),
            false => Ok(()),
        }
    }

    /// Replaces the file by one that holds nothing but what is needed, unless another process has it open.
    ///
    /// # Errors
    /// When that cannot be written; the old one then stays in use.
    pub fn write_anew(&self) -> Result<(), JournalFault> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.rewrite())
    }

    /// [`Self::follow`], for who is about to decide.
    async fn catch_up(&self) -> Result<(), StoreFault> {
        let Some(journal) = self.journal.clone().filter(|journal| journal.is_behind()) else { return Ok(()) };
        // The writer has the file while it waits for the disk.
        let read = tokio::task::spawn_blocking(move || journal.catch_up()).await;
        let read = read.map_err(|fault| StoreFault(fault.to_string()))?;
        read.map_err(|fault| StoreFault(fault.to_string()))
    }

    /// Changes memory, and has the file told of what came of it, if anything did.
    async fn change<R>(&self, change: impl FnOnce(&Memory) -> (R, Option<Entry>)) -> Result<R, StoreFault> {
        let fault = |fault: JournalFault| StoreFault(fault.to_string());
        let Some(journal) = &self.journal else { return Ok(change(&self.memory).0) };
        let (result, appended) = {
            // What was changed first has to be told first: told the other way round, a token that was ended would come back with the file.
            let _telling = self.telling.lock();
            let (result, entry) = change(&self.memory);
            (result, entry.map(|entry| journal.append(&entry)).transpose().map_err(fault)?)
        };
        if let Some(appended) = appended {
            journal.written(appended).await.map_err(fault)?;
        }
        Ok(result)
    }
}

#[async_trait]
impl TokenStore for LocalTokens {
    fn lookup(&self, access: &Digest) -> Option<Arc<Token>> {
        self.memory.lookup(access)
    }

    fn departures(&self) -> u64 {
        self.memory.departures()
    }

    fn in_memory(&self) -> usize {
        self.memory.len()
    }

    fn may_know_more(&self, _access: &Digest) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_behind())
    }

    async fn fetch(&self, access: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.lookup(access))
    }

    async fn by_refresh(&self, refresh: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.by_refresh(refresh))
    }

    async fn issue(&self, token: Token) -> Result<(), StoreFault> {
        // Nobody knows it before this returns.
        self.change(|memory| (memory.issue(token.clone()), Some(Entry::Issue(token)))).await
    }

    async fn rotate(&self, refresh: &Digest, new: Token) -> Result<bool, StoreFault> {
        self.change(|memory| {
            let there = memory.rotate(refresh, new.clone());
            (there, there.then_some(Entry::Rotate(*refresh, new)))
        })
        .await
    }

    async fn put_code(&self, code: Code) -> Result<(), StoreFault> {
        self.change(|memory| (memory.put_code(code.clone()), Some(Entry::Code(code)))).await
    }

    async fn code(&self, digest: &Digest, now: u64) -> Result<Option<Code>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.code(digest).filter(|code| now < code.expires_at))
    }

    async fn redeem(&self, digest: &Digest, token: Token) -> Result<Redemption, StoreFault> {
        // Should writing fail, the code is gone all the same: nobody is told of a token for it.
        self.change(|memory| match memory.redeem(digest, token.clone()) {
            true => (Redemption::Taken, Some(Entry::Redeem(*digest, token))),
            false => (Redemption::Gone, None),
        })
        .await
    }

    async fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> Result<(), StoreFault> {
        self.catch_up().await?;
        self.change(|memory| {
            let any = memory.revoke_issued_for(code, spare);
            ((), any.then_some(Entry::RevokeIssuedFor(*code, spare)))
        })
        .await
    }

    async fn list(&self, of: Option<Owner>, after: Option<Uuid>, size: usize) -> Result<Vec<Arc<Token>>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.list(of, after, size))
    }

    async fn find(&self, name: Name) -> Result<Option<Arc<Token>>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.find(name))
    }

    async fn put(&self, token: Token, how: Put) -> Result<Result<(), Taken>, StoreFault> {
        self.catch_up().await?;
        self.change(|memory| {
            let put = memory.put(token.clone(), how);
            (put, put.is_ok().then_some(Entry::Put(token)))
        })
        .await
    }

    async fn remove(&self, id: Uuid) -> Result<bool, StoreFault> {
        self.catch_up().await?;
        self.change(|memory| {
            let there = memory.remove(id);
            (there, there.then_some(Entry::Remove(id)))
        })
        .await
    }
}
