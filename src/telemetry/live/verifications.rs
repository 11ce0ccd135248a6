//! How long verifications take, by algorithm: read from the histograms, for a window of time.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

/// The window that is told beside "since the start", in seconds.
const WINDOW: u64 = 300;
/// Least time between two samples, in seconds.
const EVERY: u64 = 30;

/// What has been counted for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    algorithm: &'static str,
    /// Nanoseconds, ascending.
    bounds: &'static [u64],
    buckets: Vec<u64>,
    sum: u64,
    valid: u64,
    invalid: u64,
    cached: u64,
}

impl Counts {
    pub fn new(algorithm: &'static str, bounds: &'static [u64]) -> Self {
        Self { algorithm, bounds, buckets: vec![0; bounds.len() + 1], sum: 0, valid: 0, invalid: 0, cached: 0 }
    }

    /// Adds the counts of one histogram, and its sum in nanoseconds.
    pub fn add(&mut self, buckets: &[u64], sum: u64, cached: bool, valid: bool) {
        let total: u64 = buckets.iter().sum();
        for (to, from) in self.buckets.iter_mut().zip(buckets) {
            *to += from;
        }
        self.sum += sum;
        *(if valid { &mut self.valid } else { &mut self.invalid }) += total;
        self.cached += if cached { total } else { 0 };
    }

    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn minus(&self, before: &Self) -> Self {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            buckets: self.buckets.iter().zip(&before.buckets).map(|(now, then)| less(*now, *then)).collect(),
            sum: less(self.sum, before.sum),
            valid: less(self.valid, before.valid),
            invalid: less(self.invalid, before.invalid),
            cached: less(self.cached, before.cached),
            ..self.clone()
        }
    }

    /// A quantile in microseconds, interpolated within its bucket; the last bound where it lies beyond.
    fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let wanted = q * total as f64;
        let mut below = 0.0;
        for (index, count) in self.buckets.iter().enumerate() {
            let count = *count as f64;
            if below + count >= wanted && count > 0.0 {
                let low = index.checked_sub(1).and_then(|index| self.bounds.get(index)).copied().unwrap_or(0) as f64;
                let high = self.bounds.get(index).or(self.bounds.last()).copied().unwrap_or(0) as f64;
                return Some(round((low + (high - low) * ((wanted - below) / count)) / 1e3));
            }
            below += count;
        }
        None
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[derive(Clone, Debug, Serialize)]
pub struct Cache {
    pub hits: u64,
    pub misses: u64,
    pub ratio: Option<f64>,
    pub entries: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AlgorithmTimes {
    pub algorithm: &'static str,
    pub count: u64,
    pub valid: u64,
    pub invalid: u64,
    pub cached: u64,
    pub per_second: f64,
    pub mean_us: Option<f64>,
    pub p50_us: Option<f64>,
    pub p90_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
}

/// A span of time.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    pub window: &'static str,
    pub seconds: u64,
    pub cache: Cache,
    pub algorithms: Vec<AlgorithmTimes>,
}

impl Window {
    fn of(window: &'static str, seconds: u64, counts: &[Counts]) -> Self {
        // Secrets and opaque tokens are not cached: a lookup of theirs is no miss.
        let cacheable =
            counts.iter().filter(|counts| counts.algorithm != "opaque" && !counts.algorithm.starts_with("HS"));
        let (hits, all) = cacheable.fold((0, 0), |(hits, all), counts| (hits + counts.cached, all + counts.total()));
        let algorithms = counts.iter().filter(|counts| counts.total() > 0).map(|counts| {
            let total = counts.total();
            AlgorithmTimes {
                algorithm: counts.algorithm,
                count: total,
                valid: counts.valid,
                invalid: counts.invalid,
                cached: counts.cached,
                per_second: round(total as f64 / seconds.max(1) as f64),
                mean_us: (total > 0).then(|| round(counts.sum as f64 / total as f64 / 1e3)),
                p50_us: counts.quantile(0.5),
                p90_us: counts.quantile(0.9),
                p99_us: counts.quantile(0.99),
                p999_us: counts.quantile(0.999),
            }
        });
        let ratio = (all > 0).then(|| (hits as f64 / all as f64 * 1e4).round() / 1e4);
        Self {
            window,
            seconds,
            cache: Cache { hits, misses: all - hits, ratio, entries: None },
            algorithms: algorithms.collect(),
        }
    }
}

