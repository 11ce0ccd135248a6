//! The decision about a request, over what is at hand: which credential counts, and which method takes it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant as Started;

use aws_lc_rs::digest::{Context, SHA256};
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::Oidc;
use super::attempt::{Accepted, Attempt, Halt, Have, Need};
use super::client::{Client, Method};
use super::exchange::Exchange;
use super::flights::Key;
use super::grant::Granted;
use super::present::{Ambiguous, Pair, Place, lossy};
use super::remote::Told;
use crate::auth::decided::Basis;
use crate::auth::oauth2::store::{Digest, Token};
use crate::auth::trace::{Check, Trace};
use crate::auth::verified::Seen;
use crate::auth::{Principal, Reason, Verification};
use crate::jose::Object;

impl Oidc {
    /// The first credential that is found decides.
    pub(super) fn decide<T: Trace>(&self, at: &mut Attempt<'_, T>) -> Result<(), Halt> {
        let (sent, config) = (at.sent, &self.config);
        let two_lines = |at: &mut Attempt<'_, T>, _: Ambiguous| {
            self.refuse(at, Check::Sources, Reason::MultipleTokens, || "several Authorization lines")
        };
        if self.methods.tokens() {
            let cookie = config.bearer_token_cookie_name.as_deref();
            let found = sent.token(self.token_places, cookie).map_err(|fault| two_lines(at, fault))?;
            if let Some((token, place)) = found {
                at.passed(Check::Sources, || format!("a token of {} bytes in {}", token.len(), place.told()));
                let started = Started::now();
                let within = token.len() <= self.lent.token_limit;
                let mut seen = if within { self.lent.verified.seen(&token) } else { Seen::default() };
                let token: Arc<str> = seen.text().unwrap_or_else(|| lossy(&token).into());
                at.state.token = Some(token.clone().into());
                if !within {
                    let limit = self.lent.token_limit;
                    return Err(
                        self.refuse(at, Check::Size, Reason::TokenTooLarge, || format!("the limit is {limit} bytes"))
                    );
                }
                let basis = self.basis(at, &token, &place);
                if basis.is_some_and(|basis| self.decided(at, (&token, &seen), &basis, started)) {
                    return Ok(());
                }
                seen.set_basis(basis.as_ref());
                let result = self.token(at, Accepted { token: &token, refresh: None, place: &place }, &seen);
                if let Some(basis) = basis.filter(|_| result.is_ok()) {
                    self.lent.verified.keep(&seen, &token, basis, at.state);
                }
                return result;
            }
        }
        if self.methods.refresh_token
            && let Some(name) = config.refresh_token_param_name.as_deref()
            && let Some((token, place)) = sent.refresh(self.refresh_places, name)
        {
            return self.refresh_token(at, &token, &place);
        }
        if self.methods.password {
            let found = sent.password(self.password_places).map_err(|fault| two_lines(at, fault))?;
            if let Some((pair, place)) = found {
                return self.password(at, &pair, &place);
            }
        }
        if self.methods.client_credentials {
            let found = sent.client(self.client_places).map_err(|fault| two_lines(at, fault))?;
            if let Some((pair, place)) = found {
                return self.client_credentials(at, pair, &place);
            }
        }
        at.failed(Check::Sources, || "no credential where the configuration looks for one");
        Err(self.replies.unauthorized(Reason::NoToken, false).into())
    }

    /// What a decision is made from where it may be kept: nothing but a token of the provider decides, nothing else was decided before,
    /// no other field of the request says what goes on to the service, and no use has to be counted.
    fn basis<T: Trace>(&self, at: &Attempt<'_, T>, token: &str, place: &Place) -> Option<Basis> {
        let alone = self.methods.bearer && !self.config.introspect_jwt_tokens && at.have.rounds == 0;
        let usual =
            alone && *place == Place::Header(AUTHORIZATION) && at.state.is_untouched() && !self.issuers.is_stale();
        let basis = || Basis::new(at.request, self, self.lent.registry.edition());
        if usual && self.passing.follows_from(token, at.request.headers, at.state) { basis() } else { None }
    }

    /// Whether the token was accepted before, and still is: then everything is as it was.
    fn decided<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        (token, seen): (&str, &Seen),
        basis: &Basis,
        started: Started,
    ) -> bool {
        let Some((decided, times)) = seen.decided(basis) else { return false };
        let now = at.request.now;
        if self.times.is_some_and(|own| own.check(times, now).is_err()) {
            return false;
        }
        if matches!(decided.caller.principal(), Principal::Authenticated(caller) if caller.is_first_use(now)) {
            self.note_use(token, seen, now);
        }
        at.state.verification = Some(Verification::again(decided.algorithm, started));
        at.state.authenticate_again(decided.caller.clone(), decided.changes.clone());
        true
    }

    /// A token of the request, by the methods that may take it.
    fn token<T: Trace>(&self, at: &mut Attempt<'_, T>, accepted: Accepted<'_>, seen: &Seen) -> Result<(), Halt> {
        let token = accepted.token;
        if self.methods.bearer && (!self.methods.opaque() || looks_like_jws(token)) {
            return self.with_jwt(at, (token, seen), true, |at, jws| {
                if self.config.introspect_jwt_tokens {
                    self.introspected(at, token)?;
                }
                self.admit(at, &jws.claims, accepted)
            });
        }
        if self.methods.kong_oauth2 {
            let digest = Digest::of(token);
            let row = match &at.have.oauth2 {
                Some(row) => row.clone(),
                None => match self.lent.tokens.lookup(&digest).or_else(|| {
                    // Declared in the configuration.
                    at.request.directory.oauth2_tokens.get(&digest).cloned()
                }) {
                    None if self.lent.tokens.may_know_more(&digest) => {
                        return Err(Halt::Need(Box::new(Need::Oauth2(digest))));
                    }
                    row => row,
                },
            };
            if let Some(row) = row {
                return self.oauth2_token(at, row, accepted);
            }
        }
        if self.methods.introspection && (!self.clients.is_empty() || !self.methods.userinfo) {
            return self.by_introspection(at, accepted);
        }
        if self.methods.userinfo {
            return self.by_user_info(at, accepted);
        }
        Err(self.refuse(at, Check::Credential, Reason::OpaqueUnknown, || "no token that was issued here"))
    }

    /// A token of the oauth2 plugin.
    fn oauth2_token<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        row: Arc<Token>,
        accepted: Accepted<'_>,
    ) -> Result<(), Halt> {
        if row.is_expired(at.request.now) {
            return Err(self.refuse(at, Check::Claims, Reason::Expired, || "the token issued here has expired"));
        }
        let directory = at.request.directory;
        let Some(credential) = directory.oauth2_by_id.get(&row.credential) else {
            return Err(self.refuse(at, Check::Credential, Reason::CredentialUnknown, || "its client does not exist"));
        };
        let Some(consumer) = directory.consumer(credential.consumer.id) else {
            return Err(self.refuse(at, Check::Consumer, Reason::ConsumerUnknown, || "its consumer does not exist"));
        };
        at.passed(Check::Credential, || format!("a token issued here to the client {}", credential.id));
        let mut claims = serde_json::Map::new();
        for (name, value) in
            [("scope", &row.scope), ("sub", &row.userid), ("client_id", &Some(credential.client_id.clone()))]
        {
            claims.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
        }
        let text = serde_json::Value::Object(claims).to_string();
        let Ok(claims) = Object::parse(text.as_bytes()) else {
            return Err(self.refuse(at, Check::Claims, Reason::Internal, || "its row cannot be read"));
        };
        self.check_rights(at, &claims)?;
        self.pass_on(at, &claims, accepted);
        at.state.authenticate_issued(consumer.clone(), credential.clone(), &row);
        Ok(())
    }

    fn password<T: Trace>(&self, at: &mut Attempt<'_, T>, pair: &Pair, place: &Place) -> Result<(), Halt> {
        at.passed(Check::Sources, || format!("a name and a password in {}", place.told()));
        let Some(client) = self.chosen(at).cloned() else {
            return Err(self.misconfigured(at, "the password grant needs client_id"));
        };
        let form = [("grant_type", "password"), ("username", &*pair.name), ("password", &*pair.secret)];
        self.exchange(at, Exchange { method: "password", client, form: &form, place })
    }

    fn refresh_token<T: Trace>(&self, at: &mut Attempt<'_, T>, token: &str, place: &Place) -> Result<(), Halt> {
        at.passed(Check::Sources, || format!("a refresh token in {}", place.told()));
        at.state.token = Some(token.into());
        let Some(client) = self.chosen(at).cloned() else {
            return Err(self.misconfigured(at, "the refresh token grant needs client_id"));
        };
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.exchange(at, Exchange { method: "refresh_token", client, form: &form, place })
    }

    /// The client that a request means: by its id, or by its place from 1; the first unless it means another.
    pub(super) fn chosen<T: Trace>(&self, at: &Attempt<'_, T>) -> Option<&Client> {
        let first = self.clients.first();
        if self.clients.len() < 2 {
            return first;
        }
        let name = self.config.client_arg.as_deref().unwrap_or("client_id");
        let Some(choice) = at.sent.choice(name) else { return first };
        let by_place = || self.clients.get(choice.parse::<usize>().ok()?.checked_sub(1)?);
        self.clients.iter().find(|client| client.id == choice).or_else(by_place).or(first)
    }

    fn client_credentials<T: Trace>(&self, at: &mut Attempt<'_, T>, pair: Pair, place: &Place) -> Result<(), Halt> {
        at.passed(Check::Sources, || format!("a client's id and secret in {}", place.told()));
        let client = Client::presented(pair.name, pair.secret, &self.config);
        let form = [("grant_type", "client_credentials")];
        self.exchange(at, Exchange { method: "client_credentials", client, form: &form, place })
    }

    /// The refusal of a credential that was presented.
    pub(super) fn refuse<T: Trace, D: Into<Cow<'static, str>>>(
        &self,
        at: &mut Attempt<'_, T>,
        check: Check,
        reason: Reason,
        detail: impl FnOnce() -> D,
    ) -> Halt {
        at.failed(check, detail);
        Halt::Refused(self.replies.unauthorized(reason, true))
    }

    /// The refusal of a credential that nothing can be done about with this configuration.
    pub(super) fn misconfigured<T: Trace>(&self, at: &mut Attempt<'_, T>, detail: &'static str) -> Halt {
        self.refuse(at, Check::Provider, Reason::Misconfigured, || detail)
    }

    /// A hash over a credential and everything that the provider's answer to it depends on.
    pub(super) fn key(&self, kind: &str, parts: &[&str]) -> Key {
        let config = &self.config;
        let mut context = Context::new(&SHA256);
        let mut put = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        put(kind);
        put(&config.issuer);
        put(config.cache_tokens_salt.as_deref().unwrap_or_default());
        for endpoint in [&config.token_endpoint, &config.introspection_endpoint, &config.userinfo_endpoint] {
            put(endpoint.as_deref().unwrap_or_default());
        }
        // What was learned over a connection that anyone could have answered on is not for those who ask for a proven one.
        put(if self.issuers.main.source.way.verify { "" } else { "unverified" });
        put(if config.introspection_check_active == Some(false) { "inactive" } else { "" });
        for list in [
            &config.scopes,
            &config.audience,
            &config.token_post_args_names,
            &config.token_post_args_values,
            &config.token_headers_names,
            &config.token_headers_values,
            &config.introspection_headers_names,
            &config.introspection_headers_values,
            &config.introspection_post_args_names,
            &config.introspection_post_args_values,
            &config.userinfo_headers_names,
            &config.userinfo_headers_values,
            &config.userinfo_query_args_names,
            &config.userinfo_query_args_values,
        ] {
            put(&list.len().to_string());
            list.iter().for_each(|item| put(item));
        }
        parts.iter().for_each(|part| put(part));
        let mut key = Key::default();
        key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// Waits for what a decision needs; for keys, at most until `deadline`.
    pub(super) async fn fetch(&self, need: Need, have: &mut Have, deadline: Instant) {
        let registry = &self.lent.registry;
        let started = Started::now();
        have.rounds += 1;
        match need {
            Need::Keys(waiting) => {
                have.keys += 1;
                waiting.wait(deadline).await;
            }
            Need::Grant { key, call, refresh } => {
                let granted = match registry.runtime() {
                    Some(runtime) => registry.granted.fetch(key, runtime, call.grant(refresh)).await,
                    None => None,
                };
                have.granted = Some(granted.unwrap_or(Granted::Failed));
            }
            Need::Introspection { key, call, client } => {
                let config = &self.config;
                let method = config.introspection_endpoint_auth_method.as_deref().and_then(Method::from_name);
                let parameter = config.introspection_token_param_name.clone().unwrap_or_else(|| "token".into());
                let hint = config.introspection_hint.clone().filter(|hint| !hint.is_empty());
                let check = config.introspection_check_active != Some(false);
                let call = call.introspect(client, method, parameter, hint, check);
                have.introspected = Some(self.tell(key, call).await);
            }
            Need::UserInfo { key, call } => have.user_info = Some(self.tell(key, call.user_info()).await),
            Need::Oauth2(digest) => have.oauth2 = Some(self.lent.tokens.fetch(&digest).await.unwrap_or_default()),
        }
        tracing::trace!(issuer = self.config.issuer, took = ?started.elapsed(), "waited for the provider");
    }

    async fn tell<F>(&self, key: Key, call: F) -> Told
    where
        F: Future<Output = (Told, std::time::Duration)> + Send + 'static,
    {
        let registry = &self.lent.registry;
        let told = match registry.runtime() {
            Some(runtime) => registry.told.fetch(key, runtime, call).await,
            None => None,
        };
        told.unwrap_or(Told::Failed)
    }
}

/// Three parts, the first of which is a JSON object.
pub fn looks_like_jws(token: &str) -> bool {
    let mut parts = token.split('.');
    let header = parts.next().and_then(|part| crate::jose::base64url::decode(part).ok());
    parts.count() == 2 && header.is_some_and(|header| Object::parse(&header).is_ok())
}
