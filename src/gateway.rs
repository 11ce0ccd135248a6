//! `ProxyHttp`: from Pingora's session to the values of the rooms above, and back.
//!
//! Owns the phases of a request and everything that touches a connection: what is refused before routing, the view that plugins
//! get, headers in both directions, the one writer of answers, what becomes of bodies and connections. Decides nothing about
//! who may pass: that is [`crate::auth`], over values. Hot path: a request loads one snapshot once, takes no lock and reads no
//! name or file. Must not know the Admin API or where the configuration came from.
//!
//! | part | owns |
//! |---|---|
//! | `request` | connection, authority, and the limits of what is looked at |
//! | `limits` | size and framing of a request's header |
//! | `client` | who the client is, behind trusted proxies |
//! | `access` | routing, protocol rules, plugins |
//! | `headers` | headers towards the service and the client |
//! | `body` | bodies looked at, drained, timed |
//! | `reject`, `errors` | answers in the service's place |
//! | `options` | what the settings say |

mod access;
mod body;
mod client;
mod ctx;
mod errors;
mod headers;
mod limits;
mod options;
mod reject;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType as Fault, Result};
use pingora_proxy::{ProxyHttp, Session};

pub use self::{
    ctx::Ctx,
    options::{Clock, ErrorType, Limits, Options, RealIp, ResponseTokens, Timeouts},
    request::Handshake,
};
use crate::snapshot::Published;
use crate::telemetry::{AccessLog, Metrics, RouteMetrics};

/// What a gateway is made of.
pub struct Parts {
    pub published: Arc<Published>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub options: Options,
    pub clock: Clock,
}

/// The proxy.
pub struct Gateway {
    published: Arc<Published>,
    access_log: Arc<AccessLog>,
    options: Options,
    clock: Clock,
    /// Counts requests that match no route.
    unmatched: RouteMetrics,
}

impl Gateway {
    pub fn new(parts: Parts) -> Self {
        Self {
            unmatched: parts.metrics.unmatched(),
            published: parts.published,
            access_log: parts.access_log,
            options: parts.options,
            clock: parts.clock,
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.published.load(), self.clock.now())
    }

    /// None: the default installs response compression, which costs every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.settle(session);
        let Err(answer) = self.admit(session, ctx).await else { return Ok(false) };
        reject::write(session, ctx, &self.options, &answer).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        Error::err(Fault::InternalError)
    }
}
