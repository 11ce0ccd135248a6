//! Services' destinations: addresses, balancing, health.
//!
//! Turns a service into somewhere to connect, off the request path. What a request does here is [`Destination::pick`]: one
//! atomic load, a choice among prepared members, a clone of a prepared peer; no DNS, no parsing, no lock.
//!
//! | part | owns |
//! |---|---|
//! | `registry` | what outlives snapshots, found again by name: DNS answers, balancers, health |
//! | `destination` | one service's prepared peers and `Host` headers; the pick, and the report that comes back |
//! | `peer` | TLS material, timeouts, HTTP version: everything about a connection but its address |
//! | `balancer`, `ring` | the targets of an upstream, their addresses, and the order they are taken in |
//! | `hash` | what `hash_on` hashes |
//! | `health` | the state of each address and Kong's counters over it |
//! | `probe`, `background` | active checks and name resolution, driven by one task |
//! | `dns` | names and their answers |
//!
//! Nothing here is kept by hand across reloads: a snapshot's destinations hold what they use, the registry only finds it again
//! (weakly) while anyone does. A reload that leaves an upstream as it was gets the same balancer; one that changes its targets
//! gets a new balancer over the same address states; what no snapshot refers to goes with the last request that used it.
//!
//! From `pingora-core` come peers and the connector of the active checks. The balancers are our own, since
//! `pingora-load-balancing` differs from Kong where it matters: its checks know pass and fail but not Kong's separate counts of
//! successes, TCP failures, timeouts and statuses, nor passive checks, nor one interval for healthy and one for unhealthy
//! targets; its ketama ring has 160 points for each unit of weight (16,000 for a target of Kong's default weight) where Kong
//! spreads `slots`; it takes weights per address where a Kong target's addresses share one; and its members cannot be
//! rebuilt from DNS while their health stays.
//!
//! Must not know of requests, plugins or the Admin API.

mod background;
mod balancer;
mod destination;
mod dns;
mod hash;
mod health;
mod peer;
mod probe;
mod registry;
mod ring;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

pub use self::{
    destination::{Attempts, Destination, Lease, PickFault, Picked},
    dns::{Resolve, SystemResolver},
    hash::{Captures, HashInput},
    health::Health,
    peer::{ClientCertificate, check_service, check_upstream},
    registry::{AddressHealth, Registry, TargetHealth, UpstreamHealth, Upstreams},
};

/// What the settings say about connections to services.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What `tls_verify: null` means; Kong's nginx does not verify unless told to.
    pub verify_default: bool,
    /// How long an idle connection to a service is kept (`upstream_keepalive_idle_timeout`); `None` = as long as it lives.
    pub idle_timeout: Option<Duration>,
    /// Streams on one HTTP/2 connection to a gRPC service.
    pub max_h2_streams: usize,
    /// Time between two resolutions of a name; the operating system's resolver does not tell the records' own.
    pub dns_interval: Duration,
    /// Time after which a failed resolution is tried again; doubles up to `dns_interval`.
    pub dns_retry: Duration,
    /// How long the last good answer is used while the name does not resolve.
    pub dns_stale: Duration,
    /// Which addresses of a name are used.
    pub dns_order: Families,
    /// What probes by TLS verify against, in PEM; `None` = the system's store.
    pub trusted: Option<PathBuf>,
}

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 addresses, or where there are none the IPv6 ones: Kong asks for A before AAAA, and a service that is named
    /// `localhost` listens on one family only more often than on both.
    #[default]
    Ipv4First,
    /// IPv6 addresses, or where there are none the IPv4 ones.
    Ipv6First,
    Ipv4,
    Ipv6,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            verify_default: false,
            idle_timeout: Some(Duration::from_secs(60)),
            max_h2_streams: 100,
            dns_interval: Duration::from_secs(10),
            dns_retry: Duration::from_secs(1),
            dns_stale: Duration::from_secs(3600),
            dns_order: Families::default(),
            trusted: None,
        }
    }
}
