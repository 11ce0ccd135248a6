//! Tokens and codes in memory: all there is to a gateway that shares its tokens with nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use super::index::Index;
use super::journal::Entry;
use crate::auth::oauth2::store::{Code, Digest, Name, Owner, Put, Spare, Taken, Token};
use crate::shared_table::{KeyOf, SharedTable};

/// Changed by one writer at a time, who holds the rest meanwhile.
#[derive(Debug)]
pub struct Memory {
    access: Index,
    refresh: Index,
    writing: Mutex<Writing>,
}

/// What only writers and administrators ask for.
#[derive(Debug, Default)]
struct Writing {
    /// Codes that were handed out.
    codes: HashMap<Digest, Code>,
    /// Access tokens that came of a code, so that its replay can end them.
    issued: HashMap<Digest, Vec<Digest>>,
    ids: SharedTable<Token, ById>,
}

#[derive(Debug)]
struct ById;

impl KeyOf<Token> for ById {
    type Key = Uuid;

    fn key(token: &Token) -> &Uuid {
        &token.id
    }
}

impl Writing {
    fn find(&self, id: Uuid) -> Option<Arc<Token>> {
        self.ids.get(&id).cloned()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { access: Index::by_access(), refresh: Index::by_refresh(), writing: Mutex::default() }
    }
}

impl Memory {
    pub fn lookup(&self, access: &Digest) -> Option<Arc<Token>> {
        self.access.get(access)
    }

    pub fn by_refresh(&self, refresh: &Digest) -> Option<Arc<Token>> {
        self.refresh.get(refresh)
    }

    pub fn departures(&self) -> u64 {
        self.access.departures()
    }

    pub fn len(&self) -> usize {
        self.access.len()
    }

    /// Whether the state is being read from a file and nobody asks for it yet.
    pub fn set_loading(&self, loading: bool) {
        self.access.set_alone(loading);
        self.refresh.set_alone(loading);
    }

    pub fn issue(&self, token: Token) {
        self.keep(&mut self.writing.lock(), token);
    }

    fn keep(&self, writing: &mut Writing, token: Token) {
        if let Some(code) = token.code {
            let issued = writing.issued.entry(code).or_default();
            if !issued.contains(&token.access) {
                issued.push(token.access);
            }
        }
        if let Some(replaced) = self.access.get(&token.access) {
            writing.ids.remove(&replaced.id);
        }
        let token = Arc::new(token);
        writing.ids.insert(token.clone());
        self.refresh.put([token.clone()]);
        self.access.put([token]);
    }

    /// The access token goes first: nobody uses a token whose refresh token is gone already.
    fn forget(&self, writing: &mut Writing, token: &Token) {
        writing.ids.remove(&token.id);
        self.access.remove_if(&token.access, |there| there.id == token.id);
        // A rotation that keeps the refresh token has put another token under it.
        if let Some(refresh) = &token.refresh {
            self.refresh.remove_if(refresh, |there| there.access == token.access);
        }
        let Some(code) = token.code else { return };
        if let Some(issued) = writing.issued.get_mut(&code) {
            issued.retain(|access| *access != token.access);
            if issued.is_empty() {
                writing.issued.remove(&code);
            }
        }
    }

    /// Puts `new` in the place of the token with this refresh token, if it is there.
    pub fn rotate(&self, refresh: &Digest, new: Token) -> bool {
        let mut writing = self.writing.lock();
        let Some(old) = self.refresh.get(refresh) else { return false };
        self.forget(&mut writing, &old);
        self.keep(&mut writing, new);
        true
    }

    pub fn put_code(&self, code: Code) {
        self.writing.lock().codes.insert(code.digest, code);
    }

    pub fn code(&self, digest: &Digest) -> Option<Code> {
        self.writing.lock().codes.get(digest).cloned()
    }

