//! The answers of the plugin: JSON errors of RFC 6749 section 5.2 as Kong words them, and its challenges.

use std::fmt::Write;

use http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

use crate::auth::reason::Body;
use crate::auth::{Reason, Rejection};

/// A refusal of an endpoint, before its shape is known (a plain object, or inside a redirect URI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub error: &'static str,
    pub description: String,
    pub reason: Reason,
    /// 401 with a `Basic` challenge instead of 400: the client's credentials came in a header.
    pub challenge: bool,
}

impl Fault {
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, description: description.into(), reason: Reason::OauthRequest, challenge: false }
    }

    pub fn https(description: &str) -> Self {
        Self { reason: Reason::HttpsRequired, ..Self::new("access_denied", description) }
    }

    pub fn client() -> Self {
        Self { reason: Reason::CredentialUnknown, ..Self::new("invalid_client", "Invalid client authentication") }
    }

    /// An authorization code or refresh token that gives no token.
    pub fn grant(description: &str) -> Self {
        Self { reason: Reason::GrantUnknown, ..Self::new("invalid_request", description) }
    }

    pub fn members(&self) -> Vec<(String, Value)> {
        vec![("error".into(), self.error.into()), ("error_description".into(), self.description.clone().into())]
    }

    /// As a plain object.
    pub fn reply(&self, state: Option<&str>) -> Box<Rejection> {
        let mut members: Map<String, Value> = self.members().into_iter().collect();
        if let Some(state) = state {
            members.insert("state".into(), state.into());
        }
        let status = if self.challenge { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let reply = endpoint_reply(self.reason, status, members);
        if self.challenge {
            reply.header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"OAuth2.0\""))
        } else {
            reply
        }
    }
}

/// An answer of an endpoint, never to be stored (RFC 6749 section 5.1).
pub fn endpoint_reply(reason: Reason, status: StatusCode, members: Map<String, Value>) -> Box<Rejection> {
    let body = Body::Json(Value::Object(members).to_string().into());
    Box::new(Rejection { reason, status, body, headers: Vec::new() })
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(PRAGMA, HeaderValue::from_static("no-cache"))
}

/// A refusal with the same error in body and challenge (RFC 6750 section 3).
fn challenged(
    status: StatusCode,
    reason: Reason,
    realm: Option<&str>,
    error: &str,
    description: &str,
) -> Box<Rejection> {
    let members: Map<String, Value> =
        [("error".into(), error.into()), ("error_description".into(), description.into())].into_iter().collect();
    let shown = (error != "invalid_request").then_some((error, description));
    Box::new(Rejection {
        reason,
        status,
        body: Body::Json(Value::Object(members).to_string().into()),
        headers: Vec::new(),
    })
    .header(WWW_AUTHENTICATE, challenge(realm, shown))
}

/// A `Bearer` challenge.
fn challenge(realm: Option<&str>, error: Option<(&str, &str)>) -> HeaderValue {
    let mut text = String::from("Bearer");
    let mut separator = " ";
    let mut add = |name: &str, value: &str| {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _infallible = write!(text, "{separator}{name}=\"{escaped}\"");
        separator = ", ";
    };
    if let Some(realm) = realm {
        add("realm", realm);
    }
    if let Some((error, description)) = error {
        add("error", error);
        add("error_description", description);
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// 405 of an endpoint.
pub fn invalid_method(realm: Option<&str>, method: &Method, endpoint: &str) -> Box<Rejection> {
    let description = format!("The HTTP method {method} is invalid for the {endpoint}");
    challenged(StatusCode::METHOD_NOT_ALLOWED, Reason::OauthRequest, realm, "invalid_method", &description)
}

/// 401: no token.
pub fn missing_token(realm: Option<&str>) -> Box<Rejection> {
    let description = "The access token is missing";
    challenged(StatusCode::UNAUTHORIZED, Reason::NoToken, realm, "invalid_request", description)
}

/// 401: a token that is unknown here, or has ended.
pub fn invalid_token(realm: Option<&str>, reason: Reason, description: &str) -> Box<Rejection> {
    challenged(StatusCode::UNAUTHORIZED, reason, realm, "invalid_token", description)
}

/// 500: the token store could not answer.
pub fn unavailable(fault: &super::store::StoreFault) -> Box<Rejection> {
    tracing::error!(%fault, "oauth2");
    Box::new(Rejection {
        reason: Reason::StoreError,
        status: StatusCode::INTERNAL_SERVER_ERROR,
        body: Body::Negotiated("An unexpected error occurred".into()),
        headers: Vec::new(),
    })
}

/// 429: too many failed attempts.
pub fn too_many_attempts() -> Box<Rejection> {
    let mut members = Map::new();
    members.insert("error".into(), "access_denied".into());
    members.insert("error_description".into(), "Too many failed attempts".into());
    endpoint_reply(Reason::VerifyBudget, StatusCode::TOO_MANY_REQUESTS, members)
        .header(http::header::RETRY_AFTER, HeaderValue::from_static("60"))
}
