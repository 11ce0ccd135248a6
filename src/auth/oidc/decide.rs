//! The decision about a request, over what is at hand.

use std::sync::Arc;
use std::time::Instant as Started;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::time::Instant;

use super::Oidc;
use super::client::{Client, Method};
use super::flights::Key;
use super::grant::{self, Granted};
use super::present::{Ambiguous, Pair, Place, Sent};
use super::remote::{self, Told};
use crate::auth::oauth2::store::{Digest, Token};
use crate::auth::{Reason, Rejection, Request, State, Verification};
use crate::jose::Object;

/// Why a decision is not an acceptance.
pub enum Halt {
    Refused(Box<Rejection>),
    Need(Box<Need>),
}

impl From<Box<Rejection>> for Halt {
    fn from(refused: Box<Rejection>) -> Self {
        Self::Refused(refused)
    }
}

/// What has to be fetched before a decision can be made.
pub enum Need {
    /// A refresh of the provider's keys, which somebody is at.
    Keys(super::provider::Waiting),
    Grant {
        key: Key,
        call: Box<grant::Call>,
        refresh: Option<String>,
    },
    Introspection {
        key: Key,
        call: Box<remote::Call>,
        client: Client,
    },
    UserInfo {
        key: Key,
        call: Box<remote::Call>,
    },
    Oauth2(Digest),
}

/// What has been fetched for this request.
#[derive(Default)]
pub struct Have {
    /// How often keys were waited for.
    pub keys: u8,
    granted: Option<Granted>,
    introspected: Option<Told>,
    user_info: Option<Told>,
    oauth2: Option<Option<Arc<Token>>>,
}

/// A token that was accepted, for what is done with the request then.
#[derive(Clone, Copy)]
pub struct Accepted<'a> {
    /// What goes on to the service.
    pub token: &'a str,
    /// Where the credential was.
    pub place: &'a Place,
}

impl Oidc {
    pub(super) fn decide(
        &self,
        request: &Request<'_>,
        sent: &Sent<'_>,
        state: &mut State,
        have: &Have,
    ) -> Result<(), Halt> {
        let ambiguous = |_: Ambiguous| self.replies.unauthorized(Reason::MultipleTokens, true);
        if self.methods.tokens() {
            let cookie = self.config.bearer_token_cookie_name.as_deref();
            if let Some((token, place)) = sent.token(self.token_places, cookie).map_err(ambiguous)? {
                state.token = Some(token.as_str().into());
                if token.len() > self.lent.token_limit {
                    return Err(self.replies.unauthorized(Reason::TokenTooLarge, true).into());
                }
                return self.token(request, state, have, Accepted { token: &token, place: &place });
            }
        }
        if self.methods.password
            && let Some((pair, place)) = sent.password(self.password_places).map_err(ambiguous)?
        {
            let Some(client) = self.client.clone() else {
                return Err(self.replies.unauthorized(Reason::Misconfigured, true).into());
            };
            let form = [("grant_type", "password"), ("username", &pair.name), ("password", &pair.secret)];
            return self.grant(request, state, have, "password", client, &form, &place);
        }
        if self.methods.client_credentials
            && let Some((pair, place)) = sent.client(self.client_places).map_err(ambiguous)?
        {
            let Pair { name, secret } = pair;
            let client = Client::presented(name, secret, &self.config);
            let form = [("grant_type", "client_credentials")];
            return self.grant(request, state, have, "client_credentials", client, &form, &place);
        }
        Err(self.replies.unauthorized(Reason::NoToken, false).into())
    }

