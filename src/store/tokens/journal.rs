//! An append-only file of what happened to tokens, one JSON object a line.
//!
//! Writes of several callers go to the disk together and are acknowledged once they are there. A last line that a crash cut
//! short is left out; any other line that cannot be read keeps the file from being used. Tokens stand in it as digests.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::auth::oauth2::store::{Code, Digest, Spare, Token};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: line {line} cannot be read: {error}; move the file away to start without the tokens in it", path.display())]
    Line { path: PathBuf, line: usize, error: serde_json::Error },
    #[error("the token file's writer has ended")]
    Ended,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    Issue(Token),
    Rotate(Digest, Token),
    Code(Code),
    Redeem(Digest),
    RevokeIssuedFor(Digest, Spare),
}

type Acknowledge = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Shared with the writer, which swaps it when the file is written anew.
    file: Arc<Mutex<File>>,
    queue: mpsc::Sender<(Vec<u8>, Acknowledge)>,
    lines: Arc<AtomicUsize>,
    /// Whether the last line was cut short when the file was opened.
    torn: AtomicBool,
}

/// The file is written anew when it has this many lines more than twice what it needs.
const SLACK: usize = 10_000;

impl Journal {
    /// Opens or creates the file and hands every entry in it to `replay`.
    ///
    /// # Errors
    /// When it cannot be read, or a line in it.
    pub fn open(path: &Path, mut replay: impl FnMut(Entry)) -> Result<Self, JournalFault> {
        let io_fault = |error| JournalFault::Io { path: path.to_owned(), error };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io_fault)?;
        }
        let file = private(OpenOptions::new().read(true).append(true).create(true)).open(path).map_err(io_fault)?;
        let mut reader = BufReader::new(&file);
        let (mut text, mut line, mut torn) = (String::new(), 0, false);
        while reader.read_line(&mut text).map_err(io_fault)? > 0 {
            line += 1;
            match serde_json::from_str(text.trim_end()) {
                Ok(entry) => replay(entry),
                Err(_) if !text.ends_with('\n') => {
                    tracing::warn!(path = %path.display(), "the last line was cut short by a crash");
                    torn = true;
                }
                Err(error) => return Err(JournalFault::Line { path: path.to_owned(), line, error }),
            }
            text.clear();
        }
        drop(reader);
        let file = Arc::new(Mutex::new(file));
        let (queue, waiting) = mpsc::channel();
        let there = file.clone();
        std::thread::Builder::new()
            .name("tokens".into())
            .spawn(move || write_all(&there, &waiting))
            .map_err(io_fault)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            queue,
            lines: Arc::new(AtomicUsize::new(line)),
            torn: AtomicBool::new(torn),
        })
    }

    /// Appends an entry; returns when it is on the disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn append(&self, entry: Entry) -> Result<(), JournalFault> {
        let io_fault = |error| JournalFault::Io { path: self.path.clone(), error };
        let (done, acknowledged) = oneshot::channel();
        self.queue.send((line_of(&entry).map_err(io_fault)?, done)).map_err(|_| JournalFault::Ended)?;
        self.lines.fetch_add(1, Ordering::Relaxed);
        match acknowledged.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io_fault(io::Error::other(error))),
            Err(_) => Err(JournalFault::Ended),
        }
    }

    /// Whether the file is to be written anew: it holds much more than `live` entries need, or ends in half a line.
    pub fn wants_rewriting(&self, live: usize) -> bool {
        self.torn.load(Ordering::Relaxed) || self.lines.load(Ordering::Relaxed) > 2 * live + SLACK
    }

    /// Replaces the file by one that holds these entries.
    ///
    /// # Errors
    /// When that cannot be written; the old file then stays in use.
    pub fn rewrite(&self, entries: Vec<Entry>) -> Result<(), JournalFault> {
        let io_fault = |error| JournalFault::Io { path: self.path.clone(), error };
        // No write is under way while the lock is held, so none is lost between the two files.
        let mut current = self.file.lock();
        let fresh_path = self.path.with_extension("new");
        let mut fresh =
            private(OpenOptions::new().write(true).create(true).truncate(true)).open(&fresh_path).map_err(io_fault)?;
        let mut text = Vec::new();
        for entry in &entries {
            text.extend(line_of(entry).map_err(io_fault)?);
        }
        fresh.write_all(&text).and_then(|()| fresh.sync_all()).map_err(io_fault)?;
        std::fs::rename(&fresh_path, &self.path).map_err(io_fault)?;
        *current = OpenOptions::new().append(true).open(&self.path).map_err(io_fault)?;
        self.lines.store(entries.len(), Ordering::Relaxed);
        self.torn.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Readable by the owner alone: digests of live tokens are nobody else's business.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

fn line_of(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes what is waiting, all of it at once, until the journal is dropped.
fn write_all(file: &Mutex<File>, waiting: &mpsc::Receiver<(Vec<u8>, Acknowledge)>) {
    while let Ok((mut text, first)) = waiting.recv() {
        let mut callers = vec![first];
        while let Ok((more, caller)) = waiting.try_recv() {
            text.extend(more);
            callers.push(caller);
        }
        let written = {
            let mut file = file.lock();
            file.write_all(&text).and_then(|()| file.sync_data())
        };
        let result = written.map_err(|error| error.to_string());
        for caller in callers {
            let _gone = caller.send(result.clone());
        }
    }
}
