//! What remains of a request: counters and a line in the access log.

use std::time::Instant;

use http::{StatusCode, Version, header};
use pingora_core::Error;
use pingora_proxy::Session;

use super::Gateway;
use super::ctx::Ctx;
use super::request::Handshake;
use crate::auth::{Principal, Reason};
use crate::telemetry::live::Refusal;
use crate::telemetry::{AccessRecord, Latencies};

/// Characters of a refused request's path that are kept.
const PATH_KEPT: usize = 200;

/// nginx's status for a client that went away before its answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Gateway {
    /// Counts a finished request and logs it. Never a token, and never the query, which may hold one.
    pub(super) fn finish(&self, session: &Session, ctx: &Ctx, fault: Option<&Error>) {
        let written = session.response_written().map(|response| response.status);
        // An interim response is no answer.
        let written = written.filter(|status| !status.is_informational() || *status == StatusCode::SWITCHING_PROTOCOLS);
        let from_service = written.is_some() && ctx.answered.is_some();
        let status = written.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        let latencies = latencies(ctx, Instant::now());
        let (bytes_in, bytes_out) = (session.body_bytes_read() as u64, session.body_bytes_sent() as u64);
        let metrics = ctx.route().map_or(&self.unmatched, |route| &route.metrics);
        metrics.request(status, from_service, latencies, bytes_in, bytes_out);
        if let Some(verification) = &ctx.state.verification {
            metrics.verification(verification);
        }
        self.look(session, ctx, status);
        if self.access_log.wants(status) {
            self.record(session, ctx, fault, status, from_service, latencies);
        }
    }

    /// What is kept for people who look: refusals, and when credentials were used.
    fn look(&self, session: &Session, ctx: &Ctx, status: u16) {
        let live = &self.metrics.live;
        let now = ctx.wall.as_secs();
        if let (Some(Principal::Authenticated(caller)), Some(by)) = (ctx.state.principal(), ctx.decided_by)
            && let (Some(consumer), Some(credential)) = (&caller.consumer, &caller.credential)
        {
            // A subject of an identity provider is no credential of ours, unless its token was issued here.
            let opaque = ctx.state.verification.is_some_and(|verification| verification.algorithm.is_none());
            if by != "openid-connect" || opaque {
                caller.note_use(now, || live.uses.touch(consumer.id, credential, now));
            }
        }
        let (reason, anonymous) = match (ctx.reason, ctx.state.fallback) {
            (Some(Reason::Answered), _) => return,
            (Some(reason), _) => (reason, false),
            (None, Some(reason)) => (reason, true),
            (None, None) => return,
        };
        let ended = self.clock.now();
        live.rejects.count(ended.as_secs(), reason);
        if !(anonymous || ctx.denied) || !live.rejects.wants(ended.as_secs()) {
            return;
        }
        let header = session.req_header();
        let route = ctx.route();
        live.rejects.keep(Refusal {
            at_ms: u64::try_from(ended.as_millis()).unwrap_or(u64::MAX),
            route: route.map(|route| route.label.clone()).unwrap_or_default(),
            service: route.and_then(|route| route.service.as_ref()).map(|service| service.label.clone()),
            plugin: ctx.decided_by,
            reason: reason.label(),
            status,
            issuer: ctx.state.issuer.clone(),
            kid: ctx.state.key_id.clone(),
            algorithm: ctx.state.verification.map(|verification| verification.name()),
            token_fp: ctx.state.token.as_deref().map(|token| self.access_log.fingerprint(token.as_bytes())),
            method: shown(header.method.as_str()).into(),
            path: ctx.target.sent(header).chars().take(PATH_KEPT).collect(),
            client: ctx.client.map(|client| client.address),
            request_id: ctx.request_id.as_str().into(),
            anonymous,
        });
    }

    fn record(
        &self,
        session: &Session,
        ctx: &Ctx,
        fault: Option<&Error>,
        status: u16,
        from_service: bool,
        latencies: Latencies,
    ) {
        let header = session.req_header();
        let (principal, route) = (ctx.state.principal(), ctx.route());
        let consumer = principal.and_then(Principal::consumer);
        let name = consumer.and_then(|consumer| consumer.username.as_deref().or(consumer.custom_id.as_deref()));
        let id = consumer.filter(|_| name.is_none()).map(|consumer| consumer.id.to_string());
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
        let record = AccessRecord {
            time: ctx.wall,
            request_id: ctx.request_id.as_str(),
            client: ctx.client.map(|client| client.address),
            scheme: if ctx.tls { "https" } else { "http" },
            http_version: version(header.version),
            method: shown(header.method.as_str()),
            host: ctx.host(header),
            path: ctx.target.sent(header),
            status,
            source: if from_service { "service" } else { "gateway" },
            route: route.map_or("", |route| &route.label),
            service: route.and_then(|route| route.service.as_ref()).map_or("", |service| &service.label),
            upstream: ctx.attempts.last(),
            upstream_status: from_service.then_some(status),
            tries: u32::try_from(ctx.attempts.count()).unwrap_or(u32::MAX),
            consumer: name.or(id.as_deref()),
            credential: match principal {
                Some(Principal::Authenticated(caller)) => caller.credential.as_deref(),
                _ => None,
            },
            auth: match principal {
                Some(Principal::Authenticated(_)) => Some("allow"),
                Some(Principal::Anonymous(_)) => Some("anonymous"),
                None => ctx.denied.then_some("deny"),
            },
            reason: ctx.reason.or(ctx.state.fallback).map(Reason::label),
            issuer: ctx.state.issuer.as_deref(),
            kid: ctx.state.key_id.as_deref(),
            alg: ctx.state.verification.map(|verification| verification.name()),
            token_fp: ctx.state.token.as_deref().map(|token| self.access_log.fingerprint(token.as_bytes())),
            total: latencies.total,
            upstream_took: latencies.upstream,
            gateway: latencies.gateway,
            verified: ctx.state.verification.map(|verification| verification.took),
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: session.body_bytes_sent() as u64,
            tls: tls.map(|tls| &*tls.version),
            sni: tls.and_then(|tls| tls.extension.get::<Handshake>()?.server_name.as_deref()),
            user_agent: header.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()),
            generation: ctx.snapshot.generation,
            error: fault.map(|fault| fault.etype().as_str()),
        };
        self.access_log.record(&record);
    }
}

fn latencies(ctx: &Ctx, ended: Instant) -> Latencies {
    let total = ended.saturating_duration_since(ctx.started);
    let upstream = ctx.forwarded.zip(ctx.answered).map(|(from, to)| to.saturating_duration_since(from));
    let gateway = ctx.forwarded.map_or(total, |forwarded| forwarded.saturating_duration_since(ctx.started));
    Latencies { total, upstream, gateway }
}

/// A method as it is logged: what is none that anybody uses may be anything, a token too.
fn shown(method: &str) -> &str {
    let usual = method.len() <= 32 && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if usual { method } else { "unusual" }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
