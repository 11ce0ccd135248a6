//! What is known about a request so far, and what is to change before it goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Reason;
use super::oauth2::store::Token;
use crate::entity::Consumer;

/// Who a request was found to come from.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A credential was verified. The consumer is absent for a token of an identity provider that is mapped to none.
    Authenticated {
        consumer: Option<Arc<Consumer>>,
        credential: Option<Box<str>>,
        /// The token that was issued here, if it was one: its scope and user are told to the service.
        issued: Option<Arc<Token>>,
    },
    /// No plugin authenticated anyone, and one names this consumer as its `anonymous`.
    Anonymous(Arc<Consumer>),
}

impl Principal {
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        match self {
            Self::Authenticated { consumer, .. } => consumer.as_ref(),
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
    /// `HS256` and so on; `opaque` for tokens that are looked up.
    pub algorithm: &'static str,
    pub took: Duration,
    pub cached: bool,
    pub valid: bool,
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
    pub token: Option<Arc<str>>,
    /// Issuer and key id of a refused token, and of one that no credential stands for, for the log.
    pub issuer: Option<Arc<str>>,
    pub key_id: Option<Box<str>>,
    /// Names that the plugin sets by what it verified, so that no client may send them: taken out in every spelling of them, whether
    /// they are set or not.
    pub guarded: Option<Arc<[HeaderName]>>,
    /// Headers of the request that are set towards the service.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of the request that are removed, before any is set.
    pub remove_headers: Vec<HeaderName>,
    /// Headers added to the response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// The query towards the service, where it changes; `Some("")` takes it away.
    pub query: Option<String>,
    /// The body towards the service, where it changes.
    pub body: Option<Bytes>,
}

impl State {
    pub fn authenticated(&self) -> Option<&Authenticated> {
        self.authenticated.as_ref()
    }

    /// Whether a credential was verified; an anonymous consumer alone does not count.
    pub fn has_credential(&self) -> bool {
        matches!(self.principal(), Some(Principal::Authenticated { .. }))
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
    pub(in crate::auth) fn authenticate(&mut self, consumer: Option<Arc<Consumer>>, credential: Option<Box<str>>) {
        self.known(Principal::Authenticated { consumer, credential, issued: None });
    }

    /// Records the bearer of a token that was issued here.
    pub(in crate::auth) fn authenticate_issued(
        &mut self,
        consumer: Arc<Consumer>,
        client_id: Box<str>,
        token: Arc<Token>,
    ) {
        let (consumer, credential) = (Some(consumer), Some(client_id));
        self.known(Principal::Authenticated { consumer, credential, issued: Some(token) });
    }

    fn known(&mut self, principal: Principal) {
        self.verdict = Some(Verdict::Allowed);
        self.fallback = None;
        self.authenticated = Some(Authenticated::new(principal));
    }

    /// Records the anonymous consumer, and why.
    pub(in crate::auth) fn anonymous(&mut self, consumer: Arc<Consumer>, reason: Reason) {
        self.fallback = Some(reason);
        self.verdict = Some(Verdict::Anonymous(reason));
        self.authenticated = Some(Authenticated::new(Principal::Anonymous(consumer)));
    }
}
