//! What a gateway knows of the tokens in the database.
//!
//! Answers of the database come late: while one is on its way the token may be ended. Every answer is therefore taken in with the
//! time at which it was asked for, and left out if its token was ended since.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::super::index::Index;
use crate::auth::oauth2::store::{Digest, Token};

/// Digests of unknown tokens that are remembered; about 10 MiB.
const MISSING: usize = 100_000;

/// How long they are: somebody may create a token of that name, and the word of it be lost.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// How long what was ended is remembered: longer than any answer of the database is waited for.
const ENDED_FOR: Duration = Duration::from_secs(120);

/// What was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    Access(Digest),
    Credential(Uuid),
    Service(Uuid),
}

/// A point in the order of what was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(u64);

#[derive(Debug)]
pub struct Known {
    tokens: Index,
    missing: Cache<Digest, Instant>,
    /// Held by whoever changes `tokens`.
    ended: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    count: u64,
    /// When it was ended, in the order and by the clock.
    at: HashMap<Ended, (u64, Instant)>,
    /// The newest that nobody remembers one by one.
    forgotten: u64,
    swept: Option<Instant>,
}

impl Default for Known {
    fn default() -> Self {
        Self { tokens: Index::by_access(), missing: Cache::new(MISSING), ended: Mutex::default() }
    }
}

impl Recent {
    fn since(&self, what: Ended, asked: Asked) -> bool {
        self.at.get(&what).is_some_and(|(count, _)| *count > asked.0)
    }

    fn is_ended(&self, token: &Token, asked: Asked) -> bool {
        asked.0 < self.forgotten
            || self.since(Ended::Access(token.access), asked)
            || self.since(Ended::Credential(token.credential), asked)
            || token.service.is_some_and(|service| self.since(Ended::Service(service), asked))
    }

    fn sweep(&mut self) {
        if self.swept.is_some_and(|swept| swept.elapsed() < ENDED_FOR / 4) {
            return;
        }
        self.swept = Some(Instant::now());
        let forgotten = &mut self.forgotten;
        self.at.retain(|_, (count, at)| {
            let keep = at.elapsed() < ENDED_FOR;
            if !keep {
                *forgotten = (*forgotten).max(*count);
            }
            keep
        });
    }
}

impl Known {
    pub fn get(&self, access: &Digest) -> Option<Arc<Token>> {
        self.tokens.get(access)
    }

    pub fn departures(&self) -> u64 {
        self.tokens.departures()
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether the database was asked for it a moment ago, and did not have it.
    pub fn is_missing(&self, access: &Digest) -> bool {
        self.missing.get(access).is_some_and(|at| at.elapsed() < MISSING_FOR)
    }

    /// To be taken before the database is asked.
    pub fn asking(&self) -> Asked {
        Asked(self.ended.lock().count)
    }

    /// Takes in what the database had; the digests of what was ended meanwhile and has to be asked for again.
    pub fn found(&self, tokens: Vec<Arc<Token>>, asked: Asked) -> Vec<Digest> {
        let recent = self.ended.lock();
        if recent.count == asked.0 {
            self.tokens.put(tokens);
            return Vec::new();
        }
        let (late, good): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| recent.is_ended(token, asked));
        self.tokens.put(good);
        late.into_iter().map(|token| token.access).collect()
    }

    /// Notes that the database did not have a token.
    pub fn missed(&self, access: Digest, asked: Asked) {
        let recent = self.ended.lock();
        // Creating a token counts as ending the one of that name: whoever thinks it missing has to ask again.
        if asked.0 >= recent.forgotten && !recent.since(Ended::Access(access), asked) {
            self.missing.insert(access, Instant::now());
        }
    }

    /// Takes in what this gateway has just written and ended, in one transaction that began after `asked`. Others may have ended
    /// what it wrote before this was told.
    pub fn done(&self, mut written: Vec<Arc<Token>>, ended: &[Ended], asked: Asked) {
        let mut recent = self.ended.lock();
        written.retain(|token| !recent.is_ended(token, asked));
        self.end(&mut recent, ended);
        for token in &written {
            self.missing.remove(&token.access);
        }
        self.tokens.put(written);
    }

    /// Forgets what was ended, or written anew.
    pub fn ended(&self, all: &[Ended]) {
        self.end(&mut self.ended.lock(), all);
    }

    fn end(&self, recent: &mut Recent, all: &[Ended]) {
        for what in all {
            recent.count += 1;
            let entry = (recent.count, Instant::now());
            recent.at.insert(*what, entry);
            match what {
                Ended::Access(access) => {
                    self.missing.remove(access);
                    self.tokens.remove_if(access, |_| true);
                }
                Ended::Credential(id) => drop(self.tokens.remove_all(|token| token.credential == *id)),
                Ended::Service(id) => drop(self.tokens.remove_all(|token| token.service == Some(*id))),
            }
        }
        recent.sweep();
    }

    /// Forgets everything: too much may have happened.
    pub fn clear(&self) {
        let mut recent = self.ended.lock();
        recent.count += 1;
        recent.forgotten = recent.count;
        recent.at.clear();
        self.missing.clear();
        self.tokens.remove_all(|_| true);
    }

    /// Forgets what has expired.
    pub fn sweep(&self, now: u64) {
        let mut recent = self.ended.lock();
        recent.sweep();
        self.tokens.remove_all(|token| token.ends_at().is_some_and(|at| now >= at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::oauth2::store::Gone;

    fn token(access: &str) -> Arc<Token> {
        Arc::new(Token {
            id: Uuid::new_v4(),
            access: Digest::of(access),
            refresh: None,
            credential: Uuid::from_u128(7),
            service: None,
            userid: None,
            scope: None,
            created_at: 0,
            expires_in: 0,
            purge_at: None,
            code: None,
            gone: Gone::default(),
        })
    }

    #[test]
    fn what_others_ended_before_it_was_told_stays_ended() {
        let known = Known::default();
        let there = |access: &str| known.get(&Digest::of(access)).is_some();
        let asked = known.asking();
        known.ended(&[Ended::Access(Digest::of("revoked"))]);
        known.done(vec![token("revoked"), token("good")], &[], asked);
        assert!(!there("revoked") && there("good"));
        let asked = known.asking();
        known.ended(&[Ended::Credential(Uuid::from_u128(7))]);
        known.done(vec![token("of-it")], &[], asked);
        assert!(!there("of-it") && !there("good"));
        // Its own transaction gives a name a new meaning, and ends another token.
        known.done(vec![token("one")], &[], known.asking());
        known.done(
            vec![token("two")],
            &[Ended::Access(Digest::of("two")), Ended::Access(Digest::of("one"))],
            known.asking(),
        );
        assert!(there("two") && !there("one"));
    }
}
