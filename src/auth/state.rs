//! What is known about a request so far, and what is to change before it goes on.

use std::hint::black_box;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Reason;
use super::changes::{HeaderChanges, KeptChanges, KeptValue};
use super::directory::JwtCredential;
use super::oauth2::Named;
use super::oauth2::store::Token;
use super::uses::minute;
use crate::entity::{Consumer, Oauth2Credential};
use crate::jose::Algorithm;

/// What a verified credential is called: its `key` or `client_id`, an API key's id, or a claim's value.
#[derive(Clone, Debug)]
pub enum Credential {
    Jwt(Arc<JwtCredential>),
    Oauth2(Arc<Oauth2Credential>),
    Text(Box<str>),
}

impl Deref for Credential {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Jwt(credential) => &credential.entity.key,
            Self::Oauth2(credential) => &credential.client_id,
            Self::Text(text) => text,
        }
    }
}

impl Credential {
    /// A number that mostly tells credentials of one consumer apart, found without looking into them.
    pub(in crate::auth) fn place(&self) -> usize {
        match self {
            Self::Jwt(credential) => Arc::as_ptr(credential).addr(),
            Self::Oauth2(credential) => Arc::as_ptr(credential).addr(),
            Self::Text(text) => text.len() << 4,
        }
    }
}

impl PartialEq for Credential {
    /// Whether they are called the same.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Jwt(one), Self::Jwt(other)) if Arc::ptr_eq(one, other) => true,
            (Self::Oauth2(one), Self::Oauth2(other)) if Arc::ptr_eq(one, other) => true,
            _ => **self == **other,
        }
    }
}

/// A credential as a request presents it. Never logged itself.
#[derive(Clone)]
pub enum Presented {
    Text(Arc<str>),
    /// An opaque token that is remembered.
    Named(Arc<Named>),
}

impl Deref for Presented {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Named(named) => named.text(),
        }
    }
}

impl<T: Into<Arc<str>>> From<T> for Presented {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented")
    }
}

/// Whose credential was verified.
#[derive(Debug)]
pub struct Caller {
    /// Absent for a token of an identity provider that is mapped to none.
    pub consumer: Option<Arc<Consumer>>,
    pub credential: Option<Credential>,
    /// What a token that was issued here says, if it was one and says anything.
    pub issued: Option<Box<Issued>>,
    /// The minute in which the credential's use was noted last.
    noted: AtomicU32,
}

/// What an issued token says that is told to the service. A copy: the token itself is one more place in memory, among those of all
/// tokens there are. What cannot be a header's value is left out.
#[derive(Debug)]
pub struct Issued {
    pub scope: Option<KeptValue>,
    pub userid: Option<KeptValue>,
}

impl Issued {
    fn of(token: &Token) -> Self {
        let kept = |text: &Option<Box<str>>| {
            let value = HeaderValue::from_bytes(text.as_deref()?.as_bytes()).ok()?;
            Some(KeptValue::of(&value))
        };
        Self { scope: kept(&token.scope), userid: kept(&token.userid) }
    }
}

/// Asks memory for what a service will be told of a caller. It lies in several places, each behind another one: for a caller that was not
/// here lately, asking early and for all of them costs one wait where asking one by one, when they are written, costs each its own.
fn approach(consumer: Option<&Arc<Consumer>>, credential: Option<&str>) {
    let name = consumer.and_then(|consumer| consumer.username.as_deref());
    black_box([name, credential].map(|text| text.and_then(|text| text.as_bytes().first()).copied()));
}

impl Caller {
    pub(in crate::auth) fn new(
        consumer: Option<Arc<Consumer>>,
        credential: Option<Credential>,
        issued: Option<&Token>,
    ) -> Self {
        let issued = issued.filter(|token| token.scope.is_some() || token.userid.is_some());
        let issued = issued.map(|token| Box::new(Issued::of(token)));
        Self { consumer, credential, issued, noted: AtomicU32::new(0) }
    }

    /// Whether this use is the first in its minute that this value is asked about; `now` in seconds since the UNIX epoch.
    pub fn is_first_use(&self, now: u64) -> bool {
        let minute = minute(now);
        let first = self.noted.load(Relaxed) != minute;
        if first {
            self.noted.store(minute, Relaxed);
        }
        first
    }