/// Counts of a moment.
#[derive(Debug)]
struct Sample {
    at: u64,
    counts: Vec<Counts>,
}

/// Samples of the last minutes.
#[derive(Debug)]
pub struct Verifications {
    started: u64,
    samples: Mutex<VecDeque<Sample>>,
}

impl Default for Verifications {
    fn default() -> Self {
        Self { started: super::now(), samples: Mutex::default() }
    }
}

impl Verifications {
    /// Takes a sample, unless there is one of just now.
    pub fn sample(&self, counts: Vec<Counts>, now: u64) {
        let mut samples = self.samples.lock();
        if samples.back().is_some_and(|last| now < last.at + EVERY) {
            return;
        }
        // One beyond the window stays.
        while samples.get(1).is_some_and(|second| second.at + WINDOW <= now) {
            samples.pop_front();
        }
        samples.push_back(Sample { at: now, counts });
    }

    /// Since the start, and of the last minutes once there is a sample that old.
    pub fn windows(&self, counts: Vec<Counts>, now: u64) -> Vec<Window> {
        let samples = self.samples.lock();
        let old = samples.iter().rev().find(|sample| sample.at + WINDOW <= now);
        let lately = old.map(|old| {
            let differences: Vec<Counts> = counts
                .iter()
                .map(|now| match old.counts.iter().find(|then| then.algorithm == now.algorithm) {
                    Some(then) => now.minus(then),
                    None => now.clone(),
                })
                .collect();
            Window::of("5m", now - old.at, &differences)
        });
        let all = Window::of("since_start", now.saturating_sub(self.started), &counts);
        std::iter::once(all).chain(lately).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOUNDS: [u64; 3] = [1_000, 2_000, 10_000];

    fn counts(algorithm: &'static str, miss: [u64; 4], hit: [u64; 4]) -> Counts {
        let mut counts = Counts::new(algorithm, &BOUNDS);
        counts.add(&miss, 5_000 * miss.iter().sum::<u64>(), false, true);
        counts.add(&hit, 500 * hit.iter().sum::<u64>(), true, true);
        counts
    }

    #[test]
    fn quantiles_lie_where_the_counts_are() {
        let verifications = Verifications::default();
        let of = |miss, hit| vec![counts("RS256", miss, hit), counts("HS256", [10, 0, 0, 0], [0; 4])];
        let windows = verifications.windows(of([0, 0, 10, 0], [90, 0, 0, 0]), 1_000);
        let rs256 = windows[0].algorithms.iter().find(|there| there.algorithm == "RS256").unwrap();
        assert_eq!((rs256.count, rs256.cached, rs256.mean_us), (100, 90, Some(0.95)));
        assert!(rs256.p50_us.unwrap() < 1.0 && rs256.p99_us.unwrap() > 2.0, "{rs256:?}");
        assert_eq!((windows[0].cache.hits, windows[0].cache.misses, windows[0].cache.ratio), (90, 10, Some(0.9)));
        assert_eq!(windows.len(), 1);

        verifications.sample(of([0, 0, 10, 0], [90, 0, 0, 0]), 1_000);
        let windows = verifications.windows(of([0, 0, 10, 0], [90, 0, 0, 7]), 1_300);
        let lately = &windows[1].algorithms;
        assert_eq!((lately.len(), lately[0].count, lately[0].p50_us), (1, 7, Some(10.0)));
    }
}
