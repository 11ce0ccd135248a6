//! What is asked: a token on a route, or a request.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Map;

use super::place::Place;
use crate::entity::{self, Protocol};
use crate::gateway::dry::Described;
use crate::snapshot::{Route, Snapshot};

/// One value of a header, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Lines {
    One(String),
    Several(Vec<String>),
}

/// A request that is not sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub token: Option<String>,
    /// Where the token is put: `header:NAME`, `query:NAME`, `cookie:NAME`, `body:NAME`.
    #[serde(rename = "in")]
    pub place: Option<String>,
    /// A route by name or id; the router is not asked then.
    pub route: Option<String>,
    pub method: Option<String>,
    /// Path and query, or a whole URL.
    pub url: Option<String>,
    #[serde(default)]
    pub headers: indexmap::IndexMap<String, Lines>,
    /// `http` or `https`, where the URL does not say.
    pub scheme: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Seconds since the UNIX epoch: judge as of then.
    pub at: Option<u64>,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Question(String),
    #[error("no route '{0}'")]
    Route(String),
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// What of it is not understood.
    pub fn from_json(members: &Map<String, serde_json::Value>) -> Result<Self, Fault> {
        // serde's message could repeat a value, and the value could be the token.
        for name in members.keys() {
            if !FIELDS.contains(&name.as_str()) {
                return Err(Fault::Question(format!("unknown field '{name}'; there are {}", FIELDS.join(", "))));
            }
        }
        for (name, value) in members {
            let fits = match name.as_str() {
                "headers" => value.is_object(),
                "at" => value.is_u64() || value.is_null(),
                _ => value.is_string() || value.is_null(),
            };
            if !fits {
                return Err(Fault::Question(format!("'{name}' is of another type than expected")));
            }
        }
        Self::deserialize(members).map_err(|_| Fault::Question("the question cannot be read".into()))
    }
}

const FIELDS: [&str; 9] = ["token", "in", "route", "method", "url", "headers", "scheme", "client", "at"];

/// A question that has been understood.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: Described,
    /// The route that was named, by its index.
    pub route: Option<usize>,
    /// As it was given.
    pub token: Option<String>,
    place: Option<Place>,
    /// Whether the question said where the token stands.
    by_hand: bool,
    /// The request without the token.
    bare: Box<Described>,
}

