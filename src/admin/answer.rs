//! What is sent back.

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

/// An answer before the headers that all answers share.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<&'static str>,
    pub body: Vec<u8>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The revision a write became, for the audit log.
    pub revision: Option<i64>,
}

impl Answer {
    /// The content type of JSON.
    pub const JSON: &'static str = "application/json; charset=utf-8";

    pub fn json(status: StatusCode, body: Value) -> Self {
        Self::text(status, Self::JSON, body.to_string())
    }

    pub fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self { content_type: Some(content_type), body: body.into_bytes(), ..Self::empty(status) }
    }

    pub fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, body: Vec::new(), headers: Vec::new(), revision: None }
    }

    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    pub fn into_response(self, head_only: bool) -> Response<Body> {
        let length = self.body.len();
        let body = if head_only { Body::empty() } else { Body::from(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(content_type) = self.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if head_only && length > 0 {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        headers.extend(self.headers);
        response
    }
}
