//! Requests that bring a token.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::store::{Digest, Token};
use super::{Oauth2, reply};
use crate::auth::arguments::{Argument, Arguments, body_without_arguments, without_arguments};
use crate::auth::trace::NoTrace;
use crate::auth::{Flow, Reason, Rejection, Request, State, Verification};

const SCOPE: HeaderName = HeaderName::from_static("x-authenticated-scope");
const USERID: HeaderName = HeaderName::from_static("x-authenticated-userid");

/// A token and where it was.
struct Presented {
    token: String,
    from_header: bool,
}

impl Oauth2 {
    pub(super) fn verify<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        if self.anonymous.steps_back(state) {
            return Flow::Next;
        }
        let started = Instant::now();
        let presented = self.presented_token(request);
        let Some(presented) = presented else {
            let refused = reply::missing_token(self.config.realm.as_deref());
            return self.anonymous.settle(Err(refused), request, state, &mut NoTrace).into();
        };
        state.token = Some(presented.token.as_str().into());
        let digest = Digest::of(&presented.token);
        let known = self.shared.tokens.lookup(&digest);
        if known.is_none() && self.shared.tokens.may_know_more(&digest) {
            return Flow::Wait(Box::pin(async move {
                let found = self.shared.tokens.fetch(&digest).await;
                self.shared.metrics.looked_up(match &found {
                    Ok(Some(_)) => "found",
                    Ok(None) => "unknown",
                    Err(_) => "failed",
                });
                match found {
                    Ok(found) => self.decide(request, state, &presented, found, started),
                    Err(fault) => Err(reply::unavailable(&fault)),
                }
            }));
        }
        self.decide(request, state, &presented, known, started).into()
    }

    fn decide(
        &self,
        request: &Request<'_>,
        state: &mut State,
        presented: &Presented,
        token: Option<Arc<Token>>,
        started: Instant,
    ) -> Result<(), Box<Rejection>> {
        let result = self.accept(request, state, presented, token);
        state.verification =
            Some(Verification { algorithm: "opaque", took: started.elapsed(), cached: false, valid: result.is_ok() });
        match result {
            // A global token where none is taken is refused in OR mode too.
            Err(refused) if refused.reason == Reason::ClaimRule => Err(refused),
            settled => self.anonymous.settle(settled, request, state, &mut NoTrace),
        }
    }

    fn accept(
        &self,
        request: &Request<'_>,
        state: &mut State,
        presented: &Presented,
        token: Option<Arc<Token>>,
    ) -> Result<(), Box<Rejection>> {
        let realm = self.config.realm.as_deref();
        let invalid = |reason| reply::invalid_token(realm, reason, "The access token is invalid or has expired");
        let token = token.ok_or_else(|| invalid(Reason::OpaqueUnknown))?;
        let global = self.config.global_credentials.unwrap_or(false);
        match token.service {
            None if !global => {
                let description =
                    "The access token is global, but the current plugin is configured without 'global_credentials'";
                return Err(reply::invalid_token(realm, Reason::ClaimRule, description));
            }
            Some(service) if request.service != Some(service) => return Err(invalid(Reason::OpaqueUnknown)),
            _ => {}
        }
        if token.is_expired(request.now) {
            return Err(invalid(Reason::Expired));
        }
        let credential = request.directory.oauth2_by_id.get(&token.credential);
        let credential = credential.ok_or_else(|| invalid(Reason::CredentialUnknown))?;
        let consumer = request.directory.consumer(credential.consumer.id);
        let consumer = consumer.ok_or_else(|| invalid(Reason::ConsumerUnknown))?;
        if self.config.hide_credentials {
            self.hide(request, state, presented);
        }
        for (name, value) in [(SCOPE, &token.scope), (USERID, &token.userid)] {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                state.set_headers.push((name, value));
            }
        }
        state.authenticate(Some(consumer.clone()), Some(credential.client_id.clone()));
        Ok(())
    }

    fn presented_token(&self, request: &Request<'_>) -> Option<Presented> {
        if let Some(value) = request.headers.get(&self.header) {
            let value = value.to_str().ok()?;
            let mut words = value.split_whitespace();
            let token = match (words.next(), words.next(), words.next()) {
                (Some(scheme), Some(token), None)
                    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") =>
                {
                    token
                }
                _ => value,
            };
            return (!token.is_empty()).then(|| Presented { token: token.to_owned(), from_header: true });
        }
        let arguments = Self::arguments(request);
        match arguments.get("access_token")? {
            Argument::Text(token) if !token.is_empty() => Some(Presented { token: token.clone(), from_header: false }),
            _ => None,
        }
    }

    fn hide(&self, request: &Request<'_>, state: &mut State, presented: &Presented) {
        if presented.from_header {
            state.remove_headers.push(self.header.clone());
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
