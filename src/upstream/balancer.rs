//! The targets of an upstream, or a service's own host as the only one, and the choice among their addresses.
//!
//! Owns the current [`Ring`] and rebuilds it when a name's addresses change; choosing reads it with one atomic load.
//! Must not know services: several can share a balancer, and with it the turn of round-robin.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::Attempts;
use super::dns::{Answer, Name};
use super::hash::mix;
use super::health::{Endpoint, Group};
use super::ring::{Member, Order, Ring, gcd};
use crate::entity::BalancerAlgorithm;

/// What tells one balancer from another of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub algorithm: BalancerAlgorithm,
    pub slots: u32,
    /// Targets with a weight, as `host:port`, in their order.
    pub targets: Vec<(Box<str>, u16)>,
}

impl Spec {
    /// A service's own host.
    pub fn host(host: &str, port: u16) -> Self {
        let target = if is_ipv6(host) { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { algorithm: BalancerAlgorithm::RoundRobin, slots: 0, targets: vec![(target.into(), 1)] }
    }
}

/// A target, its address known or its name being resolved.
#[derive(Debug)]
pub(super) struct Target {
    /// As in the entity: `host:port`.
    pub text: Arc<str>,
    /// Without the port, without brackets.
    pub host: Box<str>,
    pub port: u16,
    pub weight: u16,
    pub source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    Ip(IpAddr),
    Name(Arc<Name>),
}

impl Target {
    pub fn new(text: &str, weight: u16, mut name: impl FnMut(&str) -> Arc<Name>) -> Self {
        let (host, port) = split_port(text);
        let source = match host.parse() {
            Ok(ip) => Source::Ip(ip),
            Err(_) => Source::Name(name(&host.to_ascii_lowercase())),
        };
        Self { text: text.into(), host: host.into(), port, weight, source }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match &self.source {
            Source::Ip(ip) => vec![*ip],
            Source::Name(name) => match name.answer() {
                Answer::Found(addresses) => addresses.to_vec(),
                Answer::Pending | Answer::Failed => Vec::new(),
            },
        }
    }
}

/// Splits `host:port`, `[v6]:port` and what has no port: Kong writes a target's port out, 8000 where none was given.
pub(super) fn split_port(text: &str) -> (&str, u16) {
    const DEFAULT: u16 = 8000;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_ipv6(text) => (host, port.parse().unwrap_or(DEFAULT)),
        _ => (text, DEFAULT),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

/// Whether a host is an IPv6 address without brackets.
pub(super) fn is_ipv6(host: &str) -> bool {
    matches!(host.parse(), Ok(IpAddr::V6(_)))
}

#[derive(Debug)]
pub(super) struct Balancer {
    /// Of the upstream, or of a service's host.
    pub name: Arc<str>,
    pub spec: Spec,
    pub targets: Box<[Target]>,
    /// `None` for a service's own host.
    pub group: Option<Arc<Group>>,
    ring: ArcSwap<Ring>,
    /// Counts choices: whose turn it is, and the source of numbers that only have to look random.
    turn: AtomicU64,
}

impl Balancer {
    /// Made under the registry's lock, as it is rebuilt: an answer that comes meanwhile is either seen here or told later.
    pub fn new(name: Arc<str>, spec: Spec, targets: Vec<Target>, group: Option<Arc<Group>>) -> Arc<Self> {
        // Gateways that start together do not all begin with the first target.
        let turn = if targets.len() > 1 { RandomState::new().hash_one(0_u8) >> 1 } else { 0 };
        let ring = ArcSwap::from_pointee(Ring::new(spec.algorithm, spec.slots, Vec::new(), 0, 1));
        let turn = AtomicU64::new(turn);
        let balancer = Arc::new(Self { name, spec, targets: targets.into(), group, ring, turn });
        for target in &balancer.targets {
            if let Source::Name(name) = &target.source {
                name.add_user(&balancer);
            }
        }
        balancer.rebuild();
        balancer
    }

    /// The current ring.
    pub fn ring(&self) -> arc_swap::Guard<Arc<Ring>> {
        self.ring.load()
    }

    /// Takes in the addresses the names have now. One at a time: the registry's lock is held.
    pub fn rebuild(&self) {
        // Addresses that stay keep their endpoint; those of a group find theirs there.
        let old = self.ring.load_full();
        let mut known: HashMap<(&Arc<str>, SocketAddr), &Arc<Endpoint>> = HashMap::new();
        if self.group.is_none() {
            known.extend(old.members.iter().map(|m| ((&m.endpoint.target, m.endpoint.address), &m.endpoint)));
        }
        let addresses: Vec<Vec<IpAddr>> = self.targets.iter().map(Target::addresses).collect();
        let scale = common_multiple(addresses.iter().map(Vec::len));
        let mut members = Vec::new();
        for (index, (target, addresses)) in self.targets.iter().zip(&addresses).enumerate() {
            let weight = u64::from(target.weight) * scale / (addresses.len() as u64).max(1);
            for ip in addresses {
                let address = SocketAddr::new(*ip, target.port);
                let endpoint = match (&self.group, known.get(&(&target.text, address))) {
                    (Some(group), _) => group.endpoint(&target.text, address),
                    (None, Some(endpoint)) => Arc::clone(endpoint),
                    (None, None) => Arc::new(Endpoint::new(address, Arc::clone(&target.text), None)),
                };
                members.push(Member { endpoint, target: index, weight: weight.max(1) });
            }
        }
        let total = self.targets.iter().map(|target| u64::from(target.weight) * scale).sum();
        self.ring.store(Arc::new(Ring::new(self.spec.algorithm, self.spec.slots, members, total, scale)));
    }

    /// A member to connect to: healthy, and not one of those this request has tried while there are others. `None` when there
    /// is no healthy one, or when less of the weight is healthy than the upstream's threshold asks for.
    pub fn choose<'r>(&self, ring: &'r Ring, hash: Option<u64>, attempts: &Attempts) -> Option<&'r Member> {
        // A service with one address, nearly all of them.
        if self.group.is_none()
            && let [only] = &*ring.members
        {
            return Some(only);
        }
        if !self.is_healthy(ring) {
            return None;
        }
        self.search(ring, hash, &|member| member.endpoint.is_up() && !attempts.tried(member.endpoint.address))
            .or_else(|| attempts.any().then(|| self.search(ring, hash, &|member| member.endpoint.is_up())).flatten())
    }

