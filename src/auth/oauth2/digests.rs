//! The digests of tokens that come often.
//!
//! A token is known by its SHA-256, which takes longer than all else that is asked about it on processors without instructions for
//! it. What is remembered is the digest, which never changes, and whose the token was found to be, which counts as long as consumers
//! and credentials are the same and the token is not gone; whether it has ended, and whether a plugin takes it, is asked anew by every
//! request. Tokens are found by a seeded hash of all their bytes and compared whole, so that how long a comparison takes tells
//! nothing about a token that one does not have already.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayString;
use foldhash::quality::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use uuid::Uuid;

#[cfg(doc)]
use super::TokenStore;
use super::store::{Digest, Token};
use crate::auth::{Authenticated, Presented, Request, State};

/// About 12 MiB.
const TOKENS: usize = 1 << 15;
/// Tokens that were issued here have 32 bytes; one that was written through the Admin API may have more.
const LONGEST: usize = 64;

/// Digests of good tokens. Bounded; safe to share.
#[derive(Debug)]
pub struct Digests(Cache<ByText, Arc<Named>, UnitWeighter, RandomState>);

impl Default for Digests {
    fn default() -> Self {
        Self(Cache::with(TOKENS, TOKENS as u64, UnitWeighter, RandomState::default(), DefaultLifecycle::default()))
    }
}

/// A token that was found to be good. In one piece and in this order, because most of the time that a token takes which is one of
/// thousands is waiting for memory: what a request asks for comes first, and only who its bearer is stands elsewhere.
#[repr(C)]
pub struct Named {
    found: Option<Found>,
    text: ArrayString<LONGEST>,
    digest: Digest,
}

/// Whose a token was found to be.
struct Found {
    /// Of the configuration it follows from.
    generation: u64,
    /// From when on it is not taken, in seconds since the UNIX epoch.
    ends: u64,
    /// The service it is bound to; `None`: global.
    service: Option<Uuid>,
    bearer: Authenticated,
    /// The [`TokenStore::departures`] at which the token was not gone.
    there_at: AtomicU64,
    /// Asked for its mark when tokens have gone since: it is one more place in memory, among those of all tokens there are.
    token: Arc<Token>,
}

impl Found {
    /// Whether the token is there; `departures` as the store counts them now.
    fn is_there(&self, departures: u64) -> bool {
        if self.there_at.load(Relaxed) == departures {
            return true;
        }
        let there = !self.token.gone.is_set();
        if there {
            self.there_at.store(departures, Relaxed);
        }
        there
    }
}

impl Named {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whose it is, if an earlier request found that out from the same configuration, the token is still there, has not ended, and is
    /// for this service — or for all of them, where such tokens are taken. `departures` as [`TokenStore::departures`] counts them.
    pub fn bearer(&self, request: &Request<'_>, takes_global: bool, departures: u64) -> Option<&Authenticated> {
        let found = self.found.as_ref()?;
        let is_here = match found.service {
            None => takes_global,
            service => service == request.service,
        };
        let counts = found.generation == request.generation && request.now < found.ends && is_here;
        (counts && found.is_there(departures)).then_some(&found.bearer)
    }

    /// Whether it was found out from the configuration in force at `request`.
    fn is_found(&self, request: &Request<'_>) -> bool {
        self.found.as_ref().is_some_and(|found| found.generation == request.generation && !found.token.gone.is_set())
    }
}

impl std::fmt::Debug for Named {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("is_found", &self.found.is_some()).finish_non_exhaustive()
    }
}

/// Found by the token's text, which it has in place.
struct ByText(Arc<Named>);

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.as_bytes().hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

impl Digests {
    /// A token that is remembered.
    pub fn known(&self, token: &[u8]) -> Option<Arc<Named>> {
        self.0.get(token)
    }

    /// A token, and what is remembered of it.
    pub fn of(&self, token: &str) -> Presented {
        self.known(token.as_bytes()).map_or_else(|| Presented::Text(token.into()), Presented::Named)
    }

    /// Keeps the digest of a token that was found to be good — what is made up is not worth the memory —, and whose it is. Only of one
    /// that stands in a header as one word, so that what is known needs no taking apart. The token has to be one that is marked when it
    /// is gone, or of the configuration that is in force.
    pub fn keep(&self, request: &Request<'_>, presented: &Presented, token: &Arc<Token>, state: &State) {
        let in_force = request.generation > 0;
        let news = match presented {
            Presented::Named(named) => in_force && !named.is_found(request),
            Presented::Text(_) => true,
        };
        let is_word = || !presented.is_empty() && presented.bytes().all(|byte| byte.is_ascii_graphic());
        let Ok(text) = ArrayString::from(presented) else { return };
        if !news || !is_word() {
            return;
        }
        let found = state.authenticated().filter(|_| in_force).map(|bearer| Found {
            generation: request.generation,
            ends: token.expires_at().unwrap_or(u64::MAX),
            service: token.service,
            bearer: bearer.clone(),
            // None yet: the first request that comes again finds out.
            there_at: AtomicU64::new(u64::MAX),
            token: token.clone(),
        });
        let named = Arc::new(Named { found, text, digest: token.access });
        self.0.insert(ByText(named.clone()), named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::directory::Directory;
    use crate::auth::testing;

    #[test]
    fn a_token_that_is_gone_has_no_bearer_once_that_is_counted() {
        let digests = Digests::default();
        let directory = Directory::default();
        let sent = testing::get().in_force(1);
        let request = sent.request(&directory);
        let consumer = Arc::new(testing::consumer(1, Some("alice"), None));
        for seen in [false, true] {
            let token = Arc::new(testing::issued("t", None, None));
            let mut state = State::default();
            state.authenticate(Some(consumer.clone()), None);
            digests.keep(&request, &Presented::from("t"), &token, &state);
            let has_bearer = |departures| {
                let Presented::Named(named) = digests.of("t") else { panic!("not remembered") };
                named.bearer(&request, true, departures).is_some()
            };
            if seen {
                assert!(has_bearer(7) && has_bearer(7) && has_bearer(8), "others went meanwhile");
            }
            token.gone.set();
            assert!(!has_bearer(9) && !has_bearer(10));
            assert_eq!(has_bearer(8), seen, "the count comes after the mark");
        }
    }

    #[test]
    fn what_is_remembered_is_the_tokens_own_digest() {
        let digests = Digests::default();
        let directory = Directory::default();
        let sent = testing::get();
        let request = sent.request(&directory);
        let keep = |presented: &Presented| {
            let token = Arc::new(testing::issued(presented, None, None));
            digests.keep(&request, presented, &token, &State::default());
        };
        let long = "x".repeat(LONGEST + 1);
        for token in ["", "a", "0123456789abcdef0123456789abcdef", "é", "a b", long.as_str()] {
            for round in 0..3 {
                let presented = digests.of(token);
                let kept = token == "a" || token.len() == 32;
                assert_eq!(matches!(presented, Presented::Named(_)), round > 0 && kept, "{token}");
                if let Presented::Named(named) = &presented {
                    assert_eq!(named.digest(), Digest::of(token));
                }
                assert_eq!(&*presented, token);
                keep(&presented);
            }
        }
        for n in 0..2 * TOKENS {
            keep(&digests.of(&n.to_string()));
        }
        assert!(digests.0.len() <= TOKENS + 1024, "{}", digests.0.len());
    }
}
