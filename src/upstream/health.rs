//! The state of each address of an upstream, and Kong's counters over it.
//!
//! Owns [`Endpoint`] (one address of one target; shared by every snapshot that balances over it), the [`Group`] of an upstream's
//! endpoints with the rules they are judged by, and the counters: a report of a request (passive) or of a probe (active) counts
//! up one of four counters, and the one that reaches its limit turns the endpoint healthy or unhealthy. One difference from
//! Kong: a success takes failures back even where `healthy.successes` is 0 (Kong then counts failures without end, so that
//! three errors in a year make a target unhealthy). All of it atomics. Must not know how endpoints are chosen or probed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::utils::tls::CertKey;

use crate::entity::{CheckKind, Healthchecks};

/// The state of a target or an address, in the words of Kong's Admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The upstream has neither active nor passive checks.
    HealthchecksOff,
    Healthy,
    Unhealthy,
    /// The target's name does not resolve.
    DnsError,
}

impl Health {
    pub const ALL: [Self; 4] = [Self::HealthchecksOff, Self::Healthy, Self::Unhealthy, Self::DnsError];

    /// As in `GET /upstreams/{upstream}/health`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HealthchecksOff => "HEALTHCHECKS_OFF",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::DnsError => "DNS_ERROR",
        }
    }

    /// As in the `state` label of `kong_upstream_target_health`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::HealthchecksOff => "healthchecks_off",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::DnsError => "dns_error",
        }
    }
}

/// What was seen of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Refused, reset, or a failed TLS handshake.
    TcpFailure,
    Timeout,
    /// A connection was made; what TCP checks call a success.
    Connected,
    Status(u16),
}

/// What tells one group from another of the same upstream; another one starts with all endpoints healthy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules {
    pub checks: Healthchecks,
    /// `Host` of probes, as of requests.
    pub host_header: Option<String>,
    /// Hash of the upstream's client certificate.
    pub client: Option<u64>,
}

impl Rules {
    /// Kong's notion of health checks being on.
    pub fn are_on(&self) -> bool {
        let unhealthy = &self.checks.passive.unhealthy;
        self.probes() || unhealthy.tcp_failures > 0 || unhealthy.timeouts > 0 || unhealthy.http_failures > 0
    }

    /// Whether there are active checks.
    pub fn probes(&self) -> bool {
        self.checks.active.healthy.interval > 0.0 || self.checks.active.unhealthy.interval > 0.0
    }
}

/// The endpoints of an upstream. Outlives balancers: they come and go with the list of targets, the group stays.
#[derive(Debug)]
pub(super) struct Group {
    pub upstream: Arc<str>,
    pub rules: Rules,
    /// The upstream's client certificate, for probes by https.
    pub client: Option<Arc<CertKey>>,
    passive: Limits,
    active: Limits,
    /// By target and address. Only touched when targets or their addresses change, by probes and by read-outs.
    endpoints: Mutex<HashMap<Place, Weak<Endpoint>>>,
    pub schedule: Mutex<Schedule>,
}

/// Where an endpoint is found: its target and its address.
type Place = (Arc<str>, SocketAddr);

/// When a group's endpoints are probed next.
#[derive(Debug)]
pub(super) struct Schedule {
    pub healthy: Instant,
    pub unhealthy: Instant,
    /// A round of probes is under way.
    pub busy: bool,
}

impl Group {
    pub fn new(upstream: Arc<str>, rules: Rules, client: Option<Arc<CertKey>>) -> Self {
        let now = Instant::now();
        let Healthchecks { active, passive, .. } = &rules.checks;
        let active = Limits {
            successes: active.healthy.successes,
            tcp_failures: active.unhealthy.tcp_failures,
            http_failures: active.unhealthy.http_failures,
            timeouts: active.unhealthy.timeouts,
            healthy: StatusSet::new(&active.healthy.http_statuses),
            unhealthy: StatusSet::new(&active.unhealthy.http_statuses),
            http: active.kind != CheckKind::Tcp,
        };
        let passive = Limits {
            successes: passive.healthy.successes,
            tcp_failures: passive.unhealthy.tcp_failures,
            http_failures: passive.unhealthy.http_failures,
            timeouts: passive.unhealthy.timeouts,
            healthy: StatusSet::new(&passive.healthy.http_statuses),
            unhealthy: StatusSet::new(&passive.unhealthy.http_statuses),
            http: passive.kind != CheckKind::Tcp,
        };
        let schedule = Mutex::new(Schedule { healthy: now, unhealthy: now, busy: false });
        Self { upstream, rules, client, passive, active, endpoints: Mutex::default(), schedule }
    }

