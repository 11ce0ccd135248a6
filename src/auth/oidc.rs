//! The `openid-connect` plugin: tokens of an identity provider, verified here.
//!
//! A token that is a JWT is verified with the provider's keys, which are fetched in the background ([`provider`]); opaque ones
//! are looked up among those of the oauth2 plugin, or the provider is asked. Credentials are exchanged for tokens at the
//! provider. A decision is a function over what is at hand; where something is missing it says what ([`Need`]), that is
//! fetched, and the decision is made again. Sessions and browser logins are not served.

mod bearer;
mod calls;
mod claims;
mod client;
mod config;
mod decide;
mod disk;
mod flights;
mod grant;
mod metrics;
mod passing;
mod present;
mod provider;
mod registry;
mod remote;
mod reply;
mod report;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use reqwest::Url;
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use self::claims::{Rule, Times};
use self::client::Client;
use self::config::Config;
use self::decide::{Halt, Have, Need};
use self::grant::Lives;
use self::passing::Passing;
use self::present::{Places, Sent};
use self::provider::{PATIENCE, Provider, Source};
use self::reply::Replies;
pub use self::{
    calls::Trust,
    metrics::Collected,
    registry::{Options, Registry},
};
use super::anonymous::Anonymous;
use super::oauth2::TokenStore;
use super::trace::NoTrace;
use super::verified::Verified;
use super::{Flow, Plugin, Reason, Rejection, Request, State, Wants};
use crate::diagnostic::Diagnostic;
use crate::jose::{Algorithm, VerificationKey};

/// What the plugin is lent when it is compiled.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Longest token that is looked at, in bytes.
    pub token_limit: usize,
    pub verified: Arc<Verified>,
    pub registry: Arc<Registry>,
    /// Tokens of the oauth2 plugin.
    pub tokens: Arc<dyn TokenStore>,
}

/// What `auth_methods` lists.
#[derive(Clone, Copy, Debug, Default)]
struct Methods {
    bearer: bool,
    kong_oauth2: bool,
    introspection: bool,
    userinfo: bool,
    password: bool,
    client_credentials: bool,
}

impl Methods {
    fn new(names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        Self {
            bearer: has("bearer"),
            kong_oauth2: has("kong_oauth2"),
            introspection: has("introspection"),
            userinfo: has("userinfo"),
            password: has("password"),
            client_credentials: has("client_credentials"),
        }
    }

    /// Whether any takes a token from the request.
    fn tokens(self) -> bool {
        self.bearer || self.opaque()
    }

    /// Whether any takes a token that is not a JWT.
    fn opaque(self) -> bool {
        self.kong_oauth2 || self.introspection || self.userinfo
    }
}

/// A compiled `openid-connect` plugin.
#[derive(Debug)]
pub struct Oidc {
    config: Config,
    methods: Methods,
    token_places: Places,
    password_places: Places,
    client_places: Places,
    /// `None`: claims are not verified.
    times: Option<Times>,
    rules: Vec<Rule>,
    /// Keys of `client_secret`, for HMAC signatures.
    secrets: Vec<VerificationKey>,
    client: Option<Client>,
    passing: Passing,
    replies: Replies,
    anonymous: Anonymous,
    run_on_preflight: bool,
    lives: Lives,
    provider: Arc<Provider>,
    lent: Lent,
}

impl Oidc {
    /// Compiles a configuration that has passed the plugin's table.
    ///
    /// # Errors
    /// What of it cannot be used or is not served.
    pub fn compile(
        given: &Map<String, Json>,
        lent: Lent,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = config::unserved(given, warnings);
        let config: Config = super::config(given)?;
        let source = match source(&config, &lent.registry.options) {
            Ok(source) if faults.is_empty() => source,
            Ok(_) => return Err(faults),
            Err(more) => {
                faults.extend(more);
                return Err(faults);
            }
        };
        config::weak(&config, warnings);
        let client = Client::configured(&config)?;
        let passing = Passing::new(&config)?;
        let replies = Replies::new(&config)?;
        let provider = lent
            .registry
            .provider(source)
            .map_err(|message| vec![Diagnostic::error("invalid-value", "issuer", message)])?;
        let rule = |reason, claim: &[String], required: &[String]| Rule::new(reason, claim.to_vec(), required);
        let rules = [
            rule(Reason::Audience, &config.audience_claim, &config.audience_required),
            rule(Reason::Scope, &config.scopes_claim, &config.scopes_required),
            rule(Reason::Role, &config.groups_claim, &config.groups_required),
            rule(Reason::Role, &config.roles_claim, &config.roles_required),
        ];
        let hmac = || Algorithm::ALL.iter().copied().filter(|algorithm| algorithm.is_hmac());
        let secrets = config.client_secret.iter().filter(|_| config.enable_hs_signatures).flat_map(|secret| {
            hmac().filter_map(|algorithm| VerificationKey::from_secret(algorithm, secret.as_bytes()).ok())
        });
        Ok(Self {
            methods: Methods::new(&config.auth_methods),
            token_places: Places::new(&config.bearer_token_param_type),
            password_places: Places::new(&config.password_param_type),
            client_places: Places::new(&config.client_credentials_param_type),
            times: (config.verify_claims != Some(false)).then_some(Times {
                leeway: config.leeway,
                max_age: config.max_age,
                expires: true,
            }),
            rules: rules.into_iter().flatten().collect(),
            secrets: secrets.collect(),
            client,
            passing,
            replies,
            anonymous: Anonymous::new(config.anonymous.clone()),
            run_on_preflight: config.run_on_preflight.unwrap_or(true),
            lives: Lives {
                default: config.cache_ttl.unwrap_or(3600.0),
                least: config.cache_ttl_min,
                most: config.cache_ttl_max,
                negative: config.cache_ttl_neg.unwrap_or(5.0),
            },
            provider,
            lent,
            config,
        })
    }

