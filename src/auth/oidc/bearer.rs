//! A JWT, step by step: form, kind, issuer, signature, times.

use std::sync::Arc;
use std::time::Instant;

use super::Oidc;
use super::attempt::{Attempt, Halt, Need};
use super::issuers::{Found, Whose};
use super::provider::{Asked, Provider};
use crate::auth::trace::{Check, Trace, shown};
use crate::auth::verified::{Outcome, Seen, Verifier};
use crate::auth::{Reason, Verification};
use crate::jose::{Fault, Jws, Value};

/// Longest issuer or key id of a refused token that goes into the log.
const LOGGED: usize = 256;

impl Oidc {
    /// Verifies a JWT and goes on with it. `verify`: its signature, too, unless no signature is to be verified at all.
    pub(super) fn with_jwt<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        (token, seen): (&str, &Seen),
        verify: bool,
        then: impl FnOnce(&mut Attempt<'_, T>, &Jws<'_>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut scratch = Vec::new();
        let jws = match seen.read(token.as_bytes(), &mut scratch) {
            Ok(jws) => jws,
            Err(fault) => {
                let (check, reason) = malformed(fault);
                return Err(self.refuse(at, check, reason, || fault.to_string()));
            }
        };
        at.passed(Check::Structure, || format!("a JWS signed with {}", jws.algorithm));
        let result = self.check(at, (token, seen), &jws, verify).and_then(|()| then(at, &jws));
        if let Err(Halt::Refused(_)) = &result {
            at.state.issuer = jws.claims.str("iss").filter(|text| text.len() <= LOGGED).map(Into::into);
            at.state.key_id = jws.key_id().filter(|text| text.len() <= LOGGED).map(Into::into);
        }
        result
    }

