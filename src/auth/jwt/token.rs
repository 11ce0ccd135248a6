//! Where the `jwt` plugin looks for a token.

use std::borrow::Cow;

use http::header::AUTHORIZATION;

use crate::auth::Request;
use crate::auth::sources::{self, HeaderSource};
use crate::auth::trace::{Check, Step};

/// The configured places. All are always read.
#[derive(Debug)]
pub(super) struct Sources {
    arguments: Vec<String>,
    cookies: Vec<String>,
    headers: Vec<HeaderSource>,
    /// `Authorization` is one of the headers.
    authorization: bool,
}

/// The distinct tokens of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    None,
    One(Cow<'a, [u8]>),
    /// Two different ones, or two `Authorization` lines.
    Several,
    /// A query argument without `=`, which is not a string in Kong.
    Bare,
}

impl<'a> Found<'a> {
    fn add(&mut self, next: Found<'a>) {
        match self {
            _ if next == Found::None => {}
            Found::None => *self = next,
            there if *there == next => {}
            there => *there = Found::Several,
        }
    }
}

impl Sources {
    /// Headers whose name no header can have are left out.
    pub(super) fn new(arguments: Vec<String>, cookies: Vec<String>, headers: &[String]) -> Self {
        let headers: Vec<HeaderSource> = headers.iter().filter_map(|name| HeaderSource::new(name)).collect();
        let authorization = headers.iter().any(HeaderSource::is_authorization);
        Self { arguments, cookies, headers, authorization }
    }

    pub(super) fn find<'a>(&'a self, request: &Request<'a>) -> Found<'a> {
        let mut found = Found::None;
        if let Some(query) = request.query
            && !self.arguments.is_empty()
        {
            for (name, value) in sources::arguments(query) {
                if self.arguments.iter().any(|wanted| *wanted.as_bytes() == *name) {
                    found.add(value.map_or(Found::Bare, one));
                }
            }
        }
        for name in &self.cookies {
            if let Some(value) = sources::cookie(request.headers, name) {
                found.add(one(value.into()));
            }
        }
        for header in &self.headers {
            if let Some(token) = header.lines(request.headers).next().and_then(|line| sources::bearer(line.as_bytes()))
            {
                found.add(one(token.into()));
            }
        }
        // RFC 9110 section 11.6.2 knows one; which of two counts is what a proxy in front and we could disagree about.
        if self.authorization && request.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Found::Several;
        }
        found
    }

    /// What was looked for, and what there is that comes close.
    pub(super) fn explain_none(&self, request: &Request<'_>) -> Step {
        let headers: Vec<&str> = self.headers.iter().map(|header| header.name().as_str()).collect();
        let detail = format!(
            "no token: looked in the query for [{}], in cookies for [{}], in headers for `Bearer` in [{}]",
            self.arguments.join(", "),
            self.cookies.join(", "),
            headers.join(", ")
        );
        Step::failed(Check::Sources, detail).hint(self.near_miss(request))
    }

    fn near_miss(&self, request: &Request<'_>) -> Option<String> {
        for header in &self.headers {
            let Some(line) = request.headers.get(header.name()) else { continue };
            let line = String::from_utf8_lossy(line.as_bytes());
            let name = header.name();
            if looks_like_a_token(line.trim()) {
                return Some(format!("`{name}` holds a bare token: write `{name}: Bearer …`"));
            }
            let scheme = line.split_whitespace().next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case("bearer") {
                return Some(format!(
                    "the scheme in `{name}` must be written `Bearer` or `bearer` and be followed by the token"
                ));
            }
            return Some(format!("`{name}` has another scheme than Bearer"));
        }
        let authorization = request.headers.get(AUTHORIZATION).map(|line| line.as_bytes());
        if authorization.and_then(sources::bearer).is_some() {
            return Some("`authorization` holds a token, but header_names does not have it".into());
        }
        let query = request.query.unwrap_or_default();
        let named = sources::arguments(query).find(|(_, value)| {
            value.as_ref().is_some_and(|value| std::str::from_utf8(value).is_ok_and(looks_like_a_token))
        });
        named.map(|(name, _)| {
            format!(
                "the query argument `{}` looks like a token, but uri_param_names does not have it",
                String::from_utf8_lossy(&name)
            )
        })
    }
}

fn one(token: Cow<'_, [u8]>) -> Found<'_> {
    if token.is_empty() { Found::None } else { Found::One(token) }
}

fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|&byte| byte == b'.').count() == 2
}

/// What is probably wrong with a token that cannot be read.
pub(super) fn malformed_hint(token: &[u8]) -> Option<String> {
    let dots = token.iter().filter(|&&byte| byte == b'.').count();
    let hint = if token.iter().any(u8::is_ascii_whitespace) {
        "there is white space in the token"
    } else if token.contains(&b'=') {
        "the segments are padded with `=`, which a JWS must not be (RFC 7515 section 2)"
    } else if token.iter().any(|byte| matches!(byte, b'+' | b'/')) {
        "the segments are in standard base64; a JWS takes the URL-safe alphabet"
    } else if token.contains(&b'"') {
        "the token is quoted"
    } else if dots == 4 {
        "five segments: an encrypted token (JWE), which cannot be verified here"
    } else if dots == 0 {
        "no dots: an opaque token, not a JWT"
    } else {
        return None;
    };
    Some(hint.into())
}