    /// Takes a code out and keeps the token given for it, if the code was there.
    pub fn redeem(&self, digest: &Digest, token: Token) -> bool {
        let mut writing = self.writing.lock();
        let there = writing.codes.remove(digest).is_some();
        if there {
            self.keep(&mut writing, token);
        }
        there
    }

    /// Whether any was ended.
    pub fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> bool {
        let mut writing = self.writing.lock();
        let issued = writing.issued.get(code).cloned().unwrap_or_default();
        let tokens = issued.iter().filter_map(|access| self.access.get(access));
        let ended: Vec<Arc<Token>> = tokens.filter(|token| !spare.spares(token)).collect();
        for token in &ended {
            self.forget(&mut writing, token);
        }
        !ended.is_empty()
    }

    /// Some tokens in the order of their ids. Looks at every one: for administrators alone.
    pub fn list(&self, of: Option<Owner>, after: Option<Uuid>, size: usize) -> Vec<Arc<Token>> {
        let mut found: BTreeMap<Uuid, Arc<Token>> = BTreeMap::new();
        self.access.each(|token| {
            let wanted = after.is_none_or(|after| token.id > after) && of.is_none_or(|of| of.owns(token));
            let near = found.len() < size || found.last_key_value().is_some_and(|(last, _)| token.id < *last);
            if wanted && near {
                found.insert(token.id, token.clone());
                if found.len() > size {
                    found.pop_last();
                }
            }
        });
        found.into_values().collect()
    }

    /// One token.
    pub fn find(&self, name: Name) -> Option<Arc<Token>> {
        match name {
            Name::Access(access) => self.access.get(&access),
            Name::Id(id) => self.writing.lock().find(id),
        }
    }

    pub fn put(&self, token: Token, how: Put) -> Result<(), Taken> {
        let mut writing = self.writing.lock();
        let old = writing.find(token.id);
        if old.is_some() && how == Put::New {
            return Err(Taken::Id);
        }
        let other = |there: Arc<Token>| there.id != token.id;
        if self.access.get(&token.access).is_some_and(other) {
            return Err(Taken::Access);
        }
        if token.refresh.and_then(|refresh| self.refresh.get(&refresh)).is_some_and(other) {
            return Err(Taken::Refresh);
        }
        if let Some(old) = old {
            self.forget(&mut writing, &old);
        }
        self.keep(&mut writing, token);
        Ok(())
    }

    /// Whether it was there.
    pub fn remove(&self, id: Uuid) -> bool {
        let mut writing = self.writing.lock();
        let Some(token) = writing.find(id) else { return false };
        self.forget(&mut writing, &token);
        true
    }

    /// Forgets what has ended. A token whose refresh token is still good stays.
    pub fn sweep(&self, now: u64) {
        let mut writing = self.writing.lock();
        writing.codes.retain(|_, code| now < code.expires_at);
        let ended = |token: &Token| token.ends_at().is_some_and(|at| now >= at);
        for token in self.access.remove_all(ended) {
            self.forget(&mut writing, &token);
        }
    }

    /// What would bring this state back.
    pub fn entries(&self) -> Vec<Entry> {
        let writing = self.writing.lock();
        let mut entries: Vec<Entry> = writing.codes.values().cloned().map(Entry::Code).collect();
        self.access.each(|token| entries.push(Entry::Issue(Token::clone(token))));
        entries
    }

    /// Applies an entry that was kept.
    pub fn replay(&self, entry: Entry) {
        match entry {
            Entry::Issue(token) => self.issue(token),
            Entry::Rotate(refresh, new) => drop(self.rotate(&refresh, new)),
            Entry::Code(code) => self.put_code(code),
            Entry::Redeem(code, token) => {
                // Its code may have been left out of a file that was written anew.
                if !self.redeem(&code, token.clone()) {
                    self.issue(token);
                }
            }
            Entry::RevokeIssuedFor(code, spare) => drop(self.revoke_issued_for(&code, spare)),
            Entry::Put(token) => drop(self.put(token, Put::Replace)),
            Entry::Remove(id) => drop(self.remove(id)),
        }
    }
}
