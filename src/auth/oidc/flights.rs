//! What providers said, kept for a while, and asked for by one request at a time.
//!
//! Bounded in entries and in calls under way. Keys are hashes, so that no credential is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// SHA-256 over everything that an answer depends on.
pub type Key = [u8; 32];

/// Most calls under way.
const MOST_UNDER_WAY: usize = 1024;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

#[derive(Debug)]
pub struct Flights<V: Clone> {
    known: Cache<Key, (V, Instant)>,
    under_way: Mutex<HashMap<Key, Flight<V>>>,
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    pub fn new(entries: usize) -> Arc<Self> {
        Arc::new(Self { known: Cache::new(entries), under_way: Mutex::default() })
    }

    /// What is kept and has not ended.
    pub fn get(&self, key: &Key) -> Option<V> {
        self.known.get(key).filter(|(_, until)| Instant::now() < *until).map(|(value, _)| value)
    }

    /// Also what has ended: it may hold what renews it.
    pub fn get_ended(&self, key: &Key) -> Option<V> {
        self.known.get(key).map(|(value, _)| value)
    }

    /// Joins the call that is under way for the key, or makes it. The call ends even when the request does not wait for it;
    /// what it yields is kept as long as it says. `None`: too many calls are under way.
    pub async fn fetch<F>(self: &Arc<Self>, key: Key, runtime: &Handle, call: F) -> Option<V>
    where
        F: Future<Output = (V, Duration)> + Send + 'static,
    {
        let flight = {
            let mut under_way = self.under_way.lock();
            match under_way.get(&key) {
                Some(flight) => flight.clone(),
                None if under_way.len() >= MOST_UNDER_WAY => return None,
                None => {
                    let all = self.clone();
                    let task = runtime.spawn(async move {
                        let landed = Landed { all, key };
                        let (value, keep) = call.await;
                        if !keep.is_zero() {
                            landed.all.known.insert(key, (value.clone(), Instant::now() + keep));
                        }
                        value
                    });
                    let flight = task.map(Result::ok).boxed().shared();
                    under_way.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }
}

/// Takes the flight off the list, however it ended.
struct Landed<V: Clone> {
    all: Arc<Flights<V>>,
    key: Key,
}

impl<V: Clone> Drop for Landed<V> {
    fn drop(&mut self) {
        self.all.under_way.lock().remove(&self.key);
    }
}
