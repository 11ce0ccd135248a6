//! Work beside the requests: building snapshots, comparing and freeing them.
//!
//! Such work takes seconds with a million consumers, and a processor that is at it makes requests wait. It is done by threads of its
//! own, which give way to those that serve.

use std::thread::Builder;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How much less of a processor they get while others want it, too: a third of an even share (`nice 5`).
const NICENESS: i32 = 5;
const NICEST: i32 = 19;

/// The thread could not be had, or what it did panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread ended before its work was done")]
pub struct Ended;

/// Does blocking work on a thread of its own.
///
/// # Errors
/// When there is no thread to be had; then nothing was done.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let runtime = Handle::try_current();
    let work = move || {
        // What is built may start tasks.
        let _within = runtime.as_ref().map(Handle::enter);
        // Where the system forbids it, it is only slower for others.
        let own = rustix::process::getpriority_process(None).unwrap_or_default();
        let _ = rustix::process::setpriority_process(None, (own + NICENESS).min(NICEST));
        work();
    };
    Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Does blocking work on a thread of its own, and waits for what comes of it.
///
/// # Errors
/// When there is no thread to be had, or the work panics.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    let (done, waiting) = oneshot::channel();
    let work = move || {
        // Who asked may have gone.
        let _ = done.send(work());
    };
    spawn(name, work).map_err(|_| Ended)?;
    waiting.await.map_err(|_| Ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_gives_way_and_tells_what_came_of_it() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let (name, niceness) =
            run("aside", move || (std::thread::current().name().map(str::to_owned), own())).await.unwrap();
        assert_eq!(name.as_deref(), Some("aside"));
        // Also in a process that gives way itself.
        assert_eq!(niceness, (before + NICENESS).min(NICEST));
        assert_eq!(own(), before, "this one does not");
        let started = run("within", || Handle::try_current().is_ok()).await;
        assert_eq!(started, Ok(true), "tasks can be started there");
    }

    #[tokio::test]
    async fn a_panic_is_no_answer() {
        assert_eq!(run("broken", || panic!("as it should")).await, Err::<(), _>(Ended));
    }
}
