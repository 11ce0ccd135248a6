//! Huge pages of memory, for a process that has use for them.
//!
//! The allocator asks the kernel for them, as a request whose token is one of thousands takes 3 % less time when tokens and consumers
//! lie in few large pages. But every thread takes whole ones from its first byte on, so that an idle process would have 15 MiB of which
//! it uses none. So they are held back until a client comes, or a configuration that is worth them. What was taken before that stays in
//! small pages, mostly.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// Files that are worth them, in bytes: some hundred consumers or tokens.
const WORTH_IT: u64 = 64 * 1024;

/// Whether this process has held them back; not where who started it did.
static HELD_BACK: AtomicBool = AtomicBool::new(false);

/// Asks the kernel to give none from now on. Where it does not let itself be asked, nothing changes.
pub fn hold_back() {
    if transparent_huge_pages_are_disabled().is_ok_and(|disabled| !disabled)
        && disable_transparent_huge_pages(true).is_ok()
    {
        HELD_BACK.store(true, Relaxed);
    }
}

/// Lets the kernel give them, if it was this process that asked for none. One comparison when that is done.
pub fn let_go() {
    if !HELD_BACK.load(Relaxed) || !HELD_BACK.swap(false, Relaxed) {
        return;
    }
    if let Err(error) = disable_transparent_huge_pages(false) {
        tracing::warn!(%error, "no huge pages: a request with one of many tokens takes some 3 % longer");
    }
}

/// As [`let_go`], before files are loaded, if there is enough in them.
pub fn let_go_for(files: &[PathBuf]) {
    if files.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum::<u64>() > WORTH_IT {
        let_go();
    }
}
