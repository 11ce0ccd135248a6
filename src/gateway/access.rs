//! May this request pass: routing, the route's protocol rules, its plugins.

use std::borrow::Cow;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::ctx::{Ctx, Target};
use super::request::{Connection, authority, has_grpc_type, is_grpc, join_cookies};
use super::{Gateway, body, client, dry, forward, limits, reject};
use crate::auth::reason::Body;
use crate::auth::{Reason, Rejection, Request, Scheme, Wants};
use crate::entity::{self, Protocol};
use crate::router::{self, Lookup};
use crate::snapshot::Route;

type Decision = Result<(), Box<Rejection>>;

impl Gateway {
    /// How long the client's connection may take for what.
    pub(super) fn settle(&self, session: &mut Session) {
        let timeouts = &self.options.timeouts;
        // Pingora's own word stands where it wants the connection closed (ambiguous framing, HTTP/1.0); 0 is "on, for ever".
        if session.get_keepalive() == Some(0) {
            session.set_keepalive(Some(timeouts.keepalive.as_secs().max(1)));
        }
        session.set_read_timeout(Some(timeouts.read));
        session.set_write_timeout(Some(timeouts.write));
        session.set_total_drain_timeout(Some(timeouts.drain));
        if self.options.limits.response_min_rate > 0 {
            session.set_min_send_rate(Some(self.options.limits.response_min_rate));
        }
        session.set_pipelining_enabled(true);
    }

    /// Decides whether the request goes to its service.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Decision {
        self.route(session, ctx)?;
        if let Err(answer) = self.authenticate(session, ctx).await {
            ctx.denied = answer.reason != Reason::Terminated;
            return Err(answer);
        }
        if ctx.route().is_some_and(|route| route.service.is_none()) {
            return Err(dry::no_service());
        }
        ctx.forwarded = Some(Instant::now());
        ctx.peer = Some(self.pick(session, ctx).map_err(forward::unreachable)?);
        body::invite(session).await;
        Ok(())
    }

    /// Finds the route, and sees to what needs no plugin: limits, framing, protocol.
    fn route(&self, session: &mut Session, ctx: &mut Ctx) -> Decision {
        ctx.grpc = is_grpc(session.req_header());
        limits::check(session, &self.options.limits).map_err(reject::generated)?;
        if session.is_http2() {
            join_cookies(session.req_header_mut());
        }
        ctx.seen = first_headers(&session.req_header().headers, self.options.limits.headers_seen);
        let header = session.req_header();
        let connection = Connection::of(session);
        ctx.tls = connection.tls;
        ctx.port = self.outside_port(connection.port);
        ctx.target = Target::locate(header).ok_or_else(|| reject::generated(Reason::BadRequest))?;
        if let Cow::Owned(path) = normalised(ctx.target.sent(header))? {
            ctx.target.normalised = Some(path.into());
        }
        let client = client::client(connection.peer, &header.headers, &self.options);
        ctx.client = Some(client);
        let (host, host_port) = router::split_host(authority(header));
        ctx.host_length = Some(host.len());
        if let Some(document) = ctx.snapshot.routing.documents.find(host, ctx.target.path(header))
            && matches!(header.method, Method::GET | Method::HEAD)
        {
            return Err(reject::document(document));
        }
        let lookup = Lookup {
            method: header.method.as_str(),
            host,
            host_port,
            listen_port: ctx.port,
            path: ctx.target.path(header),
            headers: ctx.seen.as_ref().unwrap_or(&header.headers),
            tls: connection.tls,
            sni: connection.server_name,
        };
        let Some(found) = ctx.snapshot.routing.router.find(&lookup) else {
            return Err(reject::routing(Reason::NoRoute, StatusCode::NOT_FOUND, "no Route matched with those values"));
        };
        ctx.found = Some(found);
        let Some(route) = ctx.route() else { return Err(reject::generated(Reason::Internal)) };
        let told = if client.trusted { header.headers.get("x-forwarded-proto") } else { None };
        let secure = told.map_or(connection.tls, |protocol| protocol == "https");
        let seen = if client.trusted { header.headers.get("x-forwarded-host") } else { None };
        let seen = seen.and_then(|host| host.to_str().ok()).unwrap_or(host);
        protocol_rules(&route.entity, header, secure, seen)
    }

    async fn authenticate(&self, session: &mut Session, ctx: &mut Ctx) -> Decision {
        let wants = {
            let Some(route) = ctx.route() else { return Err(reject::generated(Reason::Internal)) };
            match view(session.req_header(), ctx, route, None) {
                Some(request) => route.chain.wants(&request),
                None => Wants::Nothing,
            }
        };
        let body = match wants {
            Wants::Nothing => None,
            Wants::SmallBody => {
                let reading = body::read_small(session, &self.options.limits, &self.options.timeouts);
                reading.await.map_err(reject::generated)?
            }
        };
        let mut state = std::mem::take(&mut ctx.state);
        let mut decided_by = None;
        let decision = match ctx.route() {
            Some(route) => match view(session.req_header(), ctx, route, body.as_ref()) {
                Some(request) => {
                    let observe = |plugin, verdict| {
                        decided_by = Some(plugin);
                        route.metrics.auth(plugin, verdict);
                    };
                    route.chain.run(&request, &mut state, protocol(&route.entity, ctx.tls), observe).await
                }
                None => Err(reject::generated(Reason::Internal)),
            },
            None => Err(reject::generated(Reason::Internal)),
        };
        ctx.state = state;
        ctx.decided_by = decided_by;
        decision
    }

    /// The port that clients see for one that we listen on (`port_maps`).
    fn outside_port(&self, listening: u16) -> u16 {
        let mapped = self.options.port_maps.iter().find(|(_, inside)| *inside == listening);
        mapped.map_or(listening, |(outside, _)| *outside)
    }
}

