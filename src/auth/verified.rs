//! What is remembered of tokens whose signature was verified, so that one that comes again costs neither its signature's verification
//! nor, from the third time on, its reading.
//!
//! An entry says things that never cease to be true: this key verified this very token, and the token says this. Whether what it says
//! is good enough (audience, credential, consumer) is asked anew by every request, unless a plugin has decided that already from the
//! same ([`Decided`]); its times always are. A key that was rotated or withdrawn is not asked for any more, and its entries age out.
//! The memory belongs to the process and outlives snapshots.
//!
//! Three tables. *Signatures* has a tag of 128 bits over the key's identity (algorithm and bytes, or the secret) and the whole token,
//! under a key that this process drew at random and never shows: two tokens or two keys are confused with a probability of less than
//! 2^-110 for each try, whoever chooses them, and no try tells anything about the next. *Accepted* has whose credential a token is that a
//! plugin accepted at least twice, by such a tag as well ([`accepted`]). *Often* is for plugins that decide more than that: it has tokens that came at least twice,
//! whole, with what plugins decided about them, or, where no decision can be kept, with what they say and the key that verified them;
//! they are compared byte by byte. They are found by a seeded hash of all their bytes, so that how long a comparison takes tells nothing
//! about a token that one does not have already. Once that table is full, only some of those that come again are put into it: with more
//! tokens in turn than it holds each would drive out another one before either is of use.

mod accepted;
mod table;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use foldhash::quality::RandomState;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};
use smallvec::SmallVec;

use self::accepted::Acceptances;
pub use self::accepted::{Accepted, Window};
use self::table::{Table, Tag};
use super::State;
use super::decided::{Basis, Decided, Decisions};
use super::token_text::TokenText;
use crate::jose::{Algorithm, Fault, Header, Identity, Jws, Object, Registered, VerificationKey, hmac};

/// Memory of a token that comes often, besides its text, what was decided about it, and what it says.
const OFTEN_BYTES: usize = 360;

/// What shares of the memory signatures and acceptances have, 16 and 32 bytes each; the rest is for tokens that come often, which are
/// larger by fifty times.
const SIGNATURES_SHARE: usize = 6;
const ACCEPTED_SHARE: usize = 3;

/// Of so many tokens that come again one is put into a full table.
const ADMITTED: u32 = 8;

/// Tokens that were verified. Bounded; safe to share.
#[derive(Debug)]
pub struct Verified {
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    signatures: Table<0>,
    accepted: Acceptances,
    tagger: LessSafeKey,
    often: Cache<TokenText, Arc<Entry>, Bytes, RandomState, Evicted>,
    /// Whether anything was ever driven out of `often`.
    full: Arc<AtomicBool>,
}

/// Notes that a table is full.
#[derive(Clone, Debug)]
struct Evicted(Arc<AtomicBool>);

impl Lifecycle<TokenText, Arc<Entry>> for Evicted {
    /// What is driven out goes after the table's lock: for one that comes it is mostly one or two.
    type RequestState = [Option<(TokenText, Arc<Entry>)>; 2];

    /// Not called of an entry in whose place another of the same token is put.
    fn before_evict(&self, _: &mut Self::RequestState, _: &TokenText, _: &mut Arc<Entry>) {
        self.0.store(true, Relaxed);
    }

    fn on_evict(&self, state: &mut Self::RequestState, text: TokenText, entry: Arc<Entry>) {
        if let Some(room) = state.iter_mut().find(|room| room.is_none()) {
            *room = Some((text, entry));
        }
    }
}

/// What stands for a token: a tag over all of it, under a key that this process drew at random and never shows.
#[derive(Clone, Copy)]
struct Print(Tag);

/// A token as it is asked for, and from what a decision about it would be made.
pub struct Asked {
    /// `None` where nothing is remembered.
    print: Option<Print>,
    basis: Option<Basis>,
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

/// A token as it was presented, with what is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    entry: Option<Arc<Entry>>,
    /// Whether a decision about it can be kept; then what it says is not.
    decidable: bool,
    /// Of a token that was verified before: what is to be kept beside a decision.
    again: OnceLock<(Registered, Algorithm)>,
}

/// What is remembered of a token: first what is asked most.
#[derive(Debug)]
struct Entry {
    /// What plugins made of it.
    decided: Decisions,
    text: TokenText,
    registered: Registered,
    /// What it says, once somebody wanted to know who keeps no decision.
    read: Option<Arc<Read>>,
}

/// A token that was read and verified.
struct Read {
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

impl std::fmt::Debug for Read {
    /// Without the token and its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Weighter<TokenText, Arc<Entry>> for Bytes {
    fn weight(&self, _: &TokenText, entry: &Arc<Entry>) -> u64 {
        let read = entry.read.as_ref().map_or(0, |read| read.bytes);
        (OFTEN_BYTES + entry.text.0.len() + entry.decided.bytes()) as u64 + read
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
    /// The token as a JWS: as it is remembered, or else read.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn read<'a>(&'a self, token: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Jws<'a>, Fault> {
        self.jws(token).map_or_else(|| Jws::parse(token, scratch), Ok)
    }

