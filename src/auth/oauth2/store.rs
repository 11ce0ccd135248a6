//! Where tokens and authorization codes are kept: the interface, and what is kept.
//!
//! Tokens and codes are known by their SHA-256 alone; what was handed out cannot be read back. Implementations live in `store`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entity::Oauth2Token;

/// SHA-256 of a token or code. Its text, in files and databases, is base64url without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(#[serde(with = "base64url")] pub [u8; 32]);

impl Digest {
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads [`Self::to_text`] back.
    pub fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Spread evenly over all values, as a digest is: a hash for tables.
    pub fn hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

mod base64url {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let bytes = URL_SAFE_NO_PAD.decode(&*text).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("expected 32 bytes"))
    }
}

/// An issued token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: Uuid,
    pub access: Digest,
    pub refresh: Option<Digest>,
    /// The `oauth2_credentials` it was issued to.
    pub credential: Uuid,
    /// The service it is bound to; `None`: global.
    pub service: Option<Uuid>,
    pub userid: Option<Box<str>>,
    pub scope: Option<Box<str>>,
    /// Seconds since the UNIX epoch.
    pub created_at: u64,
    /// Seconds the access token lives; 0 = for ever.
    pub expires_in: u64,
    /// When the whole row goes, refresh token included; seconds since the UNIX epoch.
    pub purge_at: Option<u64>,
    /// The authorization code it was issued for: when that is presented again, this token ends (RFC 6749 section 4.1.2).
    pub code: Option<Digest>,
    /// Set by memory when it lets the token go, for whoever still has it.
    #[serde(skip)]
    pub gone: Gone,
}

/// Whether memory has let a token go: it was revoked, replaced or forgotten, and has to be looked up anew. Of this very value in
/// memory, not of what it says: a copy is not gone, and equal to what it was copied from.
#[derive(Debug, Default)]
pub struct Gone(AtomicBool);

impl Gone {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Clone for Gone {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Gone {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Gone {}

impl Token {
    /// One that a configuration declares.
    pub fn declared(entity: &Oauth2Token) -> Self {
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let created_at = positive(entity.created_at).unwrap_or_default();
        Self {
            id: entity.id,
            access: Digest::of(&entity.access_token),
            refresh: entity.refresh_token.as_deref().map(Digest::of),
            credential: entity.credential.id,
            service: entity.service.map(|service| service.id),
            userid: entity.authenticated_userid.clone(),
            scope: entity.scope.clone(),
            created_at,
            expires_in: positive(entity.expires_in).unwrap_or_default(),
            purge_at: entity.ttl.and_then(positive).map(|ttl| created_at.saturating_add(ttl)),
            code: None,
            gone: Gone::default(),
        }
    }

    /// Whether the access token has ended.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| now >= at)
    }

    /// From when on the access token is not taken, in seconds since the UNIX epoch; `None`: it is for ever.
    pub fn expires_at(&self) -> Option<u64> {
        // As in Kong, it is good in the very second in which its time is over.
        let expires = (self.expires_in > 0).then(|| self.created_at.saturating_add(self.expires_in).saturating_add(1));
        match (expires, self.purge_at) {
            (Some(expires), Some(purge)) => Some(expires.min(purge)),
            (expires, purge) => expires.or(purge),
        }
    }

    /// Whether the row, with its refresh token, has ended.
    pub fn is_purged(&self, now: u64) -> bool {
        self.purge_at.is_some_and(|at| now >= at)
    }

    /// From when on nothing of it is of use to anybody; `None`: never. With a refresh token that is when the row goes.
    pub fn ends_at(&self) -> Option<u64> {
        if self.refresh.is_some() { self.purge_at } else { self.expires_at() }
    }
}

/// An authorization code that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    pub digest: Digest,
    pub credential: Uuid,
    /// The service it is bound to; `None`: global.
    pub service: Option<Uuid>,
    /// The plugin instance that issued it.
    pub plugin: Uuid,
    pub userid: Option<Box<str>>,
    pub scope: Option<Box<str>>,
    /// `S256` challenge of PKCE, base64url without padding.
    pub challenge: Option<Box<str>>,
    /// Seconds since the UNIX epoch.
    pub expires_at: u64,
}

/// Tokens that outlive the replay of their code: those of the client that presents it again, issued just now. A client that
/// did not get the answer asks again; anybody else, or later, has no business with the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spare {
    pub credential: Uuid,
    /// Seconds since the UNIX epoch; tokens issued before are not spared.
    pub since: u64,
}

