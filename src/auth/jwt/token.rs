//! Where the `jwt` plugin looks for a token.

use std::borrow::Cow;

use http::header::AUTHORIZATION;

use crate::auth::Request;
use crate::auth::hints::{self, looks_like_a_token};
use crate::auth::sources::{self, HeaderSource};
use crate::auth::trace::{Check, Hint, HintCode, Step, shown};

/// The configured places. All are always read.
#[derive(Debug)]
pub(super) struct Sources {
    arguments: Vec<String>,
    cookies: Vec<String>,
    headers: Vec<HeaderSource>,
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
        let headers = headers.iter().filter_map(|name| HeaderSource::new(name)).collect();
        Self { arguments, cookies, headers }
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
        let mut ambiguous = false;
        for header in &self.headers {
            let mut lines = header.lines(request.headers);
            if let Some(token) = lines.next().and_then(|line| sources::bearer(line.as_bytes())) {
                found.add(one(token.into()));
            }
            // RFC 9110 section 11.6.2 knows one; which of two counts is what a proxy in front and we could disagree about.
            ambiguous |= header.is_authorization() && lines.next().is_some();
        }
        if ambiguous { Found::Several } else { found }
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

    /// The places that hold a token, for people.
    pub(super) fn places(&self, request: &Request<'_>) -> String {
        let mut places = Vec::new();
        if let Some(query) = request.query {
            let named = sources::arguments(query).filter(|(name, value)| {
                value.as_ref().is_none_or(|value| !value.is_empty())
                    && self.arguments.iter().any(|wanted| *wanted.as_bytes() == **name)
            });
            places.extend(named.map(|(name, _)| format!("query argument `{}`", String::from_utf8_lossy(&name))));
        }
        let cookies = self
            .cookies
            .iter()
            .filter(|name| sources::cookie(request.headers, name).is_some_and(|value| !value.is_empty()));
        places.extend(cookies.map(|name| format!("cookie `{name}`")));
        for header in &self.headers {
            let lines = header.lines(request.headers).filter(|line| sources::bearer(line.as_bytes()).is_some()).count();
            places.extend((0..lines).map(|_| format!("header `{}`", header.name())));
        }
        places.join(", ")
    }

    fn near_miss(&self, request: &Request<'_>) -> Option<Hint> {
        for header in &self.headers {
            let Some(line) = request.headers.get(header.name()) else { continue };
            let line = String::from_utf8_lossy(line.as_bytes());
            let name = header.name();
            let bare = hints::cleaned(&line).0;
            let (scheme, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            return Some(if looks_like_a_token(line.trim()) || rest.is_empty() && looks_like_a_token(&bare) {
                Hint::new(HintCode::BearerMissing, format!("`{name}` holds a bare token: write `{name}: Bearer …`"))
            } else if scheme.trim_end_matches(':').eq_ignore_ascii_case("bearer") {
                Hint::new(
                    HintCode::BearerCase,
                    format!("the scheme in `{name}` must be written `Bearer` or `bearer` and be followed by the token"),
                )
            } else {
                Hint::new(HintCode::OtherScheme, format!("`{name}` has another scheme than Bearer"))
            });
        }
        let authorization = request.headers.get(AUTHORIZATION).map(|line| line.as_bytes());
        if authorization.and_then(sources::bearer).is_some() {
            let text = "`authorization` holds a token, but header_names does not have it";
            return Some(Hint::new(HintCode::OtherSource, text));
        }
        let query = request.query.unwrap_or_default();
        let named = sources::arguments(query).find(|(_, value)| {
            value.as_ref().is_some_and(|value| std::str::from_utf8(value).is_ok_and(looks_like_a_token))
        });
        if let Some((name, _)) = named {
            let name = shown(&String::from_utf8_lossy(&name));
            let text = format!("the query argument `{name}` looks like a token, but uri_param_names does not have it");
            return Some(Hint::new(HintCode::OtherSource, text));
        }
        let header = request.headers.iter().find(|(_, value)| {
            value.to_str().is_ok_and(|value| looks_like_a_token(value.trim()) || value.contains("=eyJ"))
        })?;
        let text = format!("the header `{}` holds something like a token; this route does not look there", header.0);
        Some(Hint::new(HintCode::OtherSource, text))
    }
}

fn one(token: Cow<'_, [u8]>) -> Found<'_> {
    if token.is_empty() { Found::None } else { Found::One(token) }
}
