//! When credentials and keys were last used.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::quality::RandomState;
use parking_lot::RwLock;

use crate::prehashed::Prehashed;

const SHARDS: usize = 64;
/// Whose uses are kept; a configuration has fewer, and tokens that no credential stands for are not kept.
const MOST: usize = 4_000_000 / SHARDS;

type Shard = RwLock<HashMap<u64, AtomicU32, Prehashed>>;

/// Last uses by a keyed hash over an owner and a name — consumer and credential, issuer and key id —, to the minute.
#[derive(Debug)]
pub struct Uses {
    /// Seconds since the UNIX epoch.
    pub since: u64,
    /// Seeded at random: names are those of verified credentials and keys, whose number is bounded.
    key: RandomState,
    shards: Box<[Shard]>,
    full: AtomicBool,
}

/// The minute that a time in seconds since the epoch is in.
pub(super) fn minute(now: u64) -> u32 {
    u32::try_from(now / 60).unwrap_or(u32::MAX)
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            key: RandomState::default(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            full: AtomicBool::new(false),
        }
    }
}

impl Uses {
    fn place(&self, owner: impl Hash, name: &str) -> Option<(u64, &Shard)> {
        let key = self.key.hash_one((owner, name));
        let shard = usize::try_from(key >> 48).unwrap_or_default() % SHARDS;
        Some((key, self.shards.get(shard)?))
    }

    /// It was used, at a time in seconds since the epoch. Most uses find their minute noted already. Never waits: while another use
    /// is being entered this one goes unnoted, and the next will be. Whether there is nothing left to do for this minute.
    pub fn touch(&self, owner: impl Hash, name: &str, now: u64) -> bool {
        let minute = minute(now);
        let Some((key, shard)) = self.place(owner, name) else { return true };
        {
            let Some(uses) = shard.try_read() else { return false };
            if let Some(last) = uses.get(&key) {
                if last.load(Relaxed) < minute {
                    last.store(minute, Relaxed);
                }
                return true;
            }
            if uses.len() >= MOST {
                self.full.store(true, Relaxed);
                return true;
            }
        }
        shard.try_write().is_some_and(|mut uses| {
            uses.insert(key, AtomicU32::new(minute));
            true
        })
    }

    /// When it was last used, in seconds since the epoch.
    pub fn last(&self, owner: impl Hash, name: &str) -> Option<u64> {
        let (key, shard) = self.place(owner, name)?;
        let minute = shard.read().get(&key)?.load(Relaxed);
        Some(u64::from(minute) * 60)
    }

    /// Whether there were more than are kept, so that one that is not here may have been used.
    pub fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_known_to_the_minute() {
        let uses = Uses::default();
        let (one, two) = (1, 2);
        assert_eq!(uses.last(one, "k"), None);
        assert!(uses.touch(one, "k", 6_001));
        uses.touch(one, "k", 6_119);
        uses.touch(one, "k", 6_000);
        assert_eq!(uses.last(one, "k"), Some(6_060));
        assert_eq!((uses.last(two, "k"), uses.last(one, "other")), (None, None));
        assert!(!uses.is_full());
        // While another use is being entered this one is to be noted later.
        let entering: Vec<_> = uses.shards.iter().map(RwLock::write).collect();
        assert!(!uses.touch(one, "k", 9_000));
        drop(entering);
        assert_eq!(uses.last(one, "k"), Some(6_060));
        assert!(uses.touch(one, "k", 9_000));
        assert_eq!(uses.last(one, "k"), Some(9_000));
    }
}
