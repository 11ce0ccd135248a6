//! A bounded set of tags that threads read and write without a lock. What a tag stands for is the caller's affair.
//!
//! Four tags in a line of the processor's cache, in pages: asking costs one place in memory, and remembering what was not there costs no
//! other. It begins with one page and doubles when half of what it has is taken, so that few tags lie together; a page that is
//! new takes its tags out of the one that they were in when it is first asked for. In a full line a newcomer takes the place of any of
//! the four: that is not the best choice, but a tag takes 16 bytes where a list of who came when takes seven times as much. Which one is
//! drawn anew each time: two that always took each other's place would never be found, however often they came in turn.
//!
//! Two threads at one place may lose a tag between them, and what it stands for is found out once more; they never make one.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Uniformly distributed; nobody but this process can make one.
pub type Tag = [u8; 16];

const WAYS: usize = 4;
const LINES: usize = 64;

/// The halves of a tag; both 0 where there is none. They are written one after the other: who reads between finds a tag that nobody made.
#[derive(Debug, Default)]
struct Place([AtomicU64; 2]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Place; WAYS]);

#[derive(Debug)]
struct Page([Line; LINES]);

/// The set. Bounded; safe to share.
#[derive(Debug)]
pub struct Tags {
    /// As many as a power of two; made when something first falls into them.
    pages: Box<[OnceLock<Box<Page>>]>,
    /// How many are in use: a power of two.
    used: AtomicUsize,
    len: AtomicUsize,
}

/// A tag's two halves. The one of 2^128 that would look like an empty place becomes another.
fn halves(tag: &Tag) -> [u64; 2] {
    let both = u128::from_le_bytes(*tag).max(1);
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    [both as u64, (both >> 64) as u64]
}

/// One of the places of a line, each as often as any other and in no order that tokens could come in.
fn any_way() -> usize {
    thread_local! {
        static DRAWN: Cell<u32> = const { Cell::new(0) };
    }
    // Knuth's and Lewis's constants; the highest bits of such a sequence are its best.
    let drawn = DRAWN.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    DRAWN.set(drawn);
    (drawn >> 16) as usize % WAYS
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
        Self([const { Line([const { Place([const { AtomicU64::new(0) }; 2]) }; WAYS]) }; LINES])
    }
}

impl Tags {
    /// For tags of at most so many bytes together; of one page at least.
    pub fn new(bytes: usize) -> Self {
        let pages = 1 << (bytes / size_of::<Page>()).max(1).ilog2();
        Self {
            pages: (0..pages).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(1),
            len: AtomicUsize::new(0),
        }
    }

    /// Most memory that it takes.
    pub fn bytes(&self) -> usize {
        self.pages.len() * size_of::<Page>()
    }

    /// A page. One that is new takes its tags out of the one whose number lacks the highest bit of its own: there they were before it doubled.
    fn page(&self, number: usize) -> Option<&Page> {
        let page = self.pages.get(number)?;
        let split = || {
            let own = Page::default();
            let Some(bit) = number.checked_ilog2() else { return Box::new(own) };
            let bit = 1 << bit;
            let from = self.page(number - bit).into_iter().flat_map(|page| &page.0);
            for (place, own) in from.zip(&own.0).flat_map(|(line, own)| line.0.iter().zip(&own.0)) {
                let halves = place.get();
                if halves[1] & bit as u64 != 0 {
                    own.set(halves);
                    place.set([0, 0]);
                }
            }
            Box::new(own)
        };
        Some(page.get_or_init(split))
    }

    /// The line that a tag falls into, where so many pages are used.
    #[expect(clippy::cast_possible_truncation, reason = "their last bits are taken")]
    fn line(&self, [low, high]: [u64; 2], used: usize) -> Option<&Line> {
        self.page(high as usize & (used - 1))?.0.get(low as usize % LINES)
    }

    /// Whether it was put in, and is still there.
    pub fn has(&self, tag: &Tag) -> bool {
        let halves = halves(tag);
        let line = self.line(halves, self.used.load(Relaxed));
        line.is_some_and(|line| line.0.iter().any(|place| place.get() == halves))
    }