    /// Notes the credential's use: with itself, or else `note` does, unless that was done in this minute already; it says whether it did.
    /// `now` in seconds since the UNIX epoch.
    pub fn note_use(&self, now: u64, note: impl FnOnce() -> bool) {
        if let Some(Credential::Jwt(credential)) = &self.credential {
            credential.note_use(now);
            return;
        }
        let minute = minute(now);
        if self.noted.load(Relaxed) != minute && note() {
            self.noted.store(minute, Relaxed);
        }
    }
}

/// Who a request was found to come from.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A credential was verified.
    Authenticated(Arc<Caller>),
    /// No plugin authenticated anyone, and one names this consumer as its `anonymous`.
    Anonymous(Arc<Consumer>),
}

impl Principal {
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        match self {
            Self::Authenticated(caller) => caller.consumer.as_ref(),
            Self::Anonymous(consumer) => Some(consumer),
        }
    }
}

/// A principal that only `auth` can make: the proof, needed to write identity headers, that authentication took place.
#[derive(Clone, Debug)]
pub struct Authenticated(Principal);

impl Authenticated {
    pub(in crate::auth) fn new(principal: Principal) -> Self {
        Self(principal)
    }

    pub fn principal(&self) -> &Principal {
        &self.0
    }
}

/// One verification, for the latency histogram.
#[derive(Clone, Copy, Debug)]
pub struct Verification {
    /// `None` for tokens that are looked up.
    pub algorithm: Option<Algorithm>,
    pub took: Duration,
    pub cached: bool,
    pub valid: bool,
}

impl Verification {
    /// Of a token that was accepted before.
    pub(in crate::auth) fn again(algorithm: Option<Algorithm>, started: Instant) -> Self {
        Self { algorithm, took: started.elapsed(), cached: true, valid: true }
    }

    /// Of a token that is looked up.
    pub(in crate::auth) fn of_opaque(started: Instant, valid: bool) -> Self {
        Self { algorithm: None, took: started.elapsed(), cached: false, valid }
    }

    /// `HS256` and so on; `opaque` for tokens that are looked up.
    pub fn name(&self) -> &'static str {
        self.algorithm.map_or("opaque", Algorithm::name)
    }
}

/// What one plugin made of a request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A credential was verified.
    Allowed,
    /// It was not, and the anonymous consumer stands in.
    Anonymous(Reason),
    Denied(Reason),
}

/// What the plugins of one request share.
#[derive(Debug, Default)]
pub struct State {
    authenticated: Option<Authenticated>,
    verdict: Option<Verdict>,
    /// Why the plugin that ran last did not authenticate although the request goes on (anonymous fallback).
    pub fallback: Option<Reason>,
    pub verification: Option<Verification>,
    /// Keyed fingerprint input: the credential as it was presented; never logged itself.
    pub token: Option<Presented>,
    /// Issuer and key id of a refused token, and of one that no credential stands for, for the log.
    pub issuer: Option<Arc<str>>,
    pub key_id: Option<Box<str>>,
    /// Names that the plugin sets by what it verified, so that no client may send them: taken out in every spelling of them, whether
    /// they are set or not.
    pub guarded: Option<Arc<[HeaderName]>>,
    /// Changes of headers, as this request made them necessary.
    pub headers: HeaderChanges,
    /// Changes that an earlier request with the same token made necessary; they come first.
    again: Option<KeptChanges>,
    /// The query towards the service, where it changes; `Some("")` takes it away.
    pub query: Option<String>,
    /// The body towards the service, where it changes.
    pub body: Option<Bytes>,
}

impl State {
    pub fn authenticated(&self) -> Option<&Authenticated> {
        self.authenticated.as_ref()
    }

    /// Headers of the request that are removed, before any is set.
    pub fn removed(&self) -> impl Iterator<Item = &HeaderName> {
        self.again.iter().flat_map(KeptChanges::removed).chain(&self.headers.remove)
    }

