//! From Pingora's session to the values that routing and plugins work on.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Version, header};
use pingora::http::RequestHeader;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::socket::SocketAddr;

/// What the TLS listener knows of a connection; it puts this into the connection's digest after the handshake.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The server name the client asked for (SNI), lower-case.
    pub server_name: Option<Box<str>>,
}

/// The connection a request came on.
pub(super) struct Connection<'a> {
    pub(super) peer: IpAddr,
    /// The port we listen on.
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) server_name: Option<&'a str>,
}

impl<'a> Connection<'a> {
    pub(super) fn of(session: &'a ServerSession) -> Self {
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
        let server_name = tls.and_then(|tls| tls.extension.get::<Handshake>()?.server_name.as_deref());
        Self {
            // A peer on a UNIX socket is on this machine.
            peer: session
                .client_addr()
                .and_then(SocketAddr::as_inet)
                .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip()),
            port: session.server_addr().and_then(SocketAddr::as_inet).map_or(0, std::net::SocketAddr::port),
            tls: tls.is_some(),
            server_name,
        }
    }
}

/// The authority of a request: `Host`, or `:authority` of HTTP/2; empty when HTTP/1.0 sends none.
pub(super) fn authority(header: &RequestHeader) -> &str {
    let host = header.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| header.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// Whether the request is a gRPC call: HTTP/2 and the content type of one.
pub(super) fn is_grpc(header: &RequestHeader) -> bool {
    header.version == Version::HTTP_2 && has_grpc_type(&header.headers)
}

pub(super) fn has_grpc_type(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Joins the `Cookie` fields that HTTP/2 allows to be split (RFC 9113 section 8.2.3), so that plugins and services see one.
pub(super) fn join_cookies(header: &mut RequestHeader) {
    let mut fields = header.headers.get_all(header::COOKIE).iter();
    if fields.next().is_none() || fields.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = header.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        // Cannot fail: name and value are well-formed.
        let _ = header.insert_header("Cookie", joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_cookies_are_joined() {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        header.append_header("cookie", "a=1").unwrap();
        header.append_header("cookie", "b=2").unwrap();
        join_cookies(&mut header);
        let values: Vec<_> = header.headers.get_all("cookie").iter().collect();
        assert_eq!(values, ["a=1; b=2"]);
    }
}