    /// Waits for nobody, unless another thread is just making the same page.
    pub fn put(&self, tag: &Tag) {
        let halves = halves(tag);
        let used = self.used.load(Relaxed);
        let Some(Line(places)) = self.line(halves, used) else { return };
        if places.iter().any(|place| place.get() == halves) {
            return;
        }
        if let Some(empty) = places.iter().find(|place| place.get() == [0, 0]) {
            empty.set(halves);
            let len = self.len.fetch_add(1, Relaxed) + 1;
            if used < self.pages.len() && len * 2 > used * WAYS * LINES {
                // Another thread may have doubled it meanwhile.
                let _ = self.used.compare_exchange(used, used * 2, Relaxed, Relaxed);
            }
        } else if let Some(place) = places.get(any_way()) {
            place.set(halves);
        }
    }

    /// How many there are. A place that two threads fill at a time is counted twice.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
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
        // A line of four that gets a fifth loses one; half of all places are taken before there are more.
        let there = (0..20_000).filter(|n| tags.has(&tag(*n))).count();
        assert!((18_000..20_000).contains(&there), "{there}");
        assert_eq!(tags.len(), there);
        assert_eq!(tags.used.load(Relaxed), 256);
    }

    /// Once found, whoever asks keeps a token itself and asks for its tag no more.
    #[test]
    fn all_that_come_in_turn_are_found_before_long() {
        for (bytes, count) in [(1, 100), (1 << 24, 1_000), (1 << 24, 10_000), (1 << 24, 300_000)] {
            let tags = Tags::new(bytes);
            let mut waiting: Vec<u64> = (0..count).collect();
            for round in 0..12 {
                waiting.retain(|n| {
                    let found = tags.has(&tag(*n));
                    tags.put(&tag(*n));
                    !found
                });
                // Few of those that fit lose their place before they come again.
                assert!(round != 1 || waiting.len() as u64 <= count / 10, "{} of {count}", waiting.len());
            }
            assert!(waiting.is_empty(), "{} of {count}", waiting.len());
        }
    }

    #[test]
    fn a_page_is_found_whichever_is_asked_for_first() {
        for last_first in [false, true] {
            let tags = Tags::new(16 * 4096);
            (0..100).for_each(|n| tags.put(&tag(n)));
            // Doubled four times before anything was asked for.
            tags.used.store(16, Relaxed);
            let mut numbers: Vec<_> = (0..16).collect();
            if last_first {
                numbers.reverse();
            }
            numbers.iter().for_each(|number| assert!(tags.page(*number).is_some()));
            let there = (0..100).filter(|n| tags.has(&tag(*n))).count();
            assert_eq!(there, tags.len());
            assert!(there > 95, "{there}");
        }
    }

    #[test]
    fn a_few_tags_take_one_page_and_many_no_more_than_there_are() {
        let pages = |tags: &Tags| tags.pages.iter().filter(|page| page.get().is_some()).count();
        let tags = Tags::new(100_000);
        assert_eq!((tags.bytes(), pages(&tags)), (16 * 4096, 0));
        for n in 0..128 {
            tags.put(&tag(n));
        }
        assert_eq!(pages(&tags), 1);
        for n in 0..20_000 {
            tags.put(&tag(n));
            assert!(tags.has(&tag(n)), "the newest is always there");
        }
        assert_eq!((tags.len(), pages(&tags)), (16 * WAYS * LINES, 16));
        assert_eq!(Tags::new(0).bytes(), size_of::<Page>());
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
                    let mut found = 0;
                    for n in (0..20_000).map(|n| n * 4 + thread) {
                        tags.put(&tag(n));
                        found += u32::from(tags.has(&tag(n)));
                        assert!(!tags.has(&tag(n + 1_000_000)));
                    }
                    // Another thread may have taken its place at once.
                    assert!(found > 10_000, "{found}");
                });
            }
        });
    }
}
