//! What the settings say about handling requests: plain values, filled in by `runtime` from `conf/portcullis.yaml`.

use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

/// Everything about handling requests that is set per process and not per route.
#[derive(Clone, Debug)]
pub struct Options {
    /// Peers whose `X-Forwarded-*` and [`Options::real_ip_header`] are believed (`trusted_ips`).
    pub trusted_ips: Vec<IpNet>,
    /// Where a trusted peer says who the client is (`real_ip_header`).
    pub real_ip_header: RealIp,
    /// Whether addresses of trusted proxies in that header are skipped, from the right (`real_ip_recursive`).
    pub real_ip_recursive: bool,
    /// What errors of the proxy itself are written in when the client does not say (`error_default_type`).
    pub error_default_type: ErrorType,
    /// Which headers of ours are added to responses (`headers`).
    pub headers: ResponseTokens,
    /// Whether names of header fields keep their case on HTTP/1.1 (`preserve_header_case`).
    pub preserve_header_case: bool,
    /// Whether services get `X-Kong-Request-Id` (`headers_upstream`).
    pub request_id_upstream: bool,
    /// Whether `Kong-Debug: 1` is answered with the route and service (`allow_debug_header`).
    pub allow_debug_header: bool,
    /// Ports as clients see them, for ports as we listen on them (`port_maps`): (external, listening).
    pub port_maps: Vec<(u16, u16)>,
    pub limits: Limits,
    pub timeouts: Timeouts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trusted_ips: Vec::new(),
            real_ip_header: RealIp::Header(HeaderName::from_static("x-real-ip")),
            real_ip_recursive: false,
            error_default_type: ErrorType::Plain,
            headers: ResponseTokens::default(),
            preserve_header_case: false,
            request_id_upstream: true,
            allow_debug_header: false,
            port_maps: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Where a trusted peer says who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealIp {
    Header(HeaderName),
    /// The PROXY protocol: the listener has put the address in place of the peer's already.
    ProxyProtocol,
}

/// A form of the proxy's own error bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    Json,
    Html,
    Plain,
    Xml,
}

impl ErrorType {
    /// The type a media type names, of those Kong's `error_default_type` allows.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/json" => Self::Json,
            "text/html" => Self::Html,
            "text/plain" => Self::Plain,
            "application/xml" | "text/xml" => Self::Xml,
            _ => return None,
        })
    }
}

/// The response headers that are added; Kong's `headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one switch for each header, as in Kong's setting")]
pub struct ResponseTokens {
    pub server: bool,
    pub via: bool,
    pub upstream_latency: bool,
    pub proxy_latency: bool,
    pub response_latency: bool,
    pub request_id: bool,
    pub upstream_status: bool,
}

impl Default for ResponseTokens {
    /// `server_tokens, latency_tokens, X-Kong-Request-Id`.
    fn default() -> Self {
        Self {
            server: true,
            via: true,
            upstream_latency: true,
            proxy_latency: true,
            response_latency: true,
            request_id: true,
            upstream_status: false,
        }
    }
}

impl ResponseTokens {
    /// `off`.
    pub const OFF: Self = Self {
        server: false,
        via: false,
        upstream_latency: false,
        proxy_latency: false,
        response_latency: false,
        request_id: false,
        upstream_status: false,
    };

    /// Reads the items of Kong's `headers`.
    ///
    /// # Errors
    /// The item that is none.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut tokens = Self::OFF;
        for item in items {
            match item.to_ascii_lowercase().as_str() {
                "off" => tokens = Self::OFF,
                "server_tokens" => (tokens.server, tokens.via) = (true, true),
                "latency_tokens" => {
                    tokens.upstream_latency = true;
                    tokens.proxy_latency = true;
                    tokens.response_latency = true;
                }
                "server" => tokens.server = true,
                "via" => tokens.via = true,
                "x-kong-upstream-latency" => tokens.upstream_latency = true,
                "x-kong-proxy-latency" => tokens.proxy_latency = true,
                "x-kong-response-latency" => tokens.response_latency = true,
                "x-kong-request-id" => tokens.request_id = true,
                "x-kong-upstream-status" => tokens.upstream_status = true,
                _ => return Err(item),
            }
        }
        Ok(tokens)
    }
}

/// What a request may be made of.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Header fields of a request; more is 400 (`Request header or cookie too large`). Pingora takes 256 in HTTP/1.
    pub header_count: usize,
    /// Header fields that routing and plugins look at (Kong's `lua_max_req_headers`); all go on to the service.
    pub headers_seen: usize,
    /// Bytes of all header fields together.
    pub header_bytes: usize,
    /// Bytes of the request target; more is 414.
    pub target_bytes: usize,
    /// Bytes of a body that a plugin may look at; larger ones go on unseen. Pingora keeps 64 KiB at most.
    pub inspected_body_bytes: usize,
    /// Bytes of an unread body that are read and thrown away to keep a refused client's connection.
    pub drained_body_bytes: usize,
    /// Bytes a client may send as a body (`client_max_body_size`); `None` = any number.
    pub body_bytes: Option<u64>,
    /// Bytes a second that a body must come in at, after [`Timeouts::body_grace`]; 0 = any rate.
    pub body_min_rate: u64,
    /// Bytes a second that a client must take a response at; 0 = any rate.
    pub response_min_rate: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_count: 256,
            headers_seen: 100,
            header_bytes: 64 * 1024,
            target_bytes: 32 * 1024,
            inspected_body_bytes: 64 * 1024,
            drained_body_bytes: 64 * 1024,
            body_bytes: None,
            body_min_rate: 256,
            response_min_rate: 0,
        }
    }
}

/// How long clients may take. Those towards services are the service entity's.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// An HTTP/1 connection without a request (`keepalive_timeout`).
    pub keepalive: Duration,
    /// One read of a request's body.
    pub read: Duration,
    /// One write of a response.
    pub write: Duration,
    /// Reading what is left of a refused request's body.
    pub drain: Duration,
    /// Reading a body that a plugin looks at, in all.
    pub inspect: Duration,
    /// How long a body may come in at any rate.
    pub body_grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(75),
            read: Duration::from_secs(60),
            write: Duration::from_secs(60),
            drain: Duration::from_secs(5),
            inspect: Duration::from_secs(30),
            body_grace: Duration::from_secs(10),
        }
    }
}

/// Where a request's wall-clock time comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Always this many seconds since the UNIX epoch; for tests and replays.
    Fixed(u64),
}

impl Clock {
    /// Time since the UNIX epoch.
    pub fn now(self) -> Duration {
        match self {
            Self::System => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            Self::Fixed(now) => Duration::from_secs(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_items_are_kongs() {
        assert_eq!(
            ResponseTokens::parse(["server_tokens", "latency_tokens", "X-Kong-Request-Id"]),
            Ok(ResponseTokens::default())
        );
        assert_eq!(ResponseTokens::parse(["off"]), Ok(ResponseTokens::OFF));
        let only_via = ResponseTokens::parse(["Via"]).unwrap();
        assert!(only_via.via && !only_via.server);
        assert_eq!(ResponseTokens::parse(["X-Unknown"]), Err("X-Unknown"));
    }
}
