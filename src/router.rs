//! Which route a request belongs to, and which path its service gets.
//!
//! Owns Kong's matching rules (router flavour `traditional_compatible`), path normalisation and the joining of service
//! path and request path. A [`Router`] is compiled once per snapshot and never changes; [`Router::find`] is on the hot
//! path: it takes no lock, does not panic, and allocates only for a `Host` or a header value in capitals. Must not know
//! plugins, services or connections.
//!
//! # How a route is found
//!
//! Every route becomes one *candidate*, or several when its paths differ in kind or length ([`mod@compile`]).
//! Candidates are ordered by Kong's [`priority`] and, among equals, by the larger id; the first that matches wins, and
//! nothing is tried after it. Their place in that order is their *rank*. To find the lowest matching rank without
//! trying them all, candidates stand in an index: by host ([`hosts`]), under each host by path ([`paths`]), and, where
//! many share one path, by header value or SNI ([`crowd`]).
//!
//! # Where this differs from Kong, on purpose
//!
//! | request or route | Kong | here | why |
//! |---|---|---|---|
//! | host in capitals, or with a trailing dot | compared as sent | same host | RFC 9110 §4.2.3; such a host must not slip past a host route to a catch-all |
//! | regex path with alternatives, `~/a\|/b` | only the first is anchored at the start | all are | `/x/b` must not reach a route written for `/b` |
//! | plain host, or regex path, against a route with more attributes | goes first: its bit is set in 64 bits, the others are shifted in 32 | the documented order: more attributes first | what people read and configure for |
//! | negative `regex_priority` | spills into the bits above it | orders below 0 | it is what the field says |
//! | header value as regex with `\D`, `\S`, `\W`, `\B`, `\P` | text is lower-cased, so it means the opposite | same, with a warning | kept: the match is Kong's |
//!
//! What [`normalise`] refuses is listed there.

mod candidate;
mod compile;
mod crowd;
mod hosts;
mod normalise;
mod paths;
mod priority;
mod upstream_path;

#[cfg(test)]
mod tests;

use http::HeaderMap;
use regex::{Captures, Regex};

use self::candidate::{Candidate, Facts, small_letters};
use self::hosts::HostIndex;
pub use self::normalise::{PathFault, normalise};
pub use self::upstream_path::{UpstreamPath, upstream_path};

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// As sent; methods are case-sensitive.
    pub method: &'a str,
    /// Without the port ([`split_host`]); empty when an HTTP/1.0 request named none.
    pub host: &'a str,
    /// The port named with the host.
    pub host_port: Option<u16>,
    /// The port of the listener (its outside port where `port_maps` says so): counts for `host:port` when the host
    /// named none.
    pub listen_port: u16,
    /// As [`normalise`] left it.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// Whether the client's connection is TLS. Only then do `snis` count.
    pub tls: bool,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
}

/// A found route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index into the slice given to [`Router::compile`].
    pub route: usize,
    pub matched: Matched,
}

/// What of the path the route's `paths` matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// The route has no `paths`.
    Nothing,
    /// The first so many bytes, by a prefix path.
    Prefix(usize),
    /// The first `len` bytes, by a regex path.
    Regex { regex: RegexId, len: usize },
}

/// A regex of the router that made the match; means nothing to another router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegexId(u32);

impl Matched {
    /// Bytes of the path that matched, from its start.
    pub fn len(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Prefix(len) | Self::Regex { len, .. } => len,
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// All routes of a snapshot, compiled.
#[derive(Debug, Default)]
pub struct Router {
    /// In order: the index of a candidate is its rank.
    candidates: Box<[Candidate]>,
    /// Every regex path once.
    regexes: Box<[Regex]>,
    hosts: HostIndex,
}

/// Position in the order of candidates; the lowest that matches wins.
type Rank = u32;

impl Router {
    /// The first candidate in order that matches.
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<Match> {
        let host = match lookup.host.strip_suffix('.') {
            Some(host) if !host.is_empty() => host,
            _ => lookup.host,
        };
        let host = small_letters(host);
        let mut search = Search { router: self, facts: Facts::new(lookup, &host), best: None };
        self.hosts.groups(&host, |group| group.search(&mut search));
        let Best { rank, matched } = search.best?;
        let candidate = self.candidates.get(rank as usize)?;
        Some(Match { route: candidate.route, matched })
    }

    /// The groups of the regex path that matched; `None` for other matches. Runs the regex again, so only for who needs
    /// them.
    pub fn captures<'p>(&self, found: &Match, path: &'p str) -> Option<Captures<'p>> {
        match found.matched {
            Matched::Regex { regex, .. } => self.regexes.get(regex.0 as usize)?.captures(path),
            _ => None,
        }
    }

    /// One named group of the regex path that matched (`hash_on: uri_capture`).
    pub fn capture<'p>(&self, found: &Match, path: &'p str, name: &str) -> Option<&'p str> {
        self.captures(found, path)?.name(name).map(|group| group.as_str())
    }
}

/// A search under way: the request, and the best candidate so far.
struct Search<'s> {
    router: &'s Router,
    facts: Facts<'s>,
    best: Option<Best>,
}

#[derive(Clone, Copy)]
struct Best {
    rank: Rank,
    matched: Matched,
}

impl<'s> Search<'s> {
    /// Whether a candidate of this rank would win if it matched.
    fn wants(&self, rank: Rank) -> bool {
        self.best.is_none_or(|best| rank < best.rank)
    }

    /// Tries candidates whose host and path match already, in ascending rank, until one is taken.
    fn try_ranks(&mut self, ranks: &[Rank], matched: Matched) {
        for &rank in ranks {
            if !self.wants(rank) {
                return;
            }
            if self.admits(rank) {
                self.best = Some(Best { rank, matched });
                return;
            }
        }
    }

    /// Whether everything but host name and path matches.
    fn admits(&self, rank: Rank) -> bool {
        self.router.candidates.get(rank as usize).is_some_and(|candidate| candidate.admits(&self.facts))
    }

    /// Bytes of the path a regex matches from its start.
    fn regex_len(&self, regex: RegexId) -> Option<usize> {
        self.router.regexes.get(regex.0 as usize)?.find(self.facts.path()).map(|found| found.end())
    }
}

/// Splits `host:port` as it stands in a `Host` header or in a route's `hosts`. A part after the last colon that is not
/// a port number stays with the host; so does everything of an IPv6 address without brackets.
pub fn split_host(authority: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return (authority, None);
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    // `u16::from_str` would take `+80`.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && (bracketed || !host.contains(':')) => (host, Some(port)),
        _ => (authority, None),
    }
}