    /// Whether enough of the weight is healthy.
    pub fn is_healthy(&self, ring: &Ring) -> bool {
        let threshold = self.group.as_ref().map_or(0.0, |group| group.rules.checks.threshold);
        threshold <= 0.0 || Self::healthy_weight(ring) as f64 * 100.0 >= threshold * ring.total_weight as f64
    }

    /// Weight of the healthy members.
    pub fn healthy_weight(ring: &Ring) -> u64 {
        ring.members.iter().filter(|member| member.endpoint.is_up()).map(|member| member.weight).sum()
    }

    fn search<'r>(&self, ring: &'r Ring, hash: Option<u64>, fits: &dyn Fn(&Member) -> bool) -> Option<&'r Member> {
        match &ring.order {
            Order::Wheel(wheel) => self.next_of(ring, wheel, fits),
            Order::Continuum(points) => {
                let hash = hash.unwrap_or_else(|| self.random());
                let start = points.partition_point(|(point, _)| *point < hash);
                let (before, after) = points.split_at(start);
                // A member that does not fit is met at many points: at each the check is one load.
                after.iter().chain(before).filter_map(|(_, index)| ring.member(*index)).find(|member| fits(member))
            }
            Order::None if self.spec.algorithm == BalancerAlgorithm::Latency => self.quicker_of_two(ring, fits),
            Order::None => self.least_connections(ring, fits),
        }
    }

    /// Each look moves the wheel on, so that the turn of a member that does not fit goes to all others in their turn.
    fn next_of<'r>(&self, ring: &'r Ring, wheel: &[u32], fits: &dyn Fn(&Member) -> bool) -> Option<&'r Member> {
        for _ in 0..wheel.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % wheel.len() as u64;
            let member = wheel.get(turn as usize).and_then(|index| ring.member(*index))?;
            if fits(member) {
                return Some(member);
            }
        }
        // Other threads moved the wheel as well, and past the one that fits.
        ring.members.iter().find(|member| fits(member))
    }

    /// The member with the fewest requests under way for its weight; among equals each in its turn.
    fn least_connections<'r>(&self, ring: &'r Ring, fits: &dyn Fn(&Member) -> bool) -> Option<&'r Member> {
        let start = (self.turn.fetch_add(1, Ordering::Relaxed) % (ring.members.len() as u64).max(1)) as usize;
        let (before, after) = ring.members.split_at_checked(start)?;
        let mut best: Option<(&Member, u64)> = None;
        for member in after.iter().chain(before).filter(|member| fits(member)) {
            let load = u64::from(member.endpoint.in_flight()) + 1;
            // load / weight < least / best weight, without the division.
            let less = |(best, least): (&Member, u64)| {
                u128::from(load) * u128::from(best.weight) < u128::from(least) * u128::from(member.weight)
            };
            if best.is_none_or(less) {
                best = Some((member, load));
            }
        }
        best.map(|(member, _)| member)
    }

    /// The one with the lower latency of two that are taken at random: taking the lowest of all would send every client of
    /// every gateway to it at once. As in Kong, weights above 0 do not matter here.
    fn quicker_of_two<'r>(&self, ring: &'r Ring, fits: &dyn Fn(&Member) -> bool) -> Option<&'r Member> {
        let count = ring.members.iter().filter(|member| fits(member)).count() as u64;
        if count == 0 {
            return None;
        }
        let random = self.random();
        let first = (random >> 32) % count;
        let second = if count > 1 { (first + 1 + (random & 0xffff_ffff) % (count - 1)) % count } else { first };
        let nth = |index: u64| ring.members.iter().filter(|member| fits(member)).nth(index as usize);
        match (nth(first), nth(second)) {
            (Some(one), Some(other)) if other.endpoint.latency() < one.endpoint.latency() => Some(other),
            (Some(one), _) => Some(one),
            // Health changed since they were counted.
            (None, other) => other.or_else(|| nth(0)),
        }
    }

    fn random(&self) -> u64 {
        mix(self.turn.fetch_add(1, Ordering::Relaxed))
    }
}

