//! The `oauth2` plugin: Portcullis issues opaque tokens itself and verifies them (Kong's plugin of that name; RFC 6749, 6750,
//! 7636).
//!
//! A request whose path ends in `/oauth2/token` or `/oauth2/authorize` is answered here; every other one needs a token that was
//! issued. Knows no storage engine: tokens are kept behind [`store::TokenStore`].

mod access;
mod authorize;
mod client;
mod config;
mod digests;
mod metrics;
mod reply;
mod scope;
pub mod secret;
pub mod store;
mod token;

use std::sync::Arc;

use http::HeaderName;
use uuid::Uuid;

use self::digests::Digests;
pub use self::{
    client::Clients,
    config::{Config, Pkce},
    digests::Named,
    metrics::{Collected, Metrics},
    store::TokenStore,
};
use super::anonymous::Anonymous;
use super::arguments::Arguments;
use super::trace::{Check, NoTrace, Step, Trace as _};
use super::{Flow, Plugin, Request, Scheme, State, Wants};
use crate::diagnostic::Diagnostic;
use crate::entity;

/// What every instance of the plugin shares and what outlives snapshots.
#[derive(Clone, Debug)]
pub struct Shared {
    pub tokens: Arc<dyn TokenStore>,
    pub clients: Arc<Clients>,
    pub metrics: Arc<Metrics>,
    pub digests: Arc<Digests>,
}

impl Shared {
    pub fn new(tokens: Arc<dyn TokenStore>) -> Self {
        Self { tokens, clients: Arc::default(), metrics: Arc::default(), digests: Arc::default() }
    }

    /// For the registry of a process.
    pub fn collector(&self) -> Collected {
        Collected { metrics: self.metrics.clone(), tokens: self.tokens.clone() }
    }
}

/// The plugin, compiled.
#[derive(Debug)]
pub struct Oauth2 {
    id: Uuid,
    config: Config,
    anonymous: Anonymous,
    header: HeaderName,
    shared: Shared,
}

/// The plugin's own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Authorize,
    Token,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path {
            _ if path.ends_with("/oauth2/token") => Some(Self::Token),
            _ if path.ends_with("/oauth2/authorize") => Some(Self::Authorize),
            _ => None,
        }
    }

    /// In metrics.
    fn label(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
        }
    }

    /// In messages, as Kong words it.
    fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorization endpoint",
            Self::Token => "token endpoint",
        }
    }
}

impl Oauth2 {
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn compile(plugin: &entity::Plugin, shared: &Shared) -> Result<Self, Vec<Diagnostic>> {
        let fault = |path: &str, message: String| vec![Diagnostic::error("plugin-config", path, message)];
        let config: Config = serde_json::from_value(plugin.config.clone().into())
            .map_err(|error| fault("", format!("cannot be used: {error}")))?;
        let header = config.auth_header_name.as_deref().unwrap_or("authorization").parse();
        Ok(Self {
            id: plugin.id,
            header: header.map_err(|_| fault("auth_header_name", "not a header name".into()))?,
            anonymous: Anonymous::new(config.anonymous.clone()),
            config,
            shared: shared.clone(),
        })
    }

    /// Arguments of query and body, the body's first; a body that cannot be read has none.
    fn arguments(request: &Request<'_>) -> Arguments {
        let body = request.body.map(|body| Arguments::from_body(request.headers, body)).unwrap_or_default();
        body.over(request.query.map(Arguments::from_form).unwrap_or_default())
    }

    /// Whether the client's connection was TLS, here or at a trusted proxy in front.
    fn check_https(&self, request: &Request<'_>) -> Result<(), reply::Fault> {
        let terminated = || {
            self.config.accept_http_if_already_terminated.unwrap_or(false)
                && request.client.trusted
                && request.headers.contains_key("x-forwarded-proto")
        };
        if request.scheme == Scheme::Https {
            return Ok(());
        }
        if terminated() {
            let forwarded = request.header("x-forwarded-proto").unwrap_or("");
            let several = request.headers.get_all("x-forwarded-proto").iter().count() > 1 || forwarded.contains(',');
            return match forwarded {
                _ if several => Err(reply::Fault::https("Only one X-Forwarded-Proto header allowed")),
                scheme if scheme.eq_ignore_ascii_case("https") => Ok(()),
                _ => Err(reply::Fault::https("You must use HTTPS")),
            };
        }
        Err(reply::Fault::https("You must use HTTPS"))
    }

    /// The service that codes and tokens issued here are bound to; `None` with `global_credentials`.
    ///
    /// # Errors
    /// On a route without a service: what it issued would count as global elsewhere.
    fn bound_service(&self, request: &Request<'_>) -> Result<Option<Uuid>, reply::Fault> {
        match request.service {
            _ if self.config.global_credentials.unwrap_or(false) => Ok(None),
            Some(service) => Ok(Some(service)),
            None => Err(reply::Fault::new(
                "invalid_request",
                "A route without a service issues tokens only with global_credentials",
            )),
        }
    }
}

impl Plugin for Oauth2 {
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        let Some(endpoint) = Endpoint::of(request.path) else {
            return self.verify(request, state, NoTrace);
        };
        if request.method != http::Method::POST {
            self.shared.metrics.refused(endpoint.label(), "invalid_method");
            return Flow::Stop(reply::invalid_method(self.config.realm.as_deref(), request.method, endpoint.name()));
        }
        Flow::Wait(Box::pin(async move {
            match endpoint {
                Endpoint::Authorize => Err(self.authorize(request).await),
                Endpoint::Token => Err(self.issue(request).await),
            }
        }))
    }

    /// The plugin's own endpoints are not asked: they would issue something.
    fn trace<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State, steps: &'a mut Vec<Step>) -> Flow<'a> {
        let Some(endpoint) = Endpoint::of(request.path) else {
            return self.verify(request, state, steps);
        };
        let detail = format!("the path is that of the plugin's {}, which answers by itself", endpoint.name());
        steps.record(|| Step::noted(Check::Answer, detail));
        let body = super::reason::Body::Empty;
        let reason = super::Reason::Answered;
        Flow::Stop(Box::new(super::Rejection { reason, status: http::StatusCode::OK, body, headers: Vec::new() }))
    }

    fn wants(&self, request: &Request<'_>) -> Wants {
        let method = request.method;
        let may_carry = *method == http::Method::POST || *method == http::Method::PUT || *method == http::Method::PATCH;
        let looked_at = || Endpoint::of(request.path).is_some() || !request.headers.contains_key(&self.header);
        if may_carry && looked_at() { Wants::SmallBody } else { Wants::Nothing }
    }
}