    /// A token of the request, by the methods that may take it.
    fn token(&self, request: &Request<'_>, state: &mut State, have: &Have, accepted: Accepted<'_>) -> Result<(), Halt> {
        let token = accepted.token;
        if self.methods.bearer && (!self.methods.opaque() || looks_like_jws(token)) {
            return self.with_jwt(request, state, have, token, true, |state, jws| {
                if self.config.introspect_jwt_tokens {
                    self.introspected(request, state, have, token)?;
                }
                self.admit(request, state, &jws.claims, Some(accepted))
            });
        }
        if self.methods.kong_oauth2 {
            let digest = Digest::of(token);
            let row = match &have.oauth2 {
                Some(row) => row.clone(),
                None => match self.lent.tokens.lookup(&digest) {
                    None if self.lent.tokens.may_know_more(&digest) => {
                        return Err(Halt::Need(Box::new(Need::Oauth2(digest))));
                    }
                    row => row,
                },
            };
            if let Some(row) = row {
                return self.oauth2_token(request, state, &row, accepted);
            }
        }
        if self.methods.introspection && (self.client.is_some() || !self.methods.userinfo) {
            let text = self.introspected(request, state, have, token)?;
            return self.admit_told(request, state, &text, accepted);
        }
        if self.methods.userinfo {
            let told = match &have.user_info {
                Some(told) => told.clone(),
                None => self.ask_user_info(request, have, token)?,
            };
            let text = self.claims_of(told, state)?;
            return self.admit_told(request, state, &text, accepted);
        }
        Err(self.replies.unauthorized(Reason::OpaqueUnknown, true).into())
    }

