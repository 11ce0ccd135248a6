//! The task that resolves names and probes targets.
//!
//! Owns when each is due; one task for all snapshots, woken by what a configuration adds. Stopping it leaves requests served by
//! the last addresses and states. Must not know what a probe looks like.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Registry;
use super::dns::Name;
use super::health::{Group, Schedule};
use super::probe::Prober;
use super::registry::Shared;

/// Names resolved at once; each takes a thread.
const RESOLUTIONS: usize = 16;

/// Longest sleep, after which what is no longer in use is forgotten.
const NAP: Duration = Duration::from_secs(30);

/// Shortest interval between two probes of a target.
const SHORTEST: Duration = Duration::from_millis(10);

#[async_trait]
impl BackgroundService for Registry {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.run() => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl Registry {
    /// Resolves and probes until it is dropped.
    pub async fn run(&self) {
        let (shared, prober) = (&self.shared, Arc::new(Prober::new(self.shared.options.trusted.as_deref())));
        let threads = Arc::new(Semaphore::new(RESOLUTIONS));
        let mut tasks = JoinSet::new();
        let mut pruned = Instant::now();
        loop {
            let now = Instant::now();
            if now.duration_since(pruned) >= NAP {
                shared.prune();
                pruned = now;
            }
            let mut next = now + NAP;
            for name in shared.names() {
                if name.take_if_due(now) {
                    tasks.spawn(resolve(Arc::clone(shared), name, Arc::clone(&threads)));
                } else if let Some(due) = name.due() {
                    next = next.min(due);
                }
            }
            for group in shared.probed() {
                match group.due(now) {
                    Round::Now { up, down } => drop(tasks.spawn(probe(Arc::clone(&prober), group, up, down))),
                    Round::At(due) => next = next.min(due),
                    Round::UnderWay => {}
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = shared.wake.notified() => {}
                // Many end at about the same time; one look at what is due next does for all.
                Some(_) = tasks.join_next() => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    while tasks.try_join_next().is_some() {}
                }
            }
        }
    }
}

async fn resolve(shared: Arc<Shared>, name: Arc<Name>, threads: Arc<Semaphore>) {
    // Never closed; without a permit it is one more thread.
    let _permit = threads.acquire().await;
    let (resolver, host) = (Arc::clone(&shared.resolver), name.host.clone());
    let result = tokio::task::spawn_blocking(move || resolver.resolve(&host)).await;
    shared.answered(&name, result.unwrap_or_else(|error| Err(std::io::Error::other(error))));
}

async fn probe(prober: Arc<Prober>, group: Arc<Group>, up: bool, down: bool) {
    let _under_way = UnderWay(&group);
    prober.round(&group, up, down).await;
}

/// Ends a round, however it ends.
struct UnderWay<'g>(&'g Group);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.schedule.lock().busy = false;
    }
}

/// What is to be done about a group's probes.
enum Round {
    /// Of the endpoints that are up, or down, or both.
    Now {
        up: bool,
        down: bool,
    },
    At(Instant),
    UnderWay,
}

impl Group {
    /// Takes the round that is due, if one is.
    fn due(&self, now: Instant) -> Round {
        let active = &self.rules.checks.active;
        // 0 is off; anything else is no more often than does any good.
        let every = |seconds: f64| match Duration::try_from_secs_f64(seconds) {
            Ok(interval) if !interval.is_zero() => Some(interval.max(SHORTEST)),
            _ => None,
        };
        let (healthy, unhealthy) = (every(active.healthy.interval), every(active.unhealthy.interval));
        let mut schedule = self.schedule.lock();
        if schedule.busy {
            return Round::UnderWay;
        }
        let Schedule { healthy: at_up, unhealthy: at_down, .. } = &mut *schedule;
        let up = healthy.is_some() && *at_up <= now;
        let down = unhealthy.is_some() && *at_down <= now;
        if let (true, Some(interval)) = (up, healthy) {
            *at_up = now + interval;
        }
        if let (true, Some(interval)) = (down, unhealthy) {
            *at_down = now + interval;
        }
        let next = [healthy.map(|_| *at_up), unhealthy.map(|_| *at_down)].into_iter().flatten().min();
        schedule.busy = up || down;
        match next {
            _ if up || down => Round::Now { up, down },
            Some(next) => Round::At(next),
            None => Round::UnderWay,
        }
    }
}
