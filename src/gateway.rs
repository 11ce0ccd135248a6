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
//! | `forward` | the peer, the request to the service, its response, retries |
//! | `headers` | headers towards the service and the client |
//! | `body` | bodies looked at, drained, timed |
//! | `dry` | the same decisions about a request that came on no connection |
//! | `reject`, `errors` | answers in the service's place |
//! | `log` | counters and the access log's line |
//! | `unread` | what cannot be read as a request |
//! | `options` | what the settings say |
//! | `testing` | a gateway inside a test's process |

mod access;
mod body;
mod client;
mod ctx;
pub mod dry;
mod errors;
mod fields;
mod forward;
mod headers;
mod limits;
mod log;
mod options;
mod reject;
mod request;
#[doc(hidden)]
pub mod testing;
mod unread;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::modules::http::HttpModules;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType as Fault, Result};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};

pub use self::{
    ctx::Ctx,
    options::{Clock, ErrorType, Limits, Options, RealIp, ResponseTokens, Timeouts},
    request::Handshake,
    unread::{Admission, Unread},
};
use crate::auth::Reason;
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
    metrics: Arc<Metrics>,
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
            metrics: parts.metrics,
            access_log: parts.access_log,
            options: parts.options,
            clock: parts.clock,
        }
    }

    /// The Pingora application around this gateway, for a listener; its `server_options` and `h2_options` are the caller's to set.
    pub fn proxy(self, mut conf: ServerConf) -> HttpProxy<Self> {
        // Pingora's own bound must not be lower than any service's `retries`.
        conf.max_retries = usize::from(u16::MAX) + 1;
        pingora_proxy::http_proxy(&Arc::new(conf), self)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In one place from the start: Pingora hands it on by value three times.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new(self.published.load(), self.clock.now()))
    }

    /// None: the default installs response compression, which costs every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        Admission::note(session);
        self.settle(session);
        let Err(answer) = self.admit(session, ctx).await else { return Ok(false) };
        reject::write(session, ctx, &self.options, &answer).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<Box<HttpPeer>> {
        match ctx.peer.take() {
            Some(peer) => Ok(peer),
            None => self.pick(session, ctx).map_err(|fault| {
                ctx.reason = Some(forward::unreachable(fault).reason);
                Error::explain(Fault::HTTPStatus(503), fault.to_string()).into_in()
            }),
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.prepare(session, ctx, request)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        if let Some(part) = body {
            let (limits, grace) = (&self.options.limits, self.options.timeouts.body_grace);
            if let Err(reason) = ctx.body.add(part.len(), limits, grace) {
                let status = reject::generated(reason).status.as_u16();
                return Err(Error::explain(Fault::HTTPStatus(status), reason.label()).into_down());
            }
        }
        if let Some(replacement) = &ctx.state.body {
            let first = !std::mem::replace(&mut ctx.body.replaced, true);
            *body = first.then(|| replacement.clone());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.respond(session, ctx, response)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        fault: Box<Error>,
    ) -> Box<Error> {
        Self::not_connected(ctx, fault)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        fault: Box<Error>,
        ctx: &mut Box<Ctx>,
        _client_reused: bool,
    ) -> Box<Error> {
        Self::broken(session, ctx, fault)
    }

    async fn fail_to_proxy(&self, session: &mut Session, fault: &Error, ctx: &mut Box<Ctx>) -> FailToProxy {
        let answer = Self::answer_fault(fault, ctx);
        ctx.reason = Some(answer.reason);
        // Pingora keeps no connection after a fault.
        session.set_keepalive(None);
        // Where the response has begun it can only be broken off.
        let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
        let answered = answer.reason != Reason::ClientGone
            && !begun
            && reject::write(session, ctx, &self.options, &answer).await.is_ok();
        let error_code = if answered { answer.status.as_u16() } else { 0 };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, fault: Option<&Error>, ctx: &mut Box<Ctx>) {
        self.finish(session, ctx, fault);
    }

    /// What Pingora says of a request in its own log lines: never the query.
    fn request_summary(&self, session: &Session, ctx: &Box<Ctx>) -> String {
        let header = session.req_header();
        format!("{} {}, request_id: {}", header.method, ctx.target.sent(header), ctx.request_id.as_str())
    }

    /// A client's own faults are in the access log; a log line each would let clients fill the disk.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Ctx>, fault: &Error) -> bool {
        *fault.esource() == ErrorSource::Downstream
    }
}
