//! Towards the service: where to, what it is sent, and whether a failed attempt is followed by another.

use std::borrow::Cow;
use std::time::Instant;

use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType as Fault, Result};
use pingora_proxy::Session;

use super::ctx::{BodyPace, Ctx};
use super::fields::{self, Fields};
use super::headers::{self, Answered, Forwarded};
use super::request::authority;
use super::{Gateway, reject};
use crate::auth::{Reason, Rejection, identity};
use crate::entity;
use crate::router;
use crate::upstream::{HashInput, PickFault};

impl Gateway {
    /// Picks the address of the first or next attempt.
    pub(super) fn pick(&self, session: &Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>, PickFault> {
        let snapshot = &ctx.snapshot;
        let found = ctx.found.ok_or(PickFault::NoPeer)?;
        let route = snapshot.routing.routes.get(found.route).ok_or(PickFault::NoPeer)?;
        let service = route.service.as_ref().ok_or(PickFault::NoPeer)?;
        let header = session.req_header();
        let path = ctx.target.path(header);
        let capture =
            |name: &str| snapshot.routing.router.capture(&found, path, name).map(std::borrow::ToOwned::to_owned);
        let input = HashInput {
            client: ctx.client.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |client| client.address),
            headers: &header.headers,
            path,
            query: ctx.target.query(header),
            consumer: ctx.state.consumer().map(|consumer| consumer.id),
            uri_capture: Some(&capture),
            preserved_host: route.entity.preserve_host.then(|| authority(header)),
        };
        let picked = service.destination.pick(&input, &mut ctx.attempts)?;
        ctx.host_header = Some(picked.host_header);
        ctx.lease = Some(picked.lease);
        ctx.attempted = if ctx.attempts.count() == 1 { ctx.forwarded } else { Some(Instant::now()) };
        Ok(picked.peer)
    }

    /// Whether the service's `retries` allow another attempt.
    fn may_retry(ctx: &Ctx) -> bool {
        let retries = ctx.service().map_or(0, |service| usize::from(service.retries));
        ctx.attempts.count() <= retries
    }

    /// After a connection that did not come about: nothing was sent, so any request may be tried elsewhere.
    pub(super) fn not_connected(ctx: &mut Ctx, mut fault: Box<Error>) -> Box<Error> {
        report(ctx, &fault);
        fault.set_retry(Self::may_retry(ctx));
        fault
    }

    /// After a fault on a connection to the service: only what may be sent twice is, and only while the client has seen nothing.
    pub(super) fn broken(session: &Session, ctx: &mut Ctx, mut fault: Box<Error>) -> Box<Error> {
        let of_service = *fault.esource() == ErrorSource::Upstream;
        if of_service && ctx.answered.is_none() {
            report(ctx, &fault);
        }
        let retry = of_service
            && session.response_written().is_none()
            && is_repeatable(&session.req_header().method)
            && !session.retry_buffer_truncated()
            && Self::may_retry(ctx);
        fault.set_retry(retry);
        if retry {
            ctx.answered = None;
        }
        fault
    }

