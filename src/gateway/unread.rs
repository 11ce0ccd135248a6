//! Requests that never became any: the HTTP library refuses what it cannot read before there is a header for the gateway.
//!
//! It would answer under its own name, and nothing would be counted or logged. So the listener asks here what is written in place
//! of its answer. Who is admitted, and when, is told by [`Admission`].

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use pingora_core::protocols::http::ServerSession;

use super::ctx::RequestId;
use super::options::{Clock, Options};
use super::{Parts, errors, headers, reject};
use crate::auth::Reason;
use crate::telemetry::{AccessLog, AccessRecord, Latencies, RouteMetrics};

/// Whether what is read on a connection has become a request of the gateway's. The listener puts one into the connection's digest,
/// as an `Arc` in the `user_data` of its proxy digest.
#[derive(Debug, Default)]
pub struct Admission(AtomicBool);

impl Admission {
    pub fn admitted(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// The next request is awaited.
    pub fn reset(&self) {
        self.0.store(false, Relaxed);
    }

    /// Notes that the request of a session was read.
    pub(super) fn note(session: &ServerSession) {
        let digest = session.digest().and_then(|digest| digest.proxy_digest.as_deref());
        let mark = digest.and_then(|digest| digest.user_data.as_ref()?.downcast_ref::<Arc<Self>>());
        if let Some(mark) = mark {
            mark.0.store(true, Relaxed);
        }
    }
}

/// What requests that cannot be read are answered.
#[derive(Debug)]
pub struct Unread {
    options: Options,
    clock: Clock,
    access_log: Arc<AccessLog>,
    unmatched: RouteMetrics,
}

impl Unread {
    /// For the gateway of the same parts.
    pub fn new(parts: &Parts) -> Self {
        Self {
            options: parts.options.clone(),
            clock: parts.clock,
            access_log: parts.access_log.clone(),
            unmatched: parts.metrics.unmatched(),
        }
    }

    /// The whole answer, HTTP/1.1, after which the connection is closed; counts and logs the request. What the client accepts is
    /// not known.
    pub fn answer(&self, status: u16, client: Option<IpAddr>, tls: bool) -> Vec<u8> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let reason =
            if status == StatusCode::METHOD_NOT_ALLOWED { Reason::MethodNotAllowed } else { Reason::BadRequest };
        let status = reject::generated(reason).status;
        let (now, id) = (self.clock.now(), RequestId::generate());
        let form = self.options.error_default_type;
        let body = form.body(errors::message(status), id.as_str());
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            httpdate::fmt_http_date(UNIX_EPOCH + now),
            form.content_type(),
            body.len(),
        );
        let tokens = self.options.headers;
        if tokens.response_latency {
            text.push_str("X-Kong-Response-Latency: 0\r\n");
        }
        if tokens.server {
            text.push_str(&format!("Server: {}\r\n", headers::SERVER));
        }
        if tokens.request_id {
            text.push_str(&format!("X-Kong-Request-Id: {}\r\n", id.as_str()));
        }
        text.push_str("Connection: close\r\n\r\n");
        text.push_str(&body);

        let latencies = Latencies { total: Duration::ZERO, upstream: None, gateway: Duration::ZERO };
        self.unmatched.request(status.as_u16(), false, latencies, 0, body.len() as u64);
        if self.access_log.wants(status.as_u16()) {
            self.access_log.record(&AccessRecord {
                time: now,
                request_id: id.as_str(),
                client,
                scheme: if tls { "https" } else { "http" },
                http_version: "1.1",
                status: status.as_u16(),
                source: "gateway",
                reason: Some(reason.label()),
                bytes_out: body.len() as u64,
                ..AccessRecord::default()
            });
        }
        text.into_bytes()
    }
}
