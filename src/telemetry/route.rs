//! The series of one route: resolved when a snapshot is compiled, written by requests, kept over reloads.
//!
//! Memory is spent only on what happens: the counters of a status class, or of a plugin's reasons, are allocated at their first use
//! (the one time that is more than an atomic addition).

use std::hint::black_box;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::proto;

use super::histogram::Histogram;
use super::metrics::{Metrics, Process};
use crate::auth::Reason;
use crate::auth::state::{Verdict, Verification};

const MS: u64 = 1_000_000;

/// Kong's buckets of `kong_kong_latency_ms`.
static KONG_BOUNDS: [u64; 17] =
    milliseconds([1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000]);
/// Kong's buckets of `kong_upstream_latency_ms` and `kong_request_latency_ms`.
static UPSTREAM_BOUNDS: [u64; 13] =
    milliseconds([25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000]);

const fn milliseconds<const N: usize>(mut bounds: [u64; N]) -> [u64; N] {
    let mut i = 0;
    while i < N {
        bounds[i] *= MS;
        i += 1;
    }
    bounds
}

/// The plugins that have their own `plugin` label; anything else counts as `other`.
const PLUGINS: [&str; 9] = [
    "jwt",
    "key-auth",
    "oauth2",
    "openid-connect",
    "oauth2-introspection",
    "basic-auth",
    "acl",
    "request-termination",
    "other",
];

/// How long the parts of a request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// From the first byte of the request to the last of the response.
    pub total: Duration,
    /// Until the service's response header; `None` when it was not asked.
    pub upstream: Option<Duration>,
    /// What the gateway itself spent.
    pub gateway: Duration,
}

/// One counter for each status code of a class, allocated when the first comes.
type Class = OnceLock<Box<[AtomicU64]>>;

/// Status codes of one source. The one that came first has its counter in place: it is mostly the only one.
#[derive(Debug, Default)]
pub(super) struct Codes {
    first_count: AtomicU64,
    /// 0 until one came.
    first: AtomicU16,
    others: OnceLock<Box<[Class; 9]>>,
}

impl Codes {
    fn add(&self, status: u16) {
        if !(100..1000).contains(&status) {
            return;
        }
        if self.is_first(status) {
            self.first_count.fetch_add(1, Relaxed);
            return;
        }
        let (class, rest) = (usize::from(status / 100), usize::from(status % 100));
        let Some(class) = self.others.get_or_init(Box::default).get(class - 1) else { return };
        let counters = class.get_or_init(|| (0..100).map(|_| AtomicU64::new(0)).collect());
        if let Some(counter) = counters.get(rest) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Whether it is the one that came first, or comes first now.
    fn is_first(&self, status: u16) -> bool {
        let first = match self.first.load(Relaxed) {
            0 => self.first.compare_exchange(0, status, Relaxed, Relaxed).map_or_else(|first| first, |_| status),
            first => first,
        };
        first == status
    }

    /// Codes that occurred, with their counts.
    pub(super) fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let first = (usize::from(self.first.load(Relaxed)), self.first_count.load(Relaxed));
        let others = self.others.get().into_iter().flat_map(|classes| classes.iter().enumerate());
        let others =
            others.filter_map(|(class, counters)| Some((class, counters.get()?))).flat_map(|(class, counters)| {
                let code = move |rest| (class + 1) * 100 + rest;
                counters.iter().enumerate().map(move |(rest, count)| (code(rest), count.load(Relaxed)))
            });
        std::iter::once(first).chain(others).filter(|(_, count)| *count > 0)
    }
}

/// What a plugin made of requests: allowed, then anonymous by reason, then denied by reason.
type Verdicts = OnceLock<Box<[AtomicU64]>>;

/// Everything counted for one route. In this order and from a line of the processor's cache on: of ten thousand routes each has its own,
/// and what counting costs is waiting for memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Series {
    ingress: AtomicU64,
    egress: AtomicU64,
    /// Answers of the service, and of the gateway in its place.
    pub from_service: Codes,
    latencies: OnceLock<[Histogram; 3]>,
    pub from_gateway: Codes,
    verdicts: [Verdicts; PLUGINS.len()],
    pub route: Box<str>,
    pub service: Box<str>,
}

impl Series {
    pub(super) fn new(route: &str, service: &str) -> Self {
        Self {
            route: route.into(),
            service: service.into(),
            from_service: Codes::default(),
            from_gateway: Codes::default(),
            verdicts: Default::default(),
            ingress: AtomicU64::new(0),
            egress: AtomicU64::new(0),
            latencies: OnceLock::new(),
        }
    }
}

/// The handles of one route. Requests of a reloaded configuration go on counting where those of the old one stopped, as long as the
/// route keeps its name.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    series: Arc<Series>,
    process: Arc<Process>,
}

impl RouteMetrics {
    /// `route` and `service` are the labels: name, or else id and host.
    pub fn new(metrics: &Metrics, route: &str, service: &str) -> Self {
        Self { series: metrics.series(route, service), process: metrics.process.clone() }
    }

    pub(super) fn of(series: Arc<Series>, process: Arc<Process>) -> Self {
        Self { series, process }
    }