    /// The token as a JWS, if what it says is kept.
    fn jws<'a>(&'a self, token: &'a [u8]) -> Option<Jws<'a>> {
        let entry = self.entry.as_deref()?;
        let read = entry.read.as_deref()?;
        let (header, claims): (&'a Object<'a>, &'a Object<'a>) = (&read.header, &read.claims);
        Some(Jws {
            header: Header::Kept(header),
            claims: Cow::Borrowed(claims),
            registered: entry.registered,
            algorithm: read.algorithm,
            signing_input: token.get(..read.payload_end)?,
            signature: &read.signature,
        })
    }

    /// The token's text, if it came often.
    pub fn text(&self) -> Option<Arc<str>> {
        Some(self.entry.as_ref()?.text.0.clone())
    }

    /// What was decided about it, if it was from the same.
    pub fn decided(&self, basis: &Basis) -> Option<(&Decided, &Registered)> {
        let entry = self.entry.as_deref()?;
        Some((entry.decided.from(basis)?, &entry.registered))
    }

    /// Says what a decision about it will be made from, if that can be kept.
    pub fn set_basis(&mut self, basis: Option<&Basis>) {
        let has_room = |basis: &Basis| self.entry.as_ref().is_none_or(|entry| entry.decided.has_room_for(basis));
        self.decidable = basis.is_some_and(has_room);
    }

    /// Whether the token was read before, and is this verifier's.
    fn is_verified_by(&self, verifier: Verifier<'_>) -> bool {
        let read = self.entry.as_ref().and_then(|entry| entry.read.as_ref());
        read.is_some_and(|read| read.verifier.is(verifier))
    }
}

impl Asked {
    /// Of the token if it is accepted, and of which generation that is. The tag of a text under one nonce is as good as any number that is
    /// masked with another one's: that two tokens' tags differ by a given number is as unlikely as that they are the same.
    fn tag(&self) -> Option<(Tag, u64)> {
        let (Print(token), basis) = (self.print?, self.basis?);
        Some(((u128::from_le_bytes(token) ^ basis.number()?).to_le_bytes(), basis.generation()))
    }
}

impl Memory {
    /// `None` where the system gives no random numbers: then nothing is remembered.
    fn new(bytes: usize) -> Option<Self> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let tagger = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &secret).ok()?);
        let signatures = Table::new(bytes / SIGNATURES_SHARE);
        let accepted = Acceptances::new(bytes / ACCEPTED_SHARE);
        let often = bytes.saturating_sub(signatures.bytes() + accepted.bytes());
        let full = Arc::<AtomicBool>::default();
        let evicted = Evicted(full.clone());
        // A small token with a decision is twice what an entry itself takes.
        let often = Cache::with(often / (2 * OFTEN_BYTES), often as u64, Bytes, RandomState::default(), evicted);
        Some(Self { signatures, accepted, tagger, often, full })
    }

    /// Whether a token that comes again is to be kept whole.
    fn admits(&self, seen: &Seen) -> bool {
        thread_local! {
            static CAME: Cell<u32> = const { Cell::new(0) };
        }
        if seen.entry.is_some() || !self.full.load(Relaxed) {
            return true;
        }
        let came = CAME.get().wrapping_add(1);
        CAME.set(came);
        came.is_multiple_of(ADMITTED)
    }

    /// GCM's tag over nothing but authenticated data. A nonce must not be repeated where tags are seen; these leave the process as
    /// little as the key does, and with one nonce equal text has equal tags. On processors without SHA instructions this takes a
    /// tenth of a SHA-256's time.
    fn tag(&self, nonce: [u8; 12], text: &[u8]) -> Option<Tag> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.tagger.seal_in_place_separate_tag(nonce, Aad::from(text), &mut []).ok()?;
        tag.as_ref().try_into().ok()
    }

    fn print(&self, token: &[u8]) -> Option<Print> {
        self.tag([0; 12], token).map(Print)
    }

    /// Of a token that a key verified.
    fn tag_of(&self, Print(token): &Print, verifier: Verifier<'_>) -> Option<Tag> {
        let (kind, algorithm, bytes): (u8, &str, &[u8]) = match verifier {
            Verifier::Key(key) => (0, "", key.identity()),
            Verifier::Secret(algorithm, secret) => (1, algorithm.name(), secret),
        };
        // Whatever is not the last part has a length that follows from what comes before it.
        let mut text = SmallVec::<[u8; 128]>::from_slice(token);
        text.push(kind);
        text.push(u8::try_from(algorithm.len()).ok()?);
        text.extend_from_slice(algorithm.as_bytes());
        text.extend_from_slice(bytes);
        self.tag([1; 12], &text)
    }

    /// Keeps a token with what it says.
    fn keep_read(&self, verifier: Verifier<'_>, seen: &Seen, token: &[u8], jws: &Jws<'_>) {
        // Three segments of base64url.
        let Ok(text) = std::str::from_utf8(token) else { return };
        let text = seen.text().unwrap_or_else(|| text.into());
        /// Of the value itself.
        const OWN: usize = size_of::<Read>() + 16;
        let bytes = OWN + jws.signature.len() + jws.header.heap_bytes() + jws.claims.heap_bytes();
        let read = Read {
            bytes: bytes as u64,
            payload_end: jws.signing_input.len(),
            header: (*jws.header).clone().into_owned(),
            claims: jws.claims.clone().into_owned().into_owned(),
            algorithm: jws.algorithm,
            signature: jws.signature.into(),
            verifier: KnownVerifier::of(verifier),
        };
        let decided = seen.entry.as_ref().map(|entry| entry.decided.clone()).unwrap_or_default();
        self.put(Entry { decided, text: TokenText(text), registered: jws.registered, read: Some(Arc::new(read)) });
    }

    fn put(&self, entry: Entry) {
        self.often.insert(entry.text.clone(), Arc::new(entry));
    }
}

