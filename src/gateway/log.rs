//! What remains of a request: counters and a line in the access log.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::{StatusCode, Version, header};
use pingora_core::Error;
use pingora_proxy::Session;

use super::Gateway;
use super::ctx::Ctx;
use super::request::{Handshake, authority};
use crate::auth::{Principal, Reason};
use crate::router;
use crate::telemetry::{AccessRecord, Latencies};

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
        if self.access_log.wants(status) {
            self.record(session, ctx, fault, status, from_service, latencies);
        }
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
        let id = consumer.map(|consumer| consumer.id.to_string());
        let name = consumer.and_then(|consumer| consumer.username.as_deref().or(consumer.custom_id.as_deref()));
        let upstream = ctx.attempts.last().map(|address| address.to_string());
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
        let time = timestamp(ctx.wall);
        let record = AccessRecord {
            time: &time,
            request_id: ctx.request_id.as_str(),
            client: ctx.client.map(|client| client.address),
            scheme: if ctx.tls { "https" } else { "http" },
            http_version: version(header.version),
            method: header.method.as_str(),
            host: router::split_host(authority(header)).0,
            path: ctx.target.sent(header),
            status,
            source: if from_service { "service" } else { "gateway" },
            route: route.map_or("", |route| &route.label),
            service: route.and_then(|route| route.service.as_ref()).map_or("", |service| &service.label),
            upstream: upstream.as_deref(),
            upstream_status: from_service.then_some(status),
            tries: u32::try_from(ctx.attempts.count()).unwrap_or(u32::MAX),
            consumer: name.or(id.as_deref()),
            credential: match principal {
                Some(Principal::Authenticated { credential, .. }) => credential.as_deref(),
                _ => None,
            },
            auth: match principal {
                Some(Principal::Authenticated { .. }) => Some("allow"),
                Some(Principal::Anonymous(_)) => Some("anonymous"),
                None => ctx.denied.then_some("deny"),
            },
            reason: ctx.reason.or(ctx.state.fallback).map(Reason::label),
            issuer: ctx.state.issuer.as_deref(),
            kid: ctx.state.key_id.as_deref(),
            alg: ctx.state.verification.map(|verification| verification.algorithm),
            token_fp: ctx.state.token.as_deref().map(|token| self.access_log.fingerprint(token.as_bytes())),
            total_ms: milliseconds(latencies.total),
            upstream_ms: latencies.upstream.map(milliseconds),
            gateway_ms: milliseconds(latencies.gateway),
            verify_us: ctx.state.verification.map(|verification| verification.took.as_secs_f64() * 1e6),
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

/// Milliseconds with three decimal places.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// RFC 3339, UTC, milliseconds.
fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, counting years from March so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = String::with_capacity(24);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let milliseconds = since_epoch.subsec_millis();
    // Writing to a string cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(Duration::from_millis(951_782_399_999)), "2000-02-28T23:59:59.999Z");
        assert_eq!(timestamp(Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(Duration::from_secs(1_795_315_766)), "2026-11-22T02:49:26.000Z");
        assert_eq!(timestamp(Duration::from_secs(4_107_542_400)), "2100-03-01T00:00:00.000Z");
    }
}
