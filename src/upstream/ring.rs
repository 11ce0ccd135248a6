//! The order in which the members of a balancer are taken.
//!
//! Owns the weighted wheel of round-robin and the ring of consistent hashing, both built once for a list of members and then
//! only read. Must not know health: an unhealthy member keeps its places, so that it gets the same share when it is back.

use std::sync::Arc;

use super::hash::stable_hash;
use super::health::Endpoint;
use crate::entity::BalancerAlgorithm;

/// The addresses of a balancer.
#[derive(Debug)]
pub(super) struct Ring {
    pub members: Box<[Member]>,
    pub order: Order,
    /// Weight of all targets, also of those whose names do not resolve.
    pub total_weight: u64,
}

#[derive(Debug)]
pub(super) struct Member {
    pub endpoint: Arc<Endpoint>,
    /// Index of its target in the balancer.
    pub target: usize,
    /// Share of the target's weight, on a scale common to the ring.
    pub weight: u64,
}

#[derive(Debug)]
pub(super) enum Order {
    /// Indexes of members, one after the other.
    Wheel(Box<[u32]>),
    /// Points and the members they belong to, by point.
    Continuum(Box<[(u64, u32)]>),
    /// No order: the algorithm looks at the members themselves.
    None,
}

impl Ring {
    /// `scale` is what members' weights were multiplied with.
    pub fn new(algorithm: BalancerAlgorithm, slots: u32, members: Vec<Member>, total_weight: u64, scale: u64) -> Self {
        let order = match algorithm {
            BalancerAlgorithm::RoundRobin => Order::Wheel(wheel(&members)),
            BalancerAlgorithm::ConsistentHashing => Order::Continuum(continuum(&members, slots, scale)),
            BalancerAlgorithm::LeastConnections | BalancerAlgorithm::Latency => Order::None,
        };
        Self { members: members.into(), order, total_weight }
    }
}

/// Longest wheel: 64 KiB. Weights that would need a longer one are rounded to it.
const WHEEL: u64 = 16 * 1024;

/// Smooth weighted round-robin, written out: each member as often as its weight says, as evenly spread as can be.
fn wheel(members: &[Member]) -> Box<[u32]> {
    let divisor = members.iter().fold(0, |divisor, member| gcd(divisor, member.weight)).max(1);
    let total: u64 = members.iter().map(|member| member.weight / divisor).sum();
    let limit = WHEEL.max(members.len() as u64);
    let weight = |member: &Member| match member.weight / divisor {
        weight if total <= limit => weight,
        weight => (u128::from(weight) * u128::from(limit) / u128::from(total)).max(1) as u64,
    };
    let weights: Vec<i64> = members.iter().map(|member| weight(member) as i64).collect();
    if weights.iter().all(|&weight| weight == 1) {
        return (0..members.len() as u32).collect();
    }
    let total: i64 = weights.iter().sum();
    let mut current = vec![0; weights.len()];
    let mut wheel = Vec::with_capacity(total as usize);
    for _ in 0..total {
        let mut best: Option<(usize, i64)> = None;
        for (index, (current, weight)) in current.iter_mut().zip(&weights).enumerate() {
            *current += weight;
            if best.is_none_or(|(_, most)| *current > most) {
                best = Some((index, *current));
            }
        }
        let Some((index, _)) = best else { break };
        if let Some(current) = current.get_mut(index) {
            *current -= total;
        }
        wheel.push(index as u32);
    }
    wheel.into()
}

/// Points for each unit of weight, near `slots` in all, in powers of two: so that in most cases members which come and go leave
/// the others the points they have, and move only their own share of clients. (Kong shares out exactly `slots`, which moves
/// more.)
fn continuum(members: &[Member], slots: u32, scale: u64) -> Box<[(u64, u32)]> {
    let weight = |member: &Member| member.weight as f64 / scale.max(1) as f64;
    let total: f64 = members.iter().map(weight).sum();
    let density = (f64::from(slots) / total.max(1.0)).log2().floor().exp2();
    let mut points = Vec::with_capacity(slots as usize + members.len());
    for (index, member) in members.iter().enumerate() {
        let address = member.endpoint.address.to_string();
        for point in 0..((weight(member) * density).round() as u32).max(1) {
            let hash = stable_hash(&[member.endpoint.target.as_bytes(), address.as_bytes(), &point.to_le_bytes()]);
            points.push((hash, index as u32));
        }
    }
    points.sort_unstable();
    points.into()
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u64]) -> Vec<Member> {
        let member = |(index, &weight): (usize, &u64)| {
            let address = format!("10.0.{}.{}:80", index / 256, index % 256);
            let endpoint = Arc::new(Endpoint::new(address.parse().unwrap(), address.into(), None));
            Member { endpoint, target: index, weight }
        };
        weights.iter().enumerate().map(member).collect()
    }

    #[test]
    fn a_wheel_is_smooth() {
        assert_eq!(*wheel(&members(&[500, 100, 100])), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*wheel(&members(&[100, 100, 100])), [0, 1, 2]);
        assert!(wheel(&[]).is_empty());
    }

    #[test]
    fn a_wheel_is_bounded() {
        let wheel = wheel(&members(&[65_535, 65_533, 1]));
        assert!(wheel.len() as u64 <= WHEEL + 3, "{}", wheel.len());
        let count = |index| wheel.iter().filter(|&&member| member == index).count();
        assert!(count(0).abs_diff(count(1)) < 10 && count(2) == 1);
    }

    #[test]
    fn a_continuum_shares_its_slots() {
        let members = members(&[100, 300]);
        let ring = continuum(&members, 10_000, 1);
        let of = |index| ring.iter().filter(|(_, member)| *member == index).count();
        assert_eq!((of(0), of(1)), (1_600, 4_800));
        assert!(ring.is_sorted());
        assert_eq!(continuum(&members, 10, 1).len(), 7);
    }

    #[test]
    fn every_member_has_a_point() {
        assert_eq!(continuum(&members(&[1; 100]), 10, 1).len(), 100);
        assert!(continuum(&[], 10, 1).is_empty());
    }
}
