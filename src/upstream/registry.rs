//! What outlives snapshots, found again by name.
//!
//! Owns the index of names, balancers and endpoint groups in use (weak: snapshots keep them alive) and makes a service's
//! [`Destination`] from them. Locks, parses and allocates: for compilation, the background task and the Admin API only.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::Notify;
use uuid::Uuid;

use super::balancer::{Balancer, Spec, Target};
use super::dns::{Name, Resolve, SystemResolver};
use super::hash::HashRule;
use super::health::{Group, Health, Rules};
use super::peer::{ClientCertificate, Material, Template, load_client_certificate};
use super::ring::Ring;
use super::{Destination, Options};
use crate::diagnostic::Diagnostic;
use crate::entity::{BalancerAlgorithm, Dataset, Protocol, Service, Upstream};

/// What is known of destinations over all snapshots. Clones share it.
#[derive(Clone)]
pub struct Registry {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub options: Options,
    pub resolver: Arc<dyn Resolve>,
    /// Shown to services that ask for a certificate and have none of their own.
    client: RwLock<Option<ClientCertificate>>,
    found: Mutex<Found>,
    /// Something new is to be resolved or probed.
    pub wake: Notify,
    /// A name was answered, for whoever waits in [`Registry::settle`].
    settled: Condvar,
    settling: Mutex<()>,
}

/// Several of one name are alive while requests of older snapshots are under way; the last one is the newest.
#[derive(Default)]
struct Found {
    names: HashMap<Box<str>, Weak<Name>>,
    groups: HashMap<Box<str>, Vec<Weak<Group>>>,
    upstreams: HashMap<Box<str>, Vec<Weak<Balancer>>>,
    hosts: HashMap<Box<str>, Vec<Weak<Balancer>>>,
}

/// The upstreams of one configuration. Kept with its snapshot, so that those no service refers to have their health checked
/// and read as well.
#[derive(Debug, Default)]
pub struct Upstreams {
    by_name: HashMap<Box<str>, (Arc<Upstream>, Arc<Balancer>)>,
}

/// The health of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamHealth {
    pub upstream: Arc<str>,
    /// [`Health::Unhealthy`] when less of the weight is available than its threshold asks for, or none.
    pub health: Health,
    /// Shares of the weight that requests can go to, in percent.
    pub available: f64,
    /// The targets with a weight; those without are not used and not watched.
    pub targets: Vec<TargetHealth>,
}

#[derive(Clone, Debug)]
pub struct TargetHealth {
    /// As in the entity: `host:port`.
    pub target: Arc<str>,
    pub weight: u16,
    /// [`Health::Healthy`] when one of its addresses is.
    pub health: Health,
    pub addresses: Vec<AddressHealth>,
}

