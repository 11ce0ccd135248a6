//! The digests of tokens that come often.
//!
//! A token is known by its SHA-256, which takes longer than all else that is asked about it on processors without instructions for
//! it. What is remembered is the digest, which never changes, and whose the token was found to be, which counts as long as consumers
//! and credentials are the same and the token is not gone; when it ends, and whether a plugin takes it, is asked anew by every request.
//! Tokens are found by a seeded hash of all their bytes and compared whole, so that how long a comparison takes tells
//! nothing about a token that one does not have already.

use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::store::{Digest, Token};
use crate::auth::decided::{Basis, Decided};
use crate::auth::token_text::TokenText;
use crate::auth::{Authenticated, State};

/// About 12 MiB.
const TOKENS: usize = 1 << 15;
/// Tokens that were issued here have 32 bytes; one that was written through the Admin API may have more.
const LONGEST: usize = 64;

/// Digests of good tokens. Bounded; safe to share.
#[derive(Debug)]
pub struct Digests(Cache<TokenText, Arc<Named>, UnitWeighter, RandomState>);

impl Default for Digests {
    fn default() -> Self {
        Self(Cache::with(TOKENS, TOKENS as u64, UnitWeighter, RandomState::default(), DefaultLifecycle::default()))
    }
}

/// A token as it was presented.
pub struct Named {
    pub text: Arc<str>,
    pub digest: Digest,
    /// Whether the request that brings it found it remembered.
    remembered: bool,
    found: Option<Held>,
}

/// Whose a token was found to be, and the token: beside each other, so that memory is asked for both at once.
struct Held {
    decided: Decided,
    token: Arc<Token>,
}

impl Named {
    /// Whose it was found to be by an earlier request, from the same and with the token still there.
    pub fn found(&self, basis: &Basis) -> Option<(&Authenticated, &Arc<Token>)> {
        let held = self.found.as_ref().filter(|held| held.decided.is_from(basis) && !held.token.gone.is_set())?;
        Some((&held.decided.caller, &held.token))
    }
}

impl std::fmt::Debug for Named {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("remembered", &self.remembered).finish_non_exhaustive()
    }
}

impl Digests {
    /// A token that is remembered.
    pub fn known(&self, token: &[u8]) -> Option<Arc<Named>> {
        self.0.get(token)
    }

    /// A token's digest.
    pub fn of(&self, token: &str) -> Arc<Named> {
        let unknown =
            || Arc::new(Named { text: token.into(), digest: Digest::of(token), remembered: false, found: None });
        self.known(token.as_bytes()).unwrap_or_else(unknown)
    }

    /// Keeps the digest of a token that was found to be good — what is made up is not worth the memory —, and whose it is. Only of one
    /// that stands in a header as one word, so that what is known needs no taking apart. The token has to be one that is marked when it
    /// is gone, or of the configuration that `basis` names.
    pub fn keep(&self, named: &Named, basis: Option<Basis>, token: &Arc<Token>, state: &State) {
        let text = &named.text;
        let is_word = || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if (named.remembered && basis.is_none()) || text.len() > LONGEST || !is_word() {
            return;
        }
        let decided = basis.and_then(|basis| Decided::of(basis, None, state));
        let found = decided.map(|decided| Held { decided, token: token.clone() });
        let named = Named { text: text.clone(), digest: named.digest, remembered: true, found };
        self.0.insert(TokenText(text.clone()), Arc::new(named));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing;

    #[test]
    fn what_is_remembered_is_the_tokens_own_digest() {
        let digests = Digests::default();
        let token_of = |named: &Named| Arc::new(testing::issued(&named.text, None, None));
        let long = "x".repeat(LONGEST + 1);
        for token in ["", "a", "0123456789abcdef0123456789abcdef", "é", "a b", long.as_str()] {
            for round in 0..3 {
                let named = digests.of(token);
                assert_eq!((&*named.text, named.digest), (token, Digest::of(token)));
                let kept = token == "a" || token.len() == 32;
                assert_eq!(named.remembered, round > 0 && kept, "{token}");
                digests.keep(&named, None, &token_of(&named), &State::default());
            }
        }
        for n in 0..2 * TOKENS {
            let named = digests.of(&n.to_string());
            digests.keep(&named, None, &token_of(&named), &State::default());
        }
        assert!(digests.0.len() <= TOKENS + 1024, "{}", digests.0.len());
    }
}
