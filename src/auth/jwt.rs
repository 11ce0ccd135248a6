//! The `jwt` plugin: Kong's token sources, checks, messages and their order, as recorded from Kong 3.9.
//!
//! Stricter than Kong only where Kong crashes or a specification refuses: a header or payload that is not an object,
//! duplicate members, non-canonical base64url, extensions that are not understood, keys that are too weak. Hot;
//! `benches/tokens.rs` measures it.

mod credential;
mod near;
mod token;

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

pub use self::credential::{CredentialKey, prepare_key};
use self::token::{Found, Sources};
use super::anonymous::Anonymous;
use super::challenge::Challenge;
use super::decided::Basis;
use super::directory::JwtCredential;
use super::reason::Body;
use super::state::Verification;
use super::trace::{Check, Hint, HintCode, NoTrace, Step, Time, Trace, consumer_name, shown, span};
use super::verified::{Accepted, Asked, Verified, Verifier, Window};
use super::{Directory, Flow, Plugin, Reason, Rejection, Request, State, hints};
use crate::diagnostic::Diagnostic;
use crate::jose::{Fault, Jws, KeyFault, Registered, Value, base64url};

/// The plugin's configuration; every field is there, defaults filled in by its table.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    uri_param_names: Option<Vec<String>>,
    #[serde(default)]
    cookie_names: Option<Vec<String>>,
    #[serde(default)]
    header_names: Option<Vec<String>>,
    key_claim_name: String,
    #[serde(default)]
    secret_is_base64: bool,
    #[serde(default)]
    claims_to_verify: Option<Vec<TimeClaim>>,
    /// Seconds; 0 = off.
    #[serde(default)]
    maximum_expiration: Option<f64>,
    #[serde(default)]
    anonymous: Option<String>,
    #[serde(default)]
    run_on_preflight: Option<bool>,
    #[serde(default)]
    realm: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TimeClaim {
    Exp,
    Nbf,
}

/// What the plugin is lent when it is compiled.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Longest token that is looked at, in bytes.
    pub token_limit: usize,
    pub verified: Arc<Verified>,
}

impl Default for Lent {
    fn default() -> Self {
        Self { token_limit: 16 * 1024, verified: Arc::default() }
    }
}

/// A compiled `jwt` plugin.
#[derive(Debug)]
pub struct Jwt {
    sources: Sources,
    key_claim: String,
    secret_is_base64: bool,
    claims: Vec<TimeClaim>,
    maximum_expiration: Option<f64>,
    anonymous: Anonymous,
    run_on_preflight: bool,
    challenge: Challenge,
    lent: Lent,
}

impl Jwt {
    /// Compiles a configuration that has passed the plugin's table.
    ///
    /// # Errors
    /// When it has not, or the realm cannot stand in a header.
    pub fn compile(config: &Map<String, Json>, lent: Lent) -> Result<Self, Vec<Diagnostic>> {
        let config: Config = super::config(config)?;
        Ok(Self {
            sources: Sources::new(
                config.uri_param_names.unwrap_or_default(),
                config.cookie_names.unwrap_or_default(),
                &config.header_names.unwrap_or_default(),
            ),
            key_claim: config.key_claim_name,
            secret_is_base64: config.secret_is_base64,
            claims: config.claims_to_verify.unwrap_or_default(),
            maximum_expiration: config.maximum_expiration.filter(|seconds| *seconds > 0.0),
            anonymous: Anonymous::new(config.anonymous),
            run_on_preflight: config.run_on_preflight.unwrap_or(true),
            challenge: Challenge::bearer(config.realm.as_deref())?,
            lent,
        })
    }

