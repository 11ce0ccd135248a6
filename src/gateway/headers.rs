//! The headers that are taken out and put in, towards the service and towards the client.
//!
//! Pingora has removed hop-by-hop headers, and those that `Connection` names, from the request before anything here runs: what is
//! put in here cannot be named away by a client.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_core::Result;

use super::fields::Fields;
use super::options::ResponseTokens;
use crate::auth::Client;
use crate::ip_text::IpText;

/// Our product token, in `Server`.
pub(super) const SERVER: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
const VIA_10: &str = concat!("1.0 portcullis/", env!("CARGO_PKG_VERSION"));
const VIA_11: &str = concat!("1.1 portcullis/", env!("CARGO_PKG_VERSION"));
const VIA_2: &str = concat!("2 portcullis/", env!("CARGO_PKG_VERSION"));

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_KONG_PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
pub(super) static X_KONG_REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");
pub(super) static X_KONG_RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");
static X_KONG_UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
static X_KONG_UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-kong-upstream-status");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY: HeaderName = HeaderName::from_static("proxy");

/// How the request reached us, as the service is told.
pub(super) struct Forwarded<'a> {
    pub(super) client: Client,
    pub(super) tls: bool,
    /// Without port.
    pub(super) host: &'a str,
    /// The port the client connected to, as it sees it.
    pub(super) port: u16,
    /// As sent, without the query.
    pub(super) path: &'a str,
    /// What `strip_path` took off.
    pub(super) prefix: Option<&'a str>,
}

impl Forwarded<'_> {
    /// Writes the `X-Forwarded-*` headers and `X-Real-IP`. A trusted peer's own are passed on where it sent them.
    pub(super) fn write(&self, request: &mut dyn Fields) -> Result<()> {
        let peer = IpText::of(self.client.peer);
        let list = append_to_list(request.map(), &X_FORWARDED_FOR, peer.as_bytes());
        request.set(&X_FORWARDED_FOR, list.map_or_else(|| value(peer.as_bytes()), Ok)?)?;
        // The same one, unless a trusted peer names another.
        let client = if self.client.address == self.client.peer { peer } else { IpText::of(self.client.address) };
        request.set(&X_REAL_IP, value(client.as_bytes())?)?;
        let keeps = |request: &dyn Fields, name: &HeaderName| self.client.trusted && request.map().contains_key(name);
        if !keeps(request, &X_FORWARDED_PROTO) {
            let scheme = if self.tls { "https" } else { "http" };
            request.set(&X_FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
        }
        if !keeps(request, &X_FORWARDED_HOST) {
            let host = match self.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => value(self.host.to_ascii_lowercase().as_bytes())?,
                false => value(self.host.as_bytes())?,
            };
            request.set(&X_FORWARDED_HOST, host)?;
        }
        if !keeps(request, &X_FORWARDED_PORT) {
            request.set(&X_FORWARDED_PORT, HeaderValue::from(self.port))?;
        }
        if !keeps(request, &X_FORWARDED_PATH) {
            request.set(&X_FORWARDED_PATH, value(self.path.as_bytes())?)?;
        }
        if !keeps(request, &X_FORWARDED_PREFIX) {
            match self.prefix {
                Some(prefix) => request.set(&X_FORWARDED_PREFIX, value(prefix.as_bytes())?)?,
                None => request.remove(&X_FORWARDED_PREFIX),
            }
        }
        Ok(())
    }
}

