//! An append-only file of what happened to tokens, one JSON object a line.
//!
//! Callers change memory first and append then, so that memory always holds what the file does. Writes of several callers go to the disk together and are acknowledged once they are there. A last line that a crash cut
//! short is left out; any other line that cannot be read keeps the file from being used. Tokens stand in it as digests.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

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
    Redeem(Digest, Token),
    RevokeIssuedFor(Digest, Spare),
    Put(Token),
    Remove(Uuid),
}

type Acknowledge = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Shared with the writer.
    file: Arc<Mutex<Open>>,
    queue: mpsc::Sender<(Vec<u8>, Acknowledge)>,
    lines: Arc<AtomicUsize>,
    /// Whether the last line was cut short when the file was opened.
    torn: AtomicBool,
}

/// The file in use.
#[derive(Debug)]
struct Open {
    file: File,
    /// What was appended since the file began to be written anew; `None`: it is not being.
    since: Option<Vec<u8>>,
}

impl Open {
    /// Appends whole lines, or nothing.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line in the middle would make the file unreadable.
            self.file.set_len(before)?;
        } else if let Some(since) = &mut self.since {
            since.extend_from_slice(text);
        }
        written
    }
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
        let file = Arc::new(Mutex::new(Open { file, since: None }));
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

    /// Replaces the file by one that holds these entries, and what was appended while they were gathered and written.
    ///
    /// # Errors
    /// When that cannot be written; the old file then stays in use.
    pub fn rewrite(&self, entries: impl FnOnce() -> Vec<Entry>) -> Result<(), JournalFault> {
        // Whatever was appended before is in memory already, and so among the entries; what comes after is noted.
        self.file.lock().since = Some(Vec::new());
        let entries = entries();
        let result = self.replace(&entries);
        self.file.lock().since = None;
        result.map_err(|error| JournalFault::Io { path: self.path.clone(), error })?;
        self.lines.store(entries.len(), Ordering::Relaxed);
        self.torn.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn replace(&self, entries: &[Entry]) -> io::Result<()> {
        let fresh_path = self.path.with_extension("new");
        let mut fresh = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&fresh_path)?;
        let mut text = BufWriter::new(&fresh);
        for entry in entries {
            text.write_all(&line_of(entry)?)?;
        }
        text.flush()?;
        drop(text);
        // The most of it goes to the disk while others still append to the old file.
        fresh.sync_all()?;
        let mut current = self.file.lock();
        fresh.write_all(current.since.as_deref().unwrap_or_default())?;
        fresh.sync_all()?;
        std::fs::rename(&fresh_path, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        current.file = OpenOptions::new().append(true).open(&self.path)?;
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
fn write_all(file: &Mutex<Open>, waiting: &mpsc::Receiver<(Vec<u8>, Acknowledge)>) {
    while let Ok((mut text, first)) = waiting.recv() {
        let mut callers = vec![first];
        while let Ok((more, caller)) = waiting.try_recv() {
            text.extend(more);
            callers.push(caller);
        }
        let written = file.lock().append(&text);
        let result = written.map_err(|error| error.to_string());
        for caller in callers {
            let _gone = caller.send(result.clone());
        }
    }
}