    /// Decides, telling a trace of every check.
    ///
    /// # Errors
    /// The refusal.
    pub fn explain<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        if !self.run_on_preflight && *request.method == Method::OPTIONS {
            trace.record(|| Step::noted(Check::Applies, "OPTIONS passes, since run_on_preflight is false"));
            return Ok(());
        }
        self.anonymous.guard(request, state, trace, |state, trace| self.authenticate(request, state, trace))
    }

    fn authenticate<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let token = match self.sources.find(request) {
            Found::One(token) => token,
            Found::None => {
                trace.record(|| self.sources.explain_none(request));
                let (name, value) = self.challenge.for_missing();
                return Err(
                    Rejection::message(Reason::NoToken, StatusCode::UNAUTHORIZED, "Unauthorized").header(name, value)
                );
            }
            Found::Several => {
                trace.record(|| {
                    let detail = format!("several different tokens: {}", self.sources.places(request));
                    Step::failed(Check::Sources, detail).hint(Hint::new(
                        HintCode::SeveralTokens,
                        "send one: a token in the query and another one in a header or cookie exclude each other",
                    ))
                });
                return Err(self.reject(Reason::MultipleTokens, "Multiple tokens provided"));
            }
            Found::Bare => {
                trace.record(|| Step::failed(Check::Sources, "a query argument without a value"));
                return Err(self.reject(Reason::Malformed, "Unrecognizable token"));
            }
        };
        trace.record(|| {
            let places = self.sources.places(request);
            Step::passed(Check::Sources, format!("one token of {} bytes: {places}", token.len()))
        });
        let started = Instant::now();
        let within = token.len() <= self.lent.token_limit;
        // The lossy way looks at every byte by itself.
        let text: Arc<str> =
            std::str::from_utf8(&token).map_or_else(|_| String::from_utf8_lossy(&token).into(), Into::into);
        state.token = Some(text.into());
        if !within {
            trace.record(|| Step::failed(Check::Size, format!("the limit is {} bytes", self.lent.token_limit)));
            return Err(self.reject(Reason::TokenTooLarge, "Bad token; too large"));
        }
        let asked = self.lent.verified.ask(&token, Basis::new(request, self, 0));
        if self.accepted(request, state, &asked, started) {
            return Ok(());
        }
        let mut scratch = Vec::new();
        let jws = Jws::parse(&token, &mut scratch).map_err(|fault| self.malformed(fault, &token, request, trace))?;
        trace.record(|| {
            Step::passed(Check::Structure, "three segments of base64url, header and payload are JSON objects")
        });
        trace.record(|| Step::passed(Check::Header, near::header(&jws)));
        let result = self.check(request, state, &token, (&jws, &asked), trace);
        if result.is_err() {
            state.issuer = jws.claims.str("iss").filter(|text| text.len() <= LOGGED).map(Into::into);
            state.key_id = jws.key_id().filter(|text| text.len() <= LOGGED).map(Into::into);
        }
        result
    }

    /// Whether the token was accepted before, and still is: then everything is as it was.
    fn accepted(&self, request: &Request<'_>, state: &mut State, asked: &Asked, started: Instant) -> bool {
        let directory = request.directory;
        let accepted = self.lent.verified.accepted(asked).filter(|found| found.window.contains(request.now));
        let found = accepted
            .and_then(|found| Some((directory.jwt.at(found.credential)?, directory.consumers.at(found.consumer)?)));
        let Some((credential, consumer)) = found else { return false };
        state.authenticate_known(consumer, credential);
        state.verification = Some(Verification::again(Some(credential.entity.algorithm), started));
        true
    }

    /// Keeps that a token was accepted, once it came again: most come once.
    fn keep(&self, asked: &Asked, jws: &Jws<'_>, credential: &JwtCredential, directory: &Directory) {
        let places =
            directory.jwt.place(&*credential.entity.key).zip(directory.consumers.place(&credential.entity.consumer.id));
        if let Some((credential, consumer)) = places {
            let window = self.window(&jws.registered);
            self.lent.verified.accept(asked, Accepted { window, credential, consumer });
        }
    }

    /// The checks on a well-formed token.
    fn check<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        token: &[u8],
        (jws, asked): (&Jws<'_>, &Asked),
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let key = self.key_of(request, jws, trace)?;
        let Some(credential) = request.directory.jwt.get(key) else {
            trace.record(|| {
                Step::failed(Check::Credential, format!("no jwt_secrets entry with the key `{}`", shown(key)))
                    .hint(near::credential(key, &self.key_claim, jws, request.directory))
            });
            return Err(
                self.reject(Reason::CredentialUnknown, format!("No credentials found for given '{}'", self.key_claim))
            );
        };
        trace.record(|| {
            let entity = &credential.entity;
            Step::passed(Check::Credential, format!("jwt_secrets `{}` ({})", shown(&entity.key), entity.id))
        });
        if jws.algorithm != credential.entity.algorithm {
            trace.record(|| {
                Step::failed(
                    Check::Algorithm,
                    format!("the token says {}, the credential {}", jws.algorithm, credential.entity.algorithm),
                )
                .hint(near::algorithm(credential, jws, request.directory))
            });
            return Err(self.reject(Reason::AlgKeyMismatch, "Invalid algorithm"));
        }
        trace.record(|| Step::passed(Check::Algorithm, format!("{}, as the credential says", jws.algorithm)));
        self.verify(credential, token, (jws, asked), request, state, trace)?;
        self.check_times(&jws.registered, request.now, trace)?;

        let Some(consumer) = request.directory.consumer(credential.entity.consumer.id) else {
            trace.record(|| Step::failed(Check::Consumer, "the credential's consumer does not exist"));
            let message = format!("Could not find consumer for '{}={key}'", self.key_claim);
            return Err(Rejection::message(Reason::ConsumerUnknown, StatusCode::UNAUTHORIZED, message));
        };
        trace.record(|| Step::passed(Check::Consumer, consumer_name(consumer)));
        state.authenticate_known(consumer, credential);
        if state.verification.is_some_and(|verification| verification.cached) {
            self.keep(asked, jws, credential, request.directory);
        }
        Ok(())
    }

    /// The claim, or failing that the header member, that names the credential. `false` counts as absent, as in Kong.
    fn key_of<'t, T: Trace>(
        &self,
        request: &Request<'_>,
        jws: &'t Jws<'_>,
        trace: &mut T,
    ) -> Result<&'t str, Box<Rejection>> {
        let there = |value: &&Value<'_>| there_is(value);
        let value =
            jws.claims.get(&self.key_claim).filter(there).or_else(|| jws.header.get(&self.key_claim).filter(there));
        match value {
            None => {
                trace.record(|| {
                    Step::failed(Check::KeyClaim, format!("neither claims nor header have `{}`", self.key_claim))
                        .hint(near::key_claim(&self.key_claim, jws, request.directory))
                });
                Err(self.no_key())
            }
            Some(Value::String(key)) if !key.is_empty() => {
                trace.record(|| {
                    let place = if jws.claims.get(&self.key_claim).is_some_and(|there| there_is(there)) {
                        "claims"
                    } else {
                        "header"
                    };
                    Step::passed(Check::KeyClaim, format!("`{}` in the {place} is `{}`", self.key_claim, shown(key)))
                });
                Ok(key)
            }
            Some(_) => {
                trace.record(|| {
                    Step::failed(Check::KeyClaim, format!("`{}` is empty or not a string", self.key_claim))
                        .hint(near::key_claim(&self.key_claim, jws, request.directory))
                });
                Err(self.reject(Reason::KeyClaimInvalid, format!("Invalid '{}' in claims", self.key_claim)))
            }
        }
    }

    fn no_key(&self) -> Box<Rejection> {
        self.reject(Reason::KeyClaimMissing, format!("No mandatory '{}' in claims", self.key_claim))
    }

    /// Verifies the signature with the credential's key, and only with that.
    fn verify<T: Trace>(
        &self,
        credential: &JwtCredential,
        token: &[u8],
        (jws, asked): (&Jws<'_>, &Asked),
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let started = Instant::now();
        let outcome = match &credential.key {
            Ok(CredentialKey::Public(key)) => self.lent.verified.check(Verifier::Key(key), asked, jws),
            Ok(CredentialKey::Secret) => {
                let stored = credential.entity.secret.as_bytes();
                let decoded = if self.secret_is_base64 { base64url::decode_lenient(stored) } else { None };
                let secret = match (self.secret_is_base64, &decoded) {
                    (false, _) => stored,
                    (true, Some(decoded)) if !decoded.is_empty() => decoded,
                    (true, _) => {
                        trace.record(|| {
                            Step::failed(Check::Key, "the secret is not base64url").hint(Hint::new(
                                HintCode::SecretPlain,
                                "secret_is_base64 is true and takes the URL-safe alphabet: write - and _ in place of + and /, or set it to false",
                            ))
                        });
                        return Err(self.reject(Reason::KeyInvalid, "Invalid key/secret"));
                    }
                };
                self.lent.verified.check(Verifier::Secret(jws.algorithm, secret), asked, jws)
            }
            Err(fault) => {
                trace.record(|| {
                    Step::failed(Check::Key, format!("the credential's key cannot be used: {fault}"))
                        .hint(hints::key(fault))
                });
                // Kong tries a key of the wrong type and finds that it does not verify.
                let message = if matches!(fault, KeyFault::WrongType { .. }) {
                    "Invalid signature"
                } else {
                    "Invalid key/secret"
                };
                return Err(self.reject(Reason::KeyInvalid, message));
            }
        };
        state.verification = Some(Verification {
            algorithm: Some(jws.algorithm),
            took: started.elapsed(),
            cached: outcome.cached,
            valid: outcome.valid,
        });
        if !outcome.valid {
            trace.record(|| {
                Step::failed(Check::Signature, "does not verify with the credential's key").hint(near::signature(
                    credential,
                    token,
                    jws,
                    self.secret_is_base64,
                    request.directory,
                ))
            });
            return Err(self.reject(Reason::SignatureInvalid, "Invalid signature"));
        }
        trace.record(|| {
            Step::passed(
                Check::Signature,
                format!("verified with {}{}", jws.algorithm, if outcome.cached { ", cached" } else { "" }),
            )
        });
        Ok(())
    }

    /// When [`Self::check_times`] has nothing against these times: the same comparisons, solved for the time.
    fn window(&self, times: &Registered) -> Window {
        let (exp, nbf) = (times.exp.seconds(), times.nbf.seconds());
        let (mut from, mut until) = (0.0_f64, f64::INFINITY);
        for claim in &self.claims {
            match claim {
                TimeClaim::Exp => until = until.min(exp.unwrap_or(0.0)),
                TimeClaim::Nbf => from = from.max(nbf.unwrap_or(f64::INFINITY)),
            }
        }
        if let Some(maximum) = self.maximum_expiration {
            // Of fractions the difference is rounded.
            let rounded = f64::from(maximum.fract() != 0.0 || exp.is_some_and(|exp| exp.fract() != 0.0));
            from = from.max(exp.map_or(f64::INFINITY, |exp| exp - maximum + rounded));
        }
        Window::new(from, until)
    }

    /// `claims_to_verify` and `maximum_expiration`: whole seconds, no leeway.
    fn check_times<T: Trace>(&self, times: &Registered, now: u64, trace: &mut T) -> Result<(), Box<Rejection>> {
        let seconds = now;
        // Exact far beyond any date: 2^53 seconds.
        let now = now as f64;
        let at = |claim: TimeClaim| match claim {
            TimeClaim::Exp => times.exp.seconds(),
            TimeClaim::Nbf => times.nbf.seconds(),
        };
        let fault_of = |claim: TimeClaim| -> Option<(Reason, &'static str)> {
            match (claim, at(claim)) {
                (_, None) => Some((Reason::ClaimType, "must be a number")),
                (TimeClaim::Exp, Some(exp)) if exp <= now => Some((Reason::Expired, "token expired")),
                (TimeClaim::Nbf, Some(nbf)) if nbf > now => Some((Reason::NotYetValid, "token not valid yet")),
                _ => None,
            }
        };
        let checked = || {
            let time = |claim: &TimeClaim| Time { claim: claim.name(), ok: fault_of(*claim).is_none(), leeway: 0.0 };
            self.claims.iter().map(time).collect::<Vec<_>>()
        };
        let described = |claim: TimeClaim| match at(claim) {
            Some(at) => hints::described(claim.name(), at, seconds),
            None => format!("{} is not a number", claim.name()),
        };
        let mut faults = Vec::new();
        for &claim in &self.claims {
            faults.extend(fault_of(claim).map(|(reason, message)| (claim, reason, message)));
        }
        if let Some((first, reason, _)) = faults.first() {
            // Kong's table of errors comes out last first.
            let members: Vec<String> =
                faults.iter().rev().map(|(claim, _, text)| format!(r#""{}":"{text}""#, claim.name())).collect();
            let body = format!("{{{}}}", members.join(","));
            trace.record(|| {
                let wrong: Vec<String> =
                    faults.iter().map(|(claim, _, text)| format!("{text}: {}", described(*claim))).collect();
                Step::failed(Check::Claims, format!("{}; leeway is 0 s", wrong.join("; ")))
                    .hint(hints::time(first.name(), at(*first), 0.0, seconds))
                    .times(checked())
            });
            return Err(self.reject_body(*reason, Body::Json(body.into())));
        }
        if let Some(maximum) = self.maximum_expiration {
            let exp = times.exp.seconds();
            if exp.is_none_or(|exp| exp - now > maximum) {
                trace.record(|| {
                    let ahead = exp.unwrap_or_default() - now;
                    let hint = match exp {
                        Some(exp) if hints::is_milliseconds(exp, seconds) => {
                            hints::time("exp", Some(exp), 0.0, seconds)
                        }
                        Some(_) => Hint::new(
                            HintCode::MaxLifetime,
                            format!("issue tokens for at most {maximum} s, or raise maximum_expiration"),
                        ),
                        None => hints::time("exp", None, 0.0, seconds),
                    };
                    Step::failed(
                        Check::Claims,
                        format!("exp is {} ahead, maximum_expiration is {maximum} s", span(ahead)),
                    )
                    .hint(hint)
                    .times(vec![Time { claim: "exp", ok: false, leeway: 0.0 }])
                });
                let body = Body::Json(r#"{"exp":"exceeds maximum allowed expiration"}"#.into());
                return Err(self.reject_body(Reason::MaxLifetime, body));
            }
        }
        trace.record(|| match self.claims.as_slice() {
            [] => Step::noted(Check::Claims, "claims_to_verify is empty: exp and nbf are not looked at"),
            claims => {
                let looked_at: Vec<String> = claims.iter().map(|claim| described(*claim)).collect();
                Step::passed(Check::Claims, looked_at.join("; ")).times(checked())
            }
        });
        Ok(())
    }

    fn malformed<T: Trace>(&self, fault: Fault, token: &[u8], request: &Request<'_>, trace: &mut T) -> Box<Rejection> {
        let (reason, message) = match fault {
            Fault::Segments => (Reason::Malformed, "Bad token; invalid JSON"),
            Fault::HeaderBase64 | Fault::PayloadBase64 => (Reason::BadBase64, "Bad token; invalid JSON"),
            Fault::HeaderJson | Fault::PayloadJson => (Reason::BadJson, "Bad token; invalid JSON"),
            Fault::Algorithm => (Reason::AlgNotAllowed, "Bad token; invalid alg"),
            Fault::AlgorithmNone => (Reason::AlgNone, "Bad token; invalid alg"),
            Fault::PayloadScalar => (Reason::BadJson, "Bad token; invalid claims"),
            Fault::SignatureBase64 => (Reason::BadBase64, "Bad token; invalid signature"),
            Fault::Critical => (Reason::CritUnsupported, "Bad token; invalid crit"),
            Fault::PayloadNotObject => {
                trace.record(|| Step::failed(Check::Structure, fault.to_string()));
                let mut rejection = self.no_key();
                rejection.reason = Reason::BadJson;
                return rejection;
            }
        };
        trace.record(|| {
            let check = match fault {
                Fault::Algorithm | Fault::AlgorithmNone | Fault::Critical => Check::Header,
                _ => Check::Structure,
            };
            let hint = match fault {
                Fault::AlgorithmNone => Some(hints::alg_none()),
                _ => near::malformed(token, &self.key_claim, self.secret_is_base64, request.directory),
            };
            Step::failed(check, fault.to_string()).hint(hint)
        });
        self.reject(reason, message)
    }

    fn reject(&self, reason: Reason, message: impl Into<std::borrow::Cow<'static, str>>) -> Box<Rejection> {
        self.reject_body(reason, Body::Message(message.into()))
    }

    fn reject_body(&self, reason: Reason, body: Body) -> Box<Rejection> {
        Box::new(Rejection {
            reason,
            status: StatusCode::UNAUTHORIZED,
            body,
            headers: vec![self.challenge.for_invalid()],
        })
    }
}

impl Plugin for Jwt {
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        self.explain(request, state, &mut NoTrace).into()
    }

    fn trace<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State, steps: &'a mut Vec<Step>) -> Flow<'a> {
        self.explain(request, state, steps).into()
    }
}

impl TimeClaim {
    const fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Nbf => "nbf",
        }
    }
}

/// Longest issuer or key id of a refused token that goes into the log.
const LOGGED: usize = 256;

/// Whether a member counts as being there: `false` does not, as in Kong.
fn there_is(value: &Value<'_>) -> bool {
    *value != Value::Bool(false)
}

#[cfg(test)]
mod tests;