/// Takes out what must not pass from one connection to the next beyond what Pingora took, and puts back what it took too much:
/// `TE: trailers`, which gRPC needs, and `Proxy-Authorization`, which Kong passes on.
pub(super) fn hop_by_hop(sent: &HeaderMap, request: &mut dyn Fields) -> Result<()> {
    // `Expect` we have answered ourselves. Most requests have none of these: one look at every name is less than a search for each.
    let end_here = [&header::EXPECT, &header::TE, &PROXY, &PROXY_CONNECTION, &KEEP_ALIVE];
    let may_be = |name: &HeaderName| matches!(name.as_str().as_bytes().first(), Some(b'e' | b't' | b'p' | b'k'));
    if request.map().keys().any(|name| may_be(name) && end_here.contains(&name)) {
        for name in end_here {
            request.remove(name);
        }
    }
    if accepts_trailers(sent) {
        request.set(&header::TE, HeaderValue::from_static("trailers"))?;
    }
    if let Some(credentials) = sent.get(header::PROXY_AUTHORIZATION)
        && !request.map().contains_key(header::PROXY_AUTHORIZATION)
        && !tokens(sent, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(b"proxy-authorization"))
    {
        request.set(&header::PROXY_AUTHORIZATION, credentials.clone())?;
    }
    Ok(())
}

/// Whether `TE` says that the client takes trailers.
pub(super) fn accepts_trailers(sent: &HeaderMap) -> bool {
    tokens(sent, &header::TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// The elements of a comma-separated header, without parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|token| token.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
        .filter(|token| !token.is_empty())
}

/// Adds us to the request's `Via`; the version is that of the client's request.
pub(super) fn request_via(sent: Version, request: &mut dyn Fields) -> Result<()> {
    let via = via(request.map(), sent)?;
    request.set(&header::VIA, via)
}

fn via(headers: &HeaderMap, version: Version) -> Result<HeaderValue> {
    let us = match version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_11 => VIA_11,
        _ => VIA_10,
    };
    Ok(append_to_list(headers, &header::VIA, us.as_bytes()).unwrap_or_else(|| HeaderValue::from_static(us)))
}

/// The header's fields as one list with `last` at its end; `None` when there are none.
fn append_to_list(headers: &HeaderMap, name: &HeaderName, last: &[u8]) -> Option<HeaderValue> {
    let mut fields = headers.get_all(name).iter().filter(|field| !field.is_empty()).peekable();
    fields.peek()?;
    let mut list = BytesMut::new();
    for field in fields {
        list.put_slice(field.as_bytes());
        list.put_slice(b", ");
    }
    list.put_slice(last);
    HeaderValue::from_maybe_shared(list.freeze()).ok()
}

/// Cleans a service's response of what concerns its own connection alone.
pub(super) fn clean_response(sent: &HeaderMap, response: &mut dyn Fields) {
    let of_connection = [&header::CONNECTION, &header::TRAILER, &KEEP_ALIVE, &PROXY_CONNECTION];
    if !response.map().keys().any(|name| of_connection.contains(&name)) {
        return;
    }
    if response.map().contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = tokens(response.map(), &header::CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            .filter(|name| !matches!(name.as_str(), "close" | "keep-alive" | "content-length" | "transfer-encoding"))
            .collect();
        for name in named {
            response.remove(&name);
        }
    }
    response.remove(&KEEP_ALIVE);
    response.remove(&PROXY_CONNECTION);
    if !accepts_trailers(sent) {
        response.remove(&header::TRAILER);
    }
}

/// Names the character set of text whose service does not, as Kong does (nginx's `charset UTF-8` and the types it is for).
pub(super) fn name_charset(response: &mut dyn Fields) -> Result<()> {
    const TYPES: [(&str, &str); 6] = [
        ("text/html", "text/html; charset=UTF-8"),
        ("text/plain", "text/plain; charset=UTF-8"),
        ("text/xml", "text/xml; charset=UTF-8"),
        ("text/vnd.wap.wml", "text/vnd.wap.wml; charset=UTF-8"),
        ("application/javascript", "application/javascript; charset=UTF-8"),
        ("application/rss+xml", "application/rss+xml; charset=UTF-8"),
    ];
    // With any parameter the value stays as it is.
    let Some(sent) = response.map().get(header::CONTENT_TYPE) else { return Ok(()) };
    let named = TYPES.iter().find(|(bare, _)| sent.as_bytes().eq_ignore_ascii_case(bare.as_bytes()));
    match named {
        Some((_, named)) => response.set(&header::CONTENT_TYPE, HeaderValue::from_static(named)),
        None => Ok(()),
    }
}

