//! What `hash_on` hashes.
//!
//! Owns the choice of a request's value by Kong's `hash_on` and `hash_fallback` fields, and a hash that is the same in every
//! process and version, so that all gateways of a cluster send a client to the same target. Must not know targets.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::Attempts;
use crate::entity::{HashOn, Upstream};

/// What of a request can bear on where it goes. All of it borrowed; nothing is computed unless an upstream asks for it.
#[derive(Clone, Copy)]
pub struct HashInput<'a> {
    /// After `real_ip_header`.
    pub client: IpAddr,
    pub headers: &'a HeaderMap,
    /// Normalised path of the request.
    pub path: &'a str,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    /// Id of the consumer, or where there is none of the credential.
    pub consumer: Option<Uuid>,
    /// Named group of the route's path regex.
    pub uri_capture: Option<&'a Captures<'a>>,
    /// The client's `Host` when the route preserves it: the server name of TLS towards the service.
    pub preserved_host: Option<&'a str>,
}

/// The named groups of a path regex, asked for by name.
pub type Captures<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// An upstream's `hash_on` and `hash_fallback`, prepared.
#[derive(Debug)]
pub(super) struct HashRule {
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Consumer,
    Ip,
    Header(HeaderName),
    Cookie { name: String, path: String },
    Path,
    QueryArg(String),
    UriCapture(String),
}

impl HashRule {
    /// `None` when the upstream hashes on nothing.
    pub fn new(upstream: &Upstream) -> Option<Self> {
        let first = Source::new(
            upstream,
            upstream.hash_on,
            upstream.hash_on_header.as_deref(),
            upstream.hash_on_query_arg.as_deref(),
            upstream.hash_on_uri_capture.as_deref(),
        )?;
        let second = Source::new(
            upstream,
            upstream.hash_fallback,
            upstream.hash_fallback_header.as_deref(),
            upstream.hash_fallback_query_arg.as_deref(),
            upstream.hash_fallback_uri_capture.as_deref(),
        );
        Some(Self { sources: std::iter::once(first).chain(second).collect() })
    }

    /// The hash of the first value the request has; `None` when it has none of them.
    pub fn value(&self, input: &HashInput<'_>, attempts: &mut Attempts) -> Option<u64> {
        self.sources.iter().find_map(|source| source.value(input, attempts))
    }
}

impl Source {
    fn new(
        upstream: &Upstream,
        on: HashOn,
        header: Option<&str>,
        query_arg: Option<&str>,
        uri_capture: Option<&str>,
    ) -> Option<Self> {
        Some(match on {
            HashOn::None => return None,
            HashOn::Consumer => Self::Consumer,
            HashOn::Ip => Self::Ip,
            HashOn::Header => Self::Header(HeaderName::try_from(header?).ok()?),
            HashOn::Cookie => Self::Cookie {
                name: upstream.hash_on_cookie.clone()?,
                path: upstream.hash_on_cookie_path.clone().unwrap_or_else(|| "/".into()),
            },
            HashOn::Path => Self::Path,
            HashOn::QueryArg => Self::QueryArg(query_arg?.into()),
            HashOn::UriCapture => Self::UriCapture(uri_capture?.into()),
        })
    }

    fn value(&self, input: &HashInput<'_>, attempts: &mut Attempts) -> Option<u64> {
        match self {
            Self::Consumer => input.consumer.map(|id| stable_hash(&[id.as_bytes()])),
            Self::Ip => Some(match input.client {
                IpAddr::V4(ip) => stable_hash(&[&ip.octets()]),
                IpAddr::V6(ip) => stable_hash(&[&ip.octets()]),
            }),
            Self::Header(name) => {
                let mut values = input.headers.get_all(name).iter().peekable();
                values.peek()?;
                let mut hasher = StableHasher::default();
                values.for_each(|value| hasher.part(value.as_bytes()));
                Some(hasher.finish())
            }
            Self::Cookie { name, path } => Some(match cookie(input.headers, name) {
                Some(value) => stable_hash(&[value.as_bytes()]),
                None => stable_hash(&[attempts.own_cookie(name, path).as_bytes()]),
            }),
            Self::Path => Some(stable_hash(&[input.path.as_bytes()])),
            Self::QueryArg(name) => query_values(input.query?, name),
            Self::UriCapture(name) => input.uri_capture?(name).map(|value| stable_hash(&[value.as_bytes()])),
        }
    }
}

/// The value of a cookie the client sent.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// The cookie that is set for a client which has none to hash on.
pub(super) fn set_cookie(name: &str, value: &str, path: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{name}={value}; Path={path}; SameSite=Lax; HttpOnly")).ok()
}

/// All values of a query argument, decoded and in an order of their own, so that their order in the URL does not matter.
fn query_values(query: &str, name: &str) -> Option<u64> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    let mut values: Vec<Vec<u8>> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "true")))
        .filter(|(key, _)| decode(key) == name.as_bytes())
        .map(|(_, value)| decode(value))
        .collect();
    if values.is_empty() {
        return None;
    }
    values.sort_unstable();
    let mut hasher = StableHasher::default();
    values.iter().for_each(|value| hasher.part(value));
    Some(hasher.finish())
}

/// The hash of some parts, the same everywhere and for ever.
pub(super) fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = StableHasher::default();
    parts.iter().for_each(|part| hasher.part(part));
    hasher.finish()
}

/// FNV-1a with 64 bits, its result mixed by [`mix`]: values are short, and the ring needs every bit of them.
struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl StableHasher {
    fn part(&mut self, bytes: &[u8]) {
        // 0xff ends a part: it occurs in no UTF-8 text, so `ab`, `c` is not `a`, `bc`.
        for &byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// A permutation of 64 bits in which every bit of the result depends on every bit given (MurmurHash3's finaliser).
pub(super) fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_stable() {
        // A change of these sends every client of a cluster elsewhere.
        assert_eq!(stable_hash(&[b"a"]), stable_hash(&[b"a"]));
        assert_ne!(stable_hash(&[b"ab", b"c"]), stable_hash(&[b"a", b"bc"]));
        assert_eq!(mix(0), 0);
        assert_eq!(mix(1), 0xb456_bcfc_34c2_cb2c);
    }

    #[test]
    fn query_arguments_in_any_order() {
        assert_eq!(query_values("a=1&b=x&a=2", "a"), query_values("a=2&a=%31", "a"));
        assert_ne!(query_values("a=1", "a"), query_values("a=2", "a"));
        assert_eq!(query_values("b=1&aa=2", "a"), None);
        assert!(query_values("a", "a").is_some());
    }

    #[test]
    fn cookies_by_exact_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("sid2=x; sid=abc"));
        assert_eq!(cookie(&headers, "sid"), Some("abc"));
        assert_eq!(cookie(&headers, "id"), None);
    }
}
