//! The `openid-connect` plugin: tokens of an identity provider, verified here.
//!
//! A token that is a JWT is verified with the provider's keys, which are fetched in the background ([`provider`]); opaque ones
//! are looked up among those of the oauth2 plugin, or the provider is asked. Credentials are exchanged for tokens at the
//! provider. A decision is a function over what is at hand; where something is missing it says what ([`Need`]), that is
//! fetched, and the decision is made again. Sessions and browser logins are not served.
//!
//! | to change | look in |
//! |---|---|
//! | what becomes of a configuration field | [`fields`], [`config`], [`issuers`] |
//! | where credentials are found and taken out | [`present`] |
//! | the decision | [`decide`], [`attempt`]; a JWT [`bearer`], [`claims`]; an opaque token [`asked`]; a grant [`exchange`] |
//! | what follows: rights, consumer, headers, refusals | [`admit`], [`passing`], [`reply`], [`resource`] |
//! | keys and metadata | [`provider`], [`registry`], [`disk`] |
//! | calls to a provider's endpoints | [`calls`], [`client`], [`grant`], [`remote`], [`answers`], [`flights`] |
//! | what people see | [`near`], [`report`], [`metrics`] |

mod admit;
mod answers;
mod asked;
mod attempt;
mod bearer;
mod calls;
mod claims;
mod client;
mod config;
mod decide;
mod disk;
mod exchange;
mod fields;
mod flights;
mod grant;
mod issuers;
mod metrics;
mod near;
mod passing;
mod present;
mod provider;
mod registry;
mod remote;
mod reply;
mod report;
mod resource;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use self::attempt::{Attempt, Halt, Have, Need};
use self::claims::{Rule, Times};
use self::client::Client;
use self::config::Config;
use self::grant::Lives;
use self::issuers::Issuers;
use self::passing::Passing;
use self::present::{Places, Sent};
use self::provider::PATIENCE;
use self::reply::Replies;
use self::resource::Resource;
pub use self::{
    calls::Trust,
    metrics::Collected,
    registry::{Options, Registry},
};
use super::anonymous::Anonymous;
use super::oauth2::TokenStore;
use super::trace::{Check, NoTrace, Step, Trace};
use super::verified::Verified;
use super::{Flow, Place, Plugin, Reason, Rejection, Request, State, Wants};
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
    refresh_token: bool,
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
            refresh_token: has("refresh_token"),
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
    refresh_places: Places,
    /// `None`: claims are not verified.
    times: Option<Times>,
    rules: Vec<Rule>,
    /// Keys of `client_secret`, for HMAC signatures.
    secrets: Arc<[VerificationKey]>,
    clients: Vec<Client>,
    passing: Passing,
    replies: Replies,
    anonymous: Anonymous,
    run_on_preflight: bool,
    lives: Lives,
    issuers: Arc<Issuers>,
    resource: Option<Resource>,
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
        let faults = fields::unserved(given, warnings);
        let config: Config = super::config(given)?;
        if !faults.is_empty() {
            return Err(faults);
        }
        config::weak(&config, warnings);
        config::paired(&config)?;
        check_refresh_name(&config)?;
        let clients = Client::configured(&config)?;
        let resource = Resource::new(&config, &lent.registry.options)?;
        let passing = Passing::new(&config)?;
        let replies = Replies::new(&config, resource.as_ref())?;
        let issuers = Arc::new(Issuers::new(&config, &lent.registry)?);
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
            refresh_places: Places::new(&config.refresh_token_param_type),
            times: (config.verify_claims != Some(false)).then_some(Times {
                leeway: config.leeway,
                max_age: config.max_age,
                expires: true,
            }),
            rules: rules.into_iter().flatten().collect(),
            secrets: secrets.collect(),
            clients,
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
            issuers,
            resource,
            lent,
            config,
        })
    }

    /// Decides, telling a trace of every check. Fetches what is missing, as for a request that is served.
    ///
    /// # Errors
    /// The refusal.
    pub async fn explain<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        if !self.applies(request, state, trace) {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let began = seconds();
        let mut have = Have::default();
        let result = loop {
            // Of several passes the last one counts.
            let mut steps: Vec<Step> = Vec::new();
            let request = &Request { now: request.now + seconds().saturating_sub(began), ..*request };
            let outcome = self.pass(request, state, &have, &mut steps);
            match outcome {
                Err(Halt::Need(need)) if have.rounds < MOST_ROUNDS => self.fetch(*need, &mut have, deadline).await,
                outcome => {
                    steps.into_iter().for_each(|step| trace.record(|| step));
                    break self.conclude(outcome);
                }
            }
        };
        self.settle(result, request, state, trace)
    }

    /// Whether the plugin has anything to do with a request.
    fn applies<T: Trace>(&self, request: &Request<'_>, state: &mut State, trace: &mut T) -> bool {
        self.passing.guard(state);
        if !self.run_on_preflight && *request.method == Method::OPTIONS {
            trace.record(|| Step::noted(Check::Applies, "OPTIONS passes, since run_on_preflight is false"));
            return false;
        }
        if self.anonymous.steps_back(state) {
            trace.record(|| Step::noted(Check::Applies, "another plugin has authenticated the request already"));
            return false;
        }
        true
    }

    /// One pass of the decision.
    fn pass<T: Trace>(&self, request: &Request<'_>, state: &mut State, have: &Have, trace: &mut T) -> Result<(), Halt> {
        self.decide(&mut Attempt { request, sent: &Sent::new(request), state, have, trace })
    }

    /// What a pass comes to when nothing more is fetched.
    fn conclude(&self, outcome: Result<(), Halt>) -> Result<(), Box<Rejection>> {
        outcome.map_err(|halt| match halt {
            Halt::Refused(refused) => refused,
            Halt::Need(_) => self.replies.unauthorized(Reason::IdpError, true),
        })
    }

    /// What a decision comes to, with `anonymous`: it stands in where nobody could be authenticated or no consumer was found,
    /// but not for somebody who is known and may not.
    fn settle<T: Trace>(
        &self,
        result: Result<(), Box<Rejection>>,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        match result {
            Err(refused)
                if refused.status == http::StatusCode::FORBIDDEN && refused.reason != Reason::ConsumerUnknown =>
            {
                Err(refused)
            }
            settled => self.anonymous.settle(settled, request, state, trace),
        }
    }

    /// Fetches what is missing until the decision can be made.
    async fn decide_later(
        &self,
        request: &Request<'_>,
        state: &mut State,
        mut need: Need,
    ) -> Result<(), Box<Rejection>> {
        let deadline = Instant::now() + PATIENCE;
        let began = seconds();
        let mut have = Have::default();
        loop {
            self.fetch(need, &mut have, deadline).await;
            // A token that was issued while the request waited is not from the future.
            let request = &Request { now: request.now + seconds().saturating_sub(began), ..*request };
            match self.pass(request, state, &have, &mut NoTrace) {
                Err(Halt::Need(next)) if have.rounds < MOST_ROUNDS => need = *next,
                outcome => return self.conclude(outcome),
            }
        }
    }
}