impl Ring {
    fn member(&self, index: u32) -> Option<&Member> {
        self.members.get(index as usize)
    }
}

/// A number that all counts divide, so that a target's weight can be shared by its addresses; bounded, as weights have to stay
/// comparable and an address more or less in a hundred does not.
fn common_multiple(counts: impl Iterator<Item = usize>) -> u64 {
    const LIMIT: u64 = 1_000_000;
    let multiple = |multiple: u64, count: u64| multiple / gcd(multiple, count) * count;
    counts.map(|count| (count as u64).max(1)).fold(1, |scale, count| {
        let next = multiple(scale, count);
        if next > LIMIT { scale } else { next }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split_off() {
        assert_eq!(split_port("a.b:80"), ("a.b", 80));
        assert_eq!(split_port("a.b"), ("a.b", 8000));
        assert_eq!(split_port("[::1]:80"), ("::1", 80));
        assert_eq!(split_port("::1"), ("::1", 8000));
        assert_eq!(split_port("10.0.0.1:9"), ("10.0.0.1", 9));
    }

    #[test]
    fn multiples() {
        assert_eq!(common_multiple([2, 3, 0, 4].into_iter()), 12);
        assert!(common_multiple([997, 991, 983, 977].into_iter()) <= 1_000_000);
    }
}
