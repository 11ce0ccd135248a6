//! Answers in the service's place: every one of them is written here.
//!
//! A refusal keeps the client's connection whenever the request's end is known, so that clients with bad tokens do not cost a
//! handshake each; where it is not, the connection is closed and says so.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use super::ctx::Ctx;
use super::fields::{self, Fields};
use super::options::Options;
use super::{body, errors, headers};
use crate::auth::reason::Body;
use crate::auth::{Reason, Rejection};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Kong's `exit`.
const JSON: &str = "application/json; charset=utf-8";

/// A fault below routing: Kong's text for the status, in the form the client wants.
pub(super) fn generated(reason: Reason) -> Box<Rejection> {
    let status = match reason {
        Reason::TargetTooLong => StatusCode::URI_TOO_LONG,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::ServiceError => StatusCode::BAD_GATEWAY,
        Reason::ServiceTimeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    Box::new(Rejection { reason, status, body: Body::Generated, headers: Vec::new() })
}

/// A fault of routing: JSON unless the client wants another form.
pub(super) fn routing(reason: Reason, status: StatusCode, message: &'static str) -> Box<Rejection> {
    Box::new(Rejection { reason, status, body: Body::Negotiated(Cow::Borrowed(message)), headers: Vec::new() })
}

/// A public document, in JSON: for scripts of any origin, and for an hour.
pub(super) fn document(bytes: Bytes) -> Box<Rejection> {
    let body = Body::Raw { content_type: Cow::Borrowed("application/json"), bytes };
    Box::new(Rejection { reason: Reason::Answered, status: StatusCode::OK, body, headers: Vec::new() })
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
        .header(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"))
}

/// Whether the request's end cannot be relied upon after this.
const fn closes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BadRequest
            | Reason::HeadersTooLarge
            | Reason::TargetTooLong
            | Reason::BodyTooLarge
            | Reason::BodyTimeout
            | Reason::ClientGone
    )
}

/// Writes an answer, and settles what becomes of the connection.
pub(super) async fn write(session: &mut Session, ctx: &mut Ctx, options: &Options, answer: &Rejection) -> Result<()> {
    ctx.reason = Some(answer.reason);
    let closing = session.as_http1().is_some() && session.get_keepalive().is_none();
    let keep = !closing && !closes(answer.reason) && body::drain(session, &options.limits, &options.timeouts).await;
    if !keep {
        session.set_keepalive(None);
    }
    let content = Content::of(session, ctx, options, answer);
    let header = header(ctx, options, answer, &content)?;
    let silent = content.bytes.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), silent).await?;
    if !silent {
        session.write_response_body(Some(content.bytes), true).await?;
    }
    if !keep {
        body::linger(session, &options.timeouts).await;
    }
    Ok(())
}

/// What stands in an answer.
struct Content<'a> {
    media_type: Option<HeaderValue>,
    bytes: Bytes,
    /// The message that a gRPC client gets in a header.
    grpc: Option<Cow<'a, str>>,
}

impl<'a> Content<'a> {
    fn of(session: &Session, ctx: &Ctx, options: &Options, answer: &'a Rejection) -> Self {
        if ctx.grpc {
            return Self {
                media_type: Some(HeaderValue::from_static("application/grpc")),
                bytes: Bytes::new(),
                grpc: Some(plain_message(answer)),
            };
        }
        let sent = &session.req_header().headers;
        let negotiated = |form: super::ErrorType, message: &str| {
            let text = form.body(message, ctx.request_id.as_str());
            (Some(HeaderValue::from_static(form.content_type())), Bytes::from(text))
        };
        let json = |text: Bytes| (Some(HeaderValue::from_static(JSON)), text);
        let (media_type, bytes) = match &answer.body {
            Body::Message(message) => json(message_json(message)),
            Body::Json(Cow::Borrowed(text)) => json(Bytes::from_static(text.as_bytes())),
            Body::Json(Cow::Owned(text)) => json(Bytes::copy_from_slice(text.as_bytes())),
            Body::Negotiated(message) => negotiated(errors::negotiate(sent), message),
            Body::Generated => {
                let form = errors::negotiate_generated(sent, options.error_default_type);
                negotiated(form, generated_message(answer))
            }
            Body::Raw { content_type, bytes } => (HeaderValue::from_str(content_type).ok(), bytes.clone()),
            Body::Empty => (None, Bytes::new()),
        };
        Self { media_type, bytes, grpc: None }
    }
}