    /// Makes the request that the service gets out of the one that came.
    pub(super) fn prepare(&self, session: &Session, ctx: &mut Ctx, request: &mut RequestHeader) -> Result<()> {
        ctx.body = BodyPace::default();
        let internal = || Error::new_in(Fault::InternalError);
        let sent = session.req_header();
        let found = ctx.found.ok_or_else(internal)?;
        let route = ctx.route().ok_or_else(internal)?;
        let client = ctx.client.ok_or_else(internal)?;
        let base = route.service.as_ref().and_then(|service| service.entity.path.as_deref());
        let towards = router::upstream_path(base, &route.entity, ctx.target.path(sent), &found);

        let forwarded = Forwarded {
            client,
            tls: ctx.tls,
            host: ctx.host(sent),
            port: ctx.port,
            path: ctx.target.sent(sent),
            prefix: towards.stripped_prefix,
        };
        fields::of_request(request, self.options.preserve_header_case, |request| {
            // First what Pingora took too much: a credential that a plugin hides may stand in one of these.
            headers::hop_by_hop(&sent.headers, request)?;
            identify(ctx, request)?;
            Self::name_host(&route.entity, ctx, sent, request)?;
            forwarded.write(request)?;
            headers::request_via(sent.version, request)?;
            if self.options.request_id_upstream {
                request.set(&headers::X_KONG_REQUEST_ID, ctx.request_id.value())?;
            }
            if let Some(body) = &ctx.state.body {
                request.remove(&header::TRANSFER_ENCODING);
                request.set(&header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
            }
            Ok(())
        })?;
        retarget(request, &towards.path, ctx.state.query.as_deref().or(ctx.target.query(sent)), &ctx.state.query)
    }

    fn name_host(route: &entity::Route, ctx: &Ctx, sent: &RequestHeader, request: &mut dyn Fields) -> Result<()> {
        if route.preserve_host {
            // HTTP/1 has it already; out of HTTP/2 it comes from `:authority`.
            match authority(sent) {
                "" => Ok(()),
                host => match HeaderValue::from_str(host) {
                    Ok(host) => request.set(&header::HOST, host),
                    Err(_) => Err(Error::explain(Fault::InvalidHTTPHeader, "invalid authority").into_in()),
                },
            }
        } else {
            match &ctx.host_header {
                Some(host) => request.set(&header::HOST, host.clone()),
                None => Ok(()),
            }
        }
    }

    /// Makes the response that the client gets out of the service's.
    pub(super) fn respond(&self, session: &mut Session, ctx: &mut Ctx, response: &mut ResponseHeader) -> Result<()> {
        let status = response.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // A client may be silent on a WebSocket for as long as it likes; the service's `read_timeout` goes on.
            session.set_read_timeout(None);
        } else if status.is_informational() {
            return Ok(());
        }
        let now = Instant::now();
        ctx.answered = Some(now);
        let began = ctx.attempted.unwrap_or(now);
        if let Some(lease) = &ctx.lease {
            lease.answered(status.as_u16(), now.saturating_duration_since(began));
        }
        let forwarded = ctx.forwarded.unwrap_or(ctx.started);
        let answered = Answered {
            status,
            version: response.version,
            gateway: forwarded.saturating_duration_since(ctx.started),
            upstream: now.saturating_duration_since(forwarded),
            request_id: ctx.request_id.value(),
        };
        // The status line names the version we speak (RFC 9110 2.5); the service's is in `Via`.
        if matches!(response.version, Version::HTTP_09 | Version::HTTP_10) {
            response.set_version(Version::HTTP_11);
        }
        let sent = session.req_header();
        fields::of_response(response, self.options.preserve_header_case, |response| {
            if status != StatusCode::SWITCHING_PROTOCOLS {
                headers::clean_response(&sent.headers, response);
            }
            headers::name_charset(response)?;
            headers::response_tokens(self.options.headers, answered, response)?;
            for (name, value) in ctx.state.response() {
                response.add(name, value)?;
            }
            if let Some(cookie) = ctx.attempts.set_cookie() {
                response.add(&header::SET_COOKIE, cookie.clone())?;
            }
            if self.options.allow_debug_header {
                debug_headers(sent, ctx, response)?;
            }
            Ok(())
        })
    }

    /// The reason for an answer of ours after a fault.
    pub(super) fn blame(fault: &Error, ctx: &Ctx) -> Reason {
        match (fault.esource(), fault.etype()) {
            (_, Fault::HTTPStatus(408)) => Reason::BodyTimeout,
            (_, Fault::HTTPStatus(413)) => Reason::BodyTooLarge,
            (
                ErrorSource::Upstream,
                Fault::ConnectTimedout | Fault::TLSHandshakeTimedout | Fault::ReadTimedout | Fault::WriteTimedout,
            ) => Reason::ServiceTimeout,
            (ErrorSource::Upstream, _) => Reason::ServiceError,
            (ErrorSource::Downstream, Fault::ReadTimedout) => Reason::BodyTimeout,
            (ErrorSource::Downstream, Fault::InvalidHTTPHeader) => Reason::BadRequest,
            (ErrorSource::Downstream, _)
            | (_, Fault::WriteError | Fault::WriteTimedout | Fault::ReadError | Fault::ConnectionClosed) => {
                Reason::ClientGone
            }
            _ => ctx.reason.unwrap_or(Reason::Internal),
        }
    }
}

impl Gateway {
    /// What the client is told of a fault.
    pub(super) fn answer_fault(fault: &Error, ctx: &Ctx) -> Box<Rejection> {
        match Self::blame(fault, ctx) {
            Reason::NoPeer => unreachable(PickFault::NoPeer),
            Reason::NameResolution => unreachable(PickFault::NameResolution),
            reason => reject::generated(reason),
        }
    }
}

/// Kong's 503s for a service that has no address.
pub(super) fn unreachable(fault: PickFault) -> Box<Rejection> {
    let (reason, message) = match fault {
        PickFault::NoPeer => (Reason::NoPeer, "failure to get a peer from the ring-balancer"),
        PickFault::NameResolution => (Reason::NameResolution, "name resolution failed"),
    };
    reject::routing(reason, StatusCode::SERVICE_UNAVAILABLE, message)
}

/// Tells the balancer that an attempt failed.
fn report(ctx: &mut Ctx, fault: &Error) {
    let Some(lease) = ctx.lease.take() else { return };
    match fault.etype() {
        Fault::ConnectTimedout | Fault::TLSHandshakeTimedout | Fault::ReadTimedout | Fault::WriteTimedout => {
            lease.timed_out();
        }
        _ => lease.connect_failed(),
    }
}

/// Methods that nginx sends again after a fault: all but those that may do something twice.
fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

