//! Every metric of the process, one value, handed on explicitly.
//!
//! No label is unbounded: routes, services and plugins are named by the configuration, reasons and causes by enums; consumers,
//! tokens, paths and addresses are in no label.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Encoder, proto};

use super::histogram::Histogram;
use super::live::{Counts, Live, Window};
use super::route::{self, RouteMetrics, Series, counter, family, histogram};
use crate::auth::state::Verification;
use crate::jose::Algorithm;

const SECOND: f64 = 1e9;

/// 1 µs to 10 ms, in nanoseconds.
static VERIFY_BOUNDS: [u64; 13] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];
/// 50 µs to 1 s.
static GATEWAY_BOUNDS: [u64; 13] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
];
/// 1 ms to 60 s.
static RELOAD_BOUNDS: [u64; 13] = [
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a connection or request was turned away before it was looked at: the `cause` of `portcullis_shed_total`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Shed {
            $($(#[$doc])* $name,)*
        }

        impl Shed {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

causes! {
    /// `max_connections` reached.
    Connections = "connections",
    /// `max_connections_per_client` reached.
    ClientConnections = "client_connections",
    /// No file descriptor left to accept with.
    FileDescriptors = "file_descriptors",
    /// The PROXY protocol header was missing, malformed or late.
    ProxyProtocol = "proxy_protocol",
    /// The TLS handshake failed.
    Handshake = "tls_handshake",
    /// The TLS handshake took too long.
    HandshakeTimeout = "tls_handshake_timeout",
    /// A request header took longer than `client_header_timeout`.
    HeaderTimeout = "header_timeout",
}

/// How a connection ended, for [`Connections`].
#[derive(Debug)]
#[must_use = "the connection counts as open until this is dropped"]
pub struct Closed<'a>(&'a Connections);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// Clients' connections to the proxy listeners.
#[derive(Debug, Default)]
pub struct Connections {
    accepted: AtomicU64,
    handled: AtomicU64,
    active: AtomicI64,
}

impl Connections {
    /// One came in; it may still be turned away.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// One is served, until the value returned is dropped.
    pub fn handled(&self) -> Closed<'_> {
        self.handled.fetch_add(1, Relaxed);
        self.active.fetch_add(1, Relaxed);
        Closed(self)
    }

    /// Open now.
    pub fn active(&self) -> u64 {
        u64::try_from(self.active.load(Relaxed)).unwrap_or(0)
    }

    /// Accepted since the start.
    pub fn total_accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Served since the start.
    pub fn total_handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }
}

/// What is counted for the whole process.
#[derive(Debug)]
pub(super) struct Process {
    /// By algorithm, then whether cached, then whether valid.
    verifications: Box<[Histogram]>,
    gateway: Histogram,
    reloads: Histogram,
    /// Whether requests feed Kong's latency histograms.
    pub kong_latencies: bool,
}

/// The `algorithm` labels: the JOSE algorithms and `opaque`.
fn algorithm_labels() -> impl Iterator<Item = &'static str> {
    Algorithm::ALL.iter().map(|algorithm| algorithm.name()).chain(["opaque"])
}

impl Process {
    fn new(kong_latencies: bool) -> Self {
        let verifications = (0..algorithm_labels().count() * 4).map(|_| Histogram::new(&VERIFY_BOUNDS)).collect();
        Self {
            verifications,
            gateway: Histogram::new(&GATEWAY_BOUNDS),
            reloads: Histogram::new(&RELOAD_BOUNDS),
            kong_latencies,
        }
    }

    pub(super) fn verification(&self, verification: &Verification) {
        // As `algorithm_labels` has them.
        let algorithm = verification.algorithm.map_or(Algorithm::ALL.len(), |algorithm| algorithm as usize);
        let index = algorithm * 4 + usize::from(verification.cached) * 2 + usize::from(verification.valid);
        if let Some(histogram) = self.verifications.get(index) {
            histogram.observe(verification.took);
        }
    }

    pub(super) fn gateway_latency(&self, took: Duration) {
        self.gateway.observe(took);
    }
}

/// What is known of the published configuration.
#[derive(Debug, Default)]
struct Configuration {
    generation: u64,
    /// Seconds since the epoch.
    loaded_at: f64,
    entities: Vec<(&'static str, usize)>,
    successes: u64,
    failures: u64,
    last_failed: bool,
}

type Routes = HashMap<(Box<str>, Box<str>), Weak<Series>>;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: prometheus::Registry,
    pub(super) process: Arc<Process>,
    routes: Mutex<Routes>,
    unmatched: Arc<Series>,
    /// Clients' connections to the proxy listeners.
    pub connections: Connections,
    shed: Box<[AtomicU64]>,
    configuration: Mutex<Configuration>,
    log_drops: Arc<AtomicU64>,
    node: String,
    /// For people who look.
    pub live: Live,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Metrics {
    /// `kong_latencies`: whether requests feed Kong's per-route latency histograms as well.
    pub fn new(kong_latencies: bool) -> Self {
        let registry = prometheus::Registry::new();
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            // Fails only for a name that is registered already.
            let _ = registry.register(Box::new(process));
        }
        Self {
            registry,
            process: Arc::new(Process::new(kong_latencies)),
            routes: Mutex::default(),
            unmatched: Arc::new(Series::new("", "")),
            connections: Connections::default(),
            shed: Shed::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            configuration: Mutex::default(),
            log_drops: Arc::default(),
            node: uuid::Uuid::new_v4().to_string(),
            live: Live::default(),
        }
    }

