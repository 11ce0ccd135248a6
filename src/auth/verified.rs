//! What is remembered of tokens whose signature was verified, so that one that comes again costs neither its signature's verification
//! nor, if it comes often, its reading.
//!
//! An entry says things that never cease to be true: this key verified this very token, and the token says this. Whether what it says
//! is good enough (audience, credential, consumer) is asked anew by every request, unless a plugin has decided that already from the
//! same ([`Decided`]); its times always are. A key that was rotated or withdrawn is not asked for any more, and its entries age out.
//! The memory belongs to the process and outlives snapshots.
//!
//! Two tables. *Signatures* has a tag of 128 bits over the key's identity (algorithm and bytes, or the secret) and the whole token,
//! under a key that this process drew at random and never shows: two tokens or two keys are confused with a probability of less than
//! 2^-110 for each try, whoever chooses them, and no try tells anything about the next. *Read* has tokens that came at least twice,
//! whole and parsed, with the key that verified them; they are compared byte by byte. They are found by a seeded hash of all their
//! bytes, so that how long a comparison takes tells nothing about a token that one does not have already.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::State;
use super::decided::{Basis, Decided, Decisions};
use super::token_text::TokenText;
use crate::jose::{Algorithm, Identity, Jws, Object, Registered, VerificationKey, hmac};

/// Memory of one signature: tag, hash table slot, list links, and the share of ghosts and of slack in the tables.
const SIGNATURE_BYTES: usize = 112;

/// Memory of a token that was read, besides the token and what it says.
const READ_BYTES: usize = 480;

/// What share of the memory tokens that were read may have; the rest is for signatures, which are smaller by ten times.
const READ_SHARE: (usize, usize) = (2, 3);

type Tag = [u8; 16];

/// Tokens that were verified. Bounded; safe to share.
#[derive(Debug)]
pub struct Verified {
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    signatures: Cache<Tag, ()>,
    tagger: LessSafeKey,
    read: Cache<TokenText, Arc<Entry>, Bytes, RandomState>,
}

/// What a signature is verified with.
#[derive(Clone, Copy)]
pub enum Verifier<'a> {
    Key(&'a VerificationKey),
    Secret(Algorithm, &'a [u8]),
}

/// What became of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub valid: bool,
    /// Whether it was known already.
    pub cached: bool,
}

/// A token as it was presented, with what is remembered of it: from before, or since it was verified again.
#[derive(Clone, Debug, Default)]
pub struct Seen(OnceLock<Arc<Entry>>);

/// What is remembered of a token: first what is asked most.
#[derive(Debug)]
struct Entry {
    /// What plugins made of it.
    decided: Decisions,
    text: TokenText,
    registered: Registered,
    known: Arc<Known>,
}

/// A token that was read and verified.
struct Known {
    /// Where the second dot is.
    payload_end: usize,
    header: Object<'static>,
    claims: Object<'static>,
    algorithm: Algorithm,
    signature: Box<[u8]>,
    verifier: KnownVerifier,
    /// In memory, about.
    bytes: u64,
}

#[derive(PartialEq, Eq)]
enum KnownVerifier {
    Key(Identity),
    Secret(Algorithm, Box<[u8]>),
}

#[derive(Clone, Debug)]
struct Bytes;

impl std::fmt::Debug for Known {
    /// Without the token and its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Weighter<TokenText, Arc<Entry>> for Bytes {
    fn weight(&self, _: &TokenText, entry: &Arc<Entry>) -> u64 {
        entry.known.bytes + entry.decided.bytes() as u64
    }
}

impl KnownVerifier {
    /// Neither side is anything that a request brings: there is nothing to find out by the time a comparison takes.
    fn is(&self, verifier: Verifier<'_>) -> bool {
        match (self, verifier) {
            (Self::Key(known), Verifier::Key(key)) => known == key.identity(),
            (Self::Secret(known_algorithm, known), Verifier::Secret(algorithm, secret)) => {
                *known_algorithm == algorithm && **known == *secret
            }
            _ => false,
        }
    }

    fn of(verifier: Verifier<'_>) -> Self {
        match verifier {
            Verifier::Key(key) => Self::Key(*key.identity()),
            Verifier::Secret(algorithm, secret) => Self::Secret(algorithm, secret.into()),
        }
    }
}

impl Verifier<'_> {
    fn verify(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Key(key) => key.verify(signing_input, signature),
            Self::Secret(algorithm, secret) => hmac::verify(*algorithm, secret, signing_input, signature),
        }
    }
}

impl Seen {
    /// The token as a JWS, if it was read before.
    pub fn jws<'a>(&'a self, token: &'a [u8]) -> Option<Jws<'a>> {
        let entry = self.entry()?;
        let known = &*entry.known;
        let (header, claims): (&'a Object<'a>, &'a Object<'a>) = (&known.header, &known.claims);
        Some(Jws {
            header: Cow::Borrowed(header),
            claims: Cow::Borrowed(claims),
            registered: entry.registered,
            algorithm: known.algorithm,
            signing_input: token.get(..known.payload_end)?,
            signature: &known.signature,
        })
    }

    /// The token's text, if it was read before.
    pub fn text(&self) -> Option<Arc<str>> {
        Some(self.entry()?.text.0.clone())
    }