    /// Headers of the request that are set towards the service, in this order.
    pub fn set(&self) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        let set = self.headers.set.iter().map(|(name, value)| (name, value.clone()));
        self.again.iter().flat_map(KeptChanges::set).chain(set)
    }

    /// Headers that are added to the response, in this order.
    pub fn response(&self) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        let response = self.headers.response.iter().map(|(name, value)| (name, value.clone()));
        self.again.iter().flat_map(KeptChanges::response).chain(response)
    }

    /// Whether no plugin has found anything out, or wants anything changed.
    pub(in crate::auth) fn is_untouched(&self) -> bool {
        self.authenticated.is_none()
            && self.again.is_none()
            && self.headers.is_empty()
            && self.query.is_none()
            && self.body.is_none()
    }

    /// Whether a credential was verified; an anonymous consumer alone does not count.
    pub fn has_credential(&self) -> bool {
        matches!(self.principal(), Some(Principal::Authenticated(_)))
    }

    pub fn principal(&self) -> Option<&Principal> {
        self.authenticated.as_ref().map(Authenticated::principal)
    }

    /// What the plugin that ran last made of the request; `None` when it had nothing to say (preflight, already authenticated).
    pub fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.principal().and_then(Principal::consumer)
    }

    /// Records a verified credential, in place of whoever was there before.
    pub(in crate::auth) fn authenticate(&mut self, consumer: Option<Arc<Consumer>>, credential: Option<Credential>) {
        self.known(Caller::new(consumer, credential, None));
    }

    /// Records whom a credential stands for that was accepted before.
    pub(in crate::auth) fn authenticate_known(&mut self, consumer: &Arc<Consumer>, credential: &Arc<JwtCredential>) {
        approach(Some(consumer), Some(&credential.entity.key));
        self.known(Caller::new(Some(consumer.clone()), Some(Credential::Jwt(credential.clone())), None));
    }

    /// Records the bearer of a token that was issued here.
    pub(in crate::auth) fn authenticate_issued(
        &mut self,
        consumer: Arc<Consumer>,
        client: Arc<Oauth2Credential>,
        token: &Token,
    ) {
        self.known(Caller::new(Some(consumer), Some(Credential::Oauth2(client)), Some(token)));
    }

    fn known(&mut self, caller: Caller) {
        self.authenticate_again(Authenticated::new(Principal::Authenticated(Arc::new(caller))), None);
    }

    /// Records whom the same credential stood for before, and what became of headers then.
    pub(in crate::auth) fn authenticate_again(&mut self, known: Authenticated, changes: Option<KeptChanges>) {
        if let Principal::Authenticated(caller) = known.principal() {
            approach(caller.consumer.as_ref(), caller.credential.as_deref());
        }
        self.verdict = Some(Verdict::Allowed);
        self.fallback = None;
        self.authenticated = Some(known);
        if changes.is_some() {
            self.again = changes;
        }
    }

    /// Records the anonymous consumer, and why.
    pub(in crate::auth) fn anonymous(&mut self, consumer: Arc<Consumer>, reason: Reason) {
        self.fallback = Some(reason);
        self.verdict = Some(Verdict::Anonymous(reason));
        self.authenticated = Some(Authenticated::new(Principal::Anonymous(consumer)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::auth::testing;
    use crate::entity::JwtSecret;

    #[test]
    fn a_credentials_use_is_noted_once_a_minute_whichever_token_it_was() {
        let of_text = || Caller::new(None, Some(Credential::Text("k".into())), None);
        let noted = Cell::new(0);
        let use_at = |caller: &Caller, now, is_free| {
            let before = noted.get();
            caller.note_use(now, || {
                noted.set(before + 1);
                is_free
            });
            noted.get() - before
        };
        let (one, other) = (of_text(), of_text());
        assert_eq!(use_at(&one, 6_000, false), 1);
        assert_eq!(use_at(&one, 6_001, true), 1, "it could not be noted before");
        assert_eq!((use_at(&one, 6_059, true), use_at(&other, 6_059, true)), (0, 1));
        assert_eq!(use_at(&one, 6_060, true), 1);
    }

    #[test]
    fn a_jwt_credential_notes_its_use_itself_and_what_takes_its_place_knows_it() {
        let secret = |n, consumer, key| testing::jwt_secret(n, consumer, key, Algorithm::Hs256, "secret", None);
        let mut directory = testing::directory([secret(1, 1, "k")], []);
        let credential = directory.jwt.get("k").cloned().unwrap();
        assert_eq!(credential.last_used(), None);
        let caller = Caller::new(None, Some(Credential::Jwt(credential.clone())), None);
        caller.note_use(6_119, || panic!("nothing else is to be done"));
        assert_eq!(credential.last_used(), Some(6_060));
        let mut put = |entity: JwtSecret| {
            directory.put_jwt(Arc::new(entity), Some(&credential), &mut Vec::new());
        };
        put(secret(1, 1, "k"));
        put(secret(2, 1, "other"));
        let used = |key: &str| directory.jwt.get(key).unwrap().last_used();
        assert_eq!((used("k"), used("other")), (Some(6_060), None));
        directory.put_jwt(Arc::new(secret(1, 2, "k")), Some(&credential), &mut Vec::new());
        assert_eq!(directory.jwt.get("k").unwrap().last_used(), None, "another consumer's");
    }
}