/// What our headers on a service's response tell.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The service's.
    pub(super) version: Version,
    /// Ours, until the service was asked.
    pub(super) gateway: Duration,
    /// The service's own.
    pub(super) upstream: Duration,
    pub(super) request_id: HeaderValue,
}

/// Adds our headers to a service's response.
pub(super) fn response_tokens(tokens: ResponseTokens, answered: Answered, response: &mut dyn Fields) -> Result<()> {
    if tokens.server && !response.map().contains_key(header::SERVER) {
        response.set(&header::SERVER, HeaderValue::from_static(SERVER))?;
    }
    if tokens.via {
        let via = via(response.map(), answered.version)?;
        response.set(&header::VIA, via)?;
    }
    if tokens.upstream_status {
        response.set(&X_KONG_UPSTREAM_STATUS, HeaderValue::from(answered.status.as_u16()))?;
    }
    if tokens.upstream_latency {
        response.set(&X_KONG_UPSTREAM_LATENCY, milliseconds(answered.upstream))?;
    }
    if tokens.proxy_latency {
        response.set(&X_KONG_PROXY_LATENCY, milliseconds(answered.gateway))?;
    }
    if tokens.request_id {
        response.set(&X_KONG_REQUEST_ID, answered.request_id)?;
    }
    Ok(())
}

/// Whole milliseconds; the small numbers that nearly all are need no allocation.
pub(super) fn milliseconds(took: Duration) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let small = usize::try_from(took).ok().and_then(|took| SMALL.get(took));
    small.map_or_else(|| HeaderValue::from(took), |small| HeaderValue::from_static(small))
}

fn value(bytes: &[u8]) -> Result<HeaderValue> {
    HeaderValue::from_bytes(bytes).map_err(|fault| internal(&fault))
}

fn internal(fault: &http::header::InvalidHeaderValue) -> Box<pingora_core::Error> {
    pingora_core::Error::explain(pingora_core::ErrorType::InvalidHTTPHeader, fault.to_string()).into_in()
}

#[cfg(test)]
mod tests {
    use pingora::http::{RequestHeader, ResponseHeader};

    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        header.set_version(Version::HTTP_11);
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn forwarded(trusted: bool, prefix: Option<&str>, request: &mut RequestHeader) {
        let client = Client { address: "9.9.9.9".parse().unwrap(), peer: "127.0.0.1".parse().unwrap(), trusted };
        let forwarded = Forwarded { client, tls: false, host: "LocalHost", port: 8000, path: "/a/../b", prefix };
        forwarded.write(request).unwrap();
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-path", "/p"),
        ("x-forwarded-prefix", "/q"),
        ("x-real-ip", "6.6.6.6"),
    ];

    /// Case R38.
    #[test]
    fn an_untrusted_peers_words_are_replaced() {
        let mut request = request(SPOOFED);
        forwarded(false, Some("/default"), &mut request);
        let get = |name: &str| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(get("x-forwarded-for"), "1.2.3.4, 127.0.0.1");
        assert_eq!(get("x-real-ip"), "9.9.9.9");
        assert_eq!(get("x-forwarded-proto"), "http");
        assert_eq!(get("x-forwarded-host"), "localhost");
        assert_eq!(get("x-forwarded-port"), "8000");
        assert_eq!(get("x-forwarded-path"), "/a/../b");
        assert_eq!(get("x-forwarded-prefix"), "/default");
    }

    /// Cases R29, R39, R40.
    #[test]
    fn a_trusted_peers_words_are_passed_on() {
        let mut trusted = request(SPOOFED);
        forwarded(true, Some("/default"), &mut trusted);
        let get = |name: &str| trusted.headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(get("x-forwarded-proto"), "https");
        assert_eq!(get("x-forwarded-host"), "evil");
        assert_eq!(get("x-forwarded-port"), "1");
        assert_eq!(get("x-forwarded-path"), "/p");
        assert_eq!(get("x-forwarded-prefix"), "/q");
        let mut untrusted = request(&[("x-forwarded-prefix", "/q")]);
        forwarded(false, None, &mut untrusted);
        assert!(!untrusted.headers.contains_key("x-forwarded-prefix"));
        assert_eq!(untrusted.headers.get("x-forwarded-for").unwrap(), "127.0.0.1");
    }

