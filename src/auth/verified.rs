//! The cache of verified signatures: what makes a second request with the same RS256 or ES256 token cost half a
//! microsecond.
//!
//! An entry says one thing, which never ceases to be true: this key verified this very token. The key is a SHA-256 over
//! the key's identity (algorithm and bytes) and the whole token, so two tokens or two keys cannot be confused; a key
//! that was rotated or withdrawn is not looked up any more, and its entries age out. Claims are not kept: they are
//! parsed and checked on every request. The cache belongs to the process and outlives snapshots.

use aws_lc_rs::digest;
use quick_cache::sync::Cache;

use crate::jose::VerificationKey;

/// Memory of one entry: key, hash table slot, list links, and the share of ghosts and of slack in the tables.
const ENTRY_BYTES: usize = 128;

/// Signatures that were verified. Bounded; safe to share.
#[derive(Debug)]
pub struct Verified {
    tokens: Option<Cache<[u8; 32], ()>>,
}

/// What became of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub valid: bool,
    /// Whether it was known already.
    pub cached: bool,
}

impl Verified {
    /// A cache of about this many bytes; 0 turns it off.
    pub fn new(bytes: usize) -> Self {
        let entries = bytes / ENTRY_BYTES;
        Self { tokens: (entries > 0).then(|| Cache::new(entries)) }
    }

    /// Whether the signature at the end of `token` is the key's. Only valid ones are remembered: failures are not worth
    /// the memory an attacker could make of them.
    pub fn verify(&self, key: &VerificationKey, token: &[u8], signing_input: &[u8], signature: &[u8]) -> Outcome {
        let Some(tokens) = &self.tokens else {
            return Outcome { valid: key.verify(signing_input, signature), cached: false };
        };
        let entry = entry(key, token);
        if tokens.get(&entry).is_some() {
            return Outcome { valid: true, cached: true };
        }
        let valid = key.verify(signing_input, signature);
        if valid {
            tokens.insert(entry, ());
        }
        Outcome { valid, cached: false }
    }

    /// How many signatures are remembered.
    pub fn len(&self) -> usize {
        self.tokens.as_ref().map_or(0, Cache::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Verified {
    /// 16 MiB, a hundred thousand tokens and more.
    fn default() -> Self {
        Self::new(16 * 1024 * 1024)
    }
}

fn entry(key: &VerificationKey, token: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(key.identity());
    context.update(token);
    let mut entry = [0; 32];
    for (to, from) in entry.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, Compact, SigningKey};

    fn verify(cache: &Verified, key: &VerificationKey, token: &str) -> Outcome {
        let mut scratch = Vec::new();
        let parts = Compact::decode(token.as_bytes(), &mut scratch).unwrap();
        cache.verify(key, token.as_bytes(), parts.signing_input, parts.signature.unwrap_or_default())
    }

    #[test]
    fn a_token_is_known_under_the_key_that_verified_it_and_no_other() {
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        let other = SigningKey::generate(Algorithm::Es256).unwrap();
        let [key, other_key] = [&signer, &other]
            .map(|key| VerificationKey::from_pem(Algorithm::Es256, &key.public_pem().unwrap()).unwrap());
        let token = signer.sign(&Default::default(), &Default::default()).unwrap();
        let cache = Verified::new(1 << 20);

        assert_eq!(verify(&cache, &key, &token), Outcome { valid: true, cached: false });
        assert_eq!(verify(&cache, &key, &token), Outcome { valid: true, cached: true });
        assert_eq!(verify(&cache, &other_key, &token), Outcome { valid: false, cached: false });
        assert_eq!(verify(&cache, &other_key, &token), Outcome { valid: false, cached: false });
        let again = VerificationKey::from_pem(Algorithm::Es256, &signer.public_pem().unwrap()).unwrap();
        assert!(verify(&cache, &again, &token).cached, "the same key prepared again, as a reload does");

        // Any change makes another token: also one that leaves what is signed as it was.
        let mut changed = token.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'Q' } else { 'A' });
        assert!(!verify(&cache, &key, &changed).valid);
        let another = signer.sign(&Default::default(), &Default::default()).unwrap();
        assert_eq!(
            verify(&cache, &key, &another),
            Outcome { valid: true, cached: false },
            "another signature over the same claims"
        );
    }

    #[test]
    fn failures_are_not_remembered_and_the_size_is_bounded() {
        let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let key = VerificationKey::from_pem(Algorithm::EdDsa, &signer.public_pem().unwrap()).unwrap();
        let cache = Verified::new(64 * ENTRY_BYTES);
        assert!(!verify(&cache, &key, "e30.e30.AAAA").valid);
        assert!(cache.is_empty());
        for n in 0..500 {
            let claims = serde_json::Map::from_iter([("n".to_owned(), n.into())]);
            assert!(verify(&cache, &key, &signer.sign(&Default::default(), &claims).unwrap()).valid);
        }
        assert!(cache.len() <= 64 + 32, "{}", cache.len());
        assert!(!cache.is_empty());
        let off = Verified::new(0);
        let token = signer.sign(&Default::default(), &Default::default()).unwrap();
        for _ in 0..2 {
            assert_eq!(verify(&off, &key, &token), Outcome { valid: true, cached: false });
        }
    }
}
