//! JWT access tokens: signature and claims, rights, consumer and credential.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::Oidc;
use super::claims::{is_access_token, text};
use super::decide::{Accepted, Halt, Have, Need};
use super::present::hide;
use super::provider::Found;
use crate::auth::identity::{X_AUTHENTICATED_SCOPE, X_AUTHENTICATED_USERID};
use crate::auth::verified::Outcome;
use crate::auth::{Reason, Rejection, Request, State, Verification};
use crate::entity::Consumer;
use crate::jose::{Fault, Jws, Object, Value};

/// Longest issuer or key id of a refused token that goes into the log.
const LOGGED: usize = 256;

/// Headers of a token that was issued here.
pub fn issued_headers(scope: Option<&str>, userid: Option<&str>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let header =
        |name: &HeaderName, value: Option<&str>| Some((name.clone(), HeaderValue::from_bytes(value?.as_bytes()).ok()?));
    header(&X_AUTHENTICATED_SCOPE, scope).into_iter().chain(header(&X_AUTHENTICATED_USERID, userid))
}

impl Oidc {
    /// Verifies a JWT and goes on with it. `verify`: its signature, too, unless no signature is to be verified at all.
    pub(super) fn with_jwt(
        &self,
        request: &Request<'_>,
        state: &mut State,
        have: &Have,
        token: &str,
        verify: bool,
        then: impl FnOnce(&mut State, &Jws<'_>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut scratch = Vec::new();
        let jws = Jws::parse(token.as_bytes(), &mut scratch)
            .map_err(|fault| self.replies.unauthorized(malformed(fault), true))?;
        let checked = self.check(request, state, have, token, &jws, verify);
        let result = checked.and_then(|()| then(state, &jws));
        if let Err(Halt::Refused(_)) = &result {
            state.issuer = jws.claims.str("iss").filter(|text| text.len() <= LOGGED).map(Into::into);
            state.key_id = jws.key_id().filter(|text| text.len() <= LOGGED).map(Into::into);
        }
        result
    }

    fn check(
        &self,
        request: &Request<'_>,
        state: &mut State,
        have: &Have,
        token: &str,
        jws: &Jws<'_>,
        verify: bool,
    ) -> Result<(), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        if !is_access_token(&jws.header, &jws.claims) {
            return Err(refused(Reason::TypMismatch));
        }
        if self.times.is_some() {
            self.check_issuer(have, jws)?;
        }
        if verify && self.config.verify_signature != Some(false) {
            self.verify(state, have, token, jws)?;
        }
        if let Some(times) = self.times {
            times.check(&jws.claims, request.now).map_err(refused)?;
            let domains = &self.config.domains;
            let within = || jws.claims.str("hd").is_some_and(|hd| domains.iter().any(|domain| domain == hd));
            if !domains.is_empty() && !within() {
                return Err(refused(Reason::ClaimRule));
            }
        }
        Ok(())
    }

    fn check_issuer(&self, have: &Have, jws: &Jws<'_>) -> Result<(), Halt> {
        let unknown = || Halt::Refused(self.replies.unauthorized(Reason::IssuerUnknown, true));
        let issuer = jws.claims.str("iss").ok_or_else(unknown)?;
        let allowed = &self.config.issuers_allowed;
        if !allowed.is_empty() {
            return if allowed.iter().any(|there| there == issuer) { Ok(()) } else { Err(unknown()) };
        }
        if self.provider.source.discovery.is_none() {
            return if self.provider.source.issuer == issuer { Ok(()) } else { Err(unknown()) };
        }
        match self.provider.published().as_deref() {
            Some(published) if published.metadata.issuer == issuer => Ok(()),
            Some(_) => Err(unknown()),
            // Nothing has been fetched yet; a token of another issuer need not wait for that.
            None if self.provider.source.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') => Err(unknown()),
            None => Err(self.keys_or(have, None, Reason::JwksUnavailable)),
        }
    }

    fn verify(&self, state: &mut State, have: &Have, token: &str, jws: &Jws<'_>) -> Result<(), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        let started = Instant::now();
        let outcome = if jws.algorithm.is_hmac() {
            let mut keys = self.secrets.iter().filter(|key| key.algorithm() == jws.algorithm).peekable();
            if keys.peek().is_none() {
                return Err(refused(Reason::AlgNotAllowed));
            }
            Outcome { valid: keys.any(|key| key.verify(jws.signing_input, jws.signature)), cached: false }
        } else {
            let published = self.provider.published();
            let Some(keys) = published.as_deref() else {
                return Err(self.keys_or(have, None, Reason::JwksUnavailable));
            };
            // A `kid` that is no text is none that a key could have.
            let kid = match jws.header.get("kid") {
                None => None,
                Some(Value::String(kid)) => Some(&**kid),
                Some(_) => return Err(refused(Reason::KidUnknown)),
            };
            match keys.find(kid, jws.algorithm) {
                Found::Key(key) => self.lent.verified.verify(key, token.as_bytes(), jws.signing_input, jws.signature),
                Found::OtherAlgorithm => return Err(refused(Reason::AlgKeyMismatch)),
                Found::KidMissing => return Err(refused(Reason::KidMissing)),
                Found::UnknownKid => return Err(self.keys_or(have, kid, Reason::KidUnknown)),
            }
        };
        state.verification = Some(Verification {
            algorithm: jws.algorithm.name(),
            took: started.elapsed(),
            cached: outcome.cached,
            valid: outcome.valid,
        });
        if outcome.valid { Ok(()) } else { Err(refused(Reason::SignatureInvalid)) }
    }

