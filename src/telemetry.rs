//! What the process tells about itself: metrics, the access log, its own log.
//!
//! Owns the metric families ([`Metrics`], [`RouteMetrics`]), the access log ([`AccessLog`]), what is kept for looking at
//! ([`live`]) and the set-up of `tracing` ([`logging`]). Hot path: handles are resolved when a snapshot is compiled, an event costs an atomic addition or two; a log
//! line is handed to a writer thread and never waited for. Must not know Pingora's session, and never sees a token: only its
//! keyed fingerprint.

pub mod access_log;
mod histogram;
mod line;
pub mod live;
pub mod logging;
mod metrics;
pub mod output;
mod route;
mod waiting;

pub use self::{
    access_log::{AccessLog, AccessRecord, Fingerprint},
    histogram::Histogram,
    live::Live,
    metrics::{Closed, Connections, Metrics, Shed},
    route::{Latencies, RouteMetrics},
};