    fn admit_told(
        &self,
        request: &Request<'_>,
        state: &mut State,
        text: &[u8],
        accepted: Accepted<'_>,
    ) -> Result<(), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        let claims = Object::parse(text).map_err(|_| refused(Reason::IdpError))?;
        if let Some(times) = self.times {
            let times = super::Times { expires: false, ..times };
            times.check(&claims, request.now).map_err(refused)?;
        }
        self.admit(request, state, &claims, Some(accepted))
    }

    /// A token of the oauth2 plugin.
    fn oauth2_token(
        &self,
        request: &Request<'_>,
        state: &mut State,
        row: &Token,
        accepted: Accepted<'_>,
    ) -> Result<(), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        if row.is_expired(request.now) {
            return Err(refused(Reason::Expired));
        }
        let credential = request.directory.oauth2_by_id.get(&row.credential);
        let credential = credential.ok_or_else(|| refused(Reason::CredentialUnknown))?;
        let consumer = request.directory.consumer(credential.consumer.id);
        let consumer = consumer.ok_or_else(|| refused(Reason::ConsumerUnknown))?;
        let mut claims = serde_json::Map::new();
        for (name, value) in
            [("scope", &row.scope), ("sub", &row.userid), ("client_id", &Some(credential.client_id.clone()))]
        {
            claims.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
        }
        let text = serde_json::Value::Object(claims).to_string();
        let claims = Object::parse(text.as_bytes()).map_err(|_| refused(Reason::Internal))?;
        self.authorise(&claims)?;
        self.pass_on(request, state, &claims, Some(accepted));
        state.set_headers.extend(super::bearer::issued_headers(row.scope.as_deref(), row.userid.as_deref()));
        state.authenticate(Some(consumer.clone()), Some(credential.client_id.clone()));
        Ok(())
    }

    /// What introspection says about a token, if it is good.
    fn introspected(
        &self,
        request: &Request<'_>,
        state: &mut State,
        have: &Have,
        token: &str,
    ) -> Result<Arc<[u8]>, Halt> {
        let told = match &have.introspected {
            Some(told) => told.clone(),
            None => self.ask_introspection(request, have, token)?,
        };
        self.claims_of(told, state)
    }

    fn claims_of(&self, told: Told, state: &mut State) -> Result<Arc<[u8]>, Halt> {
        let refused = |reason| Err(Halt::Refused(self.replies.unauthorized(reason, true)));
        state.verification = Some(Verification {
            algorithm: "opaque",
            took: std::time::Duration::ZERO,
            cached: false,
            valid: matches!(told, Told::Claims(_)),
        });
        match told {
            Told::Claims(text) => Ok(text),
            Told::Refused => refused(Reason::OpaqueUnknown),
            Told::Failed => refused(Reason::IdpError),
        }
    }

    fn ask_introspection(&self, request: &Request<'_>, have: &Have, token: &str) -> Result<Told, Halt> {
        let key = self.key("introspection", &[token]);
        if self.config.cache_introspection != Some(false)
            && let Some(told) = self.lent.registry.told.get(&key)
        {
            return Ok(told);
        }
        let misconfigured = || Halt::Refused(self.replies.unauthorized(Reason::Misconfigured, true));
        let client = self.client.clone().ok_or_else(misconfigured)?;
        let mut call =
            self.remote(request, have, token, self.config.introspection_endpoint.as_deref(), |metadata| {
                metadata.introspection_endpoint.as_deref()
            })?;
        call.headers = pairs(&self.config.introspection_headers_names, &self.config.introspection_headers_values);
        call.arguments = pairs(&self.config.introspection_post_args_names, &self.config.introspection_post_args_values);
        Err(Halt::Need(Box::new(Need::Introspection { key, call, client })))
    }

    fn ask_user_info(&self, request: &Request<'_>, have: &Have, token: &str) -> Result<Told, Halt> {
        let key = self.key("userinfo", &[token]);
        if self.config.cache_user_info != Some(false)
            && let Some(told) = self.lent.registry.told.get(&key)
        {
            return Ok(told);
        }
        let mut call = self.remote(request, have, token, self.config.userinfo_endpoint.as_deref(), |metadata| {
            metadata.userinfo_endpoint.as_deref()
        })?;
        call.headers = pairs(&self.config.userinfo_headers_names, &self.config.userinfo_headers_values);
        call.arguments = pairs(&self.config.userinfo_query_args_names, &self.config.userinfo_query_args_values);
        Err(Halt::Need(Box::new(Need::UserInfo { key, call })))
    }

    /// An endpoint: the configured one, or the one that the provider names.
    fn endpoint(
        &self,
        have: &Have,
        configured: Option<&str>,
        named: impl FnOnce(&super::provider::Metadata) -> Option<&str>,
    ) -> Result<(reqwest::Url, super::provider::Metadata), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        let published = self.provider.published();
        let url = |text: &str| text.parse::<reqwest::Url>().map_err(|_| refused(Reason::Misconfigured));
        match (published.as_deref(), configured) {
            (Some(published), Some(text)) => Ok((url(text)?, published.metadata.clone())),
            (None, Some(text)) => Ok((url(text)?, super::provider::Metadata::default())),
            (Some(published), None) => {
                let text = named(&published.metadata).ok_or_else(|| refused(Reason::Misconfigured))?;
                let url = self.provider.usable(text).map_err(|_| refused(Reason::Misconfigured))?;
                Ok((url, published.metadata.clone()))
            }
            (None, None) => Err(self.keys_or(have, None, Reason::IdpError)),
        }
    }

    fn remote(
        &self,
        request: &Request<'_>,
        have: &Have,
        token: &str,
        configured: Option<&str>,
        named: impl FnOnce(&super::provider::Metadata) -> Option<&str>,
    ) -> Result<Box<remote::Call>, Halt> {
        let (endpoint, metadata) = self.endpoint(have, configured, named)?;
        Ok(Box::new(remote::Call {
            http: self.provider.http().clone(),
            endpoint,
            metadata,
            token: token.to_owned(),
            headers: Vec::new(),
            arguments: Vec::new(),
            series: self.provider.series.clone(),
            lives: self.lives,
            now: request.now,
        }))
    }

    /// Exchanges credentials for an access token, and decides about that.
    #[allow(clippy::too_many_arguments)]
    fn grant(
        &self,
        request: &Request<'_>,
        state: &mut State,
        have: &Have,
        method: &'static str,
        client: Client,
        form: &[(&str, &str)],
        place: &Place,
    ) -> Result<(), Halt> {
        let refused = |reason| Halt::Refused(self.replies.unauthorized(reason, true));
        let mut parts: Vec<&str> = vec![&client.id, client.secret.as_deref().unwrap_or_default()];
        parts.extend(form.iter().map(|(_, value)| *value));
        let key = self.key(method, &parts);
        let cached = self.config.cache_tokens != Some(false);
        let granted = match &have.granted {
            Some(granted) => granted.clone(),
            None => match self.lent.registry.granted.get(&key).filter(|_| cached) {
                Some(granted) => granted,
                None => {
                    let call = self.grant_call(request, have, client, form)?;
                    let ended = self.lent.registry.granted.get_ended(&key).filter(|_| cached);
                    let refresh = match ended {
                        Some(Granted::Tokens(tokens)) if self.config.refresh_tokens != Some(false) => {
                            tokens.refresh.clone()
                        }
                        _ => None,
                    };
                    return Err(Halt::Need(Box::new(Need::Grant { key, call, refresh })));
                }
            },
        };
        let tokens = match granted {
            Granted::Tokens(tokens) => tokens,
            Granted::Refused => return Err(refused(Reason::CredentialUnknown)),
            Granted::Failed => return Err(refused(Reason::IdpError)),
        };
        let accepted = Accepted { token: &tokens.access, place };
        if !looks_like_jws(&tokens.access) {
            return self.admit(request, state, &Object::default(), Some(accepted));
        }
        let verify = !self.config.ignore_signature.iter().any(|name| name == method);
        self.with_jwt(request, state, have, &tokens.access, verify, |state, jws| {
            self.admit(request, state, &jws.claims, Some(accepted))
        })
    }

    fn grant_call(
        &self,
        request: &Request<'_>,
        have: &Have,
        client: Client,
        form: &[(&str, &str)],
    ) -> Result<Box<grant::Call>, Halt> {
        let (endpoint, metadata) =
            self.endpoint(have, self.config.token_endpoint.as_deref(), |metadata| metadata.token_endpoint.as_deref())?;
        let mut form: Vec<(String, String)> =
            form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = &self.config;
        if !config.scopes.is_empty() {
            form.push(("scope".into(), config.scopes.join(" ")));
        }
        form.extend(config.audience.iter().map(|audience| ("audience".to_owned(), audience.clone())));
        form.extend(pairs(&config.token_post_args_names, &config.token_post_args_values));
        Ok(Box::new(grant::Call {
            http: self.provider.http().clone(),
            endpoint,
            metadata,
            client,
            method: config.token_endpoint_auth_method.as_deref().and_then(Method::from_name),
            headers: pairs(&config.token_headers_names, &config.token_headers_values),
            form,
            series: self.provider.series.clone(),
            lives: self.lives,
            now: request.now,
        }))
    }

    /// A hash over a credential and everything that the provider's answer to it depends on.
    fn key(&self, kind: &str, parts: &[&str]) -> Key {
        let config = &self.config;
        let mut context = Context::new(&SHA256);
        let mut put = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        put(kind);
        put(&config.issuer);
        put(config.cache_tokens_salt.as_deref().unwrap_or_default());
        put(self.client.as_ref().map_or("", |client| &client.id));
        for endpoint in [&config.token_endpoint, &config.introspection_endpoint, &config.userinfo_endpoint] {
            put(endpoint.as_deref().unwrap_or_default());
        }
        // What was learned over a connection that anyone could have answered on is not for those who ask for a proven one.
        put(if self.provider.source.way.verify { "" } else { "unverified" });
        put(if config.introspection_check_active == Some(false) { "inactive" } else { "" });
        for list in [
            &config.scopes,
            &config.audience,
            &config.token_post_args_names,
            &config.token_post_args_values,
            &config.introspection_post_args_names,
            &config.introspection_post_args_values,
            &config.userinfo_query_args_names,
            &config.userinfo_query_args_values,
        ] {
            put(&list.join("\n"));
        }
        parts.iter().for_each(|part| put(part));
        let mut key = Key::default();
        key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// Waits for what a decision needs, at most until `deadline`.
    pub(super) async fn fetch(&self, need: Need, have: &mut Have, deadline: Instant) {
        let registry = &self.lent.registry;
        let started = Started::now();
        match need {
            Need::Keys(waiting) => {
                have.keys += 1;
                self.provider.wait(waiting, deadline).await;
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
        tracing::trace!(issuer = self.provider.source.issuer, took = ?started.elapsed(), "waited for the provider");
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

fn pairs(names: &[String], values: &[String]) -> Vec<(String, String)> {
    names.iter().cloned().zip(values.iter().cloned()).collect()
}

/// Three parts, the first of which is a JSON object.
fn looks_like_jws(token: &str) -> bool {
    let mut parts = token.split('.');
    let header = parts.next().and_then(|part| crate::jose::base64url::decode(part).ok());
    parts.count() == 2 && header.is_some_and(|header| Object::parse(&header).is_ok())
}
