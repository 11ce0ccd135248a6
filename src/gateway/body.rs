//! Request bodies: looked at for a plugin, drained after a refusal, watched for clients that send them too slowly.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::ctx::BodyPace;
use super::limits::content_length;
use super::options::{Limits, Timeouts};
use crate::auth::Reason;

/// Whether the body is of a kind whose fields a plugin can read.
fn is_inspectable(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
}

/// Reads a small body whole; Pingora keeps it and sends it on. `None` when there is none, it is of another kind, or it declares
/// no length or too great a one.
///
/// # Errors
/// When the client does not send it in time, or stops.
pub(super) async fn read_small(
    session: &mut Session,
    limits: &Limits,
    timeouts: &Timeouts,
) -> Result<Option<Bytes>, Reason> {
    let headers = &session.req_header().headers;
    let Some(length) = content_length(headers).and_then(|length| usize::try_from(length).ok()) else { return Ok(None) };
    if length == 0 || length > limits.inspected_body_bytes.min(PINGORA_KEEPS) || !is_inspectable(headers) {
        return Ok(None);
    }
    session.enable_retry_buffering();
    invite(session).await;
    let mut body = BytesMut::with_capacity(length);
    let reading = async {
        while let Some(chunk) = session.read_request_body().await.map_err(|_| Reason::ClientGone)? {
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match timeout(timeouts.inspect, reading).await {
        Ok(Ok(())) if !session.retry_buffer_truncated() => Ok(Some(body.freeze())),
        Ok(Ok(())) => Err(Reason::BodyTooLarge),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err(Reason::BodyTimeout),
    }
}

/// What Pingora's buffer for bodies that are sent again holds.
const PINGORA_KEEPS: usize = 64 * 1024;

/// Whether the client waits to be told to send its body (RFC 9110 section 10.1.1).
pub(super) fn expects_continue(session: &Session) -> bool {
    let header = session.req_header();
    let expect = header.headers.get(header::EXPECT);
    header.version == Version::HTTP_11 && expect.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Tells a waiting client to send its body.
pub(super) async fn invite(session: &mut Session) {
    if expects_continue(session) && session.response_written().is_none() {
        // A failed write shows when the body is read.
        let _ = session.write_continue_response().await;
    }
}

/// Reads what is left of a refused request's body, within bounds. Whether the connection can be kept.
pub(super) async fn drain(session: &mut Session, limits: &Limits, timeouts: &Timeouts) -> bool {
    if session.is_body_done() {
        return true;
    }
    let most = limits.drained_body_bytes;
    let declared = content_length(&session.req_header().headers);
    // Who waits for `100 Continue` has sent nothing, and now will not.
    if expects_continue(session) || declared.is_some_and(|length| length > most as u64) {
        return false;
    }
    let reading = async {
        let mut left = most;
        loop {
            match session.read_request_body().await {
                Ok(Some(chunk)) => match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => return false,
                },
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    timeout(timeouts.drain, reading).await.unwrap_or(false)
}

/// Goes on reading after the last answer on an HTTP/1 connection, for a moment: to close on a client that is still sending
/// would reset the connection, and the answer would be lost with it (nginx's lingering close).
pub(super) async fn linger(session: &mut Session, timeouts: &Timeouts) {
    if session.as_http1().is_none() || session.is_body_done() || expects_continue(session) {
        return;
    }
    let reading = async { while let Ok(Some(_)) = session.read_request_body().await {} };
    let _ = timeout(timeouts.drain.min(LINGER), reading).await;
}

/// Longest time for [`linger`].
const LINGER: Duration = Duration::from_secs(2);

impl BodyPace {
    /// Counts a part of the body that has come.
    ///
    /// # Errors
    /// When there is too much of it, or it comes too slowly.
    pub(super) fn add(&mut self, bytes: usize, limits: &Limits, grace: Duration) -> Result<(), Reason> {
        self.bytes += bytes as u64;
        if limits.body_bytes.is_some_and(|most| self.bytes > most) {
            return Err(Reason::BodyTooLarge);
        }
        if limits.body_min_rate == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let took = now.duration_since(*self.began.get_or_insert(now));
        if took > grace && self.bytes < limits.body_min_rate.saturating_mul(took.as_secs()) {
            return Err(Reason::BodyTimeout);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_with_fields_are_looked_at() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(value));
            is_inspectable(&headers)
        };
        assert!(of("application/x-www-form-urlencoded; charset=utf-8"));
        assert!(of("Application/JSON"));
        assert!(of("multipart/form-data; boundary=x"));
        assert!(!of("application/octet-stream"));
        assert!(!is_inspectable(&HeaderMap::new()));
    }

    #[test]
    fn slow_and_large_bodies_are_refused() {
        let limits = Limits { body_min_rate: 100, body_bytes: Some(1000), ..Limits::default() };
        let mut pace = BodyPace::default();
        assert_eq!(pace.add(10, &limits, Duration::from_secs(10)), Ok(()));
        pace.began = Instant::now().checked_sub(Duration::from_secs(20));
        assert_eq!(pace.add(10, &limits, Duration::from_secs(10)), Err(Reason::BodyTimeout));
        assert_eq!(pace.add(2000, &limits, Duration::from_secs(10)), Err(Reason::BodyTooLarge));
    }
}