    /// Case R35.
    #[test]
    fn hop_by_hop_headers_end_here() {
        let sent = request(&[
            ("connection", "keep-alive, X-Foo"),
            ("te", "gzip;q=1, trailers"),
            ("proxy", "evil"),
            ("proxy-connection", "x"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
        ]);
        let mut request = sent.clone();
        request.remove_header("proxy-authorization");
        hop_by_hop(&sent.headers, &mut request).unwrap();
        assert_eq!(request.headers.get("te").unwrap(), "trailers");
        assert_eq!(request.headers.get("proxy-authorization").unwrap(), "x");
        for gone in ["proxy", "proxy-connection", "expect"] {
            assert!(!request.headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn what_connection_names_is_not_put_back() {
        let sent = request(&[("connection", "Proxy-Authorization"), ("proxy-authorization", "x"), ("te", "gzip")]);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        hop_by_hop(&sent.headers, &mut request).unwrap();
        assert!(request.headers.is_empty());
    }

    /// Case R47.
    #[test]
    fn via_is_appended_to() {
        let mut request = request(&[("via", "1.1 dev")]);
        request_via(Version::HTTP_2, &mut request).unwrap();
        assert_eq!(request.headers.get("via").unwrap().to_str().unwrap(), format!("1.1 dev, {VIA_2}"));
    }

    /// Cases R36, R46, R48.
    #[test]
    fn responses_are_cleaned_and_marked() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in
            [("connection", "X-Foo, close"), ("x-foo", "1"), ("keep-alive", "5"), ("trailer", "x"), ("via", "1.1 svc")]
        {
            response.append_header(name, value).unwrap();
        }
        let mut bare = response.clone();
        clean_response(&HeaderMap::new(), &mut response);
        for gone in ["x-foo", "keep-alive", "trailer"] {
            assert!(!response.headers.contains_key(gone), "{gone}");
        }
        let answered = |response: &ResponseHeader| Answered {
            status: response.status,
            version: response.version,
            gateway: Duration::ZERO,
            upstream: Duration::from_millis(12),
            request_id: HeaderValue::from_static("ff"),
        };
        response_tokens(ResponseTokens::default(), answered(&response), &mut response).unwrap();
        let get = |name: &str| response.headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(get("server"), SERVER);
        assert_eq!(get("via"), format!("1.1 svc, {VIA_11}"));
        assert_eq!(get("x-kong-upstream-latency"), "12");
        assert_eq!(get("x-kong-proxy-latency"), "0");
        assert_eq!(get("x-kong-request-id"), "ff");
        let trailers = request(&[("te", "trailers")]);
        clean_response(&trailers.headers, &mut bare);
        assert!(bare.headers.contains_key("trailer"));
        response_tokens(ResponseTokens::OFF, answered(&bare), &mut bare).unwrap();
        assert!(!bare.headers.contains_key("server"));
    }

    /// Golden cases `ok_*`.
    #[test]
    fn text_without_a_character_set_gets_one() {
        let of = |sent: &'static str| {
            let mut response = ResponseHeader::build(200, None).unwrap();
            response.insert_header("Content-Type", sent).unwrap();
            name_charset(&mut response).unwrap();
            response.headers.get("content-type").unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(of("text/plain"), "text/plain; charset=UTF-8");
        assert_eq!(of("Text/HTML"), "text/html; charset=UTF-8");
        for kept in ["text/plain; charset=latin1", "text/plain; format=flowed", "application/json", "text/css"] {
            assert_eq!(of(kept), kept);
        }
    }
}
