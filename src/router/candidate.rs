//! One route, or one kind of path of it, and the conditions that are checked on it alone.
//!
//! Host names and paths are matched by the index a candidate stands in; here is the rest: methods, ports, headers,
//! SNIs.

use std::borrow::Cow;

use http::HeaderName;
use regex::Regex;

use super::Lookup;

/// A request, prepared once for all candidates.
pub(super) struct Facts<'s> {
    lookup: &'s Lookup<'s>,
    /// In small letters.
    host: &'s str,
    method: Method,
    port: u16,
}

impl<'s> Facts<'s> {
    pub(super) fn new(lookup: &'s Lookup<'s>, host: &'s str) -> Self {
        Self { lookup, host, method: Method::of(lookup.method), port: lookup.host_port.unwrap_or(lookup.listen_port) }
    }

    pub(super) fn path(&self) -> &'s str {
        self.lookup.path
    }

    /// The server name that `snis` are held against: none on plain HTTP, where they do not count.
    pub(super) fn sni(&self) -> Sni<'s> {
        match (self.lookup.tls, self.lookup.sni) {
            (false, _) => Sni::Ignored,
            (true, None) => Sni::Absent,
            (true, Some(name)) => Sni::Named(name.strip_suffix('.').unwrap_or(name)),
        }
    }

    pub(super) fn header_values(&self, name: &HeaderName) -> impl Iterator<Item = &'s [u8]> + use<'s> {
        self.lookup.headers.get_all(name).into_iter().map(|value| value.as_bytes())
    }
}

#[derive(Clone, Copy)]
pub(super) enum Sni<'s> {
    Ignored,
    Absent,
    Named(&'s str),
}

/// A candidate's conditions besides host name and path.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Index of the route it came from.
    pub(super) route: usize,
    pub(super) methods: Option<Methods>,
    /// Set where the place in the index does not say it all: patterns with ports, odd wildcards.
    pub(super) hosts: Option<Box<[HostPattern]>>,
    pub(super) headers: Box<[HeaderRule]>,
    pub(super) snis: Box<[NamePattern]>,
}

impl Candidate {
    pub(super) fn admits(&self, facts: &Facts<'_>) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contain(facts))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|host| host.admits(facts)))
            && self.headers.iter().all(|rule| rule.admits(facts))
            && (self.snis.is_empty()
                || match facts.sni() {
                    Sni::Ignored => true,
                    Sni::Absent => false,
                    Sni::Named(name) => self.snis.iter().any(|sni| sni.admits(name)),
                })
    }
}

/// The methods of RFC 9110 and PATCH as one bit each; 0 for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(u16);

impl Method {
    fn of(name: &str) -> Self {
        Self(match name {
            "GET" => 1,
            "HEAD" => 1 << 1,
            "POST" => 1 << 2,
            "PUT" => 1 << 3,
            "DELETE" => 1 << 4,
            "PATCH" => 1 << 5,
            "OPTIONS" => 1 << 6,
            "TRACE" => 1 << 7,
            "CONNECT" => 1 << 8,
            _ => 0,
        })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Methods {
    known: u16,
    other: Vec<Box<str>>,
}

impl Methods {
    pub(super) fn new(names: &[String]) -> Self {
        let mut methods = Self::default();
        for name in names {
            match Method::of(name) {
                Method(0) => methods.other.push(name.as_str().into()),
                Method(bit) => methods.known |= bit,
            }
        }
        methods
    }

    fn contain(&self, facts: &Facts<'_>) -> bool {
        match facts.method {
            Method(0) => self.other.iter().any(|name| **name == *facts.lookup.method),
            Method(bit) => self.known & bit != 0,
        }
    }
}

/// A host or server name, in small letters, perhaps with a wildcard at one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamePattern {
    Exact(Box<str>),
    /// `a.*`, without the star.
    StartsWith(Box<str>),
    /// `*.a`, without the star.
    EndsWith(Box<str>),
}

impl NamePattern {
    pub(super) fn new(pattern: &str) -> Self {
        let pattern = pattern.to_ascii_lowercase();
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => Self::EndsWith(end.into()),
            (None, Some(start)) => Self::StartsWith(start.into()),
            // A last dot says that the name is absolute, which it is anyway.
            (None, None) => Self::Exact(pattern.strip_suffix('.').unwrap_or(&pattern).into()),
        }
    }

    fn admits(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let same =
            |part: Option<&[u8]>, pattern: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(pattern.as_bytes()));
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact.as_bytes()),
            Self::StartsWith(start) => same(name.get(..start.len()), start),
            Self::EndsWith(end) => same(name.len().checked_sub(end.len()).and_then(|from| name.get(from..)), end),
        }
    }
}

/// One of a route's `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    pub(super) name: NamePattern,
    pub(super) port: Option<u16>,
}

impl HostPattern {
    pub(super) fn new(pattern: &str) -> Self {
        let (name, port) = super::split_host(pattern);
        Self { name: NamePattern::new(name), port }
    }

    fn admits(&self, facts: &Facts<'_>) -> bool {
        self.port.is_none_or(|port| port == facts.port) && self.name.admits(facts.host)
    }
}

/// One of a route's `headers`: a name, and values of which one must be there.
#[derive(Clone, Debug)]
pub(super) struct HeaderRule {
    /// Kong reads `-` and `_` in names as one; so the spellings that can arrive.
    pub(super) names: Vec<HeaderName>,
    pub(super) values: Box<[HeaderValue]>,
}

#[derive(Clone, Debug)]
pub(super) enum HeaderValue {
    /// Compared without regard to case.
    Exact(Box<str>),
    /// Held against the value in small letters, anywhere in it.
    Regex(Regex),
}

impl HeaderRule {
    fn admits(&self, facts: &Facts<'_>) -> bool {
        self.names
            .iter()
            .flat_map(|name| facts.header_values(name))
            .any(|value| self.values.iter().any(|wanted| wanted.admits(value)))
    }
}

impl HeaderValue {
    fn admits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(&small_letters(value))),
        }
    }
}

/// In small letters (ASCII), without a copy where there are no capitals.
pub(super) fn small_letters(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
