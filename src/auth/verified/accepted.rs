//! Tokens that were accepted for a credential: whose each is, and from when until when its times allow it.
//!
//! Such a decision takes 32 bytes, where the token with what it says takes hundreds: so it is kept for many more, and a million of them
//! cost few places in memory each. The token itself is not kept, but a tag of 128 bits over all of it, under a key that this process drew
//! at random and never shows, as for signatures; what the decision was made from is part of the tag's nonce, so that one that was made
//! from anything else is not found.
//!
//! Consumer and credential are named by their places in the tables of the generation that decided: in another one the same places may be
//! anybody's, and its entries cannot be found.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::{Table, Tag};
use crate::shared_table::Place;

/// Seconds since the UNIX epoch: from the first until before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: u32,
    until: u32,
}

impl Window {
    /// From the first whole second that is not before `from` until before the first that is not before `until`. Times that are too far
    /// away make it shorter.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it ends where the numbers do")]
    pub fn new(from: f64, until: f64) -> Self {
        Self { from: from.ceil() as u32, until: until.ceil() as u32 }
    }

    pub fn contains(self, now: u64) -> bool {
        u64::from(self.from) <= now && now < u64::from(self.until)
    }
}

/// A token's acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub window: Window,
    pub credential: Place,
    pub consumer: Place,
}

/// Acceptances. Bounded; safe to share.
#[derive(Debug)]
pub(super) struct Acceptances {
    table: Table<2>,
    /// The newest generation that has decided anything.
    newest: AtomicU64,
}

/// The last bits of a generation's number, beside two places.
fn age(generation: u64) -> u64 {
    generation % (1 << (64 - 2 * Place::BITS))
}

impl Accepted {
    fn words(self, generation: u64) -> [u64; 2] {
        let times = u64::from(self.window.from) << 32 | u64::from(self.window.until);
        let places = u64::from(self.credential.number()) << Place::BITS | u64::from(self.consumer.number());
        [times, age(generation) << (2 * Place::BITS) | places]
    }

    #[expect(clippy::cast_possible_truncation, reason = "taken apart as it was put together")]
    fn of([times, places]: [u64; 2]) -> Self {
        let place = |shift: u32| Place::of_number((places >> shift) as u32);
        Self {
            window: Window { from: (times >> 32) as u32, until: times as u32 },
            credential: place(Place::BITS),
            consumer: place(0),
        }
    }
}

impl Acceptances {
    /// For at most so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { table: Table::new(bytes), newest: AtomicU64::new(0) }
    }

    /// Most memory that it takes.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    pub fn get(&self, tag: &Tag) -> Option<Accepted> {
        self.table.get(tag).map(Accepted::of)
    }

    /// Keeps what a generation decided, unless there is a newer one: what older ones decided will be asked for no more.
    pub fn put(&self, tag: &Tag, accepted: Accepted, generation: u64) {
        let newest = self.newest.fetch_max(generation, Relaxed);
        if newest > generation {
            return;
        }
        if newest < generation {
            self.table.all_stale();
        }
        let age = age(generation);
        self.table.put(tag, &accepted.words(generation), |[_, places]| places >> (2 * Place::BITS) != age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_is_taken_apart_again() {
        let most = (1 << Place::BITS) - 1;
        for (from, until, credential, consumer) in
            [(0, 0, 0, 0), (1, 2, 3, 4), (u32::MAX, u32::MAX, most, most), (0, u32::MAX, 0, most), (7, 0, most, 0)]
        {
            let [credential, consumer] = [credential, consumer].map(Place::of_number);
            let accepted = Accepted { window: Window { from, until }, credential, consumer };
            for generation in [0, 1, 255, 256, u64::MAX] {
                assert_eq!(Accepted::of(accepted.words(generation)), accepted);
            }
        }
    }

    #[test]
    fn a_window_is_of_whole_seconds() {
        let window = Window::new(9.5, 20.0);
        assert_eq!([9, 10, 19, 20].map(|now| window.contains(now)), [false, true, true, false]);
        assert!(Window::new(0.0, 19.1).contains(19));
        let always = Window::new(f64::NEG_INFINITY, f64::INFINITY);
        assert!(always.contains(0) && always.contains(4_000_000_000) && !always.contains(u64::from(u32::MAX)));
        assert!(!Window::new(1e300, f64::INFINITY).contains(4_000_000_000));
        assert!(!Window::new(0.0, -5.0).contains(0));
    }

    #[test]
    fn an_older_generation_has_no_say_any_more() {
        let acceptances = Acceptances::new(1 << 16);
        let accepted = |n| Accepted {
            window: Window::new(0.0, 10.0),
            credential: Place::of_number(n),
            consumer: Place::of_number(n),
        };
        let tag = |n: u8| [n; 16];
        acceptances.put(&tag(1), accepted(1), 1);
        assert_eq!(acceptances.get(&tag(1)), Some(accepted(1)));
        acceptances.put(&tag(2), accepted(2), 2);
        acceptances.put(&tag(3), accepted(3), 1);
        assert_eq!((acceptances.get(&tag(2)), acceptances.get(&tag(3))), (Some(accepted(2)), None));
    }
}