impl Spare {
    pub fn spares(&self, token: &Token) -> bool {
        token.credential == self.credential && token.created_at >= self.since
    }
}

/// What became of a code that was to be redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// It was there and is gone now: the one redeemer may issue.
    Taken,
    /// It was not there, or another was faster.
    Gone,
}

/// What a token is known by where it is administered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Id(Uuid),
    Access(Digest),
}

/// Whose tokens are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Credential(Uuid),
    Service(Uuid),
}

impl Owner {
    pub fn owns(self, token: &Token) -> bool {
        match self {
            Self::Credential(id) => token.credential == id,
            Self::Service(id) => token.service == Some(id),
        }
    }
}

/// What another token has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Id,
    Access,
    Refresh,
}

/// Whether [`TokenStore::put`] creates or replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Only where no token has the id.
    New,
    /// In place of the one with the id, or as a new one.
    Replace,
}

/// The store could not do it; says why, without secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the token store failed: {0}")]
pub struct StoreFault(pub String);

type Result<T> = std::result::Result<T, StoreFault>;

/// Keeps tokens and codes. When a writing call returns, what it wrote survives the process, as far as the implementation
/// keeps anything, and every gateway that shares the store acts on it: at once on what is new, and on what was ended in the
/// time of any other change.
#[async_trait]
pub trait TokenStore: Send + Sync + std::fmt::Debug {
    /// An access token, from memory alone: the hot path. Whoever keeps it asks [`Gone::is_set`] at every use, or whenever
    /// [`Self::departures`] has moved.
    fn lookup(&self, access: &Digest) -> Option<Arc<Token>>;

    /// Counts how often memory has let tokens go, after their marks are set. A token that was not gone when, before its mark was
    /// looked at, this had some value is not gone while it has that value. Never [`u64::MAX`].
    fn departures(&self) -> u64;

    /// How many tokens memory holds.
    fn in_memory(&self) -> usize;

    /// Whether a token that [`Self::lookup`] does not know may still be known to [`Self::fetch`]: another gateway may have
    /// issued it.
    fn may_know_more(&self, access: &Digest) -> bool;

    /// An access token, from the shared store.
    async fn fetch(&self, access: &Digest) -> Result<Option<Arc<Token>>>;

    /// The token of a refresh token.
    async fn by_refresh(&self, refresh: &Digest) -> Result<Option<Arc<Token>>>;

    /// Keeps a new token.
    async fn issue(&self, token: Token) -> Result<()>;

    /// Puts `new` in the place of the token that has this refresh token, if that is still there: of several at once, one
    /// succeeds.
    async fn rotate(&self, refresh: &Digest, new: Token) -> Result<bool>;

    /// Keeps a new code.
    async fn put_code(&self, code: Code) -> Result<()>;

    /// A code, left where it is.
    async fn code(&self, digest: &Digest, now: u64) -> Result<Option<Code>>;

    /// Takes a code out and keeps the token given for it, both or neither: of several at once, one is told
    /// [`Redemption::Taken`], and the tokens of the others are not kept.
    async fn redeem(&self, digest: &Digest, token: Token) -> Result<Redemption>;

    /// Ends the tokens that were issued for a code, but for those that `spare` names.
    async fn revoke_issued_for(&self, code: &Digest, spare: Spare) -> Result<()>;

    /// Some tokens in the order of their ids, those after `after`.
    async fn list(&self, of: Option<Owner>, after: Option<Uuid>, size: usize) -> Result<Vec<Arc<Token>>>;

    /// One token, expired or not.
    async fn find(&self, name: Name) -> Result<Option<Arc<Token>>>;

    /// Keeps a token that somebody wrote down.
    async fn put(&self, token: Token, how: Put) -> Result<std::result::Result<(), Taken>>;

    /// Ends a token; whether it was there.
    async fn remove(&self, id: Uuid) -> Result<bool>;
}
