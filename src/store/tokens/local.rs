//! Tokens of one gateway alone: memory, and where wanted a file.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
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
}

impl LocalTokens {
    /// Tokens that end with the process.
    pub fn in_memory() -> Self {
        Self { memory: Arc::default(), journal: None }
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
        Ok(Self { memory, journal: Some(Arc::new(journal)) })
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

    /// Takes in what a process wrote that this one takes over from.
    async fn catch_up(&self) -> Result<(), StoreFault> {
        let Some(journal) = self.journal.clone().filter(|journal| journal.is_behind()) else { return Ok(()) };
        // The writer has the file while it waits for the disk.
        let read = tokio::task::spawn_blocking(move || journal.catch_up()).await;
        let read = read.map_err(|fault| StoreFault(fault.to_string()))?;
        read.map_err(|fault| StoreFault(fault.to_string()))
    }

    async fn keep(&self, entry: Entry) -> Result<(), StoreFault> {
        match &self.journal {
            Some(journal) => journal.append(entry).await.map_err(|fault| StoreFault(fault.to_string())),
            None => Ok(()),
        }
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
        self.memory.issue(token.clone());
        self.keep(Entry::Issue(token)).await
    }

    async fn rotate(&self, refresh: &Digest, new: Token) -> Result<bool, StoreFault> {
        if !self.memory.rotate(refresh, new.clone()) {
            return Ok(false);
        }
        self.keep(Entry::Rotate(*refresh, new)).await?;
        Ok(true)
    }

    async fn put_code(&self, code: Code) -> Result<(), StoreFault> {
        self.memory.put_code(code.clone());
        self.keep(Entry::Code(code)).await
    }

    async fn code(&self, digest: &Digest, now: u64) -> Result<Option<Code>, StoreFault> {
        self.catch_up().await?;
        Ok(self.memory.code(digest).filter(|code| now < code.expires_at))
    }

    async fn redeem(&self, digest: &Digest, token: Token) -> Result<Redemption, StoreFault> {
        if !self.memory.redeem(digest, token.clone()) {
            return Ok(Redemption::Gone);
        }
        // Should this fail, the code is gone all the same: nobody is told of a token for it.
        self.keep(Entry::Redeem(*digest, token)).await?;
        Ok(Redemption::Taken)
    }

    async fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> Result<(), StoreFault> {
        match self.memory.revoke_issued_for(code, spare) {
            true => self.keep(Entry::RevokeIssuedFor(*code, spare)).await,
            false => Ok(()),
        }
    }

    async fn list(&self, of: Option<Owner>, after: Option<Uuid>, size: usize) -> Result<Vec<Arc<Token>>, StoreFault> {
        Ok(self.memory.list(of, after, size))
    }

    async fn find(&self, name: Name) -> Result<Option<Arc<Token>>, StoreFault> {
        Ok(self.memory.find(name))
    }

    async fn put(&self, token: Token, how: Put) -> Result<Result<(), Taken>, StoreFault> {
        if let Err(taken) = self.memory.put(token.clone(), how) {
            return Ok(Err(taken));
        }
        self.keep(Entry::Put(token)).await.map(Ok)
    }

    async fn remove(&self, id: Uuid) -> Result<bool, StoreFault> {
        if !self.memory.remove(id) {
            return Ok(false);
        }
        self.keep(Entry::Remove(id)).await?;
        Ok(true)
    }
}
