//! Kong's Admin API.
//!
//! Owns the paths, bodies, answers and errors that Kong's users, decK and Kong Manager know, the protection of this
//! door, and its OpenAPI document. The same handlers work over a database ([`Stored`]) and over a declarative file ([`Loaded`]):
//! both are an [`Entities`]. What a field may hold is the schema tables' business, how documents are kept the store's.
//! Must not know Pingora. Cold path: nothing here runs while a proxied request waits.

mod answer;
mod certificates;
mod config;
mod documents;
mod entities;
mod explain;
mod fault;
mod fixed;
mod guard;
mod live;
mod loaded;
mod openapi;
mod paths;
mod request;
mod schemas;
mod servable;
mod serve;
mod stored;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value};

use self::answer::Answer;
pub use self::config::Declared;
pub use self::entities::Entities;
use self::fault::Fault;
pub use self::guard::{Client, Options, is_our_host};
use self::loaded::Loaded;
use self::paths::{Action, Endpoint};
use self::request::{Incoming, Media};
pub use self::serve::{Listener, serve};
use self::stored::Stored;
use self::tokens::WithTokens;
use crate::snapshot::{Published, Resources};
use crate::store::Feed;
use crate::telemetry::AccessLog;
use crate::telemetry::logging::Log;

/// The version of Kong whose Admin API this is; tools decide by it what they may ask.
pub const KONG_VERSION: &str = "3.9.3";

/// Where the entities come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A database that this API writes.
    Store(Arc<Feed>),
    /// A declarative configuration, which POST /config replaces as a whole.
    File(Arc<Declared>),
}

/// What a process lends to its Admin API.
#[derive(Clone, Debug)]
pub struct Parts {
    pub options: Options,
    pub source: Source,
    pub published: Arc<Published>,
    pub resources: Resources,
    /// Names tokens as the access log does.
    pub access_log: Arc<AccessLog>,
    /// For `/debug/node/log-level`.
    pub log: Option<Log>,
    /// The settings as `GET /` shows them, secrets masked.
    pub configuration: Map<String, Value>,
}

/// What all requests share.
pub struct State {
    options: Options,
    source: Source,
    entities: Box<dyn Entities>,
    /// Whether entities can be written one by one.
    writable: bool,
    published: Arc<Published>,
    resources: Resources,
    access_log: Arc<AccessLog>,
    log: Option<Log>,
    configuration: Map<String, Value>,
    hostname: String,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("source", &self.source).finish_non_exhaustive()
    }
}

impl State {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { options, source, published, resources, access_log, log, configuration } = parts;
        let (entities, writable): (Box<dyn Entities>, bool) = match &source {
            Source::Store(feed) => (Box::new(Stored::new(feed.clone())), true),
            Source::File(_) => (Box::new(Loaded::new(published.clone())), false),
        };
        let entities = Box::new(WithTokens::new(entities, resources.registries.oauth2.tokens.clone()));
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Arc::new(Self {
            options,
            source,
            entities,
            writable,
            published,
            resources,
            access_log,
            log,
            configuration,
            hostname,
        })
    }

    /// Whether the database answers; there is none to lose without one.
    fn database_reachable(&self) -> bool {
        match &self.source {
            Source::Store(feed) => feed.is_reachable(),
            Source::File(_) => true,
        }
    }
}

/// The Admin API as a service. Requests carry a [`Client`] extension when their listener knows who asks.
pub fn router(state: Arc<State>) -> Router {
    Router::new().fallback(move |request: Request| {
        let state = state.clone();
        async move { handle(&state, request).await }
    })
}

/// Answers one request.
async fn handle(state: &State, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let client = parts.extensions.get::<Client>().cloned().unwrap_or_default();
    let segments = request::segments(parts.uri.path()).map(without_workspace);
    let endpoint = segments.as_deref().and_then(paths::find);
    let mut incoming = Incoming::new(&parts, segments.unwrap_or_default());
    let who = guard::admit(&state.options, &incoming, &client);
    let outcome = match (who, endpoint) {
        (Err(fault), _) => Err(fault),
        (Ok(_), None) => Err(unknown_path(parts.uri.path())),
        (Ok(_), Some(endpoint)) if incoming.method == Method::OPTIONS => Ok(guard::options(endpoint, &incoming)),
        (Ok(who), Some(endpoint)) => {
            let outcome = run(state, &mut incoming, body, endpoint).await;
            guard::audit(&incoming, endpoint, who, &client, &outcome);
            outcome
        }
    };
    let answer = outcome.unwrap_or_else(Fault::into_answer);
    let mut response = answer.into_response(incoming.method == Method::HEAD);
    guard::common_headers(&state.options, &incoming, started.elapsed(), response.headers_mut());
    response
}

/// `/default/…` names the one workspace there is.
fn without_workspace(mut segments: Vec<String>) -> Vec<String> {
    if segments.len() > 1 && segments.first().is_some_and(|first| first == "default") {
        segments.remove(0);
    }
    segments
}

/// A tag that is no UTF-8 is a bad request; any other path like that leads nowhere.
fn unknown_path(path: &str) -> Fault {
    if path.starts_with("/tags/") && request::segments(path).is_none() {
        let message = "invalid tag: expected printable ascii (except `,` and `/`) or valid utf-8 sequences";
        return Fault::plain(StatusCode::BAD_REQUEST, message);
    }
    Fault::not_found()
}

/// Reads the body and lets the endpoint answer; the order of the checks is Kong's.
async fn run(state: &State, incoming: &mut Incoming, body: Body, endpoint: &'static Endpoint) -> Result<Answer, Fault> {
    let config = matches!(endpoint.action, Action::Fixed(paths::Fixed::Config));
    if request::needs_body(&incoming.method) {
        let media = request::media(&incoming.headers)?;
        let known = match media {
            Media::None => config || !request::announces_body(&incoming.headers),
            Media::Yaml => config,
            Media::Other => false,
            Media::Json | Media::Form | Media::Multipart => true,
        };
        if !known {
            return Err(Fault::Body(StatusCode::UNSUPPORTED_MEDIA_TYPE, Value::Null));
        }
        if !endpoint.allows(&incoming.method) {
            return Err(Fault::method_not_allowed());
        }
        incoming.raw = request::read_body(&incoming.headers, body, state.options.body_limit).await?;
        incoming.body = request::parse(media, &incoming.headers, &incoming.raw).await?;
    } else if !endpoint.allows(&incoming.method) {
        return Err(Fault::method_not_allowed());
    }
    match endpoint.action {
        Action::Fixed(fixed) => fixed::answer(state, incoming, fixed).await,
        action => documents::answer(state, incoming, action).await,
    }
}
