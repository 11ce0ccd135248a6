//! Refusals: by reason and minute, and the last of them one by one.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::auth::Reason;
use crate::telemetry::Fingerprint;

/// Minutes that are kept: an hour, and the one under way.
pub const MINUTES: usize = 61;
/// Refusals that are kept one by one.
const RECENT: usize = 200;
/// As many a second are kept one by one; more are only counted, so that a flood of them costs next to nothing.
const PER_SECOND: u64 = 1000;

/// One refused request.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Milliseconds since the UNIX epoch.
    pub at_ms: u64,
    pub route: Arc<str>,
    pub service: Option<Arc<str>>,
    pub plugin: Option<&'static str>,
    pub reason: &'static str,
    pub status: u16,
    pub issuer: Option<Arc<str>>,
    pub kid: Option<Box<str>>,
    pub algorithm: Option<&'static str>,
    pub token_fp: Option<Fingerprint>,
    pub method: Box<str>,
    /// As sent, without the query; cut off after a while.
    pub path: Box<str>,
    pub client: Option<IpAddr>,
    pub request_id: Box<str>,
    /// The anonymous consumer stood in.
    pub anonymous: bool,
}

/// One minute.
#[derive(Debug)]
struct Column {
    /// Since the UNIX epoch.
    minute: AtomicU64,
    reasons: Box<[AtomicU64]>,
}

/// Finished requests when a minute began.
#[derive(Clone, Copy, Debug)]
struct Mark {
    minute: u64,
    requests: u64,
}

/// Refusals of the last hour.
#[derive(Debug)]
pub struct Rejects {
    /// Seconds since the UNIX epoch.
    pub started: u64,
    columns: Box<[Column]>,
    /// One at a time begins a new minute.
    turning: Mutex<()>,
    recent: Mutex<VecDeque<Arc<Refusal>>>,
    /// The second, and how many have been kept in it.
    pace: AtomicU64,
    skipped: AtomicU64,
    marks: Mutex<VecDeque<Mark>>,
}

impl Default for Rejects {
    fn default() -> Self {
        let column =
            || Column { minute: AtomicU64::new(0), reasons: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect() };
        Self {
            started: super::now(),
            columns: (0..MINUTES).map(|_| column()).collect(),
            turning: Mutex::default(),
            recent: Mutex::default(),
            pace: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            marks: Mutex::default(),
        }
    }
}

impl Rejects {
    /// Counts a refusal at a time in seconds since the epoch.
    pub fn count(&self, now: u64, reason: Reason) {
        let (minute, place) = (now / 60, reason as usize);
        let Some(column) = self.column(minute) else { return };
        if let Some(count) = column.reasons.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The column of a minute, emptied when it last held an earlier one.
    fn column(&self, minute: u64) -> Option<&Column> {
        let place = usize::try_from(minute % MINUTES as u64).unwrap_or_default();
        let column = self.columns.get(place)?;
        if column.minute.load(Ordering::Acquire) < minute {
            let _one_at_a_time = self.turning.lock();
            if column.minute.load(Ordering::Acquire) < minute {
                for count in &column.reasons {
                    count.store(0, Ordering::Relaxed);
                }
                column.minute.store(minute, Ordering::Release);
            }
        }
        Some(column)
    }

    /// Whether a refusal of this second may still be kept one by one; counts it as kept.
    pub fn wants(&self, now: u64) -> bool {
        let of = |second: u64, count: u64| (second << 16) | count;
        let update = self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pace| match pace >> 16 {
            second if second == now && (pace & 0xffff) >= PER_SECOND => None,
            second if second == now => Some(pace + 1),
            _ => Some(of(now, 1)),
        });
        if update.is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
        update.is_ok()
    }

    /// Keeps a refusal.
    pub fn keep(&self, refusal: Refusal) {
        let refusal = Arc::new(refusal);
        let mut recent = self.recent.lock();
        let oldest = if recent.len() >= RECENT { recent.pop_front() } else { None };
        recent.push_back(refusal);
        drop(recent);
        // Freed without the lock.
        drop(oldest);
    }

    /// The last refusals, newest first.
    pub fn recent(&self, most: usize) -> Vec<Arc<Refusal>> {
        self.recent.lock().iter().rev().take(most).cloned().collect()
    }

