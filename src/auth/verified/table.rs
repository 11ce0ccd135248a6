//! A bounded table by tags that threads read and write without a lock. What a tag stands for is the caller's affair, and what the words
//! beside it say; a table without any is a set.
//!
//! Four places lie together, in one line of the processor's cache or two, and lines in pages: asking costs one place in memory, and
//! remembering what was not there costs no other. It begins with one page and doubles when half of what it has is taken, so that a few
//! tags lie together; a page that is new takes its tags out of the one that they were in when it is first asked for. In a full line a
//! newcomer takes the place of one that is of no more use, or else of any of the four: that is not the best choice, but a tag takes 16
//! bytes where a list of who came when takes seven times as much. Which one is drawn anew each time: two that always took each other's
//! place would never be found, however often they came in turn.
//!
//! Two threads at one place may lose a tag between them, and what it stands for is found out once more; they never make one, nor give
//! one the words of another: tag and words are written one after the other, and each half of a tag is masked with a hash of the words
//! under it, so that what was torn fits no tag that anybody asks for (but by one chance in 2^64).

use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use foldhash::quality::RandomState;

/// Uniformly distributed; nobody but this process can make one.
pub type Tag = [u8; 16];

/// A tag's two halves; never both 0.
type Halves = [u64; 2];

const WAYS: usize = 4;
const LINES: usize = 64;

/// The halves of a tag, masked, and its words; both halves are 0 where there is none.
#[derive(Debug)]
struct Place<const WORDS: usize>([AtomicU64; 2], [AtomicU64; WORDS]);

#[derive(Debug)]
#[repr(align(64))]
struct Line<const WORDS: usize>([Place<WORDS>; WAYS]);

#[derive(Debug)]
struct Page<const WORDS: usize>([Line<WORDS>; LINES]);

/// What the halves of a tag are masked with, by the words beside them.
#[derive(Debug, Default)]
struct Masks([RandomState; 2]);

/// The table. Bounded; safe to share.
#[derive(Debug)]
pub struct Table<const WORDS: usize> {
    /// As many as a power of two; made when something first falls into them.
    pages: Box<[OnceLock<Box<Page<WORDS>>>]>,
    /// How many are in use: a power of two.
    used: AtomicUsize,
    len: AtomicUsize,
    masks: Masks,
}

