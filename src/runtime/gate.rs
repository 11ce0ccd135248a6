//! How many connections clients may hold: in all, and from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::telemetry::Shed;

/// Addresses are spread over this many maps, so that accepting threads seldom meet.
const SHARDS: usize = 16;

type Counts = Mutex<HashMap<IpAddr, usize>>;

/// The caps and what is used of them.
#[derive(Debug)]
pub struct Gate {
    /// 0 = any number, as below.
    most: usize,
    most_per_client: usize,
    /// Balancers: their connections are many clients'.
    exempt: Vec<IpNet>,
    open: AtomicUsize,
    clients: Box<[Counts]>,
    hasher: std::hash::RandomState,
}

/// A connection that was let in; it counts until this is dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    client: Option<IpAddr>,
}

impl Gate {
    pub fn new(most: usize, most_per_client: usize, exempt: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_client,
            exempt,
            open: AtomicUsize::new(0),
            clients: (0..SHARDS).map(|_| Counts::default()).collect(),
            hasher: std::hash::RandomState::new(),
        })
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// When that would be one too many.
    pub fn enter(self: &Arc<Self>) -> Result<Permit, Shed> {
        let open = self.open.fetch_add(1, Relaxed);
        let permit = Permit { gate: self.clone(), client: None };
        if self.most > 0 && open >= self.most { Err(Shed::Connections) } else { Ok(permit) }
    }

    fn counts(&self, client: IpAddr) -> Option<&Counts> {
        self.clients.get(self.hasher.hash_one(client) as usize % SHARDS)
    }
}

impl Permit {
    /// Counts the connection for its client as well, once that is known.
    ///
    /// # Errors
    /// When the client has too many.
    pub fn of_client(&mut self, address: IpAddr) -> Result<(), Shed> {
        let address = address.to_canonical();
        if self.gate.most_per_client == 0 || self.gate.exempt.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        let client = network(address);
        let Some(counts) = self.gate.counts(client) else { return Ok(()) };
        let mut counts = counts.lock();
        let count = counts.entry(client).or_insert(0);
        if *count >= self.gate.most_per_client {
            return Err(Shed::ClientConnections);
        }
        *count += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Relaxed);
        let Some((client, counts)) = self.client.and_then(|client| Some((client, self.gate.counts(client)?))) else {
            return;
        };
        if let Entry::Occupied(mut count) = counts.lock().entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 client has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn caps_hold_in_all_and_for_one_client_and_are_given_back() {
        let gate = Gate::new(4, 2, vec!["10.0.0.0/8".parse().unwrap()]);
        let enter = |address: &str| {
            let mut permit = gate.enter()?;
            permit.of_client(ip(address))?;
            Ok::<_, Shed>(permit)
        };
        let one = enter("192.0.2.1").unwrap();
        let _two = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), Shed::ClientConnections);
        drop(one);
        let _three = enter("192.0.2.1").unwrap();
        let _v6 = enter("2001:db8::1").unwrap();
        let _v6_same_network = enter("2001:db8::2").unwrap();
        assert_eq!(enter("192.0.2.9").unwrap_err(), Shed::Connections);
        drop(_v6);
        let _exempt = enter("10.0.0.1").unwrap();
        assert_eq!(gate.open.load(Relaxed), 4);
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left() {
        let gate = Gate::new(0, 1, Vec::new());
        for n in 0..100_u8 {
            let mut permit = gate.enter().unwrap();
            permit.of_client(IpAddr::from([192, 0, 2, n])).unwrap();
        }
        assert_eq!(gate.clients.iter().map(|counts| counts.lock().len()).sum::<usize>(), 0);
        assert_eq!(gate.open.load(Relaxed), 0);
    }
}
