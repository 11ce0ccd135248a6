//! The cache of verified signatures: what makes a second request with the same token cost a third of a microsecond.
//!
//! An entry says one thing, which never ceases to be true: this key verified this very token. It is found by a tag of 128 bits over
//! the key's identity (algorithm and bytes, or the secret) and the whole token, under a key that this process drew at random and
//! never shows: two tokens or two keys are confused with a probability of less than 2^-110 for each try, whoever chooses them, and
//! no try tells anything about the next. A key that was rotated or withdrawn is not looked up any more, and its entries age out.
//! Claims are not kept: they are parsed and checked on every request. The cache belongs to the process and outlives snapshots.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quick_cache::sync::Cache;

use crate::jose::{Algorithm, VerificationKey, hmac};

/// Memory of one entry: tag, hash table slot, list links, and the share of ghosts and of slack in the tables.
const ENTRY_BYTES: usize = 112;

type Tag = [u8; 16];

/// Signatures that were verified. Bounded; safe to share.
#[derive(Debug)]
pub struct Verified {
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    tokens: Cache<Tag, ()>,
    tagger: LessSafeKey,
}

/// What became of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub valid: bool,
    /// Whether it was known already.
    pub cached: bool,
}

impl Known {
    /// `None` where the system gives no random numbers: then nothing is remembered.
    fn new(entries: usize) -> Option<Self> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let tagger = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &secret).ok()?);
        Some(Self { tokens: Cache::new(entries), tagger })
    }

    /// GCM's tag over nothing but authenticated data. A nonce must not be repeated where tags are seen; these leave the process as
    /// little as the key does, and with one nonce equal text has equal tags. On processors without SHA instructions this takes a
    /// tenth of a SHA-256's time.
    fn tag(&self, identity: &[&[u8]], token: &[u8]) -> Option<Tag> {
        let length: usize = identity.iter().map(|part| part.len() + 8).sum();
        let mut text = Vec::with_capacity(8 + length + token.len());
        text.extend_from_slice(&(identity.len() as u64).to_be_bytes());
        for part in identity {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        text.extend_from_slice(token);
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.tagger.seal_in_place_separate_tag(nonce, Aad::from(&text), &mut []).ok()?;
        tag.as_ref().try_into().ok()
    }
}

impl Verified {
    /// A cache of about this many bytes; 0 turns it off.
    pub fn new(bytes: usize) -> Self {
        let entries = bytes / ENTRY_BYTES;
        Self { known: if entries > 0 { Known::new(entries) } else { None } }
    }

    /// Whether the signature at the end of `token` is the key's. Only valid ones are remembered: failures are not worth
    /// the memory an attacker could make of them.
    pub fn verify(&self, key: &VerificationKey, token: &[u8], signing_input: &[u8], signature: &[u8]) -> Outcome {
        self.remember(&[&key.identity()[..]], token, || key.verify(signing_input, signature))
    }

    /// As [`Self::verify`], for a shared secret.
    pub fn verify_secret(
        &self,
        (algorithm, secret): (Algorithm, &[u8]),
        token: &[u8],
        signing_input: &[u8],
        signature: &[u8],
    ) -> Outcome {
        let identity = [algorithm.name().as_bytes(), secret];
        self.remember(&identity, token, || hmac::verify(algorithm, secret, signing_input, signature))
    }

    fn remember(&self, identity: &[&[u8]], token: &[u8], verify: impl FnOnce() -> bool) -> Outcome {
        let known = self.known.as_ref().and_then(|known| Some((known, known.tag(identity, token)?)));
        let Some((known, tag)) = known else { return Outcome { valid: verify(), cached: false } };
        if known.tokens.get(&tag).is_some() {
            return Outcome { valid: true, cached: true };
        }
        let valid = verify();
        if valid {
            known.tokens.insert(tag, ());
        }
        Outcome { valid, cached: false }
    }

    /// How many signatures are remembered.
    pub fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.tokens.len())
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
    fn a_secret_is_known_by_its_bytes_and_its_algorithm() {
        let cache = Verified::new(1 << 20);
        let verify = |secret: &[u8], algorithm, token: &str| {
            let mut scratch = Vec::new();
            let parts = Compact::decode(token.as_bytes(), &mut scratch).unwrap();
            let signature = parts.signature.unwrap_or_default();
            cache.verify_secret((algorithm, secret), token.as_bytes(), parts.signing_input, signature)
        };
        let signer = SigningKey::from_secret(Algorithm::Hs256, b"a secret of thirty-two bytes ...").unwrap();
        let token = signer.sign(&Default::default(), &Default::default()).unwrap();
        let secret = b"a secret of thirty-two bytes ...";
        assert_eq!(verify(secret, Algorithm::Hs256, &token), Outcome { valid: true, cached: false });
        assert_eq!(verify(secret, Algorithm::Hs256, &token), Outcome { valid: true, cached: true });
        for (secret, algorithm) in [
            (&b"a secret of thirty-two bytes .."[..], Algorithm::Hs256),
            (secret, Algorithm::Hs384),
            (b"another secret of 32 bytes .....", Algorithm::Hs256),
            (b"", Algorithm::Hs256),
        ] {
            assert_eq!(verify(secret, algorithm, &token), Outcome { valid: false, cached: false });
        }
        // What is moved from the secret to the token makes another text.
        let known = cache.known.as_ref().unwrap();
        assert_ne!(known.tag(&[b"ab"], b"c"), known.tag(&[b"a"], b"bc"));
        assert_ne!(known.tag(&[b"a", b"b"], b""), known.tag(&[b"ab"], b""));
        let other = Verified::new(1 << 20);
        assert_ne!(known.tag(&[b"a"], b"b"), other.known.as_ref().unwrap().tag(&[b"a"], b"b"), "a key of its own");
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
