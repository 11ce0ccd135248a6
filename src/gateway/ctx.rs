//! What the phases of one request share. Nothing of it outlives the request.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;
use pingora::http::authority::{RawTargetAuthority, raw_target_authority};
use pingora_core::upstreams::peer::HttpPeer;

use super::request::authority;
use crate::auth::{Client, Reason, State};
use crate::entity;
use crate::router::{self, Match};
use crate::snapshot::{Route, Snapshot};
use crate::upstream::{Attempts, Lease};

/// The state of one request.
pub struct Ctx {
    /// Loaded once, when the request's header had been read.
    pub(super) snapshot: Arc<Snapshot>,
    /// The route, and what of the path it matched.
    pub(super) found: Option<Match>,
    pub(super) target: Target,
    /// How much of the authority is the host, once that was asked.
    pub(super) host_length: Option<usize>,
    pub(super) client: Option<Client>,
    /// The headers that are looked at, where there are too many to look at all.
    pub(super) seen: Option<HeaderMap>,
    /// What the plugins found out.
    pub(super) state: State,
    pub(super) request_id: RequestId,
    /// When the request came, since the UNIX epoch; read once.
    pub(super) wall: Duration,
    pub(super) started: Instant,
    /// When plugins were done and a service was looked for.
    pub(super) forwarded: Option<Instant>,
    /// When the service's response header had come.
    pub(super) answered: Option<Instant>,
    /// Where the request has been sent so far.
    pub(super) attempts: Attempts,
    /// The attempt under way, and when it began.
    pub(super) lease: Option<Lease>,
    pub(super) attempted: Option<Instant>,
    /// The peer of the first attempt, picked while the request could still be answered without one.
    pub(super) peer: Option<Box<HttpPeer>>,
    pub(super) host_header: Option<HeaderValue>,
    /// Whether a plugin refused the request.
    pub(super) denied: bool,
    /// The authenticating plugin that had the last word.
    pub(super) decided_by: Option<&'static str>,
    /// Why the client did not get the service's answer.
    pub(super) reason: Option<Reason>,
    pub(super) tls: bool,
    /// The port the client connected to, as it sees it.
    pub(super) port: u16,
    pub(super) grpc: bool,
    pub(super) body: BodyPace,
}

/// How much of the request's body has come, for the minimum rate.
#[derive(Default)]
pub(super) struct BodyPace {
    pub(super) bytes: u64,
    pub(super) began: Option<Instant>,
    /// Whether the body that replaces the client's has been sent.
    pub(super) replaced: bool,
}

impl Ctx {
    pub(super) fn new(snapshot: Arc<Snapshot>, wall: Duration) -> Self {
        Self {
            snapshot,
            found: None,
            target: Target::default(),
            host_length: None,
            client: None,
            seen: None,
            state: State::default(),
            request_id: RequestId::generate(),
            wall,
            started: Instant::now(),
            forwarded: None,
            answered: None,
            attempts: Attempts::default(),
            lease: None,
            attempted: None,
            peer: None,
            host_header: None,
            denied: false,
            decided_by: None,
            reason: None,
            tls: false,
            port: 0,
            grpc: false,
            body: BodyPace::default(),
        }
    }

    /// The host that was asked for, without its port.
    pub(super) fn host<'a>(&self, header: &'a RequestHeader) -> &'a str {
        let authority = authority(header);
        self.host_length.and_then(|length| authority.get(..length)).unwrap_or_else(|| router::split_host(authority).0)
    }

    /// The route that was matched.
    pub(super) fn route(&self) -> Option<&Route> {
        self.found.and_then(|found| self.snapshot.routing.routes.get(found.route))
    }

    /// The service of the route.
    pub(super) fn service(&self) -> Option<&entity::Service> {
        self.route().and_then(|route| route.service.as_deref()).map(|service| &*service.entity)
    }
}

/// Where path and query stand in the request target, and the path that counts.
#[derive(Debug, Default)]
pub(super) struct Target {
    path: Range<usize>,
    query: Option<Range<usize>>,
    /// The normalised path where it is not the one that was sent.
    pub(super) normalised: Option<Box<str>>,
}

impl Target {
    /// Finds path and query in the target as it was sent: origin form, or absolute form as to a forward proxy.
    ///
    /// `None` for any other form, and for one that is not UTF-8.
    pub(super) fn locate(header: &RequestHeader) -> Option<Self> {
        let raw = header.raw_path();
        if !header.raw_path_is_utf8() || std::str::from_utf8(raw).is_err() {
            return None;
        }
        let start = match raw.first()? {
            b'/' => 0,
            _ => match raw_target_authority(raw) {
                RawTargetAuthority::Absolute { path_and_query, .. } => raw.len() - path_and_query.len(),
                RawTargetAuthority::None | RawTargetAuthority::AmbiguousAuthority => return None,
            },
        };
        let rest = raw.get(start..)?;
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(mark) => (start..start + mark, Some(start + mark + 1..raw.len())),
            None => (start..raw.len(), None),
        };
        // `http://host` and `http://host?x` ask for the root.
        let normalised = path.is_empty().then(|| "/".into());
        Some(Self { path, query, normalised })
    }

    fn part<'a>(header: &'a RequestHeader, range: &Range<usize>) -> &'a str {
        let bytes = header.raw_path().get(range.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The path as it was sent.
    pub(super) fn sent<'a>(&'a self, header: &'a RequestHeader) -> &'a str {
        match Self::part(header, &self.path) {
            "" => self.normalised.as_deref().unwrap_or_default(),
            sent => sent,
        }
    }

    /// The normalised path: the one that is routed on and sent on.
    pub(super) fn path<'a>(&'a self, header: &'a RequestHeader) -> &'a str {
        self.normalised.as_deref().unwrap_or_else(|| Self::part(header, &self.path))
    }

    /// What stands behind the `?`; `Some("")` when there is only that.
    pub(super) fn query<'a>(&self, header: &'a RequestHeader) -> Option<&'a str> {
        self.query.as_ref().map(|range| Self::part(header, range))
    }
}

/// 32 lower-case hexadecimal digits that are not repeated. Not a secret: anyone who is answered sees them.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn generate() -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |number: u64| DIGITS.get((number & 0xf) as usize).copied().unwrap_or(b'0');
        let mut text = [b'0'; 32];
        for half in text.chunks_exact_mut(16) {
            let mut rest = random();
            for place in half {
                *place = digit(rest);
                rest >>= 4;
            }
        }
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// SplitMix64 over a state per thread, seeded by the operating system: a few nanoseconds.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Option<(String, Option<String>)> {
        let header = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        let target = Target::locate(&header)?;
        Some((target.path(&header).to_owned(), target.query(&header).map(str::to_owned)))
    }

    #[test]
    fn targets_come_apart() {
        let is = |path: &str, query: Option<&str>| Some((path.to_owned(), query.map(str::to_owned)));
        assert_eq!(parts("/a/b?c=d"), is("/a/b", Some("c=d")));
        assert_eq!(parts("/a?"), is("/a", Some("")));
        assert_eq!(parts("/a?b?c"), is("/a", Some("b?c")));
        assert_eq!(parts("http://host/a?b"), is("/a", Some("b")));
        assert_eq!(parts("http://host"), is("/", None));
        assert_eq!(parts("http://host?b"), is("/", Some("b")));
        assert_eq!(parts("*"), None);
    }

    #[test]
    fn request_ids_are_hexadecimal_and_differ() {
        let (one, two) = (RequestId::generate(), RequestId::generate());
        assert_ne!(one.as_str(), two.as_str());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
}
