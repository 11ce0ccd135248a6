//! A JWK Set (RFC 7517 section 5) prepared for looking keys up.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::json::Object;
use super::{Algorithm, KeyFault, PublicKey, VerificationKey};

/// Most keys a set may have.
pub const MAX_KEYS: usize = 100;

/// The keys of an issuer, by `kid`. One bad key does not spoil the set.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    by_kid: HashMap<Box<str>, Entry, RandomState>,
    /// Keys without a `kid`: found only by tokens without one.
    unnamed: Vec<Vec<VerificationKey>>,
    /// What of the set cannot be used.
    pub rejected: Vec<Rejected>,
}

#[derive(Clone, Debug)]
enum Entry {
    /// The key for every algorithm it may be used with: one where it names its own, six for an RSA key that names none.
    Key(Vec<VerificationKey>),
    /// Two keys have this `kid`: neither is used, since it cannot be told which one is meant.
    Duplicate,
}

/// A key that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in `keys`, from 0.
    pub index: usize,
    pub kid: Option<Box<str>>,
    /// `None` for a duplicate `kid`.
    pub fault: Option<KeyFault>,
}

/// Why a whole set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetFault {
    #[error("not a JSON object with an array `keys`")]
    NotASet,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

/// What a set says to a token's `kid` and `alg`.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    Key(&'a VerificationKey),
    /// The key there is not for this algorithm.
    OtherAlgorithm,
    /// No (usable) key has this `kid`: the set may be out of date.
    UnknownKid,
    /// The token has no `kid`, and not exactly one key of the set could be meant.
    KidMissing,
}

impl KeySet {
    /// Reads a set. Bounding the text's size is the caller's.
    ///
    /// # Errors
    /// When it is no set at all; single keys that cannot be used are listed in `rejected`.
    pub fn parse(text: &[u8]) -> Result<Self, SetFault> {
        let object = Object::parse(text).map_err(|_| SetFault::NotASet)?;
        let keys = object.get("keys").and_then(|keys| keys.as_array()).ok_or(SetFault::NotASet)?;
        if keys.len() > MAX_KEYS {
            return Err(SetFault::TooMany);
        }
        let mut set = Self::default();
        for (index, key) in keys.iter().enumerate() {
            let kid: Option<Box<str>> = key.as_object().and_then(|key| key.str("kid")).map(Into::into);
            let prepared = serde_json::to_value(key).map_err(|_| KeyFault::Malformed).and_then(|jwk| prepare(&jwk));
            let fault = match (&kid, prepared) {
                (Some(kid), prepared) => set.put(kid.clone(), prepared),
                (None, Ok(keys)) => {
                    set.unnamed.push(keys);
                    continue;
                }
                (None, Err(fault)) => Some(Some(fault)),
            };
            if let Some(fault) = fault {
                set.rejected.push(Rejected { index, kid, fault });
            }
        }
        Ok(set)
    }

    /// Puts a key in; `Some` with the fault, if it has one, when it is left out. An unusable key takes no `kid` away
    /// from a usable one: providers publish their encryption keys in the same set.
    fn put(&mut self, kid: Box<str>, prepared: Result<Vec<VerificationKey>, KeyFault>) -> Option<Option<KeyFault>> {
        match (prepared, self.by_kid.get_mut(&kid)) {
            (Err(fault), _) => Some(Some(fault)),
            (Ok(_), Some(there)) => {
                *there = Entry::Duplicate;
                Some(None)
            }
            (Ok(keys), None) => {
                self.by_kid.insert(kid, Entry::Key(keys));
                None
            }
        }
    }

    /// The key for a token.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let keys = match kid.map(|kid| self.by_kid.get(kid)) {
            Some(Some(Entry::Key(keys))) => keys,
            Some(_) => return Lookup::UnknownKid,
            None => return self.find_unnamed(algorithm),
        };
        keys.iter().find(|key| key.algorithm() == algorithm).map_or(Lookup::OtherAlgorithm, Lookup::Key)
    }

    /// A token without `kid` means the only key that fits its algorithm.
    fn find_unnamed(&self, algorithm: Algorithm) -> Lookup<'_> {
        let mut fitting = self.keys().filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Lookup::Key(key),
            _ => Lookup::KidMissing,
        }
    }

    fn keys(&self) -> impl Iterator<Item = &VerificationKey> {
        let named = self.by_kid.values().filter_map(|entry| match entry {
            Entry::Key(keys) => Some(keys),
            Entry::Duplicate => None,
        });
        named.chain(&self.unnamed).flatten()
    }

    /// The key ids that can be used.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.by_kid.iter().filter(|(_, entry)| matches!(entry, Entry::Key(_))).map(|(kid, _)| kid.as_ref())
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.kids().count() + self.unnamed.len()
    }

    /// Whether no key can be used: such a set never replaces one that has keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn prepare(jwk: &serde_json::Value) -> Result<Vec<VerificationKey>, KeyFault> {
    let (key, own) = PublicKey::from_jwk(jwk)?;
    match own {
        Some(algorithm) => Ok(vec![VerificationKey::new(&key, algorithm)?]),
        None => key.algorithms().iter().map(|&algorithm| VerificationKey::new(&key, algorithm)).collect(),
    }
}

#[cfg(test)]
mod tests;
