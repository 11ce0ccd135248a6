//! A hash table that copies share: the copy-on-write index under consumers and credentials.
//!
//! Owns nothing but the structure. A clone costs one pointer per shard; a write copies only the shard it falls into, so that a
//! new snapshot with one changed credential among a million is made in microseconds while readers keep the old one. Entries are
//! `Arc`s and carry their own key, which is not stored again.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// How an entry is found: `K` names the index, so one entry type can stand in several.
pub trait KeyOf<T> {
    type Key: ?Sized + Hash + Eq;
    fn key(entry: &T) -> &Self::Key;
}

/// An index over `Arc<T>` by the key that `K` picks.
pub struct SharedTable<T, K> {
    shards: Arc<[Arc<HashTable<Arc<T>>>]>,
    hasher: RandomState,
    len: usize,
    by: PhantomData<fn() -> K>,
}

/// Shards are a power of two; at a million entries one holds about 250.
const SHARDS: usize = 4096;

/// Where an entry stands in a table that does not change: a number that finds it without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// How many bits its number has.
    pub const BITS: u32 = 28;
    /// Those of the place within a shard.
    const WITHIN: u32 = Self::BITS - SHARDS.ilog2();

    pub fn number(self) -> u32 {
        self.0
    }

    /// The last bits of a number.
    pub fn of_number(number: u32) -> Self {
        Self(number & ((1 << Self::BITS) - 1))
    }
}

impl<T, K> Clone for SharedTable<T, K> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), hasher: self.hasher.clone(), len: self.len, by: PhantomData }
    }
}

impl<T, K> Default for SharedTable<T, K> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self {
            shards: (0..SHARDS).map(|_| empty.clone()).collect(),
            hasher: RandomState::default(),
            len: 0,
            by: PhantomData,
        }
    }
}

impl<T, K> std::fmt::Debug for SharedTable<T, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedTable({} entries)", self.len)
    }
}

impl<T, K: KeyOf<T>> SharedTable<T, K> {
    fn shard_of(hash: u64) -> usize {
        // The table inside a shard uses the top bits and the low bits; the middle is free for us.
        (hash >> 24) as usize & (SHARDS - 1)
    }

    /// Makes room for about so many more entries: a table that grows looks every entry up again, and each is somewhere else in memory.
    pub fn reserve(&mut self, more: usize) {
        let each = more.div_ceil(SHARDS);
        // Small tables grow in the cache.
        if each < 16 {
            return;
        }
        let hasher = self.hasher.clone();
        for shard in Arc::make_mut(&mut self.shards) {
            Arc::make_mut(shard).reserve(each, |there| hasher.hash_one(K::key(there)));
        }
    }

    pub fn get<Q>(&self, key: &Q) -> Option<&Arc<T>>
    where
        K::Key: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        let hash = self.hasher.hash_one(key);
        self.shards.get(Self::shard_of(hash))?.find(hash, |entry| K::key(entry).borrow() == key)
    }

    /// Where the entry with a key stands, until anything is put in or removed; copies have it at the same place. `None` too where its
    /// number would be too large.
    pub fn place<Q>(&self, key: &Q) -> Option<Place>
    where
        K::Key: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        let hash = self.hasher.hash_one(key);
        let shard = Self::shard_of(hash);
        let within = self.shards.get(shard)?.find_bucket_index(hash, |entry| K::key(entry).borrow() == key)?;
        let number = u32::try_from(shard << Place::WITHIN | within).ok()?;
        (within >> Place::WITHIN == 0).then_some(Place(number))
    }

    /// The entry at a place.
    pub fn at(&self, Place(number): Place) -> Option<&Arc<T>> {
        let within = number & ((1 << Place::WITHIN) - 1);
        self.shards.get((number >> Place::WITHIN) as usize)?.get_bucket(within as usize)
    }

    /// Puts an entry in, in place of the one with the same key, which is returned.
    pub fn insert(&mut self, entry: Arc<T>) -> Option<Arc<T>> {
        let hash = self.hasher.hash_one(K::key(&entry));
        let hasher = self.hasher.clone();
        let shard = self.shard_mut(hash)?;
        let old = match Arc::make_mut(shard).entry(
            hash,
            |there| K::key(there) == K::key(&entry),
            |there| hasher.hash_one(K::key(there)),
        ) {
            hashbrown::hash_table::Entry::Occupied(mut there) => Some(std::mem::replace(there.get_mut(), entry)),
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(entry);
                None
            }
        };
        self.len += usize::from(old.is_none());
        old
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<Arc<T>>
    where
        K::Key: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(self.shard_mut(hash)?);
        let found = shard.find_entry(hash, |entry| K::key(entry).borrow() == key).ok()?.remove().0;
        self.len -= 1;
        Some(found)
    }

    fn shard_mut(&mut self, hash: u64) -> Option<&mut Arc<HashTable<Arc<T>>>> {
        Arc::make_mut(&mut self.shards).get_mut(Self::shard_of(hash))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }
}

impl<T, K: KeyOf<T>> FromIterator<Arc<T>> for SharedTable<T, K> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut table = Self::default();
        table.reserve(entries.size_hint().0);
        for entry in entries {
            table.insert(entry);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct First;
    impl KeyOf<(String, u32)> for First {
        type Key = str;
        fn key(entry: &(String, u32)) -> &str {
            &entry.0
        }
    }

    #[test]
    fn room_changes_nothing_else() {
        let mut one: SharedTable<(String, u32), First> = (0..10_000).map(|n| Arc::new((format!("k{n}"), n))).collect();
        let two = one.clone();
        one.reserve(200_000);
        assert_eq!((one.len(), two.len()), (10_000, 10_000));
        assert!((0..10_000).all(|n| one.get(format!("k{n}").as_str()).is_some_and(|there| there.1 == n)));
        one.insert(Arc::new(("new".into(), 1)));
        assert!(two.get("new").is_none());
    }

    #[test]
    fn an_entry_is_found_by_its_place() {
        let table: SharedTable<(String, u32), First> = (0..50_000).map(|n| Arc::new((format!("k{n}"), n))).collect();
        let copy = table.clone();
        for n in 0..50_000 {
            let place = table.place(format!("k{n}").as_str()).unwrap();
            assert_eq!(Place::of_number(place.number()), place);
            assert_eq!([&table, &copy].map(|table| table.at(place).map(|entry| entry.1)), [Some(n); 2]);
        }
        assert!(table.place("other").is_none());
        assert!(SharedTable::<(String, u32), First>::default().at(Place::of_number(u32::MAX)).is_none());
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut one: SharedTable<(String, u32), First> = (0..10_000).map(|n| Arc::new((format!("k{n}"), n))).collect();
        let two = one.clone();
        assert_eq!(one.insert(Arc::new(("k7".into(), 700))).map(|old| old.1), Some(7));
        assert_eq!(one.remove("k8").map(|old| old.1), Some(8));
        assert!(one.remove("k8").is_none());
        assert_eq!((one.len(), two.len()), (9_999, 10_000));
        assert_eq!(one.get("k7").map(|e| e.1), Some(700));
        assert_eq!(two.get("k7").map(|e| e.1), Some(7));
        assert_eq!(two.get("k8").map(|e| e.1), Some(8));
        assert_eq!(one.iter().count(), 9_999);
    }
}