/// Identity headers: the client's out, on every route and in every spelling, and the proven ones in.
fn identify(ctx: &Ctx, request: &mut dyn Fields) -> Result<()> {
    let guarded = ctx.state.guarded.as_deref().unwrap_or_default();
    let is_ours = |name: &&HeaderName| {
        identity::is_identity_header(name.as_str())
            || guarded.iter().any(|ours| identity::is_same_variable(ours.as_str(), name.as_str()))
    };
    let spoofed: Vec<_> = request.map().keys().filter(is_ours).cloned().collect();
    for name in &spoofed {
        request.remove(name);
    }
    for name in ctx.state.removed() {
        request.remove(name);
    }
    if let Some(authenticated) = ctx.state.authenticated() {
        identity::each_header(authenticated, |name, value| request.set(name, value))?;
    }
    for (name, value) in ctx.state.set() {
        request.set(name, value)?;
    }
    Ok(())
}

/// Sets path and query, unless they are what they were.
fn retarget(request: &mut RequestHeader, path: &str, query: Option<&str>, changed: &Option<String>) -> Result<()> {
    let query = match changed {
        // Taken away with all its arguments.
        Some(changed) if changed.is_empty() => None,
        _ => query,
    };
    let target = match query {
        None => Cow::Borrowed(path),
        Some(query) => {
            let mut target = String::with_capacity(path.len() + 1 + query.len());
            target.push_str(path);
            target.push('?');
            target.push_str(query);
            Cow::Owned(target)
        }
    };
    // An authority in the URI would stand against the `Host` we set.
    if request.uri.authority().is_none() && request.raw_path() == target.as_bytes() {
        return Ok(());
    }
    request.set_raw_path(target.as_bytes())
}

/// Kong's answer to `Kong-Debug: 1`.
fn debug_headers(sent: &RequestHeader, ctx: &Ctx, response: &mut dyn Fields) -> Result<()> {
    const ROUTE_ID: HeaderName = HeaderName::from_static("kong-route-id");
    const ROUTE_NAME: HeaderName = HeaderName::from_static("kong-route-name");
    const SERVICE_ID: HeaderName = HeaderName::from_static("kong-service-id");
    const SERVICE_NAME: HeaderName = HeaderName::from_static("kong-service-name");
    if sent.headers.get("kong-debug").is_none_or(|value| value != "1") {
        return Ok(());
    }
    let Some(route) = ctx.route() else { return Ok(()) };
    let service = route.service.as_ref().map(|service| &service.entity);
    let told = [
        (ROUTE_ID, Some(route.entity.id.to_string())),
        (ROUTE_NAME, route.entity.name.as_deref().map(str::to_owned)),
        (SERVICE_ID, service.map(|service| service.id.to_string())),
        (SERVICE_NAME, service.and_then(|service| service.name.as_deref().map(str::to_owned))),
    ];
    for (name, text) in told {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.set(&name, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retargeted(from: &str, path: &str, query: Option<&str>, changed: Option<&str>) -> String {
        let mut request = RequestHeader::build("GET", from.as_bytes(), None).unwrap();
        let changed = changed.map(str::to_owned);
        retarget(&mut request, path, changed.as_deref().or(query), &changed).unwrap();
        String::from_utf8(request.raw_path().to_vec()).unwrap()
    }

    /// Case R25, and plugins that hide a credential in the query.
    #[test]
    fn the_query_goes_on_unless_a_plugin_changes_it() {
        assert_eq!(retargeted("/a/b?c=d", "/b", Some("c=d"), None), "/b?c=d");
        assert_eq!(retargeted("/request?", "/request", Some(""), None), "/request?");
        assert_eq!(retargeted("/a?b=c&d=e", "/a", Some("b=c&d=e"), Some("d=e")), "/a?d=e");
        assert_eq!(retargeted("/a?b=c", "/a", Some("b=c"), Some("")), "/a");
        assert_eq!(retargeted("http://host/a", "/a", None, None), "/a");
    }

    #[test]
    fn faults_have_reasons() {
        let ctx = Ctx::new(std::sync::Arc::new(crate::snapshot::Snapshot::empty()), std::time::Duration::ZERO);
        let of = |fault: Box<Error>| Gateway::blame(&fault, &ctx);
        assert_eq!(of(Error::new_up(Fault::ConnectRefused)), Reason::ServiceError);
        assert_eq!(of(Error::new_up(Fault::ReadTimedout)), Reason::ServiceTimeout);
        assert_eq!(of(Error::new_down(Fault::ReadTimedout)), Reason::BodyTimeout);
        assert_eq!(of(Error::new_down(Fault::ConnectionClosed)), Reason::ClientGone);
        assert_eq!(of(Error::new_down(Fault::InvalidHTTPHeader)), Reason::BadRequest);
        assert_eq!(of(Error::new(Fault::WriteError)), Reason::ClientGone);
        assert_eq!(of(Error::new_in(Fault::InternalError)), Reason::Internal);
        assert_eq!(of(Error::new_down(Fault::HTTPStatus(413))), Reason::BodyTooLarge);
    }
}