impl Verified {
    /// A memory of about this many bytes; 0 turns it off.
    pub fn new(bytes: usize) -> Self {
        Self { memory: if bytes > 0 { Memory::new(bytes) } else { None } }
    }

    /// What is remembered of a token.
    pub fn seen(&self, token: &[u8]) -> Seen {
        Seen { entry: self.memory.as_ref().and_then(|memory| memory.often.get(token)), ..Seen::default() }
    }

    /// Whether the signature at the end of `token`, which is `jws`, is the verifier's. Only valid ones are remembered: failures are
    /// not worth the memory an attacker could make of them. Nor is what came once: it is read again when it comes again, and `seen`
    /// from then on, if no decision about it can be kept.
    pub fn verify(&self, verifier: Verifier<'_>, seen: &Seen, token: &[u8], jws: &Jws<'_>) -> Outcome {
        let outcome = if seen.is_verified_by(verifier) {
            Outcome { valid: true, cached: true }
        } else {
            self.check(verifier, &self.ask(token, None), jws)
        };
        if let Some(memory) = self.memory.as_ref().filter(|memory| outcome.cached && memory.admits(seen)) {
            if !seen.decidable && !seen.is_verified_by(verifier) {
                memory.keep_read(verifier, seen, token, jws);
            }
            // There is one already where another key verified the token before.
            let _ = seen.again.set((jws.registered, jws.algorithm));
        }
        outcome
    }

    /// For [`Self::accepted`], [`Self::check`] and [`Self::accept`].
    pub fn ask(&self, token: &[u8], basis: Option<Basis>) -> Asked {
        Asked { print: self.memory.as_ref().and_then(|memory| memory.print(token)), basis }
    }

    /// Whose credential a token was accepted for from the same basis.
    pub fn accepted(&self, asked: &Asked) -> Option<Accepted> {
        self.memory.as_ref()?.accepted.get(&asked.tag()?.0)
    }

    /// As [`Self::verify`], for who keeps nothing else about the token here.
    pub fn check(&self, verifier: Verifier<'_>, asked: &Asked, jws: &Jws<'_>) -> Outcome {
        let memory = self.memory.as_ref().zip(asked.print.as_ref());
        let Some((memory, tag)) = memory.and_then(|(memory, print)| Some((memory, memory.tag_of(print, verifier)?)))
        else {
            return Outcome { valid: verifier.verify(jws.signing_input, jws.signature), cached: false };
        };
        if memory.signatures.get(&tag).is_some() {
            return Outcome { valid: true, cached: true };
        }
        let valid = verifier.verify(jws.signing_input, jws.signature);
        if valid {
            memory.signatures.put(&tag, &[], |[]| false);
        }
        Outcome { valid, cached: false }
    }

    /// Keeps whose credential a token was accepted for.
    pub fn accept(&self, asked: &Asked, accepted: Accepted) {
        if let (Some(memory), Some((tag, generation))) = (&self.memory, asked.tag()) {
            memory.accepted.put(&tag, accepted, generation);
        }
    }

    /// Keeps what was just decided about a token, which is `text`, if it was verified before.
    pub fn keep(&self, seen: &Seen, text: &Arc<str>, basis: Basis, state: &State) {
        let (Some(memory), Some((registered, algorithm))) = (&self.memory, seen.again.get()) else { return };
        let before = seen.entry.as_deref();
        let none = Decisions::default();
        let decided = Decided::of(basis, Some(*algorithm), state)
            .and_then(|decided| before.map_or(&none, |entry| &entry.decided).with(decided));
        if let Some(decided) = decided {
            let (text, read) = (TokenText(text.clone()), before.and_then(|entry| entry.read.clone()));
            memory.put(Entry { decided, text, registered: *registered, read });
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
    /// 192 MiB: the credentials of a million tokens, a hundred thousand that come often and have more decided about them, and the
    /// signatures of a million.
    fn default() -> Self {
        Self::new(192 * 1024 * 1024)
    }
}

#[cfg(test)]
mod tests;
