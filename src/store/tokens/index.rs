//! Tokens by digest, many readers beside one writer.
//!
//! A reader loads one pointer and probes one small table; a writer replaces the table its token falls into. Nobody waits, and a
//! write costs the same however many tokens there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::auth::oauth2::store::{Digest, Token};

/// The digest a token stands under; a token without one is not in the index.
type Key = fn(&Token) -> Option<&Digest>;

type Shard = HashTable<Arc<Token>>;

/// A power of two; at a million tokens a table holds about 250.
const SHARDS: usize = 4096;

/// Writers take turns by themselves: two at once would undo each other's work.
pub struct Index {
    key: Key,
    /// Whether a token that leaves this index is gone ([`Token::gone`]).
    ends: bool,
    shards: Box<[ArcSwap<Shard>]>,
    len: AtomicUsize,
    /// How often tokens have been marked as gone.
    departures: AtomicU64,
    /// Nobody reads: tables are changed where they are.
    alone: AtomicBool,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} tokens)", self.len())
    }
}

fn shard_of(digest: &Digest) -> usize {
    // The tables use the top bits and the low bits.
    (digest.hash() >> 24) as usize & (SHARDS - 1)
}

impl Index {
    /// By access token: what requests are decided by. Whoever has one of its tokens can see that it left.
    pub fn by_access() -> Self {
        Self::new(|token| Some(&token.access), true)
    }

    /// By refresh token.
    pub fn by_refresh() -> Self {
        Self::new(|token| token.refresh.as_ref(), false)
    }

    fn new(key: Key, ends: bool) -> Self {
        let empty = Arc::new(Shard::new());
        let shards = (0..SHARDS).map(|_| ArcSwap::new(empty.clone())).collect();
        Self {
            key,
            ends,
            shards,
            len: AtomicUsize::new(0),
            departures: AtomicU64::new(0),
            alone: AtomicBool::new(false),
        }
    }

    /// To be called when the index has them no more.
    fn left(&self, tokens: &[Arc<Token>]) {
        if !self.ends || tokens.is_empty() {
            return;
        }
        tokens.iter().for_each(|token| token.gone.set());
        // After the marks: who sees the new count sees them.
        self.departures.fetch_add(1, Ordering::Release);
    }

    /// Moves when tokens have been marked as gone: between two equal answers, none was.
    pub fn departures(&self) -> u64 {
        self.departures.load(Ordering::Acquire)
    }

    /// Whether the writer is alone, as at the start: with a million tokens, copying the table is nearly all
    /// that a write costs. Who reads meanwhile may miss tokens.
    pub fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// Changes a table, on a copy unless nobody reads.
    fn change<R>(&self, shard: &ArcSwap<Shard>, change: impl FnOnce(&mut Shard) -> R) -> R {
        let there = match self.alone.load(Ordering::Relaxed) {
            true => shard.swap(Arc::default()),
            false => shard.load_full(),
        };
        let mut table = Arc::unwrap_or_clone(there);
        let result = change(&mut table);
        shard.store(Arc::new(table));
        result
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn get(&self, digest: &Digest) -> Option<Arc<Token>> {
        let shard = self.shards.get(shard_of(digest))?.load();
        shard.find(digest.hash(), |there| (self.key)(there) == Some(digest)).cloned()
    }

    /// Puts tokens in, each in place of the one with the same digest. Many at once cost less than one by one.
    pub fn put(&self, tokens: impl IntoIterator<Item = Arc<Token>>) {
        let mut sorted: Vec<(usize, Arc<Token>)> =
            tokens.into_iter().filter_map(|token| Some((shard_of((self.key)(&token)?), token))).collect();
        sorted.sort_unstable_by_key(|(shard, _)| *shard);
        for group in sorted.chunk_by(|(one, _), (two, _)| one == two) {
            let Some(shard) = group.first().and_then(|(shard, _)| self.shards.get(*shard)) else { continue };
            let replaced = self.change(shard, |table| {
                let mut replaced = Vec::new();
                for (_, token) in group {
                    let Some(digest) = (self.key)(token) else { continue };
                    let hash_of = |there: &Arc<Token>| (self.key)(there).map_or(0, Digest::hash);
                    match table.entry(digest.hash(), |there| (self.key)(there) == Some(digest), hash_of) {
                        Entry::Occupied(mut there) if !Arc::ptr_eq(there.get(), token) => {
                            replaced.push(std::mem::replace(there.get_mut(), token.clone()));
                        }
                        Entry::Occupied(_) => {}
                        Entry::Vacant(place) => {
                            place.insert(token.clone());
                            self.len.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                replaced
            });
            self.left(&replaced);
        }
    }

    /// Takes a token out, if `is` holds of the one that is there.
    pub fn remove_if(&self, digest: &Digest, is: impl Fn(&Token) -> bool) -> Option<Arc<Token>> {
        let shard = self.shards.get(shard_of(digest))?;
        shard.load().find(digest.hash(), |there| (self.key)(there) == Some(digest)).filter(|token| is(token))?;
        let found = self.change(shard, |table| {
            table
                .find_entry(digest.hash(), |there| (self.key)(there) == Some(digest))
                .ok()
                .map(|found| found.remove().0)
        })?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.left(std::slice::from_ref(&found));
        Some(found)
    }

    /// Takes every token out of which `is` holds.
    pub fn remove_all(&self, is: impl Fn(&Token) -> bool) -> Vec<Arc<Token>> {
        let mut removed = Vec::new();
        for shard in &self.shards {
            if !shard.load().iter().any(|token| is(token)) {
                continue;
            }
            self.change(shard, |table| {
                removed.extend(table.extract_if(|token| is(token)));
                table.shrink_to_fit(|there| (self.key)(there).map_or(0, Digest::hash));
            });
        }
        self.len.fetch_sub(removed.len(), Ordering::Relaxed);
        self.left(&removed);
        removed
    }

    /// Every token that was there when its part was looked at, in no order.
    pub fn each(&self, mut with: impl FnMut(&Arc<Token>)) {
        for shard in &self.shards {
            for token in shard.load().iter() {
                with(token);
            }
        }
    }
}