    /// How many were counted and not kept.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Counts of the minutes that end with the one of `now`, oldest first, for each reason that occurred.
    pub fn minutes(&self, now: u64, minutes: usize) -> (Vec<u64>, Vec<(Reason, Vec<u64>)>) {
        let last = now / 60;
        let count = minutes.clamp(1, MINUTES) as u64;
        let wanted: Vec<u64> = (0..count).map(|back| last.saturating_sub(count - 1 - back)).collect();
        let column = |minute: u64| {
            let place = usize::try_from(minute % MINUTES as u64).unwrap_or_default();
            self.columns.get(place).filter(|column| column.minute.load(Ordering::Acquire) == minute)
        };
        let reasons = Reason::ALL.iter().enumerate().filter_map(|(place, reason)| {
            let of = |minute: u64| {
                column(minute)
                    .and_then(|column| column.reasons.get(place))
                    .map_or(0, |count| count.load(Ordering::Relaxed))
            };
            let counts: Vec<u64> = wanted.iter().map(|minute| of(*minute)).collect();
            counts.iter().any(|count| *count > 0).then_some((*reason, counts))
        });
        let reasons = reasons.collect();
        (wanted.into_iter().map(|minute| minute * 60).collect(), reasons)
    }

    /// Notes how many requests have been finished; once a second or so, so that a minute's are known.
    pub fn mark(&self, now: u64, requests: u64) {
        let minute = now / 60;
        let mut marks = self.marks.lock();
        if marks.back().is_none_or(|mark| mark.minute < minute) {
            if marks.len() > MINUTES {
                marks.pop_front();
            }
            // What was finished before the first mark is nobody's minute.
            marks.push_back(Mark { minute, requests });
        }
    }

    /// Requests finished in each of these minutes (their starts, in seconds), with `total` finished until now.
    pub fn requests(&self, minutes: &[u64], total: u64) -> Vec<u64> {
        let marks = self.marks.lock();
        let of = |minute: u64| {
            let place = marks.iter().position(|mark| mark.minute == minute)?;
            let end = marks.get(place + 1).map_or(total, |next| next.requests);
            Some(end.saturating_sub(marks.get(place)?.requests))
        };
        minutes.iter().map(|start| of(start / 60).unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(n: u64) -> Refusal {
        Refusal {
            at_ms: n,
            route: "r".into(),
            service: None,
            plugin: Some("jwt"),
            reason: "expired",
            status: 401,
            issuer: None,
            kid: None,
            algorithm: None,
            token_fp: None,
            method: "GET".into(),
            path: "/".into(),
            client: None,
            request_id: "0".into(),
            anonymous: false,
        }
    }

    #[test]
    fn minutes_come_and_go() {
        let rejects = Rejects::default();
        let start = 1_795_315_740;
        rejects.count(start, Reason::Expired);
        rejects.count(start + 59, Reason::Expired);
        rejects.count(start + 60, Reason::NoToken);
        let (minutes, reasons) = rejects.minutes(start + 61, 3);
        assert_eq!(minutes, [start - 60, start, start + 60]);
        assert_eq!(reasons, [(Reason::NoToken, vec![0, 0, 1]), (Reason::Expired, vec![0, 2, 0])]);
        // The same column an hour and a minute later.
        rejects.count(start + 61 * 60, Reason::Scope);
        let (_, reasons) = rejects.minutes(start + 61 * 60, MINUTES);
        assert_eq!(
            reasons.iter().map(|(reason, counts)| (*reason, counts.iter().sum())).collect::<Vec<(_, u64)>>(),
            [(Reason::NoToken, 1), (Reason::Scope, 1),]
        );
        assert!(rejects.minutes(start + 300 * 60, MINUTES).1.is_empty());
    }

    #[test]
    fn counting_from_many_threads_loses_nothing() {
        let rejects = Rejects::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..10_000 {
                        rejects.count(600 + n / 100, Reason::Expired);
                    }
                });
            }
        });
        let (_, reasons) = rejects.minutes(700, 61);
        assert_eq!(reasons.iter().flat_map(|(_, counts)| counts).sum::<u64>(), 80_000);
    }

    #[test]
    fn the_last_ones_are_kept_and_a_flood_is_not() {
        let rejects = Rejects::default();
        for n in 0..300 {
            rejects.keep(refusal(n));
        }
        let recent = rejects.recent(1000);
        assert_eq!((recent.len(), recent[0].at_ms, recent[199].at_ms), (200, 299, 100));
        let kept = (0..5000).filter(|_| rejects.wants(77)).count();
        assert_eq!((kept, rejects.skipped()), (1000, 4000));
        assert!(rejects.wants(78));
    }

    #[test]
    fn requests_of_a_minute_are_told_apart() {
        let rejects = Rejects::default();
        for (now, requests) in [(0, 5), (30, 8), (61, 10), (100, 20), (120, 25)] {
            rejects.mark(now, requests);
        }
        assert_eq!(rejects.requests(&[0, 60, 120, 180], 30), [5, 15, 5, 0]);
    }
}