    /// What an authenticating plugin made of a request.
    pub fn auth(&self, plugin: &str, verdict: Verdict) {
        let index = PLUGINS.iter().position(|name| *name == plugin).unwrap_or(PLUGINS.len() - 1);
        let reasons = Reason::ALL.len();
        let place = match verdict {
            Verdict::Allowed => 0,
            Verdict::Anonymous(reason) => 1 + reason as usize,
            Verdict::Denied(reason) => 1 + reasons + reason as usize,
        };
        let Some(verdicts) = self.series.verdicts.get(index) else { return };
        let counters = verdicts.get_or_init(|| (0..=2 * reasons).map(|_| AtomicU64::new(0)).collect());
        if let Some(counter) = counters.get(place) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// The cost of one verification.
    pub fn verification(&self, verification: &Verification) {
        self.process.verification(verification);
    }

    /// A finished request. `from_service` tells whose answer it was; bytes are those of the bodies and headers on the wire, as far
    /// as they are known.
    pub fn request(&self, status: u16, from_service: bool, latencies: Latencies, bytes_in: u64, bytes_out: u64) {
        let series = &*self.series;
        let bounds = [&KONG_BOUNDS[..], &UPSTREAM_BOUNDS, &UPSTREAM_BOUNDS];
        let histograms =
            self.process.kong_latencies.then(|| series.latencies.get_or_init(|| bounds.map(Histogram::new)));
        if let Some(histograms) = histograms {
            black_box(histograms.each_ref().map(Histogram::approach));
        }
        if from_service { &series.from_service } else { &series.from_gateway }.add(status);
        series.ingress.fetch_add(bytes_in, Relaxed);
        series.egress.fetch_add(bytes_out, Relaxed);
        self.process.gateway_latency(latencies.gateway);
        let Some([kong, upstream, request]) = histograms else { return };
        kong.observe(latencies.gateway);
        if let Some(took) = latencies.upstream {
            upstream.observe(took);
        }
        request.observe(latencies.total);
    }
}

/// Puts a label set together.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Vec<proto::LabelPair> {
    pairs
        .iter()
        .map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect()
}

pub(super) fn counter(pairs: &[(&str, &str)], value: u64) -> proto::Metric {
    let mut metric = proto::Metric::from_label(labels(pairs));
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    metric.set_counter(counter);
    metric
}

pub(super) fn histogram(pairs: &[(&str, &str)], value: &Histogram, unit: f64) -> proto::Metric {
    let mut metric = proto::Metric::from_label(labels(pairs));
    metric.set_histogram(value.to_proto(unit));
    metric
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: proto::MetricType,
    metrics: Vec<proto::Metric>,
) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// The families that have a route label.
pub(super) fn families(all: &[Arc<Series>]) -> Vec<proto::MetricFamily> {
    use proto::MetricType::{COUNTER, HISTOGRAM};
    let (mut auth, mut requests, mut bandwidth) = (Vec::new(), Vec::new(), Vec::new());
    let mut latencies: [Vec<proto::Metric>; 3] = Default::default();
    for series in all {
        auth.extend(auth_counts(series));
        let route = [("service", &*series.service), ("route", &*series.route)];
        for (source, codes) in [("service", &series.from_service), ("kong", &series.from_gateway)] {
            for (code, count) in codes.counts() {
                let code = code.to_string();
                let rest = [("code", &*code), ("source", source), ("workspace", "default"), ("consumer", "")];
                requests.push(counter(&[&route[..], &rest].concat(), count));
            }
        }
        for (direction, bytes) in [("ingress", &series.ingress), ("egress", &series.egress)] {
            let bytes = bytes.load(Relaxed);
            if bytes > 0 {
                let rest = [("direction", direction), ("workspace", "default"), ("consumer", "")];
                bandwidth.push(counter(&[&route[..], &rest].concat(), bytes));
            }
        }
        if let Some(histograms) = series.latencies.get() {
            for (out, value) in latencies.iter_mut().zip(histograms.iter()) {
                let pairs = [&route[..], &[("workspace", "default")]].concat();
                out.push(histogram(&pairs, value, MS as f64));
            }
        }
    }
    let [kong, upstream, request] = latencies;
    vec![
        family(
            "portcullis_auth_requests_total",
            "Requests by what an authenticating plugin made of them",
            COUNTER,
            auth,
        ),
        family("kong_http_requests_total", "HTTP status codes per service and route", COUNTER, requests),
        family("kong_bandwidth_bytes", "Bytes received and sent per service and route", COUNTER, bandwidth),
        family("kong_kong_latency_ms", "Milliseconds spent in the gateway", HISTOGRAM, kong),
        family("kong_upstream_latency_ms", "Milliseconds until the service's response header", HISTOGRAM, upstream),
        family("kong_request_latency_ms", "Milliseconds of whole requests", HISTOGRAM, request),
    ]
}

fn auth_counts(series: &Series) -> Vec<proto::Metric> {
    let mut out = Vec::new();
    for (plugin, verdicts) in PLUGINS.iter().zip(&series.verdicts) {
        let Some(counters) = verdicts.get() else { continue };
        for (place, count) in counters.iter().enumerate() {
            let count = count.load(Relaxed);
            if count == 0 {
                continue;
            }
            let reason = |place: usize| Reason::ALL.get(place).map_or("", |reason| reason.label());
            let (result, reason) = match place.checked_sub(1) {
                None => ("allow", ""),
                Some(place) if place < Reason::ALL.len() => ("anonymous", reason(place)),
                Some(place) => ("deny", reason(place - Reason::ALL.len())),
            };
            let pairs = [("plugin", *plugin), ("route", &*series.route), ("result", result), ("reason", reason)];
            out.push(counter(&pairs, count));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_status_is_counted_whichever_came_first() {
        let codes = Codes::default();
        assert_eq!(codes.counts().count(), 0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let codes = &codes;
                scope.spawn(move || {
                    for n in 0..1_000 {
                        codes.add([200, 401, 404, 999][(n + thread) % 4]);
                        codes.add(0);
                        codes.add(1_000);
                    }
                });
            }
        });
        let counts: BTreeMap<usize, u64> = codes.counts().collect();
        assert_eq!(counts, BTreeMap::from([(200, 1_000), (401, 1_000), (404, 1_000), (999, 1_000)]));
        assert_eq!(codes.counts().count(), 4, "each of them once");
    }
}