fn generated_message(answer: &Rejection) -> &'static str {
    match answer.reason {
        Reason::HeadersTooLarge => "Request header or cookie too large",
        _ => errors::message(answer.status),
    }
}

/// `{"message":"…"}`.
pub(super) fn message_json(message: &str) -> Bytes {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    let mut text = String::with_capacity(message.len() + 16);
    text.push_str("{\"message\":");
    if message.bytes().all(plain) {
        text.push('"');
        text.push_str(message);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(message).to_string());
    }
    text.push('}');
    Bytes::from(text)
}

fn plain_message(answer: &Rejection) -> Cow<'_, str> {
    match &answer.body {
        Body::Message(message) | Body::Negotiated(message) => Cow::Borrowed(message),
        _ => Cow::Borrowed(match answer.status {
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            status => errors::message(status),
        }),
    }
}

fn header(ctx: &mut Ctx, options: &Options, answer: &Rejection, content: &Content<'_>) -> Result<ResponseHeader> {
    let mut header = match options.preserve_header_case {
        true => ResponseHeader::build(answer.status, Some(10))?,
        false => ResponseHeader::build_no_case(answer.status, Some(0))?,
    };
    fields::of_response(&mut header, options.preserve_header_case, |fields| {
        fill(fields, ctx, options, answer, content)
    })?;
    Ok(header)
}

fn fill(
    header: &mut dyn Fields,
    ctx: &mut Ctx,
    options: &Options,
    answer: &Rejection,
    content: &Content<'_>,
) -> Result<()> {
    if let Some(media_type) = &content.media_type {
        header.set(&header::CONTENT_TYPE, media_type.clone())?;
    }
    if let Some(message) = &content.grpc {
        if !answer.headers.iter().any(|(name, _)| name == GRPC_STATUS) {
            header.set(&GRPC_STATUS, HeaderValue::from_static(errors::grpc_status(answer.status)))?;
        }
        if let Ok(message) = HeaderValue::from_str(message) {
            header.set(&GRPC_MESSAGE, message)?;
        }
    } else {
        header.set(&header::CONTENT_LENGTH, HeaderValue::from(content.bytes.len()))?;
    }
    for (name, value) in &answer.headers {
        header.add(name, value.clone())?;
    }
    for (name, value) in ctx.state.response() {
        header.add(name, value)?;
    }
    if answer.status == StatusCode::UNAUTHORIZED {
        // The address may hold a token; it must not travel on as a referrer.
        header.set(&header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))?;
    }
    let tokens = options.headers;
    if tokens.response_latency {
        header.set(&headers::X_KONG_RESPONSE_LATENCY, headers::milliseconds(ctx.started.elapsed()))?;
    }
    if tokens.server {
        header.set(&header::SERVER, HeaderValue::from_static(headers::SERVER))?;
    }
    if tokens.request_id {
        header.set(&headers::X_KONG_REQUEST_ID, ctx.request_id.value())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_compact_json() {
        assert_eq!(message_json("Unauthorized"), r#"{"message":"Unauthorized"}"#);
        assert_eq!(message_json("No mandatory 'a\"b' in claims"), r#"{"message":"No mandatory 'a\"b' in claims"}"#);
        assert_eq!(message_json("line\nbreak"), r#"{"message":"line\nbreak"}"#);
    }

    #[test]
    fn a_fault_of_framing_ends_the_connection() {
        assert!(closes(Reason::BadRequest) && closes(Reason::HeadersTooLarge));
        assert!(!closes(Reason::NoToken) && !closes(Reason::NoRoute) && !closes(Reason::ServiceError));
    }
}
