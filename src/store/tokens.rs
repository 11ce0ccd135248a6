//! Issued tokens and authorization codes: in memory, where a request looks them up without a lock, and behind it a journal.
//!
//! [`LocalTokens`] serves one gateway: memory alone, or with an append-only file that survives the process.

mod journal;
mod memory;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::journal::JournalFault;
use self::journal::{Entry, Journal};
use self::memory::Memory;
use crate::auth::oauth2::store::{Code, Digest, Redemption, Spare, StoreFault, Token, TokenStore};

/// Tokens of this gateway alone.
#[derive(Debug)]
pub struct LocalTokens {
    memory: Memory,
    journal: Option<Journal>,
}

impl LocalTokens {
    /// Tokens that end with the process.
    pub fn in_memory() -> Self {
        Self { memory: Memory::default(), journal: None }
    }

    /// Tokens that are kept in a file; what it holds is read first, and a file grown past its use is written anew.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn in_file(path: &Path, now: u64) -> Result<Self, JournalFault> {
        let memory = Memory::default();
        let journal = Journal::open(path, |entry| memory.replay(entry))?;
        memory.sweep(now);
        // Not always: a process that is being replaced may still append to it.
        if journal.wants_rewriting(memory.len()) {
            journal.rewrite(memory.entries())?;
        }
        Ok(Self { memory, journal: Some(journal) })
    }

    /// Forgets what has ended; run now and then.
    ///
    /// # Errors
    /// When the file, grown past its use, cannot be written anew.
    pub fn sweep(&self, now: u64) -> Result<(), JournalFault> {
        self.memory.sweep(now);
        match self.journal.as_ref().filter(|journal| journal.wants_rewriting(self.memory.len())) {
            Some(journal) => journal.rewrite(self.memory.entries()),
            None => Ok(()),
        }
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

    fn may_know_more(&self, _access: &Digest) -> bool {
        false
    }

    async fn fetch(&self, access: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        Ok(self.memory.lookup(access))
    }

    async fn by_refresh(&self, refresh: &Digest) -> Result<Option<Arc<Token>>, StoreFault> {
        Ok(self.memory.by_refresh(refresh))
    }

    async fn issue(&self, token: Token) -> Result<(), StoreFault> {
        self.keep(Entry::Issue(token.clone())).await?;
        self.memory.issue(token);
        Ok(())
    }

    async fn rotate(&self, refresh: &Digest, new: Token) -> Result<bool, StoreFault> {
        if !self.memory.rotate(refresh, new.clone()) {
            return Ok(false);
        }
        self.keep(Entry::Rotate(*refresh, new)).await?;
        Ok(true)
    }

    async fn put_code(&self, code: Code) -> Result<(), StoreFault> {
        self.keep(Entry::Code(code.clone())).await?;
        self.memory.put_code(code);
        Ok(())
    }

    async fn code(&self, digest: &Digest, now: u64) -> Result<Option<Code>, StoreFault> {
        Ok(self.memory.code(digest).filter(|code| now < code.expires_at))
    }

    async fn redeem(&self, digest: &Digest) -> Result<Redemption, StoreFault> {
        if !self.memory.take_code(digest) {
            return Ok(Redemption::Gone);
        }
        // Should this fail, the code is gone all the same: nobody gets a token for it.
        self.keep(Entry::Redeem(*digest)).await?;
        Ok(Redemption::Taken)
    }

    async fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> Result<(), StoreFault> {
        match self.memory.revoke_issued_for(code, spare) {
            true => self.keep(Entry::RevokeIssuedFor(*code, spare)).await,
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