    /// The endpoint of an address, with the state it had if anyone still balances over it.
    pub fn endpoint(self: &Arc<Self>, target: &Arc<str>, address: SocketAddr) -> Arc<Endpoint> {
        let mut endpoints = self.endpoints.lock();
        let key = (Arc::clone(target), address);
        if let Some(endpoint) = endpoints.get(&key).and_then(Weak::upgrade) {
            return endpoint;
        }
        let endpoint = Arc::new(Endpoint::new(address, Arc::clone(target), Some(Arc::clone(self))));
        endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    /// Forgets endpoints nobody balances over any more.
    pub fn prune(&self) {
        self.endpoints.lock().retain(|_, endpoint| endpoint.strong_count() > 0);
    }

    /// All endpoints anyone balances over.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// One address of one target.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub address: SocketAddr,
    /// As in the target entity.
    pub target: Arc<str>,
    /// `None` for a service's own host, which nobody judges.
    group: Option<Arc<Group>>,
    tally: Tally,
    /// Requests under way, counted for least-connections only.
    in_flight: AtomicU32,
    latency: Latency,
}

impl Endpoint {
    pub fn new(address: SocketAddr, target: Arc<str>, group: Option<Arc<Group>>) -> Self {
        Self {
            address,
            target,
            group,
            tally: Tally::default(),
            in_flight: AtomicU32::new(0),
            latency: Latency { born: Instant::now(), packed: AtomicU64::new(0) },
        }
    }

    /// Whether requests may go there.
    pub fn is_up(&self) -> bool {
        self.tally.is_up()
    }

    /// Whether it is judged by what requests see.
    pub fn is_watched(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.passive.are_on())
    }

    /// Sets the state by hand, and forgets what was counted.
    pub fn set(&self, up: bool) {
        self.tally.0.store(if up { 0 } else { Tally::DOWN }, Ordering::Relaxed);
    }

    /// Counts what a request saw.
    pub fn passive(&self, event: Event) {
        if let Some(group) = &self.group {
            self.judge(&group.upstream, &group.passive, event, "passive");
        }
    }

    /// Counts what a probe saw.
    pub fn active(&self, event: Event) {
        if let Some(group) = &self.group {
            self.judge(&group.upstream, &group.active, event, "active");
        }
    }

    fn judge(&self, upstream: &str, limits: &Limits, event: Event, check: &'static str) {
        let Some((counter, limit)) = limits.counter(event) else { return };
        let Some(up) = self.tally.count(counter, limit) else { return };
        let Self { target, address, .. } = self;
        if up {
            tracing::info!(upstream, %target, %address, check, ?event, "target is healthy");
        } else {
            tracing::warn!(upstream, %target, %address, check, ?event, "target is unhealthy");
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn observe_latency(&self, took: Duration) {
        self.latency.observe(took);
    }

    /// The moving average of its latency in seconds, fading while it is not measured; 0 when it never was.
    pub fn latency(&self) -> f32 {
        self.latency.score()
    }
}

/// The limits of one kind of check; 0 = that counter is off.
#[derive(Debug)]
struct Limits {
    successes: u16,
    tcp_failures: u16,
    http_failures: u16,
    timeouts: u16,
    healthy: StatusSet,
    unhealthy: StatusSet,
    /// Statuses count, not connections.
    http: bool,
}

impl Limits {
    fn are_on(&self) -> bool {
        self.tcp_failures > 0 || self.http_failures > 0 || self.timeouts > 0 || self.successes > 0
    }

    fn counter(&self, event: Event) -> Option<(Counter, u16)> {
        match event {
            Event::TcpFailure => Some((Counter::TcpFailures, self.tcp_failures)),
            Event::Timeout => Some((Counter::Timeouts, self.timeouts)),
            Event::Connected => (!self.http).then_some((Counter::Successes, self.successes)),
            Event::Status(_) if !self.http => None,
            Event::Status(code) if self.healthy.contains(code) => Some((Counter::Successes, self.successes)),
            Event::Status(code) if self.unhealthy.contains(code) => Some((Counter::HttpFailures, self.http_failures)),
            Event::Status(_) => None,
        }
    }
}

/// HTTP statuses 0 to 1023, one bit each.
#[derive(Debug)]
struct StatusSet([u64; 16]);

impl StatusSet {
    fn new(statuses: &[u16]) -> Self {
        let mut set = [0; 16];
        for &status in statuses {
            if let Some(word) = set.get_mut(usize::from(status / 64)) {
                *word |= 1 << (status % 64);
            }
        }
        Self(set)
    }

    fn contains(&self, status: u16) -> bool {
        self.0.get(usize::from(status / 64)).is_some_and(|word| word & (1 << (status % 64)) != 0)
    }
}

/// A counter's place in [`Tally`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counter {
    Successes = 0,
    TcpFailures = 15,
    HttpFailures = 30,
    Timeouts = 45,
}

/// State and counters in one word: bit 63 = down, four counters of 15 bits. 0 is healthy with nothing counted.
#[derive(Debug, Default)]
struct Tally(AtomicU64);

impl Tally {
    const DOWN: u64 = 1 << 63;
    const COUNTER: u64 = (1 << 15) - 1;

    fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::DOWN == 0
    }

    /// Counts one up and returns the new state if that made it another one.
    fn count(&self, counter: Counter, limit: u16) -> Option<bool> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = Self::counted(old, counter, u64::from(limit));
            if new == old {
                return None;
            }
            match self.0.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return ((old ^ new) & Self::DOWN != 0).then_some(new & Self::DOWN == 0),
                Err(now) => old = now,
            }
        }
    }

    fn counted(old: u64, counter: Counter, limit: u64) -> u64 {
        let shift = counter as u32;
        let (down, success) = (old & Self::DOWN, counter == Counter::Successes);
        // A success of what is up takes back the failures, a failure of what is down the successes; neither counts further.
        if (down == 0) == success {
            return down;
        }
        if limit == 0 {
            return old;
        }
        let count = ((old >> shift) & Self::COUNTER) + 1;
        if count >= limit {
            return down ^ Self::DOWN;
        }
        old & !(Self::COUNTER << shift) | (count << shift)
    }
}

/// A moving average of seconds that forgets with a time constant of [`Latency::DECAY`], as Kong's `latency` algorithm keeps it.
#[derive(Debug)]
struct Latency {
    born: Instant,
    /// The average as `f32` in the upper half, milliseconds since `born` of its last change in the lower; 0 = never measured.
    packed: AtomicU64,
}

impl Latency {
    /// Seconds.
    const DECAY: f32 = 10.0;

    fn observe(&self, took: Duration) {
        let now = self.now();
        let old = self.packed.load(Ordering::Relaxed);
        let average = match old {
            0 => took.as_secs_f32(),
            _ => {
                let keep = Self::kept(old, now);
                Self::average(old) * keep + took.as_secs_f32() * (1.0 - keep)
            }
        };
        // Of two that measure at once one is lost, which an average can bear.
        self.packed.store(u64::from(average.to_bits()) << 32 | u64::from(now), Ordering::Relaxed);
    }

    fn score(&self) -> f32 {
        match self.packed.load(Ordering::Relaxed) {
            0 => 0.0,
            packed => Self::average(packed) * Self::kept(packed, self.now()),
        }
    }

    fn now(&self) -> u32 {
        self.born.elapsed().as_millis() as u32
    }

    fn average(packed: u64) -> f32 {
        f32::from_bits((packed >> 32) as u32)
    }

    fn kept(packed: u64, now: u32) -> f32 {
        let since = now.wrapping_sub(packed as u32);
        (-(since as f32 / 1000.0) / Self::DECAY).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &Tally, counter: Counter, limit: u16, times: usize) -> Vec<Option<bool>> {
        (0..times).map(|_| tally.count(counter, limit)).collect()
    }

    #[test]
    fn failures_in_a_row_turn_it_down_and_successes_up_again() {
        let tally = Tally::default();
        assert_eq!(counts(&tally, Counter::HttpFailures, 3, 2), [None, None]);
        assert_eq!(tally.count(Counter::Successes, 2), None);
        assert_eq!(counts(&tally, Counter::HttpFailures, 3, 3), [None, None, Some(false)]);
        assert!(!tally.is_up());
        assert_eq!(tally.count(Counter::Successes, 2), None);
        assert_eq!(tally.count(Counter::Timeouts, 1), None, "takes the success back");
        assert_eq!(counts(&tally, Counter::Successes, 2, 2), [None, Some(true)]);
        assert!(tally.is_up());
    }

    #[test]
    fn counters_are_separate_and_zero_is_off() {
        let tally = Tally::default();
        assert_eq!(tally.count(Counter::TcpFailures, 2), None);
        assert_eq!(tally.count(Counter::Timeouts, 2), None);
        assert_eq!(tally.count(Counter::HttpFailures, 2), None);
        assert_eq!(counts(&tally, Counter::TcpFailures, 0, 5), [None; 5]);
        assert_eq!(tally.count(Counter::TcpFailures, 2), Some(false));
        assert_eq!(counts(&tally, Counter::Successes, 0, 5), [None; 5], "only by hand");
    }

    #[test]
    fn statuses_count_by_their_lists() {
        let set = StatusSet::new(&[200, 404, 999, 5000]);
        assert!(set.contains(200) && set.contains(404) && set.contains(999));
        assert!(!set.contains(201) && !set.contains(0) && !set.contains(5000));
    }

    #[test]
    fn latency_averages() {
        let latency = Latency { born: Instant::now(), packed: AtomicU64::new(0) };
        assert!(latency.score() == 0.0);
        latency.observe(Duration::from_millis(100));
        assert!((latency.score() - 0.1).abs() < 0.01);
        latency.observe(Duration::from_millis(900));
        assert!(latency.score() < 0.2, "one outlier hardly moves it");
    }
}
