//! Tokens in memory: tables that readers see through one atomic load, changed by one writer at a time.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::journal::Entry;
use crate::auth::oauth2::store::{Code, Digest, Spare, Token};
use crate::shared_table::{KeyOf, SharedTable};

#[derive(Debug)]
struct ByAccess;

impl KeyOf<Token> for ByAccess {
    type Key = Digest;
    fn key(token: &Token) -> &Digest {
        &token.access
    }
}

/// Tokens that have a refresh token; the others are not in it.
#[derive(Debug)]
struct ByRefresh;

impl KeyOf<Token> for ByRefresh {
    type Key = Digest;
    fn key(token: &Token) -> &Digest {
        token.refresh.as_ref().unwrap_or(&token.access)
    }
}

#[derive(Clone, Debug, Default)]
struct Tokens {
    access: SharedTable<Token, ByAccess>,
    refresh: SharedTable<Token, ByRefresh>,
}

impl Tokens {
    fn put(&mut self, token: Arc<Token>) {
        if token.refresh.is_some() {
            self.refresh.insert(token.clone());
        }
        self.access.insert(token);
    }

    fn remove(&mut self, token: &Token) {
        self.access.remove(&token.access);
        // A rotation that keeps the refresh token has put another token under it.
        if let Some(refresh) = &token.refresh
            && self.refresh.get(refresh).is_some_and(|there| there.access == token.access)
        {
            self.refresh.remove(refresh);
        }
    }
}

#[derive(Debug, Default)]
pub struct Memory {
    tokens: ArcSwap<Tokens>,
    writing: Mutex<Codes>,
}

#[derive(Debug, Default)]
struct Codes {
    waiting: HashMap<Digest, Code>,
    /// Access tokens that came of a code, so that its replay can end them.
    issued: HashMap<Digest, Vec<Digest>>,
}

impl Memory {
    pub fn lookup(&self, access: &Digest) -> Option<Arc<Token>> {
        self.tokens.load().access.get(access).cloned()
    }

    pub fn by_refresh(&self, refresh: &Digest) -> Option<Arc<Token>> {
        self.tokens.load().refresh.get(refresh).filter(|token| token.refresh.as_ref() == Some(refresh)).cloned()
    }

    pub fn len(&self) -> usize {
        self.tokens.load().access.len()
    }

    /// One change of the tables, seen by every reader at once.
    fn change<R>(&self, change: impl FnOnce(&mut Tokens, &mut Codes) -> R) -> R {
        let mut codes = self.writing.lock();
        let mut tokens = Tokens::clone(&self.tokens.load());
        let result = change(&mut tokens, &mut codes);
        self.tokens.store(Arc::new(tokens));
        result
    }

    pub fn issue(&self, token: Token) {
        self.change(|tokens, codes| {
            if let Some(code) = token.code {
                codes.issued.entry(code).or_default().push(token.access);
            }
            tokens.put(Arc::new(token));
        });
    }

    /// Puts `new` in the place of the token with this refresh token, if it is there.
    pub fn rotate(&self, refresh: &Digest, new: Token) -> bool {
        self.change(|tokens, codes| {
            let Some(old) = tokens.refresh.get(refresh).filter(|old| old.refresh.as_ref() == Some(refresh)).cloned()
            else {
                return false;
            };
            tokens.remove(&old);
            if let Some(code) = new.code {
                let issued = codes.issued.entry(code).or_default();
                issued.retain(|access| *access != old.access);
                issued.push(new.access);
            }
            tokens.put(Arc::new(new));
            true
        })
    }

    pub fn put_code(&self, code: Code) {
        self.writing.lock().waiting.insert(code.digest, code);
    }

    pub fn code(&self, digest: &Digest) -> Option<Code> {
        self.writing.lock().waiting.get(digest).cloned()
    }

    /// Whether it was there.
    pub fn take_code(&self, digest: &Digest) -> bool {
        self.writing.lock().waiting.remove(digest).is_some()
    }

    /// Whether any was ended.
    pub fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> bool {
        if !self.writing.lock().issued.contains_key(code) {
            return false;
        }
        self.change(|tokens, codes| {
            let Some(issued) = codes.issued.get_mut(code) else { return false };
            let before = issued.len();
            issued.retain(|access| match tokens.access.get(access).cloned() {
                Some(token) if spare.spares(&token) => true,
                Some(token) => {
                    tokens.remove(&token);
                    false
                }
                None => false,
            });
            issued.len() < before
        })
    }

    /// Forgets what has ended. A token whose refresh token is still good stays.
    pub fn sweep(&self, now: u64) {
        let ended = |token: &Token| token.is_purged(now) || (token.refresh.is_none() && token.is_expired(now));
        let any = self.tokens.load().access.iter().any(|token| ended(token));
        self.writing.lock().waiting.retain(|_, code| now < code.expires_at);
        if !any {
            return;
        }
        self.change(|tokens, codes| {
            let gone: Vec<Arc<Token>> = tokens.access.iter().filter(|token| ended(token)).cloned().collect();
            for token in gone {
                tokens.remove(&token);
                if let Some(code) = token.code {
                    codes.issued.remove(&code);
                }
            }
        });
    }

    /// What would bring this state back.
    pub fn entries(&self) -> Vec<Entry> {
        let tokens = self.tokens.load();
        let codes = self.writing.lock();
        let issued = tokens.access.iter().map(|token| Entry::Issue(Token::clone(token)));
        issued.chain(codes.waiting.values().cloned().map(Entry::Code)).collect()
    }

    /// Applies an entry that was kept.
    pub fn replay(&self, entry: Entry) {
        match entry {
            Entry::Issue(token) => self.issue(token),
            Entry::Rotate(refresh, new) => drop(self.rotate(&refresh, new)),
            Entry::Code(code) => self.put_code(code),
            Entry::Redeem(code) => drop(self.take_code(&code)),
            Entry::RevokeIssuedFor(code, spare) => drop(self.revoke_issued_for(&code, spare)),
        }
    }
}
