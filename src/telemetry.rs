//! Metric families, access log.

/// Every metric of the process.
#[derive(Debug, Default)]
pub struct Metrics;

/// The handles of one route.
#[derive(Debug)]
pub struct RouteMetrics;

impl RouteMetrics {
    pub fn new(_metrics: &Metrics, _route: &str, _service: &str) -> Self {
        Self
    }
}
