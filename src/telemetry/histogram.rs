//! A histogram for hot paths: one per-thread shard each, two relaxed additions an observation.
//!
//! `prometheus::Histogram` keeps bucket, count and sum in one place that all threads write (9 ns alone, 86 ns with two threads on
//! the same one); here the count is what the buckets add up to, and threads write to cache lines of their own. A shard lies in one piece, its sum beside
//! its first buckets: of ten thousand routes each has its own, and what they cost is waiting for memory. Bounds and sum are whole nanoseconds.
//! Read only by scrapes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use prometheus::proto;

/// Most shards a histogram has; a power of two.
const MAX_SHARDS: usize = 16;

/// Which shard the current thread writes to: threads are numbered as they first ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Relaxed));
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// Shards worth having on this machine: its cores, rounded up to a power of two.
pub(super) fn shard_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).next_power_of_two().min(MAX_SHARDS)
}

/// Numbers in a [`Block`].
const BLOCK: usize = 16;

/// Aligned so that two shards never share a cache line (two lines: the prefetcher takes pairs).
#[repr(align(128))]
#[derive(Debug, Default)]
struct Block([AtomicU64; BLOCK]);

/// A histogram of durations with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in nanoseconds, ascending.
    bounds: &'static [u64],
    /// Of each shard the sum in nanoseconds, a bucket for each bound, and one for what lies above the last.
    blocks: Box<[Block]>,
}

impl Histogram {
    pub fn new(bounds: &'static [u64]) -> Self {
        let count = shard_count() * Self::blocks_a_shard(bounds);
        Self { bounds, blocks: (0..count).map(|_| Block::default()).collect() }
    }

    fn blocks_a_shard(bounds: &[u64]) -> usize {
        (bounds.len() + 2).div_ceil(BLOCK)
    }

    /// The current thread's.
    fn shard(&self) -> Option<&[Block]> {
        let each = Self::blocks_a_shard(self.bounds);
        // The number of shards is a power of two.
        let first = (thread_number() & (self.blocks.len() / each - 1)) * each;
        self.blocks.get(first..)
    }

    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < nanos);
        let Some(shard) = self.shard() else { return };
        if let (Some(sum), Some(count)) = (number(shard, 0), number(shard, 1 + bucket)) {
            count.fetch_add(1, Relaxed);
            sum.fetch_add(nanos, Relaxed);
        }
    }

    /// Reads what an observation will most likely add to. An addition that has to wait for memory keeps all that come after it waiting;
    /// reads wait together.
    pub(super) fn approach(&self) -> u64 {
        self.shard().and_then(|shard| number(shard, 0)).map_or(0, |sum| sum.load(Relaxed))
    }

    /// Count and sum in nanoseconds.
    pub fn totals(&self) -> (u64, u64) {
        let count = (0..=self.bounds.len()).map(|index| self.bucket(index)).sum();
        (count, self.added(0))
    }

    /// As Prometheus wants it; `unit` is the number of nanoseconds in the unit of the metric's name.
    pub(super) fn to_proto(&self, unit: f64) -> proto::Histogram {
        let mut out = proto::Histogram::default();
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (index, bound) in self.bounds.iter().enumerate() {
            cumulative += self.bucket(index);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(*bound as f64 / unit);
            buckets.push(bucket);
        }
        out.set_bucket(buckets);
        out.set_sample_count(cumulative + self.bucket(self.bounds.len()));
        out.set_sample_sum(self.totals().1 as f64 / unit);
        out
    }

    /// Counts by bucket, the last for what lies above all bounds, and the sum in nanoseconds.
    pub(super) fn counts(&self) -> (Vec<u64>, u64) {
        ((0..=self.bounds.len()).map(|index| self.bucket(index)).collect(), self.totals().1)
    }

    fn bucket(&self, index: usize) -> u64 {
        self.added(1 + index)
    }

    /// The same number of all shards.
    fn added(&self, index: usize) -> u64 {
        let shards = self.blocks.chunks(Self::blocks_a_shard(self.bounds));
        shards.filter_map(|shard| number(shard, index)).map(|number| number.load(Relaxed)).sum()
    }
}

/// A number of a shard, by its place.
fn number(shard: &[Block], index: usize) -> Option<&AtomicU64> {
    shard.get(index / BLOCK)?.0.get(index % BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&[1_000, 2_000]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for nanos in [0, 1_000, 1_001, 2_000, 9_000] {
                        histogram.observe(Duration::from_nanos(nanos));
                    }
                });
            }
        });
        let out = histogram.to_proto(1e9);
        let counts: Vec<u64> = out.get_bucket().iter().map(proto::Bucket::cumulative_count).collect();
        assert_eq!(counts, [8, 16]);
        assert_eq!(out.get_sample_count(), 20);
        assert_eq!(histogram.totals(), (20, 4 * 13_001));
        assert_eq!(out.get_bucket()[0].upper_bound(), 1e-6);
    }
}