    fn check<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        token: (&str, &Seen),
        jws: &Jws<'_>,
        verify: bool,
    ) -> Result<(), Halt> {
        self.check_kind(at, jws)?;
        let provider = self.check_issuer(at, jws)?;
        if verify && self.config.verify_signature != Some(false) {
            self.check_signature(at, provider, token, jws)?;
        } else {
            at.noted(Check::Signature, || "not verified: verify_signature or ignore_signature says so");
        }
        self.check_times(at, jws)?;
        self.check_domain(at, jws)
    }

    /// Whether it is an access token at all.
    fn check_kind<T: Trace>(&self, at: &mut Attempt<'_, T>, jws: &Jws<'_>) -> Result<(), Halt> {
        if jws.registered.is_access_token {
            return Ok(());
        }
        Err(self.refuse(at, Check::Kind, Reason::TypMismatch, || "an ID, refresh or logout token, or a proof"))
    }

    /// Whose keys may verify it: its issuer's, if that is one of ours.
    fn check_issuer<T: Trace>(&self, at: &mut Attempt<'_, T>, jws: &Jws<'_>) -> Result<&Arc<Provider>, Halt> {
        let issuer = jws.claims.str("iss");
        if self.times.is_none() {
            at.noted(Check::Issuer, || "not checked: verify_claims is off");
            return Ok(match issuer.map(|issuer| self.issuers.whose(issuer)) {
                Some(Whose::Of(provider)) => provider,
                _ => &self.issuers.main,
            });
        }
        let Some(issuer) = issuer else {
            return Err(self.refuse(at, Check::Issuer, Reason::IssuerUnknown, || "no `iss` that is a text"));
        };
        match self.issuers.whose(issuer) {
            Whose::Of(provider) => {
                at.passed(Check::Issuer, || shown(issuer));
                Ok(provider)
            }
            Whose::Unclear => {
                let main = &self.issuers.main;
                Err(self.keys_or(at, main, None, Check::Issuer, Reason::JwksUnavailable, "its document is not there"))
            }
            Whose::Nobodys => Err(self.refuse(at, Check::Issuer, Reason::IssuerUnknown, || {
                format!("`{}` is not the issuer of this configuration", shown(issuer))
            })),
        }
    }

    fn check_signature<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        provider: &Arc<Provider>,
        token: (&str, &Seen),
        jws: &Jws<'_>,
    ) -> Result<(), Halt> {
        let started = Instant::now();
        let outcome = if jws.algorithm.is_hmac() {
            self.check_secrets(at, jws)?
        } else {
            self.check_keys(at, provider, token, jws)?
        };
        at.state.verification = Some(Verification {
            algorithm: Some(jws.algorithm),
            took: started.elapsed(),
            cached: outcome.cached,
            valid: outcome.valid,
        });
        if !outcome.valid {
            return Err(self.refuse(
                at,
                Check::Signature,
                Reason::SignatureInvalid,
                || "does not verify with the issuer's key of this `kid`",
            ));
        }
        self.note(provider, jws, at.request.now);
        at.passed(Check::Signature, || {
            format!("verified with {}{}", jws.algorithm, if outcome.cached { ", cached" } else { "" })
        });
        Ok(())
    }

    /// Notes that a provider's key was used.
    fn note(&self, provider: &Provider, jws: &Jws<'_>, now: u64) {
        if !jws.algorithm.is_hmac() {
            let kid = jws.key_id().unwrap_or_default();
            self.lent.registry.key_uses.touch(provider.series.issuer(), kid, now);
        }
    }

    /// Notes the use of the key of a token that was accepted before.
    pub(super) fn note_use(&self, token: &str, seen: &Seen, now: u64) {
        if self.config.verify_signature == Some(false) {
            return;
        }
        let mut scratch = Vec::new();
        let Ok(jws) = seen.read(token.as_bytes(), &mut scratch) else { return };
        if let Some(Whose::Of(provider)) = jws.claims.str("iss").map(|issuer| self.issuers.whose(issuer)) {
            self.note(provider, &jws, now);
        }
    }

    /// HMAC with the client's secret, where that is enabled.
    fn check_secrets<T: Trace>(&self, at: &mut Attempt<'_, T>, jws: &Jws<'_>) -> Result<Outcome, Halt> {
        let mut keys = self.secrets.iter().filter(|key| key.algorithm() == jws.algorithm).peekable();
        if keys.peek().is_none() {
            return Err(self.refuse(at, Check::Algorithm, Reason::AlgNotAllowed, || {
                format!("{}, and enable_hs_signatures is off or there is no secret", jws.algorithm)
            }));
        }
        Ok(Outcome { valid: keys.any(|key| key.verify(jws.signing_input, jws.signature)), cached: false })
    }

    /// A signature by the key of the issuer that has the token's `kid` and `alg`, and by no other.
    fn check_keys<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        provider: &Arc<Provider>,
        token: (&str, &Seen),
        jws: &Jws<'_>,
    ) -> Result<Outcome, Halt> {
        let kid = match jws.header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(&**kid),
            // None that a key could have.
            Some(_) => return Err(self.refuse(at, Check::Key, Reason::KidUnknown, || "`kid` is not a text")),
        };
        let published = provider.published();
        match self.issuers.find(provider, published.as_deref(), kid, jws.algorithm) {
            Found::Key(key) => {
                if provider.is_stale() {
                    provider.series.stale_serve();
                }
                at.passed(Check::Key, || match kid {
                    Some(kid) => format!("`{}`", shown(kid)),
                    None => "the only one for the algorithm".to_owned(),
                });
                let (token, seen) = token;
                Ok(self.lent.verified.verify(Verifier::Key(key), seen, token.as_bytes(), jws))
            }
            Found::OtherAlgorithm => Err(self.refuse(at, Check::Algorithm, Reason::AlgKeyMismatch, || {
                format!("the issuer's key of this `kid` is not for {}", jws.algorithm)
            })),
            Found::KidMissing => Err(self.refuse(
                at,
                Check::Key,
                Reason::KidMissing,
                || "no `kid`, and not exactly one key is for the algorithm",
            )),
            Found::UnknownKid => {
                let detail = "the issuer has no key of this `kid`";
                Err(self.keys_or(at, provider, kid, Check::Key, Reason::KidUnknown, detail))
            }
            Found::NoKeys => {
                let detail = "the issuer's keys could not be fetched";
                Err(self.keys_or(at, provider, None, Check::Key, Reason::JwksUnavailable, detail))
            }
        }
    }

    fn check_times<T: Trace>(&self, at: &mut Attempt<'_, T>, jws: &Jws<'_>) -> Result<(), Halt> {
        let Some(times) = self.times else { return Ok(()) };
        let now = at.request.now;
        let told = || times.told(&jws.claims, now);
        match times.check(&jws.registered, now) {
            Ok(()) => at.passed(Check::Claims, told),
            Err(reason) => return Err(self.refuse(at, Check::Claims, reason, told)),
        }
        Ok(())
    }

    /// `domains`, against the claim `hd`.
    fn check_domain<T: Trace>(&self, at: &mut Attempt<'_, T>, jws: &Jws<'_>) -> Result<(), Halt> {
        let domains = &self.config.domains;
        let within = || jws.claims.str("hd").is_some_and(|hd| domains.iter().any(|domain| domain == hd));
        if self.times.is_none() || domains.is_empty() || within() {
            return Ok(());
        }
        Err(self.refuse(at, Check::Claims, Reason::ClaimRule, || "`hd` is none of `domains`"))
    }

    /// Another fetch of the keys, where that can help; otherwise the refusal.
    pub(super) fn keys_or<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        provider: &Arc<Provider>,
        kid: Option<&str>,
        check: Check,
        reason: Reason,
        detail: &'static str,
    ) -> Halt {
        // Twice: the fetch that was under way may have begun before the key was there.
        let asked = if at.have.keys < 2 { Some(provider.ask(kid)) } else { None };
        let action = match asked {
            Some(Asked::Waiting(waiting)) => return Halt::Need(Box::new(Need::Keys(waiting))),
            _ if at.have.keys > 0 => "fetched",
            Some(Asked::KnownUnknown) => "known",
            Some(Asked::Cooldown) | None => "cooldown",
        };
        if reason == Reason::KidUnknown {
            provider.series.unknown_kid(action);
            if let Some(kid) = kid.filter(|_| at.have.keys > 0) {
                provider.note_unknown(kid);
            }
        }
        self.refuse(at, check, reason, || detail)
    }
}

fn malformed(fault: Fault) -> (Check, Reason) {
    match fault {
        Fault::Segments => (Check::Structure, Reason::Malformed),
        Fault::HeaderBase64 | Fault::PayloadBase64 | Fault::SignatureBase64 => (Check::Structure, Reason::BadBase64),
        Fault::HeaderJson | Fault::PayloadJson | Fault::PayloadScalar | Fault::PayloadNotObject => {
            (Check::Structure, Reason::BadJson)
        }
        Fault::Algorithm => (Check::Header, Reason::AlgNotAllowed),
        Fault::AlgorithmNone => (Check::Header, Reason::AlgNone),
        Fault::Critical => (Check::Header, Reason::CritUnsupported),
    }
}