    /// What a decision comes to, with `anonymous`: it stands in where nobody could be authenticated or no consumer was found,
    /// but not for somebody who is known and may not.
    fn settle(
        &self,
        result: Result<(), Box<Rejection>>,
        request: &Request<'_>,
        state: &mut State,
    ) -> Result<(), Box<Rejection>> {
        match result {
            Err(refused)
                if refused.status == http::StatusCode::FORBIDDEN && refused.reason != Reason::ConsumerUnknown =>
            {
                Err(refused)
            }
            settled => self.anonymous.settle(settled, request, state, &mut NoTrace),
        }
    }

    /// Fetches what is missing until the decision can be made.
    async fn decide_later(
        &self,
        request: &Request<'_>,
        state: &mut State,
        mut need: Need,
    ) -> Result<(), Box<Rejection>> {
        let deadline = Instant::now() + PATIENCE + Duration::from_secs(1);
        let began = seconds();
        let mut have = Have::default();
        // Keys twice, a grant, and what a token is asked about: no decision needs more.
        for _ in 0..6 {
            self.fetch(need, &mut have, deadline).await;
            // A token that was issued while the request waited is not from the future.
            let request = &Request { now: request.now + seconds().saturating_sub(began), ..*request };
            match self.decide(request, &Sent::new(request), state, &have) {
                Ok(()) => return Ok(()),
                Err(Halt::Refused(refused)) => return Err(refused),
                Err(Halt::Need(next)) => need = *next,
            }
        }
        Err(self.replies.unauthorized(Reason::IdpError, true))
    }
}

impl Plugin for Oidc {
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        self.passing.guard(state);
        if !self.run_on_preflight && *request.method == Method::OPTIONS {
            return Flow::Next;
        }
        if self.anonymous.steps_back(state) {
            return Flow::Next;
        }
        let need = match self.decide(request, &Sent::new(request), state, &Have::default()) {
            Ok(()) => return Flow::Next,
            Err(Halt::Refused(refused)) => return self.settle(Err(refused), request, state).into(),
            Err(Halt::Need(need)) => need,
        };
        Flow::Wait(Box::pin(async move {
            let result = self.decide_later(request, state, *need).await;
            self.settle(result, request, state)
        }))
    }

    fn wants(&self, request: &Request<'_>) -> Wants {
        let body = (self.methods.tokens() && self.token_places.body)
            || (self.methods.password && self.password_places.body)
            || (self.methods.client_credentials && self.client_places.body);
        present::wants(request, body)
    }
}

/// Seconds since the UNIX epoch.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The suffix of discovery documents (OpenID Connect Discovery 1.0 section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What is fetched for a configuration.
fn source(config: &Config, options: &Options) -> Result<Source, Vec<Diagnostic>> {
    let url = |path: &str, text: &str| {
        let fault = |message: &str| Diagnostic::error("invalid-value", path, message.to_owned());
        let url = Url::parse(text).map_err(|_| vec![fault("not a URL")])?;
        if calls::permitted(&url, options.plain_http) {
            Ok(url)
        } else {
            let help = "use https, or allow plain HTTP with the setting `idp_plain_http` where the network is trusted";
            Err(vec![fault("a provider beyond this machine is called over https only").help(help)])
        }
    };
    let urls = |path: &str, texts: &[String]| texts.iter().map(|text| url(path, text)).collect::<Result<Vec<_>, _>>();
    for (path, endpoint) in [
        ("token_endpoint", &config.token_endpoint),
        ("introspection_endpoint", &config.introspection_endpoint),
        ("userinfo_endpoint", &config.userinfo_endpoint),
    ] {
        endpoint.as_deref().map(|text| url(path, text)).transpose()?;
    }
    let issuer = config.issuer.strip_suffix(WELL_KNOWN).unwrap_or(&config.issuer);
    let discovery = match config.using_pseudo_issuer {
        true => None,
        false => Some(url("issuer", &format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/')))?),
    };
    let proxy =
        |url: &Option<String>, authorization: &Option<String>| url.clone().map(|url| (url, authorization.clone()));
    let milliseconds = config.timeout.filter(|timeout| *timeout >= 1.0).unwrap_or(10_000.0).min(60_000.0);
    let cooldown = config.rediscovery_lifetime.filter(|seconds| *seconds >= 0.0).unwrap_or(30.0).min(86_400.0);
    let headers = config.discovery_headers_names.iter().zip(&config.discovery_headers_values);
    Ok(Source {
        issuer: issuer.to_owned(),
        discovery,
        jwks: config.jwks_endpoint.as_deref().map(|text| url("jwks_endpoint", text)).transpose()?,
        extra: urls("extra_jwks_uris", &config.extra_jwks_uris)?,
        allowed: config.issuers_allowed.clone(),
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        way: calls::Way {
            verify: config.ssl_verify.unwrap_or(true),
            keepalive: config.keepalive.unwrap_or(true),
            timeout: Duration::from_secs_f64(milliseconds / 1000.0),
            http_proxy: proxy(&config.http_proxy, &config.http_proxy_authorization),
            https_proxy: proxy(&config.https_proxy, &config.https_proxy_authorization),
            no_proxy: config.no_proxy.clone(),
        },
        // Never none at all: a stream of made-up key ids must not become a stream of fetches.
        cooldown: Duration::from_secs_f64(cooldown.max(1.0)),
        plain: options.plain_http,
    })
}