    /// What was decided about it, if it was from the same.
    pub fn decided(&self, basis: &Basis) -> Option<(&Decided, &Registered)> {
        let entry = self.entry()?;
        Some((entry.decided.from(basis)?, &entry.registered))
    }

    fn entry(&self) -> Option<&Entry> {
        self.0.get().map(|entry| &**entry)
    }
}

impl Memory {
    /// `None` where the system gives no random numbers: then nothing is remembered.
    fn new(bytes: usize) -> Option<Self> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let tagger = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &secret).ok()?);
        let read = bytes / READ_SHARE.1 * READ_SHARE.0;
        let signatures = ((bytes - read) / SIGNATURE_BYTES).max(1);
        let lifecycle = DefaultLifecycle::default();
        // A small token with its claims is three times what an entry itself takes.
        let read = Cache::with(read / (3 * READ_BYTES), read as u64, Bytes, RandomState::default(), lifecycle);
        Some(Self { signatures: Cache::new(signatures), tagger, read })
    }

    /// GCM's tag over nothing but authenticated data. A nonce must not be repeated where tags are seen; these leave the process as
    /// little as the key does, and with one nonce equal text has equal tags. On processors without SHA instructions this takes a
    /// tenth of a SHA-256's time.
    fn tag(&self, verifier: Verifier<'_>, token: &[u8]) -> Option<Tag> {
        match verifier {
            Verifier::Key(key) => self.tag_of(&[key.identity()], token),
            Verifier::Secret(algorithm, secret) => self.tag_of(&[algorithm.name().as_bytes(), secret], token),
        }
    }

    fn tag_of(&self, identity: &[&[u8]], token: &[u8]) -> Option<Tag> {
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

    /// Keeps a token with what it says.
    fn keep(&self, verifier: Verifier<'_>, token: &[u8], jws: &Jws<'_>) -> Option<Arc<Entry>> {
        // Three segments of base64url.
        let text = std::str::from_utf8(token).ok()?;
        let text: Arc<str> = text.into();
        let bytes = READ_BYTES + text.len() + jws.signature.len() + jws.header.heap_bytes() + jws.claims.heap_bytes();
        let known = Known {
            bytes: bytes as u64,
            payload_end: jws.signing_input.len(),
            header: jws.header.clone().into_owned().into_owned(),
            claims: jws.claims.clone().into_owned().into_owned(),
            algorithm: jws.algorithm,
            signature: jws.signature.into(),
            verifier: KnownVerifier::of(verifier),
        };
        let (text, registered) = (TokenText(text), jws.registered);
        Some(self.put(Entry { decided: Decisions::default(), text, registered, known: Arc::new(known) }))
    }

    fn put(&self, entry: Entry) -> Arc<Entry> {
        let (text, entry) = (entry.text.clone(), Arc::new(entry));
        self.read.insert(text, entry.clone());
        entry
    }
}

impl Verified {
    /// A memory of about this many bytes; 0 turns it off.
    pub fn new(bytes: usize) -> Self {
        Self { memory: if bytes > 0 { Memory::new(bytes) } else { None } }
    }

    /// What is remembered of a token.
    pub fn seen(&self, token: &[u8]) -> Seen {
        let found = self.memory.as_ref().and_then(|memory| memory.read.get(token));
        Seen(found.map_or_else(OnceLock::new, OnceLock::from))
    }

    /// Whether the signature at the end of `token`, which is `jws`, is the verifier's. Only valid ones are remembered: failures are
    /// not worth the memory an attacker could make of them. Nor is what came once: it is read again when it comes again, and `seen`
    /// from then on.
    pub fn verify(&self, verifier: Verifier<'_>, seen: &Seen, token: &[u8], jws: &Jws<'_>) -> Outcome {
        if seen.entry().is_some_and(|entry| entry.known.verifier.is(verifier)) {
            return Outcome { valid: true, cached: true };
        }
        let remembered = self.memory.as_ref().and_then(|memory| Some((memory, memory.tag(verifier, token)?)));
        let Some((memory, tag)) = remembered else {
            return Outcome { valid: verifier.verify(jws.signing_input, jws.signature), cached: false };
        };
        if memory.signatures.get(&tag).is_some() {
            if let Some(entry) = memory.keep(verifier, token, jws) {
                // There is one already where another key verified the token before.
                let _ = seen.0.set(entry);
            }
            return Outcome { valid: true, cached: true };
        }
        let valid = verifier.verify(jws.signing_input, jws.signature);
        if valid {
            memory.signatures.insert(tag, ());
        }
        Outcome { valid, cached: false }
    }

    /// Keeps what was just decided about a token, if the token is remembered.
    pub fn keep(&self, seen: &Seen, basis: Basis, state: &State) {
        let (Some(memory), Some(entry)) = (&self.memory, seen.entry()) else { return };
        let decided = Decided::of(basis, Some(entry.known.algorithm), state);
        if let Some(decided) = decided.and_then(|decided| entry.decided.with(decided)) {
            let (text, known) = (entry.text.clone(), entry.known.clone());
            memory.put(Entry { decided, text, registered: entry.registered, known });
        }
    }

    /// How many signatures are remembered.
    pub fn len(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.signatures.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Verified {
    /// 48 MiB: the signatures of a hundred thousand tokens and more, and some twenty thousand tokens read.
    fn default() -> Self {
        Self::new(48 * 1024 * 1024)
    }
}

#[cfg(test)]
mod tests;