    /// Another fetch of the keys, where that can help; otherwise the refusal.
    pub(super) fn keys_or(&self, have: &Have, kid: Option<&str>, reason: Reason) -> Halt {
        // Twice: the fetch that was under way may have begun before the key was there.
        if have.keys < 2
            && let Some(waiting) = self.provider.ask(kid)
        {
            return Halt::Need(Box::new(Need::Keys(waiting)));
        }
        if reason == Reason::KidUnknown {
            self.provider.note_unknown(kid, have.keys > 0);
        }
        Halt::Refused(self.replies.unauthorized(reason, true))
    }

    /// Rights, consumer, credential, headers: for the claims of whatever was accepted.
    pub(super) fn admit(
        &self,
        request: &Request<'_>,
        state: &mut State,
        claims: &Object<'_>,
        accepted: Option<Accepted<'_>>,
    ) -> Result<(), Halt> {
        self.authorise(claims)?;
        let consumer = match self.consumer(request, claims) {
            Some(found) => found,
            None if self.config.consumer_optional => None,
            None => return Err(self.replies.forbidden(Reason::ConsumerUnknown).into()),
        };
        let credential = claims.path(&self.config.credential_claim).and_then(text);
        self.pass_on(request, state, claims, accepted);
        state.authenticate(consumer, credential.map(Into::into));
        Ok(())
    }

    pub(super) fn authorise(&self, claims: &Object<'_>) -> Result<(), Box<Rejection>> {
        if let Some(broken) = self.rules.iter().find(|rule| !rule.holds(claims)) {
            return Err(self.replies.forbidden(broken.reason));
        }
        if self.config.claims_forbidden.iter().any(|name| claims.get(name).is_some()) {
            return Err(self.replies.forbidden(Reason::ClaimRule));
        }
        Ok(())
    }

    /// `Some(None)` when none is wanted, `None` when one is and there is none.
    fn consumer(&self, request: &Request<'_>, claims: &Object<'_>) -> Option<Option<Arc<Consumer>>> {
        if self.config.consumer_claim.is_empty() {
            return Some(None);
        }
        let value = claims.path(&self.config.consumer_claim).and_then(text).filter(|value| !value.is_empty())?;
        let directory = request.directory;
        let found = self.config.consumer_by.iter().find_map(|by| match by.as_str() {
            "id" => uuid::Uuid::try_parse(&value).ok().and_then(|id| directory.consumer(id)),
            "custom_id" => directory.by_custom_id.get(&*value),
            "username" => directory.by_username.get(&*value).or_else(|| {
                // Costs a look at every consumer, so only after the exact name was not found.
                let same = |name: &str| name.to_lowercase() == value.to_lowercase();
                let ignoring = self.config.by_username_ignore_case;
                let mut all = directory.consumers.iter().filter(|_| ignoring);
                all.find(|consumer| consumer.username.as_deref().is_some_and(same))
            }),
            _ => None,
        });
        found.cloned().map(Some)
    }

    pub(super) fn pass_on(
        &self,
        request: &Request<'_>,
        state: &mut State,
        claims: &Object<'_>,
        accepted: Option<Accepted<'_>>,
    ) {
        let Some(Accepted { token, place }) = accepted else { return };
        if self.config.hide_credentials {
            hide(request, state, place, self.config.bearer_token_cookie_name.as_deref());
        }
        self.passing.pass(state, claims, token);
    }
}

fn malformed(fault: Fault) -> Reason {
    match fault {
        Fault::Segments => Reason::Malformed,
        Fault::HeaderBase64 | Fault::PayloadBase64 | Fault::SignatureBase64 => Reason::BadBase64,
        Fault::HeaderJson | Fault::PayloadJson | Fault::PayloadScalar | Fault::PayloadNotObject => Reason::BadJson,
        Fault::Algorithm => Reason::AlgNotAllowed,
        Fault::AlgorithmNone => Reason::AlgNone,
        Fault::Critical => Reason::CritUnsupported,
    }
}
