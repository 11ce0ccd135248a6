//! One service's destination: the pick, and the report that comes back.
//!
//! Owns [`Destination`] (a balancer, and a prepared peer for each of its targets) and [`Lease`], through which the gateway says how
//! an attempt went. Runs on the request path: nothing here locks, parses or waits. Must not know where addresses come from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::HttpPeer;
use uuid::Uuid;

use super::HashInput;
use super::balancer::Balancer;
use super::hash::{HashRule, set_cookie};
use super::health::{Endpoint, Event};
use super::peer::{Template, preserved_server_name};
use crate::entity::BalancerAlgorithm;

/// Where a service's requests go.
#[derive(Debug)]
pub struct Destination {
    pub(super) balancer: Arc<Balancer>,
    /// By the index of the balancer's target.
    pub(super) templates: Box<[Template]>,
    /// Of an upstream that balances by consistent hashing.
    pub(super) hash: Option<HashRule>,
}

impl Destination {
    /// An address to connect to, prepared: one that this request has not tried yet, as long as there is one.
    ///
    /// # Errors
    /// When no target is healthy, or the name of the service's host does not resolve.
    pub fn pick(&self, input: &HashInput<'_>, attempts: &mut Attempts) -> Result<Picked, PickFault> {
        let ring = self.balancer.ring();
        let hash = self.hash.as_ref().and_then(|rule| rule.value(input, attempts));
        let member = self.balancer.choose(&ring, hash, attempts).ok_or_else(|| self.fault())?;
        let template = self.templates.get(member.target).ok_or(PickFault::NoPeer)?;
        let address = member.endpoint.address;
        let mut peer = Box::new(template.peer.clone());
        peer._address = PeerAddress::Inet(address);
        if peer.is_tls()
            && let Some(name) = input.preserved_host.and_then(preserved_server_name)
        {
            name.clone_into(&mut peer.sni);
        }
        attempts.record(address);
        let lease = Lease::new(&member.endpoint, self.balancer.spec.algorithm);
        Ok(Picked { peer, host_header: template.host_header.clone(), lease })
    }

    fn fault(&self) -> PickFault {
        if self.balancer.group.is_some() { PickFault::NoPeer } else { PickFault::NameResolution }
    }
}

/// Why there is nowhere to connect; both are answered with 503 and their text as the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickFault {
    /// The upstream has no healthy target.
    #[error("failure to get a peer from the ring-balancer")]
    NoPeer,
    /// The service's host is a name that does not resolve, or has not yet.
    #[error("name resolution failed")]
    NameResolution,
}

/// A peer to connect to.
#[derive(Debug)]
pub struct Picked {
    pub peer: Box<HttpPeer>,
    /// `Host` towards the service, unless the route preserves the client's.
    pub host_header: HeaderValue,
    /// To be kept until the attempt is over, and told how it went.
    pub lease: Lease,
}

/// One attempt at one address: reports how it went, and ends with it.
#[derive(Debug)]
pub struct Lease {
    /// `None` when nobody wants to know.
    endpoint: Option<Arc<Endpoint>>,
    algorithm: BalancerAlgorithm,
}

impl Lease {
    fn new(endpoint: &Arc<Endpoint>, algorithm: BalancerAlgorithm) -> Self {
        let measured = match algorithm {
            BalancerAlgorithm::LeastConnections => {
                endpoint.begin();
                true
            }
            BalancerAlgorithm::Latency => true,
            BalancerAlgorithm::ConsistentHashing | BalancerAlgorithm::RoundRobin => false,
        };
        let endpoint = (measured || endpoint.is_watched()).then(|| Arc::clone(endpoint));
        Self { endpoint, algorithm }
    }

    /// The connection was refused, reset before an answer, or its TLS handshake failed.
    pub fn connect_failed(&self) {
        self.report(Event::TcpFailure);
    }

    /// Connecting or waiting for the answer took too long.
    pub fn timed_out(&self) {
        self.report(Event::Timeout);
    }

    /// The service answered with this status; `latency` is what it took from the start of the attempt.
    pub fn answered(&self, status: u16, latency: Duration) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.passive(Event::Connected);
            endpoint.passive(Event::Status(status));
            if self.algorithm == BalancerAlgorithm::Latency {
                endpoint.observe_latency(latency);
            }
        }
    }

    fn report(&self, event: Event) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.passive(event);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.algorithm == BalancerAlgorithm::LeastConnections
            && let Some(endpoint) = &self.endpoint
        {
            endpoint.end();
        }
    }
}

/// What a request has tried so far; lives as long as the request.
#[derive(Debug, Default)]
pub struct Attempts {
    last: Option<SocketAddr>,
    /// All before the last; allocates with the first retry only.
    earlier: Vec<SocketAddr>,
    /// The cookie made for a client that had none to hash on: value, then header.
    cookie: Option<(String, Option<HeaderValue>)>,
}

impl Attempts {
    /// How many addresses were picked.
    pub fn count(&self) -> usize {
        self.earlier.len() + usize::from(self.last.is_some())
    }

    /// The address of the last pick.
    pub fn last(&self) -> Option<SocketAddr> {
        self.last
    }

    /// `Set-Cookie` of the response, for a client that had no cookie to hash on: so that it comes back to the same target.
    pub fn set_cookie(&self) -> Option<&HeaderValue> {
        self.cookie.as_ref().and_then(|(_, header)| header.as_ref())
    }

    pub(super) fn any(&self) -> bool {
        self.last.is_some()
    }

    pub(super) fn tried(&self, address: SocketAddr) -> bool {
        self.last == Some(address) || self.earlier.contains(&address)
    }

    fn record(&mut self, address: SocketAddr) {
        self.earlier.extend(self.last.replace(address));
    }

    /// The value of the cookie for this client, made with the first pick and kept for the retries.
    pub(super) fn own_cookie(&mut self, name: &str, path: &str) -> &str {
        let (value, _) = self.cookie.get_or_insert_with(|| {
            let value = Uuid::new_v4().to_string();
            let header = set_cookie(name, &value, path);
            (value, header)
        });
        value
    }
}
