//! Who may ask: this door opens on loopback only, and what is asked through a browser of somebody else's page is not done.
//!
//! A token or a client certificate for everybody else; a list of host names against DNS rebinding; no writes from other origins;
//! and a line in the log for every write. The headers that all answers carry stand here as well.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SERVER, VARY,
};
use http::{Method, StatusCode};

use super::answer::Answer;
use super::fault::Fault;
use super::paths::{Action, Endpoint, Fixed};
use super::request::{Incoming, needs_body};

/// The header of Kong's role-based access control, which its tools can be told to send.
const TOKEN_HEADER: &str = "kong-admin-token";

/// How the API is protected.
#[derive(Clone, Debug)]
pub struct Options {
    /// Asked of every client that shows no certificate; needed for listeners beyond loopback.
    pub token: Option<String>,
    /// Host names by which the API is reached, beside IP addresses and names without a dot.
    pub hosts: Vec<String>,
    /// Origins of pages that may use the API: `https://manager.example:8445`.
    pub gui_urls: Vec<String>,
    /// Ports on the same host whose pages may use the API: the console's.
    pub gui_ports: Vec<u16>,
    /// Largest body, in bytes.
    pub body_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        // 10 MiB is Kong's `nginx_admin_client_max_body_size`.
        Self { token: None, hosts: Vec::new(), gui_urls: Vec::new(), gui_ports: Vec::new(), body_limit: 10 << 20 }
    }
}

/// What a listener knows of a client.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// The subject of the certificate it showed and that was verified.
    pub certificate: Option<String>,
}

/// How a client was let in, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Certificate,
    Token,
    /// No token is set: whoever reaches the listener.
    Anyone,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Anyone => "anyone",
        }
    }
}

/// Lets a request in, or says why not.
///
/// # Errors
/// 401 without the token, 403 for a foreign host name or origin.
pub fn admit(options: &Options, request: &Incoming, client: &Client) -> Result<Who, Fault> {
    let who = identify(options, request, client)?;
    // A page that reached us through a rebound name does not know the token; without one the name must be ours.
    if who == Who::Anyone && !is_our_host(options, request.header(HOST.as_str()).unwrap_or("")) {
        let message = "this host name is not known to the Admin API; add it to admin_hosts";
        return Err(Fault::plain(StatusCode::FORBIDDEN, message));
    }
    let origin = request.header(ORIGIN.as_str());
    let foreign =
        origin.is_some_and(|origin| !is_our_origin(options, origin, request.header(HOST.as_str()).unwrap_or("")));
    let writes = needs_body(&request.method) || request.method == Method::DELETE;
    // Browsers say where a request comes from; a page elsewhere may neither write nor read what it would be shown.
    let cross_site = request.header("sec-fetch-site") == Some("cross-site") && request.method != Method::OPTIONS;
    if foreign && (writes || cross_site) {
        let message = "requests from pages of this origin are not allowed; see admin_gui_url";
        return Err(Fault::plain(StatusCode::FORBIDDEN, message));
    }
    Ok(who)
}

fn identify(options: &Options, request: &Incoming, client: &Client) -> Result<Who, Fault> {
    if client.certificate.is_some() {
        return Ok(Who::Certificate);
    }
    let Some(token) = &options.token else { return Ok(Who::Anyone) };
    // A preflight carries no credentials and tells nothing.
    if request.method == Method::OPTIONS {
        return Ok(Who::Token);
    }
    let bearer = request.header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    let given = request.header(TOKEN_HEADER).or(bearer).unwrap_or("");
    // Digests have one length, so that the comparison tells nothing of the token's.
    let digest = |text: &str| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    match verify_slices_are_equal(digest(given).as_ref(), digest(token).as_ref()) {
        Ok(()) => Ok(Who::Token),
        Err(_) => Err(Fault::plain(StatusCode::UNAUTHORIZED, "Unauthorized")),
    }
}

/// The host of `host[:port]`.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Addresses, names without a dot (which nobody can register) and those that are listed.
pub fn is_our_host(options: &Options, host: &str) -> bool {
    let name = without_port(host).trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.to_ascii_lowercase().ends_with(".localhost")
        || options.hosts.iter().any(|listed| listed.eq_ignore_ascii_case(name))
        || options.gui_urls.iter().any(|url| origin_host(url).eq_ignore_ascii_case(name))
}

fn origin_host(origin: &str) -> &str {
    without_port(origin.split_once("://").map_or(origin, |(_, rest)| rest).split('/').next().unwrap_or(""))
}

fn origin_port(origin: &str) -> Option<u16> {
    let (scheme, rest) = origin.split_once("://")?;
    let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.or(match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}

/// An origin as it is compared: scheme, host and port, without a path.
fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| start + at);
    url.get(..end).unwrap_or(url)
}

fn is_our_origin(options: &Options, origin: &str, host: &str) -> bool {
    let same_host = origin_host(origin).eq_ignore_ascii_case(without_port(host));
    let own_port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port = origin_port(origin);
    let same =
        same_host && port.is_some() && (port == own_port || port.is_some_and(|port| options.gui_ports.contains(&port)));
    same || listed(options, origin)
}

