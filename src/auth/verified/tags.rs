//! A bounded set of tags that threads read and write without a lock. What a tag stands for is the caller's affair.
//!
//! Four tags in a line of the processor's cache, in pages that are made when something first falls into them: asking costs one place in
//! memory, and remembering what was not there costs no other. In a full line a newcomer takes the place of any of the four: that is
//! not the best choice, but a tag takes 16 bytes where a list of who came when takes seven times as much.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Uniformly distributed; nobody but this process can make one.
pub type Tag = [u8; 16];

/// Memory of one tag, in bytes.
pub const TAG_BYTES: usize = size_of::<Tag>();

const WAYS: usize = 4;
const LINES: usize = 64;

/// The halves of a tag; both 0 where there is none. They are written one after the other: who reads between finds a tag that nobody made.
#[derive(Debug, Default)]
struct Place([AtomicU64; 2]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Place; WAYS]);

#[derive(Debug)]
struct Page {
    lines: [Line; LINES],
    filled: AtomicUsize,
}

#[derive(Debug)]
pub struct Tags {
    pages: Box<[OnceLock<Box<Page>>]>,
}

/// A tag's two halves. The one of 2^128 that would look like an empty place becomes another.
fn halves(tag: &Tag) -> [u64; 2] {
    let both = u128::from_le_bytes(*tag).max(1);
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    [both as u64, (both >> 64) as u64]
}

impl Place {
    fn get(&self) -> [u64; 2] {
        [self.0[0].load(Relaxed), self.0[1].load(Relaxed)]
    }

    fn set(&self, [low, high]: [u64; 2]) {
        self.0[0].store(low, Relaxed);
        self.0[1].store(high, Relaxed);
    }
}

impl Default for Page {
    fn default() -> Self {
        Self {
            lines: [const { Line([const { Place([const { AtomicU64::new(0) }; 2]) }; WAYS]) }; LINES],
            filled: AtomicUsize::new(0),
        }
    }
}

impl Tags {
    /// For tags of about so many bytes together; of one page at least.
    pub fn new(bytes: usize) -> Self {
        let pages = (bytes / TAG_BYTES / WAYS / LINES).max(1);
        Self { pages: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    /// The page, line and way that a tag falls into.
    #[expect(clippy::cast_possible_truncation, reason = "each is less than what it is a remainder by")]
    fn place(&self, [low, high]: [u64; 2]) -> (&OnceLock<Box<Page>>, usize, usize) {
        let page = ((u128::from(high) * self.pages.len() as u128) >> 64) as usize;
        (&self.pages[page], (low % LINES as u64) as usize, (low >> 32) as usize % WAYS)
    }

    /// Whether it was put in, and is still there.
    pub fn has(&self, tag: &Tag) -> bool {
        let halves = halves(tag);
        let (page, line, _) = self.place(halves);
        page.get().is_some_and(|page| page.lines[line].0.iter().any(|place| place.get() == halves))
    }

    /// Waits for nobody, unless another thread is just making the same page.
    pub fn put(&self, tag: &Tag) {
        let halves = halves(tag);
        let (page, line, way) = self.place(halves);
        let page = page.get_or_init(Box::default);
        let places = &page.lines[line].0;
        if places.iter().any(|place| place.get() == halves) {
            return;
        }
        if let Some(empty) = places.iter().find(|place| place.get() == [0, 0]) {
            empty.set(halves);
            page.filled.fetch_add(1, Relaxed);
        } else {
            places[way].set(halves);
        }
    }

    /// How many there are. Threads that fill one place at a time count it twice.
    pub fn len(&self) -> usize {
        self.pages.iter().filter_map(OnceLock::get).map(|page| page.filled.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As good as random.
    fn tag(n: u64) -> Tag {
        let half = |n: u64| (n.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mix = |n: u64| half(half(n) ^ (half(n) >> 31));
        (u128::from(mix(n)) << 64 | u128::from(mix(!n) ^ (mix(!n) >> 29))).to_le_bytes()
    }

    #[test]
    fn what_was_put_in_is_there_and_nothing_else() {
        let tags = Tags::new(1 << 20);
        for n in 0..20_000 {
            assert!(!tags.has(&tag(n)), "{n}");
            tags.put(&tag(n));
            assert!(tags.has(&tag(n)), "{n}");
        }
        let there = (0..20_000).filter(|n| tags.has(&tag(*n))).count();
        // A line of four that gets a fifth loses one: few do while a third of all places is taken.
        assert_eq!(there, tags.len());
        assert!(there > 19_500, "{there}");
    }

    #[test]
    fn a_full_set_forgets_and_grows_no_further() {
        let tags = Tags::new(1);
        for n in 0..10_000 {
            tags.put(&tag(n));
            assert!(tags.has(&tag(n)), "the newest is always there");
        }
        assert_eq!(tags.len(), WAYS * LINES);
        assert_eq!((0..10_000).filter(|n| tags.has(&tag(*n))).count(), WAYS * LINES);
    }

    #[test]
    fn nothing_is_no_tag() {
        let tags = Tags::new(1);
        assert!(!tags.has(&[0; 16]));
        tags.put(&[0; 16]);
        assert!(tags.has(&[0; 16]));
        assert_eq!(size_of::<Line>(), 64);
    }

    #[test]
    fn threads_find_only_what_one_of_them_put_in() {
        let tags = Tags::new(1);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let tags = &tags;
                scope.spawn(move || {
                    for n in (0..20_000).map(|n| n * 4 + thread) {
                        tags.put(&tag(n));
                        assert!(!tags.has(&tag(n + 1_000_000)));
                    }
                });
            }
        });
    }
}