impl Asked {
    /// # Errors
    /// What of the question is not understood.
    pub fn new(question: &Question, snapshot: &Snapshot) -> Result<Self, Fault> {
        let route = match question.route.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(find(snapshot, name).ok_or_else(|| Fault::Route(name.chars().take(200).collect()))?),
            None if question.url.is_none() => {
                return Err(Fault::Question("say which 'route' or which 'url' is meant".into()));
            }
            None => None,
        };
        let named = route.and_then(|index| snapshot.routing.routes.get(index));
        let bare = described(question, named.map(|route| &*route.entity))?;
        let place =
            match question.place.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => Some(Place::parse(text).ok_or_else(|| {
                    Fault::Question("'in' is header:NAME, query:NAME, cookie:NAME or body:NAME".into())
                })?),
                None => None,
            };
        let mut asked =
            Self { request: bare.clone(), route, token: None, by_hand: place.is_some(), place, bare: Box::new(bare) };
        if let Some(token) = question.token.as_deref().filter(|token| !token.is_empty()) {
            asked.put(token, snapshot);
        }
        Ok(asked)
    }

    /// A bare token on a route, where the route reads it.
    pub fn on_route(index: usize, route: &Route, token: &str, client: IpAddr) -> Option<Self> {
        let question = Question { client: Some(client), ..Question::default() };
        let bare = described(&question, Some(&route.entity)).ok()?;
        let place = Place::of(route, token);
        let mut asked = Self {
            request: bare.clone(),
            route: Some(index),
            token: None,
            place: None,
            by_hand: false,
            bare: Box::new(bare),
        };
        asked.put_at(place, token, Some(route));
        Some(asked)
    }

    /// The same request with another token, where the route reads it.
    pub fn with_token(&self, token: &str, snapshot: &Snapshot) -> Self {
        let mut other = Self { request: (*self.bare).clone(), place: None, by_hand: false, ..self.clone() };
        // A token that stood in the described request itself.
        for (_, value) in &mut other.request.headers {
            if let (Some(old), Ok(text)) = (self.token.as_deref(), value.to_str())
                && text.contains(old)
            {
                *value = HeaderValue::from_static("");
            }
        }
        if self.token.is_none() {
            other.request.headers.remove(header::AUTHORIZATION);
        }
        other.put(token, snapshot);
        other
    }

    fn put(&mut self, token: &str, snapshot: &Snapshot) {
        let routes = &snapshot.routing.routes;
        let index = self.route.or_else(|| {
            let dry = crate::gateway::dry::Dry::new(self.bare.as_ref().clone()).ok()?;
            Some(dry.find(snapshot).ok()?.route)
        });
        let route = index.and_then(|index| routes.get(index));
        let place = match (self.place.clone(), route) {
            (Some(place), _) => place,
            (None, Some(route)) => Place::of(route, token),
            (None, None) => Place::authorization(),
        };
        self.put_at(place, token, route);
    }

    fn put_at(&mut self, place: Place, token: &str, route: Option<&Route>) {
        let request = &mut self.request;
        match &place {
            Place::Header(name) => {
                let scheme = token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer "));
                let bare = scheme || !place.wants_bearer(route);
                let text = if bare { token.to_owned() } else { format!("Bearer {token}") };
                // What no header can hold a client cannot send either; line breaks are what people paste.
                let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                    request.headers.append(name.clone(), value);
                }
            }
            Place::Cookie(name) => {
                if let Ok(value) = HeaderValue::from_bytes(format!("{name}={token}").as_bytes()) {
                    request.headers.append(header::COOKIE, value);
                }
            }
            Place::Query(name) => {
                let mark = if request.target.contains('?') { '&' } else { '?' };
                request.target += &format!("{mark}{}", argument(name, token));
            }
            Place::Body(name) => {
                request.body = Some(Bytes::from(argument(name, token)));
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers.insert(header::CONTENT_TYPE, form);
                if request.method == Method::GET {
                    request.method = Method::POST;
                }
            }
        }
        self.token = Some(token.to_owned());
        self.place = Some(place);
    }

    /// Whether the question said where the token stands.
    pub fn placed_by_hand(&self) -> bool {
        self.by_hand
    }

    /// Where the token stands, for people.
    pub fn place(&self) -> String {
        self.place.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

fn argument(name: &str, value: &str) -> String {
    format!("{}={}", utf8_percent_encode(name, NON_ALPHANUMERIC), utf8_percent_encode(value, NON_ALPHANUMERIC))
}

/// A route by name or id.
pub fn find(snapshot: &Snapshot, name: &str) -> Option<usize> {
    let id = uuid::Uuid::try_parse(name).ok();
    let is = |route: &Route| id.is_some_and(|id| route.entity.id == id) || route.entity.name.as_deref() == Some(name);
    snapshot.routing.routes.iter().position(is)
}

/// The request that is meant. What the question leaves out is taken from the route, so that it would match.
pub fn described(question: &Question, route: Option<&entity::Route>) -> Result<Described, Fault> {
    let fault = |text: &str| Fault::Question(text.to_owned());
    let method = question.method.as_deref().map(str::trim).filter(|method| !method.is_empty());
    let of_route = || route.and_then(|route| route.methods.as_ref()?.first().cloned());
    let method = method.map(str::to_owned).or_else(of_route).unwrap_or_else(|| "GET".into());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| fault("'method' is none"))?;
    let only_tls = route.is_some_and(|route| route.protocols.iter().all(|protocol| protocol.is_tls()));
    let mut tls = match question.scheme.as_deref().filter(|scheme| !scheme.is_empty()) {
        Some("http") => false,
        Some("https") => true,
        Some(_) => return Err(fault("'scheme' is http or https")),
        None => only_tls,
    };
    let (mut host, mut port) = (None, None);
    let url = question.url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let target = match url {
        Some(url) if url.starts_with('/') => url.to_owned(),
        Some(url) => {
            let url: http::Uri = url.parse().map_err(|_| fault("'url' is neither a path nor a URL"))?;
            let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
                return Err(fault("'url' is neither a path nor a URL"));
            };
            tls = scheme.eq_ignore_ascii_case("https");
            host = Some(authority.host().to_owned());
            port = authority.port_u16();
            url.path_and_query().map_or("/", |target| target.as_str()).to_owned()
        }
        None => route.map_or("/", |route| path_of(route)).to_owned(),
    };
    let target = target.split('#').next().unwrap_or_default().to_owned();
    let mut headers = HeaderMap::new();
    for (name, lines) in &question.headers {
        let lines = match lines {
            Lines::One(line) => std::slice::from_ref(line),
            Lines::Several(lines) => lines,
        };
        for line in lines {
            if name.eq_ignore_ascii_case("host") {
                let (named, at) = crate::router::split_host(line);
                (host, port) = (Some(named.to_owned()), at.or(port));
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fault("a name in 'headers' is none"))?;
            let value = HeaderValue::from_bytes(line.as_bytes()).map_err(|_| fault("a value in 'headers' is none"))?;
            headers.append(name, value);
        }
    }
    if let Some(route) = route {
        for (name, values) in route.headers.iter().flatten() {
            let (Ok(name), Some(Ok(value))) = (name.parse::<HeaderName>(), values.first().map(|value| value.parse()))
            else {
                continue;
            };
            headers.entry(name).or_insert(value);
        }
        if route.protocols.iter().any(|protocol| protocol.is_grpc()) {
            let grpc = HeaderValue::from_static("application/grpc");
            headers.entry(header::CONTENT_TYPE).or_insert(grpc);
        }
    }
    let of_route = || {
        let host = route?.hosts.as_ref()?.first()?;
        let (host, _) = crate::router::split_host(host);
        Some(host.replace('*', "example"))
    };
    Ok(Described {
        method,
        target: if target.is_empty() { "/".into() } else { target },
        headers,
        host: host.or_else(of_route).unwrap_or_else(|| "localhost".into()),
        port: port.unwrap_or(if tls { 443 } else { 80 }),
        tls,
        client: question.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        body: None,
    })
}

/// A path that the route matches, as far as one can be told.
fn path_of(route: &entity::Route) -> &str {
    let plain = route.paths.iter().flatten().find(|path| path.starts_with('/'));
    plain.map_or("/", |path| path.as_str())
}

/// The protocols of a route by name.
pub fn protocols(protocols: &[Protocol]) -> serde_json::Value {
    serde_json::to_value(protocols).unwrap_or_default()
}
