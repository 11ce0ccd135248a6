//! Credentials that the provider exchanges for a token: the password, client credentials and refresh token grants.

use super::Oidc;
use super::attempt::{Accepted, Attempt, Halt, Need};
use super::client::{Client, Method};
use super::decide::looks_like_jws;
use super::grant::{self, Granted};
use super::issuers::pairs;
use super::present::Place;
use super::provider::Metadata;
use crate::auth::Reason;
use crate::auth::trace::{Check, Trace};
use crate::jose::Object;

/// What is exchanged.
pub struct Exchange<'a> {
    /// The name in `auth_methods`.
    pub method: &'static str,
    pub client: Client,
    /// `grant_type` and what belongs to it.
    pub form: &'a [(&'a str, &'a str)],
    /// Where the credential was.
    pub place: &'a Place,
}

impl Oidc {
    /// Exchanges credentials for an access token, and decides about that.
    pub(super) fn exchange<T: Trace>(&self, at: &mut Attempt<'_, T>, exchange: Exchange<'_>) -> Result<(), Halt> {
        let (method, place) = (exchange.method, exchange.place);
        let tokens = match self.granted(at, exchange)? {
            Granted::Tokens(tokens) => tokens,
            Granted::Refused => {
                return Err(self.refuse(at, Check::Provider, Reason::CredentialUnknown, || {
                    format!("the provider refuses the {method} grant for these credentials")
                }));
            }
            Granted::Failed => {
                return Err(self.refuse(at, Check::Provider, Reason::IdpError, || "the token endpoint failed"));
            }
        };
        at.passed(Check::Provider, || format!("an access token by the {method} grant"));
        let accepted = Accepted { token: &tokens.access, refresh: tokens.refresh.as_deref(), place };
        if !looks_like_jws(&tokens.access) {
            return self.admit(at, &Object::default(), accepted);
        }
        let verify = !self.config.ignore_signature.iter().any(|name| name == method);
        let seen = self.lent.verified.seen(tokens.access.as_bytes());
        self.with_jwt(at, (&tokens.access, &seen), verify, |at, jws| self.admit(at, &jws.claims, accepted))
    }

    /// The tokens for credentials: fetched now, kept, or to be fetched.
    fn granted<T: Trace>(&self, at: &mut Attempt<'_, T>, exchange: Exchange<'_>) -> Result<Granted, Halt> {
        if let Some(granted) = &at.have.granted {
            return Ok(granted.clone());
        }
        let Exchange { method, client, form, .. } = exchange;
        let mut parts: Vec<&str> = vec![&client.id, client.secret.as_deref().unwrap_or_default()];
        parts.extend(form.iter().map(|(_, value)| *value));
        let key = self.key(method, &parts);
        let kept = self.config.cache_tokens != Some(false);
        if let Some(granted) = self.lent.registry.granted.get(&key).filter(|_| kept) {
            return Ok(granted);
        }
        let ended = self.lent.registry.granted.get_ended(&key).filter(|_| kept);
        let refresh = match ended {
            Some(Granted::Tokens(tokens)) if self.config.refresh_tokens != Some(false) => tokens.refresh.clone(),
            _ => None,
        };
        let call = self.grant_call(at, client, form)?;
        Err(Halt::Need(Box::new(Need::Grant { key, call, refresh })))
    }

    fn grant_call<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        client: Client,
        form: &[(&str, &str)],
    ) -> Result<Box<grant::Call>, Halt> {
        let config = &self.config;
        let (endpoint, metadata) =
            self.endpoint(at, config.token_endpoint.as_deref(), |metadata| metadata.token_endpoint.as_deref())?;
        let mut form: Vec<(String, String)> =
            form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        // A refresh token has its scopes and audience; naming others would be refused.
        if !form.iter().any(|(name, _)| name == "refresh_token") {
            if !config.scopes.is_empty() {
                form.push(("scope".into(), config.scopes.join(" ")));
            }
            form.extend(config.audience.iter().map(|audience| ("audience".to_owned(), audience.clone())));
        }
        form.extend(pairs(&config.token_post_args_names, &config.token_post_args_values));
        let provider = &self.issuers.main;
        Ok(Box::new(grant::Call {
            http: provider.http().clone(),
            endpoint,
            metadata,
            client,
            method: config.token_endpoint_auth_method.as_deref().and_then(Method::from_name),
            headers: pairs(&config.token_headers_names, &config.token_headers_values),
            form,
            series: provider.series.clone(),
            lives: self.lives,
            now: at.request.now,
        }))
    }

    /// An endpoint: the configured one, or the one that the provider names.
    pub(super) fn endpoint<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        configured: Option<&str>,
        named: impl FnOnce(&Metadata) -> Option<&str>,
    ) -> Result<(reqwest::Url, Metadata), Halt> {
        let provider = &self.issuers.main;
        let published = provider.published();
        let metadata = published.as_deref().map(|published| &published.metadata);
        if let Some(text) = configured {
            let url = text.parse().map_err(|_| self.misconfigured(at, "the endpoint is no URL"))?;
            return Ok((url, metadata.cloned().unwrap_or_default()));
        }
        let Some(metadata) = metadata else {
            let detail = "the provider's document could not be fetched";
            return Err(self.keys_or(at, provider, None, Check::Provider, Reason::IdpError, detail));
        };
        match named(metadata).map(|text| provider.usable(text)) {
            Some(Ok(url)) => Ok((url, metadata.clone())),
            // It may be in the part that could not be fetched.
            None if provider.is_failing() => {
                let detail = "the provider's document could not be fetched";
                Err(self.keys_or(at, provider, None, Check::Provider, Reason::IdpError, detail))
            }
            None => {
                Err(self.misconfigured(at, "the provider's document does not name the endpoint, and nothing else does"))
            }
            Some(Err(_)) => {
                Err(self.misconfigured(at, "the provider's document names an endpoint that may not be called"))
            }
        }
    }
}