fn listed(options: &Options, origin: &str) -> bool {
    options.gui_urls.iter().any(|url| origin_of(url).eq_ignore_ascii_case(origin))
}

/// OPTIONS of a path that is there.
pub fn options(endpoint: &Endpoint, request: &Incoming) -> Answer {
    let allow = endpoint.allow();
    let headers = request.header("access-control-request-headers").unwrap_or("Content-Type");
    Answer::no_content()
        .header(ALLOW, &allow)
        .header(ACCESS_CONTROL_ALLOW_METHODS, &allow)
        .header(ACCESS_CONTROL_ALLOW_HEADERS, headers)
}

/// The headers of every answer.
pub fn common_headers(options: &Options, request: &Incoming, took: Duration, headers: &mut HeaderMap) {
    let origin = request.header(ORIGIN.as_str());
    let allowed = match (options.gui_urls.first(), origin) {
        (None, None) => "*",
        (None, Some(origin)) => origin,
        (Some(_), Some(origin)) if listed(options, origin) => origin,
        (Some(first), _) => origin_of(first),
    };
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if origin.is_some() {
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    let latency = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    headers.insert(HeaderName::from_static("x-kong-admin-latency"), HeaderValue::from(latency));
    headers.insert(SERVER, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
}

/// One line for every write: who, what, with which outcome. Never a body, a query, or the part of a path that may be a key.
pub fn audit(request: &Incoming, endpoint: &Endpoint, who: Who, client: &Client, outcome: &Result<Answer, Fault>) {
    let question = matches!(endpoint.action, Action::Fixed(Fixed::Explain));
    if question || !needs_body(&request.method) && request.method != Method::DELETE {
        return;
    }
    let (status, revision) = match outcome {
        Ok(answer) => (answer.status, answer.revision),
        Err(Fault::Plain(status, _) | Fault::Body(status, _) | Fault::Numbered { status, .. }) => (*status, None),
        Err(Fault::Store(_)) => (StatusCode::INTERNAL_SERVER_ERROR, None),
    };
    let id = outcome.as_ref().ok().filter(|answer| answer.status != StatusCode::NO_CONTENT).and_then(|answer| {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        Some(body.get("id")?.as_str()?.to_owned())
    });
    let id =
        id.or_else(|| request.segments.iter().rev().find(|part| super::entities::parse_id(part).is_some()).cloned());
    tracing::info!(
        target: "portcullis::audit",
        method = %request.method,
        path = endpoint.path,
        id,
        status = status.as_u16(),
        revision,
        by = who.name(),
        client = client.address.map(tracing::field::display),
        certificate = client.certificate,
        "Admin API write"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Incoming {
        let mut builder = http::Request::builder().method(method).uri("/consumers");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        Incoming::new(&parts, vec!["consumers".into()])
    }

    fn status(options: &Options, method: Method, headers: &[(&str, &str)]) -> u16 {
        match admit(options, &request(method, headers), &Client::default()) {
            Ok(_) => 200,
            Err(fault) => fault.into_answer().status.as_u16(),
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let options = Options { hosts: vec!["admin.example".into()], ..Options::default() };
        for (host, wanted) in [
            ("localhost:8001", 200),
            ("127.0.0.1:8001", 200),
            ("[::1]:8001", 200),
            ("portcullis:8001", 200),
            ("admin.example", 200),
            ("evil.example:8001", 403),
        ] {
            assert_eq!(status(&options, Method::GET, &[("host", host)]), wanted, "{host}");
        }
    }

    #[test]
    fn other_origins_do_not_write() {
        let mut options = Options { gui_ports: vec![8002], ..Options::default() };
        let ask = |options: &Options, method, origin| {
            status(options, method, &[("host", "localhost:8001"), ("origin", origin)])
        };
        assert_eq!(ask(&options, Method::GET, "http://evil.example"), 200);
        assert_eq!(ask(&options, Method::POST, "http://evil.example"), 403);
        assert_eq!(ask(&options, Method::DELETE, "null"), 403);
        assert_eq!(ask(&options, Method::POST, "http://localhost:8001"), 200);
        assert_eq!(ask(&options, Method::POST, "http://localhost:8002"), 200);
        assert_eq!(ask(&options, Method::POST, "http://localhost:3000"), 403);
        options.gui_urls = vec!["https://gui.example/manager".into()];
        assert_eq!(ask(&options, Method::POST, "https://gui.example"), 200);
        let reading = [("host", "localhost"), ("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(&options, Method::GET, &reading), 403);
    }

    #[test]
    fn the_token_is_asked_for() {
        let options = Options { token: Some("secret".into()), ..Options::default() };
        assert_eq!(status(&options, Method::GET, &[("host", "a.example")]), 401);
        assert_eq!(status(&options, Method::GET, &[("host", "a.example"), ("kong-admin-token", "secret")]), 200);
        assert_eq!(status(&options, Method::GET, &[("host", "a.example"), ("authorization", "Bearer secret")]), 200);
        assert_eq!(status(&options, Method::GET, &[("host", "a.example"), ("kong-admin-token", "secreT")]), 401);
    }
}