/// The first so many headers; `None` when there are no more.
fn first_headers(all: &HeaderMap, most: usize) -> Option<HeaderMap> {
    (all.len() > most).then(|| all.iter().take(most).map(|(name, value)| (name.clone(), value.clone())).collect())
}

pub(super) fn normalised(path: &str) -> Result<Cow<'_, str>, Box<Rejection>> {
    router::normalise(path).map_err(|fault| match fault.status() {
        StatusCode::NOT_FOUND => {
            reject::routing(Reason::NoRoute, StatusCode::NOT_FOUND, "no Route matched with those values")
        }
        _ => reject::generated(Reason::BadRequest),
    })
}

/// The view that plugins get.
fn view<'a>(
    header: &'a RequestHeader,
    ctx: &'a Ctx,
    route: &Route,
    body: Option<&'a bytes::Bytes>,
) -> Option<Request<'a>> {
    Some(Request {
        method: &header.method,
        path: ctx.target.path(header),
        query: ctx.target.query(header),
        headers: ctx.seen.as_ref().unwrap_or(&header.headers),
        body,
        client: ctx.client?,
        scheme: if ctx.tls { Scheme::Https } else { Scheme::Http },
        now: ctx.wall.as_secs(),
        route: route.entity.id,
        service: route.service.as_ref().map(|service| service.entity.id),
        generation: ctx.snapshot.generation,
        directory: &ctx.snapshot.directory,
    })
}

/// The protocol a plugin's `protocols` are compared with. What kind of route it is decides, not what a client says it sends: else
/// a content type would choose which plugins run.
pub(super) fn protocol(route: &entity::Route, tls: bool) -> Protocol {
    let grpc = route.protocols.iter().any(|protocol| protocol.is_grpc());
    match (grpc, tls) {
        (true, true) => Protocol::Grpcs,
        (true, false) => Protocol::Grpc,
        (false, true) => Protocol::Https,
        (false, false) => Protocol::Http,
    }
}

/// A matched route's `protocols`; they are no part of matching.
pub(super) fn protocol_rules(route: &entity::Route, header: &RequestHeader, secure: bool, host: &str) -> Decision {
    let allows = |protocol| route.protocols.contains(&protocol);
    if !secure && allows(Protocol::Https) && !allows(Protocol::Http) {
        return Err(https_required(route.https_redirect_status_code, header, host));
    }
    if !allows(Protocol::Grpc) && !allows(Protocol::Grpcs) {
        return Ok(());
    }
    if !has_grpc_type(&header.headers) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(reject::routing(Reason::ProtocolMismatch, status, "Non-gRPC request matched gRPC route"));
    }
    if header.version != Version::HTTP_2 {
        let status = StatusCode::UPGRADE_REQUIRED;
        let answer = reject::routing(Reason::ProtocolMismatch, status, "Please use HTTP2 protocol");
        return Err(upgrade(answer, "HTTP/2"));
    }
    if !secure && !allows(Protocol::Grpc) {
        // Kong answers 200 here, and in gRPC's own terms.
        return Err(Rejection::message(Reason::HttpsRequired, StatusCode::OK, "gRPC request matched gRPCs route")
            .header(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("1")));
    }
    Ok(())
}

fn https_required(status: u16, header: &RequestHeader, host: &str) -> Box<Rejection> {
    let target = String::from_utf8_lossy(header.raw_path());
    // The target of a forward-proxy request names an authority of its own.
    let target = if target.starts_with('/') { target } else { Cow::Borrowed("/") };
    match (StatusCode::from_u16(status), HeaderValue::try_from(format!("https://{host}{target}"))) {
        (Ok(status), Ok(location)) if status.is_redirection() => {
            let answer = Rejection { reason: Reason::HttpsRequired, status, body: Body::Empty, headers: Vec::new() };
            Box::new(answer).header(header::LOCATION, location)
        }
        _ => {
            let status = StatusCode::UPGRADE_REQUIRED;
            let answer = reject::routing(Reason::HttpsRequired, status, "Please use HTTPS protocol");
            upgrade(answer, "TLS/1.2, HTTP/1.1")
        }
    }
}

fn upgrade(answer: Box<Rejection>, to: &'static str) -> Box<Rejection> {
    answer.header(header::UPGRADE, HeaderValue::from_static(to))
}