    /// This process, in Kong's `node_id` labels and answers: a UUID made at the start.
    pub fn node_id(&self) -> &str {
        &self.node
    }

    /// For collectors of other rooms.
    pub fn registry(&self) -> &prometheus::Registry {
        &self.registry
    }

    /// The series of a route; the same one as before while any snapshot still holds it.
    pub(super) fn series(&self, route: &str, service: &str) -> Arc<Series> {
        let mut routes = self.routes.lock();
        let key = (Box::from(service), Box::from(route));
        if let Some(series) = routes.get(&key).and_then(Weak::upgrade) {
            return series;
        }
        if routes.len() >= 64 && routes.len() == routes.capacity() {
            routes.retain(|_, series| series.strong_count() > 0);
        }
        let series = Arc::new(Series::new(route, service));
        routes.insert(key, Arc::downgrade(&series));
        series
    }

    /// Handles for requests that match no route.
    pub fn unmatched(&self) -> RouteMetrics {
        RouteMetrics::of(self.unmatched.clone(), self.process.clone())
    }

    pub fn shed(&self, cause: Shed) {
        if let Some(counter) = self.shed.get(cause as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How often something was shed for this cause.
    pub fn shed_count(&self, cause: Shed) -> u64 {
        self.shed.get(cause as usize).map_or(0, |counter| counter.load(Relaxed))
    }

    /// The counter of access log lines that were dropped because the writer could not keep up, or could not write.
    pub fn log_drops(&self) -> Arc<AtomicU64> {
        self.log_drops.clone()
    }

    /// An attempt to load a configuration, and how long it took.
    pub fn reloaded(&self, success: bool, took: Duration) {
        self.process.reloads.observe(took);
        let mut configuration = self.configuration.lock();
        configuration.last_failed = !success;
        if success {
            configuration.successes += 1;
        } else {
            configuration.failures += 1;
        }
    }

    /// A snapshot became the current one.
    pub fn published(&self, generation: u64, loaded_at: SystemTime, entities: Vec<(&'static str, usize)>) {
        let mut configuration = self.configuration.lock();
        configuration.generation = generation;
        configuration.loaded_at = loaded_at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        configuration.entities = entities;
    }

    /// Requests served since the start.
    pub fn total_requests(&self) -> u64 {
        let count = |series: &Series| {
            series.from_service.counts().chain(series.from_gateway.counts()).map(|(_, count)| count).sum::<u64>()
        };
        self.live_routes().iter().map(|series| count(series)).sum::<u64>() + count(&self.unmatched)
    }

    fn live_routes(&self) -> Vec<Arc<Series>> {
        let mut routes: Vec<_> = self.routes.lock().values().filter_map(Weak::upgrade).collect();
        routes.sort_by(|a, b| (&a.service, &a.route).cmp(&(&b.service, &b.route)));
        routes
    }

    /// The text that Prometheus scrapes.
    pub fn encode(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.families());
        families.extend(route::families(&self.live_routes()));
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut out = Vec::new();
        if let Err(error) = prometheus::TextEncoder::new().encode(&families, &mut out) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn families(&self) -> Vec<proto::MetricFamily> {
        use proto::MetricType::{COUNTER, GAUGE, HISTOGRAM};
        let gauge = |name: &str, help: &str, metrics| family(name, help, GAUGE, metrics);
        let one = |value: u64| vec![number(&[], value as f64)];
        let (configuration, connections) = (self.configuration.lock(), &self.connections);
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("commit", option_env!("PORTCULLIS_COMMIT").unwrap_or(""))];
        let shed = Shed::ALL.iter().map(|cause| counter(&[("cause", cause.label())], self.shed_count(*cause)));
        let reloads = [("success", configuration.successes), ("failure", configuration.failures)];
        let entities =
            configuration.entities.iter().map(|(kind, count)| number(&[("type", kind)], *count as f64)).collect();
        let unmatched = self.unmatched.from_gateway.counts().map(|(code, count)| {
            let code = code.to_string();
            counter(&[("code", &code)], count)
        });
        let (accepted, handled) = (connections.total_accepted(), connections.total_handled());
        let state = |state, value: u64| {
            number(&[("node_id", &*self.node), ("subsystem", "http"), ("state", state)], value as f64)
        };
        let nginx = vec![
            state("accepted", accepted),
            state("handled", handled),
            state("total", self.total_requests()),
            state("active", connections.active()),
            state("reading", 0),
            state("writing", connections.active()),
            state("waiting", 0),
        ];
        vec![
            gauge("portcullis_build_info", "Version of the running program", vec![number(&build, 1.0)]),
            family(
                "portcullis_verify_duration_seconds",
                "Time of one token verification",
                HISTOGRAM,
                self.verification_series(),
            ),
            family(
                "portcullis_gateway_duration_seconds",
                "Time a request spent in the gateway itself",
                HISTOGRAM,
                vec![histogram(&[], &self.process.gateway, SECOND)],
            ),
            family(
                "portcullis_unmatched_requests_total",
                "Requests that matched no route, by the status they got",
                COUNTER,
                unmatched.collect(),
            ),
            gauge("portcullis_connections", "Open connections of clients", one(connections.active())),
            family(
                "portcullis_connections_accepted_total",
                "Connections of clients since the start",
                COUNTER,
                vec![counter(&[], accepted)],
            ),
            family("portcullis_shed_total", "Connections and requests turned away unseen", COUNTER, shed.collect()),
            family(
                "portcullis_access_log_dropped_total",
                "Access log lines dropped because the writer could not keep up, or could not write",
                COUNTER,
                vec![counter(&[], self.log_drops.load(Relaxed))],
            ),
            gauge(
                "portcullis_snapshot_generation",
                "Configurations published since the start",
                one(configuration.generation),
            ),
            gauge(
                "portcullis_snapshot_loaded_timestamp_seconds",
                "When the current configuration was loaded",
                vec![number(&[], configuration.loaded_at)],
            ),
            gauge("portcullis_snapshot_entities", "Entities of the current configuration", entities),
            family(
                "portcullis_config_reload_total",
                "Attempts to load a configuration",
                COUNTER,
                reloads.into_iter().map(|(result, count)| counter(&[("result", result)], count)).collect(),
            ),
            gauge(
                "portcullis_config_last_reload_successful",
                "Whether the last attempt to load a configuration succeeded",
                one(u64::from(!configuration.last_failed)),
            ),
            family(
                "portcullis_config_reload_duration_seconds",
                "Time to load a configuration, failed attempts included",
                HISTOGRAM,
                vec![histogram(&[], &self.process.reloads, SECOND)],
            ),
            gauge("kong_nginx_connections_total", "Connections by state", nginx),
            gauge(
                "kong_nginx_requests_total",
                "Requests since the start",
                vec![number(&[("node_id", &*self.node), ("subsystem", "http")], self.total_requests() as f64)],
            ),
            gauge(
                "kong_nginx_timers",
                "Timers; always 0, there is no such thing here",
                vec![number(&[("state", "pending")], 0.0), number(&[("state", "running")], 0.0)],
            ),
            family(
                "kong_nginx_metric_errors_total",
                "Metrics that could not be recorded; always 0",
                COUNTER,
                vec![counter(&[], 0)],
            ),
            gauge(
                "kong_node_info",
                "This node",
                vec![number(&[("node_id", &*self.node), ("version", env!("CARGO_PKG_VERSION"))], 1.0)],
            ),
        ]
    }

    /// Verifications by algorithm: since the start, and lately.
    pub fn verification_windows(&self, now: u64) -> Vec<Window> {
        self.live.verifications.windows(self.verification_counts(), now)
    }

    /// Once in a while: what a window of time and a minute are told from.
    pub fn sample(&self, now: u64) {
        self.live.verifications.sample(self.verification_counts(), now);
        self.live.rejects.mark(now, self.total_requests());
    }

    fn verification_counts(&self) -> Vec<Counts> {
        let algorithms = algorithm_labels().zip(self.process.verifications.chunks(4));
        algorithms
            .filter_map(|(algorithm, histograms)| {
                let [miss_bad, miss_good, hit_bad, hit_good] = histograms else { return None };
                let mut counts = Counts::new(algorithm, &VERIFY_BOUNDS);
                for (histogram, cached, valid) in
                    [(miss_bad, false, false), (miss_good, false, true), (hit_bad, true, false), (hit_good, true, true)]
                {
                    let (buckets, sum) = histogram.counts();
                    counts.add(&buckets, sum, cached, valid);
                }
                (counts.total() > 0).then_some(counts)
            })
            .collect()
    }

    /// Only combinations that occurred.
    fn verification_series(&self) -> Vec<proto::Metric> {
        let names = algorithm_labels().flat_map(|algorithm| {
            [("miss", "invalid"), ("miss", "valid"), ("hit", "invalid"), ("hit", "valid")]
                .map(|(cache, result)| (algorithm, cache, result))
        });
        names
            .zip(&self.process.verifications)
            .filter(|(_, value)| value.totals().0 > 0)
            .map(|((algorithm, cache, result), value)| {
                histogram(&[("algorithm", algorithm), ("cache", cache), ("result", result)], value, SECOND)
            })
            .collect()
    }
}

/// One gauge value.
fn number(pairs: &[(&str, &str)], value: f64) -> proto::Metric {
    let mut metric = proto::Metric::from_label(route::labels(pairs));
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

#[cfg(test)]
mod tests;