/// A tag's halves. The one of 2^128 that would look like an empty place becomes another.
fn halves(tag: &Tag) -> Halves {
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

impl<const WORDS: usize> Place<WORDS> {
    const fn empty() -> Self {
        Self([const { AtomicU64::new(0) }; 2], [const { AtomicU64::new(0) }; WORDS])
    }

    fn read(&self) -> (Halves, [u64; WORDS]) {
        (self.0.each_ref().map(|half| half.load(Relaxed)), self.1.each_ref().map(|word| word.load(Relaxed)))
    }

    /// The tag and its words, if it is not empty.
    fn get(&self, masks: &Masks) -> Option<(Halves, [u64; WORDS])> {
        let ([low, high], words) = self.read();
        (low | high != 0).then(|| ([low ^ masks.low(&words), high ^ masks.high(&words)], words))
    }

    /// The words, if they are this tag's.
    fn of(&self, masks: &Masks, tag: Halves) -> Option<[u64; WORDS]> {
        let ([low, high], words) = self.read();
        (low ^ masks.low(&words) == tag[0] && high ^ masks.high(&words) == tag[1]).then_some(words)
    }

    fn set(&self, masks: &Masks, [low, high]: Halves, words: &[u64; WORDS]) {
        self.0[0].store(low ^ masks.low(words), Relaxed);
        for (place, word) in self.1.iter().zip(words) {
            place.store(*word, Relaxed);
        }
        self.0[1].store(high ^ masks.high(words), Relaxed);
    }

    fn clear(&self) {
        self.0.iter().for_each(|half| half.store(0, Relaxed));
    }
}

impl Masks {
    fn low<const WORDS: usize>(&self, words: &[u64; WORDS]) -> u64 {
        if WORDS == 0 { 0 } else { self.0[0].hash_one(words) }
    }

    fn high<const WORDS: usize>(&self, words: &[u64; WORDS]) -> u64 {
        if WORDS == 0 { 0 } else { self.0[1].hash_one(words) }
    }
}

impl<const WORDS: usize> Default for Page<WORDS> {
    fn default() -> Self {
        Self([const { Line([const { Place::empty() }; WAYS]) }; LINES])
    }
}

impl<const WORDS: usize> Table<WORDS> {
    /// For at most so many bytes together; of one page at least.
    pub fn new(bytes: usize) -> Self {
        let pages = 1 << (bytes / size_of::<Page<WORDS>>()).max(1).ilog2();
        Self {
            pages: (0..pages).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(1),
            len: AtomicUsize::new(0),
            masks: Masks::default(),
        }
    }

    /// Most memory that it takes.
    pub fn bytes(&self) -> usize {
        self.pages.len() * size_of::<Page<WORDS>>()
    }

    /// A page. One that is new takes its tags out of the one whose number lacks the highest bit of its own: there they were before it doubled.
    fn page(&self, number: usize) -> Option<&Page<WORDS>> {
        let page = self.pages.get(number)?;
        let split = || {
            let own = Page::default();
            let Some(bit) = number.checked_ilog2() else { return Box::new(own) };
            let bit = 1 << bit;
            let from = self.page(number - bit).into_iter().flat_map(|page| &page.0);
            for (place, own) in from.zip(&own.0).flat_map(|(line, own)| line.0.iter().zip(&own.0)) {
                if let Some((halves, words)) = place.get(&self.masks)
                    && halves[1] & bit as u64 != 0
                {
                    own.set(&self.masks, halves, &words);
                    place.clear();
                }
            }
            Box::new(own)
        };
        Some(page.get_or_init(split))
    }

    /// The line that a tag falls into, where so many pages are used.
    #[expect(clippy::cast_possible_truncation, reason = "their last bits are taken")]
    fn line(&self, [low, high]: Halves, used: usize) -> Option<&Line<WORDS>> {
        self.page(high as usize & (used - 1))?.0.get(low as usize % LINES)
    }

    /// The words of a tag that was put in, if it is still there.
    pub fn get(&self, tag: &Tag) -> Option<[u64; WORDS]> {
        let halves = halves(tag);
        let Line(places) = self.line(halves, self.used.load(Relaxed))?;
        places.iter().find_map(|place| place.of(&self.masks, halves))
    }

    /// Waits for nobody, unless another thread is just making the same page. `is_stale`: whether what has such words is of no more use.
    pub fn put(&self, tag: &Tag, words: &[u64; WORDS], is_stale: impl Fn(&[u64; WORDS]) -> bool) {
        let halves = halves(tag);
        let used = self.used.load(Relaxed);
        let Some(Line(places)) = self.line(halves, used) else { return };
        let there = places.each_ref().map(|place| place.get(&self.masks));
        let place = |is_it: &dyn Fn(&Option<(Halves, [u64; WORDS])>) -> bool| {
            there.iter().zip(places).find(|(there, _)| is_it(there)).map(|(_, place)| place)
        };
        if let Some(own) = place(&|there| there.is_some_and(|(tag, _)| tag == halves)) {
            own.set(&self.masks, halves, words);
        } else if let Some(free) = place(&|there| there.is_none_or(|(_, words)| is_stale(&words))) {
            free.set(&self.masks, halves, words);
            let len = self.len.fetch_add(1, Relaxed) + 1;
            if used < self.pages.len() && len * 2 > used * WAYS * LINES {
                // Another thread may have doubled it meanwhile.
                let _ = self.used.compare_exchange(used, used * 2, Relaxed, Relaxed);
            }
        } else if let Some(place) = places.get(any_way()) {
            place.set(&self.masks, halves, words);
        }
    }

    /// Counts from nothing: all that there is has become of no more use.
    pub fn all_stale(&self) {
        self.len.store(0, Relaxed);
    }

    /// How many there are that are of use. A place that two threads fill at a time is counted twice.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Set = Table<0>;

    fn put(tags: &Set, tag: Tag) {
        tags.put(&tag, &[], |_| false);
    }

    fn has(tags: &Set, tag: Tag) -> bool {
        tags.get(&tag).is_some()
    }

    /// As good as random.
    fn tag(n: u64) -> Tag {
        let half = |n: u64| (n.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mix = |n: u64| half(half(n) ^ (half(n) >> 31));
        (u128::from(mix(n)) << 64 | u128::from(mix(!n) ^ (mix(!n) >> 29))).to_le_bytes()
    }

    #[test]
    fn what_was_put_in_is_there_and_nothing_else() {
        let tags = Set::new(1 << 20);
        for n in 0..20_000 {
            assert!(!has(&tags, tag(n)), "{n}");
            put(&tags, tag(n));
            assert!(has(&tags, tag(n)), "{n}");
        }
        // A line of four that gets a fifth loses one; half of all places are taken before there are more.
        let there = (0..20_000).filter(|n| has(&tags, tag(*n))).count();
        assert!((18_000..20_000).contains(&there), "{there}");
        assert_eq!(tags.len(), there);
        assert_eq!(tags.used.load(Relaxed), 256);
    }

    /// Once found, whoever asks keeps a token itself and asks for its tag no more.
    #[test]
    fn all_that_come_in_turn_are_found_before_long() {
        for (bytes, count) in [(1, 100), (1 << 24, 1_000), (1 << 24, 10_000), (1 << 24, 300_000)] {
            let tags = Set::new(bytes);
            let mut waiting: Vec<u64> = (0..count).collect();
            for round in 0..12 {
                waiting.retain(|n| {
                    let found = has(&tags, tag(*n));
                    put(&tags, tag(*n));
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
            let tags = Set::new(16 * 4096);
            (0..100).for_each(|n| put(&tags, tag(n)));
            // Doubled four times before anything was asked for.
            tags.used.store(16, Relaxed);
            let mut numbers: Vec<_> = (0..16).collect();
            if last_first {
                numbers.reverse();
            }
            numbers.iter().for_each(|number| assert!(tags.page(*number).is_some()));
            let there = (0..100).filter(|n| has(&tags, tag(*n))).count();
            assert_eq!(there, tags.len());
            assert!(there > 95, "{there}");
        }
    }

    #[test]
    fn a_few_tags_take_one_page_and_many_no_more_than_there_are() {
        let pages = |tags: &Set| tags.pages.iter().filter(|page| page.get().is_some()).count();
        let tags = Set::new(100_000);
        assert_eq!((tags.bytes(), pages(&tags)), (16 * 4096, 0));
        for n in 0..128 {
            put(&tags, tag(n));
        }
        assert_eq!(pages(&tags), 1);
        for n in 0..20_000 {
            put(&tags, tag(n));
            assert!(has(&tags, tag(n)), "the newest is always there");
        }
        assert_eq!((tags.len(), pages(&tags)), (16 * WAYS * LINES, 16));
        assert_eq!(Set::new(0).bytes(), size_of::<Page<0>>());
    }

    #[test]
    fn nothing_is_no_tag() {
        let tags = Set::new(1);
        assert!(!has(&tags, [0; 16]));
        put(&tags, [0; 16]);
        assert!(has(&tags, [0; 16]));
        assert_eq!((size_of::<Line<0>>(), size_of::<Line<2>>()), (64, 128));
    }

    #[test]
    fn a_tag_has_its_words_until_it_gets_others() {
        let table = Table::<2>::new(1 << 20);
        let words = |n: u64| [n, !n];
        for n in 0..10_000 {
            assert_eq!(table.get(&tag(n)), None);
            table.put(&tag(n), &words(n), |_| false);
            assert_eq!(table.get(&tag(n)), Some(words(n)));
        }
        let there =
            (0..10_000).filter(|n| table.get(&tag(*n)).map(|found| assert_eq!(found, words(*n))).is_some()).count();
        assert!(there > 9_000, "{there}");
        let len = table.len();
        table.put(&tag(9_999), &words(1), |_| true);
        assert_eq!((table.get(&tag(9_999)), table.len()), (Some(words(1)), len), "in place of its own");
    }

    #[test]
    fn what_is_stale_makes_room_and_does_not_count() {
        let table = Table::<2>::new(1 << 20);
        for age in 0..50 {
            table.all_stale();
            let numbers = age * 1_000..(age + 1) * 1_000;
            for n in numbers.clone() {
                table.put(&tag(n), &[age, n], |[other, _]| *other != age);
            }
            let there = numbers.filter(|n| table.get(&tag(*n)).is_some()).count();
            assert!(there > 900, "{there} of age {age}");
        }
        assert_eq!(table.used.load(Relaxed), 8, "as many pages as for those of one age");
    }

    #[test]
    fn threads_that_write_one_place_give_no_tag_the_words_of_another() {
        let table = Table::<2>::new(1);
        // All of them in few lines.
        let tag = |n: u64| {
            let mut tag = tag(n);
            tag[0] &= 0xc0;
            tag
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for n in 0..200_000_u64 {
                        let (own, other) = ((n + thread) % 16, (n * 7 + thread) % 16);
                        // Their own words, and others from turn to turn that belong together.
                        table.put(&tag(own), &[own << 32 | n, own << 32 | n], |_| false);
                        if let Some([one, two]) = table.get(&tag(other)) {
                            assert_eq!((one, one >> 32), (two, other));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn threads_find_only_what_one_of_them_put_in() {
        let tags = Set::new(1);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let tags = &tags;
                scope.spawn(move || {
                    let mut found = 0;
                    for n in (0..20_000).map(|n| n * 4 + thread) {
                        put(tags, tag(n));
                        found += u32::from(has(tags, tag(n)));
                        assert!(!has(tags, tag(n + 1_000_000)));
                    }
                    // Another thread may have taken its place at once.
                    assert!(found > 10_000, "{found}");
                });
            }
        });
    }
}