#[derive(Clone, Copy, Debug)]
pub struct AddressHealth {
    pub address: SocketAddr,
    /// Its share of the target's weight.
    pub weight: f64,
    pub health: Health,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Options::default(), Arc::new(SystemResolver))
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Registry {
    pub fn new(options: Options, resolver: Arc<dyn Resolve>) -> Self {
        let (client, found, wake, settled, settling) = Default::default();
        Self { shared: Arc::new(Shared { options, resolver, client, found, wake, settled, settling }) }
    }

    /// The certificate that is shown to services which ask for one and have none of their own, from the next configuration on.
    pub fn show_to_services(&self, certificate: Option<ClientCertificate>) {
        *self.shared.client.write() = certificate;
    }

    /// All upstreams of a configuration; reports what is wrong with them.
    pub fn upstreams(&self, dataset: &Dataset, diagnostics: &mut Vec<Diagnostic>) -> Upstreams {
        let mut targets: HashMap<Uuid, Vec<(Box<str>, u16)>> = HashMap::new();
        for target in dataset.targets.iter().filter(|target| target.weight > 0) {
            let of_upstream = targets.entry(target.upstream.id).or_default();
            of_upstream.push((target.target.as_str().into(), target.weight));
        }
        let mut upstreams = Upstreams::default();
        for upstream in &dataset.upstreams {
            let targets = targets.remove(&upstream.id).unwrap_or_default();
            let balancer = self.upstream(upstream, targets, dataset, diagnostics);
            upstreams.by_name.insert(upstream.name.as_str().into(), (Arc::clone(upstream), balancer));
        }
        upstreams
    }

    /// Where a service's requests go. Its addresses may not be known yet: see [`Registry::settle`].
    pub fn destination(
        &self,
        service: &Service,
        upstreams: &Upstreams,
        dataset: &Dataset,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Arc<Destination> {
        let options = &self.shared.options;
        let (upstream, balancer) = match upstreams.by_name.get(service.host.as_str()) {
            Some((upstream, balancer)) => (Some(&**upstream), Arc::clone(balancer)),
            None => (None, self.host(&service.host, service.port)),
        };
        if !speaks_http(service.protocol) {
            let path = format!("services.{}.protocol", service.name.as_deref().unwrap_or(&service.host));
            let message = format!("services of protocol {} are not proxied", word(service.protocol));
            diagnostics.push(Diagnostic::warning("protocol", path, message).help("use http, https, grpc or grpcs"));
            return Arc::new(Destination { balancer, templates: Box::default(), hash: None });
        }
        let default = self.shared.client.read().clone();
        let material = Material::new(service, upstream, default, dataset, options, diagnostics);
        let host_header = upstream.and_then(|upstream| upstream.host_header.as_deref());
        let template = |target: &Target| {
            Template::new(service, &material, options, host_header.unwrap_or(&target.host), target.port)
        };
        let templates = balancer.targets.iter().map(template).collect();
        let hash = upstream
            .filter(|upstream| upstream.algorithm == BalancerAlgorithm::ConsistentHashing)
            .and_then(HashRule::new);
        Arc::new(Destination { balancer, templates, hash })
    }

    /// Waits until all names that came with a configuration are resolved or have failed to, `bound` at most, and returns how
    /// many are still open; those are answered later, by the background task. Blocks: called while a configuration loads,
    /// between compiling and publishing, so that its first requests find addresses.
    pub fn settle(&self, bound: Duration) -> usize {
        const THREADS: usize = 16;
        let (deadline, shared) = (Instant::now() + bound, &self.shared);
        let mut open: Vec<_> = shared.names().into_iter().filter(|name| name.is_pending()).collect();
        let threads = open.len().min(THREADS);
        let queue = Arc::new(Mutex::new(VecDeque::from(open.clone())));
        for _ in 0..threads {
            let (queue, shared) = (Arc::clone(&queue), Arc::clone(shared));
            let resolve = move || {
                loop {
                    let Some(name) = queue.lock().pop_front() else { break };
                    // The background task may have been quicker.
                    if name.take_if_due(Instant::now()) {
                        shared.answered(&name, shared.resolver.resolve(&name.host));
                    }
                }
            };
            // With fewer threads it takes longer; with none the background task does it.
            let _ = std::thread::Builder::new().name("dns".into()).spawn(resolve);
        }
        let mut settling = shared.settling.lock();
        while let Some(name) = open.last() {
            if !name.is_pending() {
                open.pop();
            } else if shared.settled.wait_until(&mut settling, deadline).timed_out() {
                break;
            }
        }
        open.iter().filter(|name| name.is_pending()).count()
    }

    /// The health of every upstream of the current configuration, by name.
    pub fn health(&self) -> Vec<UpstreamHealth> {
        let found = self.shared.found.lock();
        let mut list: Vec<_> = found.upstreams.values().filter_map(|list| newest(list)).map(|b| read_out(&b)).collect();
        list.sort_by(|a, b| a.upstream.cmp(&b.upstream));
        list
    }

    /// The health of one upstream; `None` when there is none of that name.
    pub fn upstream_health(&self, upstream: &str) -> Option<UpstreamHealth> {
        self.balancer(upstream).map(|balancer| read_out(&balancer))
    }

    /// Sets a target healthy or unhealthy by hand, or only one of its addresses (`ip` or `ip:port`); health checks go on from
    /// there. `false` when there is no such upstream, target or address.
    pub fn set_health(&self, upstream: &str, target: &str, address: Option<&str>, healthy: bool) -> bool {
        let Some(balancer) = self.balancer(upstream) else { return false };
        let wanted = |at: SocketAddr| match address {
            None => true,
            Some(text) => text.parse() == Ok(at) || text.trim_matches(['[', ']']).parse() == Ok(at.ip()),
        };
        let (ring, mut any) = (balancer.ring(), false);
        let of_target = ring.members.iter().map(|member| &member.endpoint);
        for endpoint in of_target.filter(|endpoint| *endpoint.target == *target && wanted(endpoint.address)) {
            endpoint.set(healthy);
            any = true;
            let address = endpoint.address;
            tracing::info!(upstream, target, %address, healthy, "target health set by hand");
        }
        any
    }

    fn balancer(&self, upstream: &str) -> Option<Arc<Balancer>> {
        self.shared.found.lock().upstreams.get(upstream).and_then(|list| newest(list))
    }

    fn host(&self, host: &str, port: u16) -> Arc<Balancer> {
        let spec = Spec::host(host, port);
        let mut found = self.shared.found.lock();
        let Found { names, hosts, .. } = &mut *found;
        let list = hosts.entry(host.into()).or_default();
        self.reuse_or_make(list, names, host, spec, None)
    }

    fn upstream(
        &self,
        upstream: &Upstream,
        targets: Vec<(Box<str>, u16)>,
        dataset: &Dataset,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Arc<Balancer> {
        let path = |field: &str| format!("upstreams.{}.{field}", upstream.name);
        if upstream.use_srv_name {
            diagnostics.push(
                Diagnostic::warning(
                    "use-srv-name",
                    path("use_srv_name"),
                    "SRV records are not looked up: targets go by their A and AAAA records and the port they name",
                )
                .help("name the targets with host and port"),
            );
        }
        let spec = Spec { algorithm: upstream.algorithm, slots: upstream.slots, targets };
        let client = upstream.client_certificate.and_then(|certificate| {
            load_client_certificate(certificate.id, dataset, &path("client_certificate"), diagnostics)
        });
        let rules = Rules {
            checks: upstream.healthchecks.clone(),
            host_header: upstream.host_header.clone(),
            client: client.as_ref().map(|client| client.hash),
        };
        let mut found = self.shared.found.lock();
        let Found { names, groups, upstreams, .. } = &mut *found;
        let groups = groups.entry(upstream.name.as_str().into()).or_default();
        let group = reuse(groups, |group| group.rules == rules).unwrap_or_else(|| {
            let group = Group::new(upstream.name.as_str().into(), rules, client.map(|client| client.key));
            let group = Arc::new(group);
            groups.push(Arc::downgrade(&group));
            self.shared.wake.notify_one();
            group
        });
        let list = upstreams.entry(upstream.name.as_str().into()).or_default();
        self.reuse_or_make(list, names, &upstream.name, spec, Some(group))
    }

    /// The balancer of these targets, with its turn and its addresses if one is alive.
    fn reuse_or_make(
        &self,
        list: &mut Vec<Weak<Balancer>>,
        names: &mut HashMap<Box<str>, Weak<Name>>,
        name: &str,
        spec: Spec,
        group: Option<Arc<Group>>,
    ) -> Arc<Balancer> {
        let same_group = |other: &Balancer| match (&other.group, &group) {
            (Some(theirs), Some(ours)) => Arc::ptr_eq(theirs, ours),
            (None, None) => true,
            _ => false,
        };
        if let Some(balancer) = reuse(list, |balancer| balancer.spec == spec && same_group(balancer)) {
            return balancer;
        }
        let mut named = |host: &str| match names.get(host).and_then(Weak::upgrade) {
            Some(name) => name,
            None => {
                let name = Arc::new(Name::new(host, Instant::now()));
                names.insert(host.into(), Arc::downgrade(&name));
                self.shared.wake.notify_one();
                name
            }
        };
        let targets = spec.targets.iter().map(|(text, weight)| Target::new(text, *weight, &mut named)).collect();
        let balancer = Balancer::new(name.into(), spec, targets, group);
        list.push(Arc::downgrade(&balancer));
        balancer
    }
}

impl Shared {
    /// All names in use.
    pub fn names(&self) -> Vec<Arc<Name>> {
        self.found.lock().names.values().filter_map(Weak::upgrade).collect()
    }

    /// All groups in use that are probed.
    pub fn probed(&self) -> Vec<Arc<Group>> {
        let found = self.found.lock();
        found.groups.values().flatten().filter_map(Weak::upgrade).filter(|group| group.rules.probes()).collect()
    }

    /// Forgets what is no longer in use.
    pub fn prune(&self) {
        let mut found = self.found.lock();
        let Found { names, groups, upstreams, hosts } = &mut *found;
        names.retain(|_, name| name.strong_count() > 0);
        groups.values().flatten().filter_map(Weak::upgrade).for_each(|group| group.prune());
        groups.retain(|_, list| keep_living(list));
        upstreams.retain(|_, list| keep_living(list));
        hosts.retain(|_, list| keep_living(list));
    }

    /// Takes in what a name resolved to, and gives it to the balancers that use the name.
    pub fn answered(&self, name: &Arc<Name>, result: std::io::Result<Vec<IpAddr>>) {
        if name.answered(result, Instant::now(), &self.options) {
            // Under the lock, so that a balancer made meanwhile has either seen the answer or is found here.
            let found = self.found.lock();
            name.users().iter().for_each(|balancer| balancer.rebuild());
            drop(found);
        }
        let _settling = self.settling.lock();
        self.settled.notify_all();
    }
}

/// Whether requests can be forwarded to services of a protocol.
fn speaks_http(protocol: Protocol) -> bool {
    use Protocol::{Grpc, Grpcs, Http, Https, Tcp, Tls, TlsPassthrough, Udp, Ws, Wss};
    match protocol {
        Grpc | Grpcs | Http | Https | Ws | Wss => true,
        Tcp | Tls | TlsPassthrough | Udp => false,
    }
}

/// A protocol as Kong writes it.
fn word(protocol: Protocol) -> String {
    serde_json::to_value(protocol).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn keep_living<T>(list: &mut Vec<Weak<T>>) -> bool {
    list.retain(|entry| entry.strong_count() > 0);
    !list.is_empty()
}

/// A living entry that fits, made the newest.
fn reuse<T>(list: &mut Vec<Weak<T>>, fits: impl Fn(&T) -> bool) -> Option<Arc<T>> {
    keep_living(list);
    let (index, entry) = list
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| Some((index, entry.upgrade()?)))
        .find(|(_, entry)| fits(entry))?;
    let weak = list.remove(index);
    list.push(weak);
    Some(entry)
}

fn newest<T>(list: &[Weak<T>]) -> Option<Arc<T>> {
    list.iter().rev().find_map(Weak::upgrade)
}

fn read_out(balancer: &Balancer) -> UpstreamHealth {
    let ring: &Ring = &balancer.ring();
    let checked = balancer.group.as_ref().is_some_and(|group| group.rules.are_on());
    let word = |up| match up {
        // One that was set unhealthy by hand gets no requests, checks or not.
        false => Health::Unhealthy,
        true if checked => Health::Healthy,
        true => Health::HealthchecksOff,
    };
    let target = |(index, target): (usize, &Target)| {
        let members: Vec<_> = ring.members.iter().filter(|member| member.target == index).collect();
        let weight = f64::from(target.weight) / members.len().max(1) as f64;
        let addresses = members.iter().map(|member| {
            let health = word(member.endpoint.is_up());
            AddressHealth { address: member.endpoint.address, weight, health }
        });
        let health = match members.is_empty() {
            true => Health::DnsError,
            false => word(members.iter().any(|member| member.endpoint.is_up())),
        };
        TargetHealth { target: Arc::clone(&target.text), weight: target.weight, health, addresses: addresses.collect() }
    };
    let available = Balancer::healthy_weight(ring);
    UpstreamHealth {
        upstream: Arc::clone(&balancer.name),
        health: word(available > 0 && balancer.is_healthy(ring)),
        available: available as f64 * 100.0 / (ring.total_weight as f64).max(1.0),
        targets: balancer.targets.iter().enumerate().map(target).collect(),
    }
}
