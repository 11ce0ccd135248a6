//! The view of a request that plugins get: values, no connection.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};
use uuid::Uuid;

use super::Directory;

/// The scheme of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client's address, after `real_ip_header` of a trusted peer.
    pub address: IpAddr,
    /// The address of the TCP peer.
    pub peer: IpAddr,
    /// Whether the peer is in `trusted_ips`.
    pub trusted: bool,
}

/// A request as a plugin sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// Normalised path: the one that was routed on and that the service will get (before stripping).
    pub path: &'a str,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// The whole body, when the plugin asked for it ([`super::Wants`]) and it was within the bound.
    pub body: Option<&'a Bytes>,
    pub client: Client,
    pub scheme: Scheme,
    /// Seconds since the UNIX epoch, read once for the request.
    pub now: u64,
    pub route: Uuid,
    pub service: Option<Uuid>,
    /// The snapshot this request runs on, among those that are or were in force; 0 for any other. Requests of one generation meet the
    /// same plugins, consumers and credentials.
    pub generation: u64,
    /// Consumers and credentials of the snapshot this request runs on.
    pub directory: &'a Directory,
}

impl<'a> Request<'a> {
    /// The first value of a header, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }
}
