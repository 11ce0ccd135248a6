//! Lines that wait for the access log's writer.
//!
//! A serving thread writes a line where it is to lie, in a buffer that is its own as long as it does; the writer takes whole buffers and
//! gives emptied ones back. So a line is no allocation that another thread frees, and nobody waits: whose buffer is being taken
//! writes into another one. There is one more than there are processors; only where more threads than that write at the same moment,
//! so that some of them lost the processor in the middle of a line, does one wait for another's line. Knows nothing of what a line says.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::thread::Thread;

use parking_lot::{Mutex, MutexGuard};

use crate::calendar::Dates;

/// An empty buffer that has grown beyond this is given back to the allocator, in bytes.
const KEPT: usize = 1 << 20;

/// Lines of one thread.
#[derive(Default)]
pub(super) struct Lines {
    pub text: Vec<u8>,
    count: usize,
    pub dates: Dates,
}

/// On cache lines of its own, so that threads do not take them from each other.
#[derive(Default)]
#[repr(align(128))]
struct Place(Mutex<Lines>);

/// The lines of all threads.
pub(super) struct Waiting {
    places: Box<[Place]>,
    /// In each place.
    most: usize,
    /// Whether no place had room, since the writer last took what there was: nobody looks for room then.
    full: AtomicBool,
    /// Whether the writer waits to be woken.
    asleep: AtomicBool,
    writer: OnceLock<Thread>,
}

/// Which place is a thread's own.
fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Relaxed));
    OWN.try_with(|own| *own).unwrap_or_default()
}

impl Waiting {
    /// Room for about so many lines.
    pub fn new(most: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // One more than there are threads at once: while the writer has one, there is another.
        let places = (0..=threads).map(|_| Place::default()).collect();
        let (full, asleep) = Default::default();
        Self { places, most: most.div_ceil(threads).max(1), full, asleep, writer: OnceLock::new() }
    }

    /// Adds the line that `write` puts at the end of the text; `false` where too many wait, and there is none.
    pub fn add(&self, write: impl FnOnce(&mut Lines)) -> bool {
        let place = self.place();
        let added = place.is_some();
        if let Some(mut lines) = place {
            lines.count += 1;
            write(&mut lines);
        }
        // Either this sees that the writer sleeps, or the writer, which looks once more before it does, sees the line.
        fence(SeqCst);
        if self.asleep.load(Relaxed) {
            self.wake();
        }
        added
    }

    /// A place with room.
    fn place(&self) -> Option<MutexGuard<'_, Lines>> {
        if self.full.load(Relaxed) {
            return None;
        }
        let own = own() % self.places.len().max(1);
        let (before, from) = self.places.split_at_checked(own)?;
        let all = || from.iter().chain(before);
        let has_room = |lines: &MutexGuard<'_, Lines>| lines.count < self.most;
        // A busy thread has the room that others do not need.
        let free = all().find_map(|place| place.0.try_lock().filter(has_room));
        // Waits only where threads lost the processor in the middle of their lines, in all places that are not full.
        let free = free.or_else(|| all().map(|place| place.0.lock()).find(has_room));
        if free.is_none() {
            self.full.store(true, Relaxed);
        }
        free
    }

    /// Hands all lines over, place by place, with their number. For the writer.
    pub fn take(&self, spare: &mut Vec<u8>, mut each: impl FnMut(&[u8], usize)) {
        for place in &self.places {
            let count = {
                let mut lines = place.0.lock();
                std::mem::swap(&mut lines.text, spare);
                std::mem::take(&mut lines.count)
            };
            if count > 0 {
                each(spare, count);
            }
            spare.clear();
            spare.shrink_to(KEPT);
        }
        self.full.store(false, Relaxed);
    }

    /// Names the thread to be woken.
    pub fn written_by(&self, writer: Thread) {
        // There is one.
        let _ = self.writer.set(writer);
    }

    /// Sleeps until there are lines, or something else is to be done. For the writer.
    pub fn sleep(&self, is_idle: impl Fn() -> bool) {
        self.asleep.store(true, SeqCst);
        fence(SeqCst);
        if is_idle() && self.places.iter().all(|place| place.0.lock().count == 0) {
            std::thread::park();
        }
        self.asleep.store(false, Relaxed);
    }

    /// Wakes the writer.
    pub fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_none_is_lost_while_they_are_taken() {
        let waiting = Waiting::new(1 << 20);
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let waiting = &waiting;
                    scope.spawn(move || {
                        for n in 0..2000 {
                            let line = format!("{thread}:{n}\n");
                            assert!(waiting.add(|lines| lines.text.extend_from_slice(line.as_bytes())));
                        }
                    })
                })
                .collect();
            let mut spare = Vec::new();
            let mut take = |taken: &mut Vec<u8>| {
                waiting.take(&mut spare, |text, count| {
                    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), count);
                    taken.extend_from_slice(text);
                });
            };
            while threads.iter().any(|thread| !thread.is_finished()) {
                take(&mut taken);
            }
            take(&mut taken);
        });
        let mut lines: Vec<_> = std::str::from_utf8(&taken).unwrap().lines().collect();
        lines.sort_unstable();
        let mut expected: Vec<_> = (0..8).flat_map(|thread| (0..2000).map(move |n| format!("{thread}:{n}"))).collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_thread_has_the_room_of_all() {
        let waiting = Waiting::new(100);
        let added = (0..1000).filter(|_| waiting.add(|lines| lines.text.push(b'\n'))).count();
        assert!((100..300).contains(&added), "{added}");
        let mut count = 0;
        waiting.take(&mut Vec::new(), |_, lines| count += lines);
        assert_eq!(count, added);
        assert!(waiting.add(|lines| lines.text.push(b'\n')));
    }

    #[test]
    fn a_writer_that_sleeps_is_woken_by_each_line() {
        let waiting = Waiting::new(10);
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut spare = Vec::new();
                while done.load(SeqCst) < 500 {
                    waiting.take(&mut spare, |_, count| {
                        done.fetch_add(count, SeqCst);
                    });
                    if done.load(SeqCst) < 500 {
                        waiting.sleep(|| true);
                    }
                }
            });
            waiting.written_by(writer.thread().clone());
            for n in 0..500 {
                assert!(waiting.add(|lines| lines.text.push(b'\n')));
                while done.load(SeqCst) <= n {
                    std::thread::yield_now();
                }
            }
        });
    }
}
