//! The digests of tokens that come often.
//!
//! A token is known by its SHA-256, which takes longer than all else that is asked about it on processors without instructions for
//! it. What is remembered says nothing but what a token's digest is, which never changes: whether the token is good is asked anew by
//! every request. Tokens are found by a seeded hash of all their bytes and compared whole, so that how long a comparison takes tells
//! nothing about a token that one does not have already.

use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::store::Digest;
use crate::auth::token_text::TokenText;

/// About 8 MiB.
const TOKENS: usize = 1 << 15;
/// Tokens that were issued here have 32 bytes; one that was written through the Admin API may have more.
const LONGEST: usize = 64;

/// Digests of good tokens. Bounded; safe to share.
#[derive(Debug)]
pub struct Digests(Cache<TokenText, Named, UnitWeighter, RandomState>);

impl Default for Digests {
    fn default() -> Self {
        Self(Cache::with(TOKENS, TOKENS as u64, UnitWeighter, RandomState::default(), DefaultLifecycle::default()))
    }
}

/// A token as it was presented.
#[derive(Clone, Debug)]
pub struct Named {
    pub text: Arc<str>,
    pub digest: Digest,
    remembered: bool,
}

impl Digests {
    /// A token that is remembered.
    pub fn known(&self, token: &[u8]) -> Option<Named> {
        self.0.get(token)
    }

    /// A token's digest.
    pub fn of(&self, token: &str) -> Named {
        let unknown = || Named { text: token.into(), digest: Digest::of(token), remembered: false };
        self.known(token.as_bytes()).unwrap_or_else(unknown)
    }

    /// Keeps the digest of a token that was found to be good: what is made up is not worth the memory. Only of one that stands in a
    /// header as one word, so that what is known needs no taking apart.
    pub fn keep(&self, token: &Named) {
        let is_word = || !token.text.is_empty() && token.text.bytes().all(|byte| byte.is_ascii_graphic());
        if !token.remembered && token.text.len() <= LONGEST && is_word() {
            self.0.insert(TokenText(token.text.clone()), Named { remembered: true, ..token.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_the_tokens_own_digest() {
        let digests = Digests::default();
        let long = "x".repeat(LONGEST + 1);
        for token in ["", "a", "0123456789abcdef0123456789abcdef", "é", "a b", long.as_str()] {
            for round in 0..3 {
                let named = digests.of(token);
                assert_eq!((&*named.text, named.digest), (token, Digest::of(token)));
                let kept = token == "a" || token.len() == 32;
                assert_eq!(named.remembered, round > 0 && kept, "{token}");
                digests.keep(&named);
            }
        }
        for n in 0..2 * TOKENS {
            digests.keep(&digests.of(&n.to_string()));
        }
        assert!(digests.0.len() <= TOKENS + 1024, "{}", digests.0.len());
    }
}
