//! A request that came on no connection: the decisions of `access` about it, for `explain`.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::RequestHeader;

use super::access::{normalised, protocol, protocol_rules};
use super::ctx::Target;
use super::{fields, reject};
use crate::auth::reason::Body;
use crate::auth::{Client, Directory, Reason, Rejection, Request, Scheme, State, identity};
use crate::entity::Protocol;
use crate::router::{Lookup, Match};
use crate::snapshot::{Route, Snapshot};

/// What is known of such a request.
#[derive(Clone, Debug)]
pub struct Described {
    pub method: Method,
    /// Origin form: path, and query if there is one.
    pub target: String,
    /// Without `Host`.
    pub headers: HeaderMap,
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub client: IpAddr,
    pub body: Option<Bytes>,
}

/// The request, as the gateway would see it.
pub struct Dry {
    header: RequestHeader,
    target: Target,
    host: String,
    port: u16,
    tls: bool,
    client: Client,
    body: Option<Bytes>,
}

impl Dry {
    /// # Errors
    /// The answer to a request that cannot be routed.
    pub fn new(described: Described) -> Result<Self, Box<Rejection>> {
        let Described { method, target, headers, host, port, tls, client, body } = described;
        let malformed = || reject::generated(Reason::BadRequest);
        let mut header =
            RequestHeader::build(method, target.as_bytes(), Some(headers.len() + 1)).map_err(|_| malformed())?;
        for (name, value) in &headers {
            header.append_header(name.clone(), value.clone()).map_err(|_| malformed())?;
        }
        let mut target = Target::locate(&header).ok_or_else(malformed)?;
        if let Cow::Owned(path) = normalised(target.sent(&header))? {
            target.normalised = Some(path.into());
        }
        let client = Client { address: client, peer: client, trusted: false };
        Ok(Self { header, target, host, port, tls, client, body })
    }

    /// The route it belongs to, as an index into the snapshot's.
    ///
    /// # Errors
    /// 404.
    pub fn find(&self, snapshot: &Snapshot) -> Result<Match, Box<Rejection>> {
        let lookup = Lookup {
            method: self.header.method.as_str(),
            host: &self.host,
            host_port: Some(self.port),
            listen_port: self.port,
            path: self.path(),
            headers: &self.header.headers,
            tls: self.tls,
            sni: self.tls.then_some(&*self.host),
        };
        snapshot.routing.router.find(&lookup).ok_or_else(|| {
            reject::routing(Reason::NoRoute, StatusCode::NOT_FOUND, "no Route matched with those values")
        })
    }

    /// The route's rules about protocols.
    ///
    /// # Errors
    /// The answer of one that was broken.
    pub fn rules(&self, route: &Route) -> Result<(), Box<Rejection>> {
        protocol_rules(&route.entity, &self.header, self.tls, &self.host)
    }

    /// What is compared with a plugin's `protocols`.
    pub fn protocol(&self, route: &Route) -> Protocol {
        protocol(&route.entity, self.tls)
    }

    /// The view that plugins get.
    pub fn request<'a>(&'a self, route: &Route, directory: &'a Directory, now: u64) -> Request<'a> {
        Request {
            method: &self.header.method,
            path: self.path(),
            query: self.target.query(&self.header),
            headers: &self.header.headers,
            body: self.body.as_ref(),
            client: self.client,
            scheme: if self.tls { Scheme::Https } else { Scheme::Http },
            now,
            route: route.entity.id,
            service: route.service.as_ref().map(|service| service.entity.id),
            generation: 0,
            directory,
        }
    }

    /// The normalised path.
    pub fn path(&self) -> &str {
        self.target.path(&self.header)
    }
}

/// The answer to a request that passed its plugins on a route without a service.
pub fn no_service() -> Box<Rejection> {
    reject::routing(Reason::NoService, StatusCode::SERVICE_UNAVAILABLE, "no Service found with those values")
}

/// The body of an answer as text, in the form a client gets that asks for none.
pub fn body_text(answer: &Rejection) -> String {
    let message = |text: &str| String::from_utf8_lossy(&reject::message_json(text)).into_owned();
    match &answer.body {
        Body::Message(text) | Body::Negotiated(text) => message(text),
        Body::Json(text) => text.to_string(),
        Body::Generated => message(super::errors::message(answer.status)),
        Body::Raw { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Body::Empty => String::new(),
    }
}

/// Headers that say who the caller is, as the service would get them.
pub fn identity_headers(state: &State) -> Vec<(HeaderName, HeaderValue)> {
    let own = state.authenticated().into_iter().flat_map(identity::headers).map(|(name, value)| (name.clone(), value));
    let set = state.set().filter(|(name, _)| identity::is_identity_header(name.as_str()));
    own.chain(set.map(|(name, value)| (name.clone(), value))).collect()
}

/// The usual spelling of a header's name.
pub fn spelled(name: &HeaderName) -> String {
    fields::cased(name).unwrap_or(name.as_str()).to_owned()
}
