//! Requests that bring a token.

use std::sync::Arc;
use std::time::Instant;

use super::store::{Digest, Token};
use super::{Oauth2, reply};
use crate::auth::arguments::{Argument, Arguments, body_without_arguments, without_arguments};
use crate::auth::trace::{Check, Hint, HintCode, Step, Time, Trace, consumer_name, moment, span};
use crate::auth::{Flow, Presented, Reason, Rejection, Request, State, Verification, hints};

/// A token and where it was.
struct Bearer {
    token: Presented,
    from_header: bool,
}

impl Oauth2 {
    /// Decides about a request with a token, telling a trace of every check.
    pub(super) fn verify<'a, T: Trace + 'a>(
        &'a self,
        request: &'a Request<'a>,
        state: &'a mut State,
        mut trace: T,
    ) -> Flow<'a> {
        if self.anonymous.steps_back(state) {
            trace.record(|| Step::noted(Check::Applies, "another plugin has authenticated the request already"));
            return Flow::Next;
        }
        let started = Instant::now();
        let Some(Bearer { token, from_header }) = self.presented_token(request) else {
            trace.record(|| self.explain_none(request));
            let refused = reply::missing_token(self.config.realm.as_deref());
            return self.anonymous.settle(Err(refused), request, state, &mut trace).into();
        };
        if let Presented::Named(named) = &token
            && let Some(bearer) = named.bearer(request, self.takes_global(), self.shared.tokens.departures())
        {
            self.hide(request, state, from_header);
            state.authenticate_again(bearer.clone(), None);
            state.verification = Some(Verification::of_opaque(started, true));
            state.token = Some(token);
            return Flow::Next;
        }
        trace.record(|| {
            let place = match from_header {
                true => format!("header `{}`", self.header),
                false => "argument `access_token`".to_owned(),
            };
            Step::passed(Check::Sources, format!("one token of {} bytes: {place}", token.len()))
        });
        let digest = match &token {
            Presented::Named(named) => named.digest(),
            Presented::Text(text) => Digest::of(text),
        };
        state.token = Some(token.clone());
        let bearer = Bearer { token, from_header };
        // The configuration's first: else what was found once could change without a word.
        let declared = request.directory.oauth2_tokens.get(&digest).cloned();
        let known = declared.or_else(|| self.shared.tokens.lookup(&digest));
        if let Some(token) = known {
            let decided = self.decide(request, state, &bearer, Some(&token), started, &mut trace);
            if decided.is_ok() && state.has_credential() {
                self.shared.digests.keep(request, &bearer.token, &token, state);
            }
            return decided.into();
        }
        if self.shared.tokens.may_know_more(&digest) {
            return Flow::Wait(Box::pin(async move {
                let found = self.shared.tokens.fetch(&digest).await;
                self.shared.metrics.looked_up(match &found {
                    Ok(Some(_)) => "found",
                    Ok(None) => "unknown",
                    Err(_) => "failed",
                });
                match found {
                    Ok(found) => self.decide(request, state, &bearer, found.as_ref(), started, &mut trace),
                    Err(fault) => {
                        trace.record(|| Step::failed(Check::Credential, fault.to_string()));
                        Err(reply::unavailable(&fault))
                    }
                }
            }));
        }
        self.decide(request, state, &bearer, None, started, &mut trace).into()
    }

    fn decide<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        bearer: &Bearer,
        found: Option<&Arc<Token>>,
        started: Instant,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let result = self.accept(request, state, bearer, found, trace);
        state.verification = Some(Verification::of_opaque(started, result.is_ok()));
        match result {
            // A global token where none is taken is refused in OR mode too.
            Err(refused) if refused.reason == Reason::ClaimRule => Err(refused),
            settled => self.anonymous.settle(settled, request, state, trace),
        }
    }

    fn accept<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        bearer: &Bearer,
        found: Option<&Arc<Token>>,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let realm = self.config.realm.as_deref();
        let invalid = |reason| reply::invalid_token(realm, reason, "The access token is invalid or has expired");
        let Some(token) = found else {
            trace.record(|| {
                Step::failed(Check::Credential, "no token of this text was issued here, or it has ended long ago")
                    .hint(self.near_token(&bearer.token))
            });
            return Err(invalid(Reason::OpaqueUnknown));
        };
        match token.service {
            None if !self.takes_global() => {
                trace.record(|| {
                    Step::failed(Check::Applies, "the token is global; this plugin takes those of its service only")
                        .hint(Hint::new(
                            HintCode::ServiceBound,
                            "set global_credentials to true here, or get a token at this service's own token endpoint",
                        ))
                });
                let description =
                    "The access token is global, but the current plugin is configured without 'global_credentials'";
                return Err(reply::invalid_token(realm, Reason::ClaimRule, description));
            }
            Some(service) if request.service != Some(service) => {
                trace.record(|| {
                    Step::failed(Check::Applies, format!("the token was issued for the service {service}, not for this one"))
                        .hint(Hint::new(
                            HintCode::ServiceBound,
                            "tokens are bound to the service whose token endpoint issued them; set global_credentials to true for both, or get one here",
                        ))
                });
                return Err(invalid(Reason::OpaqueUnknown));
            }
            _ => trace.record(|| {
                let bound = if token.service.is_some() { "this service" } else { "every service" };
                Step::passed(Check::Applies, format!("a token for {bound}"))
            }),
        }
        let ends = (token.expires_in > 0).then(|| (token.created_at + token.expires_in) as f64);
        let times = |ok| ends.map(|_| Time { claim: "exp", ok, leeway: 0.0 }).into_iter().collect::<Vec<_>>();
        if token.is_expired(request.now) {
            trace.record(|| {
                let ends = ends.unwrap_or_default();
                let ago = span((request.now as f64 - ends).abs());
                Step::failed(Check::Claims, format!("the token ended {}", moment(ends, request.now)))
                    .hint(Hint::new(HintCode::Expired, format!("the token expired {ago} ago; get a new one")))
                    .times(times(false))
            });
            return Err(invalid(Reason::Expired));
        }
        trace.record(|| {
            let text = ends.map_or_else(
                || "the token does not end".to_owned(),
                |ends| format!("ends {}", moment(ends, request.now)),
            );
            Step::passed(Check::Claims, text).times(times(true))
        });
        let Some(credential) = request.directory.oauth2_by_id.get(&token.credential) else {
            trace.record(|| Step::failed(Check::Credential, "the oauth2_credentials it was issued to are gone"));
            return Err(invalid(Reason::CredentialUnknown));
        };
        trace.record(|| Step::passed(Check::Credential, format!("issued to `{}`", credential.client_id)));
        let Some(consumer) = request.directory.consumer(credential.consumer.id) else {
            trace.record(|| Step::failed(Check::Consumer, "the credential's consumer does not exist"));
            return Err(invalid(Reason::ConsumerUnknown));
        };
        trace.record(|| Step::passed(Check::Consumer, consumer_name(consumer)));
        self.hide(request, state, bearer.from_header);
        state.authenticate_issued(consumer.clone(), credential.clone(), token);
        Ok(())
    }

    /// Whether tokens that are bound to no service are taken.
    fn takes_global(&self) -> bool {
        self.config.global_credentials.unwrap_or(false)
    }

    fn presented_token(&self, request: &Request<'_>) -> Option<Bearer> {
        if let Some(value) = request.headers.get(&self.header) {
            // What nearly every client sends, and has sent before.
            if let [b'B' | b'b', b'e', b'a', b'r', b'e', b'r', b' ', token @ ..] = value.as_bytes()
                && let Some(token) = self.shared.digests.known(token)
            {
                return Some(Bearer { token: Presented::Named(token), from_header: true });
            }
            let token = bare(value.to_str().ok()?);
            return (!token.is_empty()).then(|| Bearer { token: self.shared.digests.of(token), from_header: true });
        }
        let arguments = Self::arguments(request);
        match arguments.get("access_token")? {
            Argument::Text(token) if !token.is_empty() => {
                Some(Bearer { token: self.shared.digests.of(token), from_header: false })
            }
            _ => None,
        }
    }

    /// What was looked for, and what there is that comes close.
    fn explain_none(&self, request: &Request<'_>) -> Step {
        let detail = format!("no token: looked in the header `{}` and for the argument `access_token`", self.header);
        let elsewhere = request.headers.iter().find(|(name, value)| {
            **name != self.header
                && value.to_str().is_ok_and(|value| {
                    value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
                        || self.shared.tokens.lookup(&Digest::of(value.trim())).is_some()
                })
        });
        Step::failed(Check::Sources, detail).hint(elsewhere.map(|(name, _)| {
            let text = format!("the header `{name}` holds something like a token; this route reads `{}`", self.header);
            Hint::new(HintCode::OtherSource, text)
        }))
    }

    /// A token that is known without what was copied along, or that is of another kind.
    fn near_token(&self, token: &str) -> Option<Hint> {
        let (bare, hint) = hints::cleaned(token);
        let known = |token: &str| self.shared.tokens.lookup(&Digest::of(token)).is_some();
        if hint.is_some() && known(&bare) {
            return hint;
        }
        let last = token.split_whitespace().next_back().unwrap_or_default();
        if last != token && known(last) {
            return Some(Hint::new(
                HintCode::OtherScheme,
                "it is known without the word in front of it: write `Bearer`",
            ));
        }
        if hints::looks_like_a_token(token) {
            return Some(Hint::new(
                HintCode::Changed,
                "this is a JWT; the oauth2 plugin takes only tokens that it issued itself",
            ));
        }
        hint
    }

    /// `hide_credentials`.
    fn hide(&self, request: &Request<'_>, state: &mut State, from_header: bool) {
        if !self.config.hide_credentials {
            return;
        }
        if from_header {
            state.headers.remove.push(self.header.clone());
            return;
        }
        const NAMES: &[&str] = &["access_token"];
        if let Some(query) = request.query.filter(|query| Arguments::from_form(query).get("access_token").is_some()) {
            state.query = Some(without_arguments(query, NAMES));
        }
        // As Kong: a token in a body of another kind stays there.
        let form =
            request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let body = request.body.filter(|_| form);
        if let Some(body) = body.and_then(|body| body_without_arguments(request.headers, body, NAMES)) {
            state.body = Some(body);
        }
    }
}

/// A header's value without the scheme in front of it.
fn bare(value: &str) -> &str {
    let mut words = value.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(token), None)
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") =>
        {
            token
        }
        _ => value,
    }
}