/// A name that is looked for among headers has to be one that a header can have.
fn check_refresh_name(config: &Config) -> Result<(), Vec<Diagnostic>> {
    let places = Places::new(&config.refresh_token_param_type);
    let cannot = |name: &String| places.header && http::HeaderName::from_bytes(name.as_bytes()).is_err();
    match config.refresh_token_param_name.as_ref().filter(|name| cannot(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("`{name}` cannot be a header's name");
            Err(vec![Diagnostic::error("invalid-value", "refresh_token_param_name", message)])
        }
    }
}

/// Keys twice, a grant, and what a token is asked about: no decision needs to fetch more often.
const MOST_ROUNDS: u8 = 6;

impl Plugin for Oidc {
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        if !self.applies(request, state, &mut NoTrace) {
            return Flow::Next;
        }
        let need = match self.pass(request, state, &Have::default(), &mut NoTrace) {
            Ok(()) => return Flow::Next,
            Err(Halt::Refused(refused)) => return self.settle(Err(refused), request, state, &mut NoTrace).into(),
            Err(Halt::Need(need)) => need,
        };
        Flow::Wait(Box::pin(async move {
            let result = self.decide_later(request, state, *need).await;
            self.settle(result, request, state, &mut NoTrace)
        }))
    }

    fn trace<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State, steps: &'a mut Vec<Step>) -> Flow<'a> {
        Flow::Wait(Box::pin(async move {
            let result = self.explain(request, state, steps).await;
            let reason = result.as_ref().err().map(|refused| refused.reason).or(state.fallback);
            self.annotate(request, state, reason, steps);
            result
        }))
    }

    fn document_place(&self) -> Option<&Place> {
        self.resource.as_ref().map(|resource| &resource.place)
    }

    fn document(&self) -> Option<Bytes> {
        self.resource.as_ref().map(|resource| resource.document(&self.issuers))
    }

    fn wants(&self, request: &Request<'_>) -> Wants {
        let body = (self.methods.tokens() && self.token_places.body)
            || (self.methods.password && self.password_places.body)
            || (self.methods.client_credentials && self.client_places.body)
            || (self.methods.refresh_token && self.refresh_places.body);
        present::wants(request, body, self.clients.len() > 1)
    }
}

/// Seconds since the UNIX epoch.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
