//! An append-only file of what happened to tokens, one JSON object a line.
//!
//! Callers change memory first and append then, in one order for both, so that memory always holds what the file does. Writes of several
//! callers go to the disk together and are acknowledged once they are there. A last line that a crash cut short is left out; any other
//! line that cannot be read keeps the file from being used. Tokens stand in it as digests.
//!
//! While one process takes over from another both append to the file. Each reads what the other wrote, and neither writes the file
//! anew: whoever has it open holds a shared lock on it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::memory::Memory;
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

/// An entry on its way to the disk.
#[derive(Debug)]
pub struct Appended(oneshot::Receiver<Result<(), String>>);

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    memory: Arc<Memory>,
    /// Shared with the writer.
    file: Arc<Mutex<Open>>,
    queue: mpsc::Sender<(Vec<u8>, Acknowledge)>,
    lines: Arc<AtomicUsize>,
    /// How much of the file memory knows, in bytes.
    known: Arc<AtomicU64>,
    /// Whether the last line was cut short when the file was opened.
    torn: AtomicBool,
}

/// The file in use.
#[derive(Debug)]
struct Open {
    file: File,
    known: Arc<AtomicU64>,
    /// What was appended since the file began to be written anew; `None`: it is not being.
    since: Option<Vec<u8>>,
}

impl Open {
    /// Appends whole lines, or nothing.
    fn append(&mut self, text: &[u8], memory: &Memory) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line in the middle would make the file unreadable.
            self.file.set_len(before)?;
            return written;
        }
        if let Some(since) = &mut self.since {
            since.extend_from_slice(text);
        }
        // Where it went: another process may have been faster since the last time.
        let end = self.file.stream_position()?;
        let start = end.saturating_sub(text.len() as u64);
        self.read_to(start, memory)?;
        if self.known.load(Ordering::Relaxed) == start {
            self.known.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes in what another process wrote, up to a place in the file; a line that is being written waits.
    fn read_to(&self, end: u64, memory: &Memory) -> io::Result<()> {
        let start = self.known.load(Ordering::Relaxed);
        if end <= start {
            return Ok(());
        }
        let mut text = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut text, start)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |last| last + 1);
        for line in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => memory.replay(entry),
                Err(error) => tracing::error!(%error, "a line of the token file, written by another process"),
            }
        }
        self.known.store(start + whole as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// What reading a file came to.
struct Read {
    lines: usize,
    /// Bytes of whole lines.
    known: u64,
    /// Whether the last line was cut short.
    torn: bool,
}

fn read_all(path: &Path, reader: &mut impl BufRead, memory: &Memory) -> Result<Read, JournalFault> {
    let io_fault = |error| JournalFault::Io { path: path.to_owned(), error };
    let (mut text, mut lines, mut torn, mut known) = (String::new(), 0, false, 0);
    loop {
        let length = reader.read_line(&mut text).map_err(io_fault)?;
        if length == 0 {
            break;
        }
        lines += 1;
        match serde_json::from_str(text.trim_end()) {
            Ok(entry) if text.ends_with('\n') => memory.replay(entry),
            _ if !text.ends_with('\n') => {
                tracing::warn!(path = %path.display(), "the last line was cut short by a crash");
                torn = true;
                break;
            }
            Ok(_) => {}
            Err(error) => return Err(JournalFault::Line { path: path.to_owned(), line: lines, error }),
        }
        known += length as u64;
        text.clear();
    }
    Ok(Read { lines, known, torn })
}

/// The file is written anew when it has this many lines more than twice what it needs.
const SLACK: usize = 10_000;

impl Journal {
    /// Opens or creates the file and brings `memory` to what it says.
    ///
    /// # Errors
    /// When it cannot be read, or a line in it.
    pub fn open(path: &Path, memory: Arc<Memory>) -> Result<Self, JournalFault> {
        let io_fault = |error| JournalFault::Io { path: path.to_owned(), error };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io_fault)?;
        }
        let file = open_shared(path).map_err(io_fault)?;
        let mut reader = BufReader::new(&file);
        memory.set_loading(true);
        let read = read_all(path, &mut reader, &memory);
        memory.set_loading(false);
        let Read { lines, known, torn } = read?;
        drop(reader);
        let known = Arc::new(AtomicU64::new(known));
        let file = Arc::new(Mutex::new(Open { file, known: known.clone(), since: None }));
        let (queue, waiting) = mpsc::channel();
        let (there, told) = (file.clone(), memory.clone());
        std::thread::Builder::new()
            .name("tokens".into())
            .spawn(move || write_all(&there, &told, &waiting))
            .map_err(io_fault)?;
        Ok(Self {
            path: path.to_owned(),
            memory,
            file,
            queue,
            lines: Arc::new(AtomicUsize::new(lines)),
            known,
            torn: AtomicBool::new(torn),
        })
    }

    /// Whether the file holds what memory does not: another process wrote to it.
    pub fn is_behind(&self) -> bool {
        // Through the path: the file in use is the writer's, who may be waiting for the disk.
        std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() != self.known.load(Ordering::Relaxed))
    }

    /// Takes in what another process wrote.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn catch_up(&self) -> Result<(), JournalFault> {
        if !self.is_behind() {
            return Ok(());
        }
        let file = self.file.lock();
        let read = file.file.metadata().and_then(|meta| file.read_to(meta.len(), &self.memory));
        read.map_err(|error| JournalFault::Io { path: self.path.clone(), error })
    }

    /// Has an entry appended. Entries stand in the file in the order of these calls.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn append(&self, entry: &Entry) -> Result<Appended, JournalFault> {
        let line = line_of(entry).map_err(|error| JournalFault::Io { path: self.path.clone(), error })?;
        let (done, acknowledged) = oneshot::channel();
        self.queue.send((line, done)).map_err(|_| JournalFault::Ended)?;
        self.lines.fetch_add(1, Ordering::Relaxed);
        Ok(Appended(acknowledged))
    }

    /// Waits until an entry is on the disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn written(&self, appended: Appended) -> Result<(), JournalFault> {
        match appended.0.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(JournalFault::Io { path: self.path.clone(), error: io::Error::other(error) }),
            Err(_) => Err(JournalFault::Ended),
        }
    }

    /// Whether the file is to be written anew: it holds much more than `live` entries need, or ends in half a line.
    pub fn wants_rewriting(&self, live: usize) -> bool {
        self.torn.load(Ordering::Relaxed) || self.lines.load(Ordering::Relaxed) > 2 * live + SLACK
    }

    /// Replaces the file by one that holds what memory does, and what was appended while that was gathered and written. Does
    /// nothing while another process has the file open.
    ///
    /// # Errors
    /// When that cannot be written; the old file then stays in use.
    pub fn rewrite(&self) -> Result<(), JournalFault> {
        let done = self.replace_alone();
        let mut current = self.file.lock();
        current.since = None;
        // What the file was replaced by is locked already; otherwise others may open this one again.
        let shared = current.file.lock_shared();
        done.and(shared).map_err(|error| JournalFault::Io { path: self.path.clone(), error })
    }

    fn replace_alone(&self) -> io::Result<()> {
        // Of two processes that try at once one waits: each would let go of its shared lock for a moment.
        let turn = private(OpenOptions::new().write(true).create(true)).open(self.path.with_extension("lock"))?;
        turn.lock()?;
        {
            let mut current = self.file.lock();
            if current.file.try_lock().is_err() {
                return current.file.lock_shared();
            }
            // The last that another process wrote before it ended.
            let end = current.file.metadata()?.len();
            current.read_to(end, &self.memory)?;
            // Whatever was appended before is in memory now; what comes after is noted.
            current.since = Some(Vec::new());
        }
        let entries = self.memory.entries();
        self.replace(&entries)?;
        self.lines.store(entries.len(), Ordering::Relaxed);
        self.torn.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn replace(&self, entries: &[Entry]) -> io::Result<()> {
        let fresh_path = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let fresh = private(options.read(true).append(true).create(true)).open(&fresh_path)?;
        fresh.set_len(0)?;
        fresh.lock_shared()?;
        let mut text = BufWriter::new(&fresh);
        for entry in entries {
            text.write_all(&line_of(entry)?)?;
        }
        text.flush()?;
        drop(text);
        // The most of it goes to the disk while others still append to the old file.
        fresh.sync_all()?;
        let mut current = self.file.lock();
        (&fresh).write_all(current.since.as_deref().unwrap_or_default())?;
        fresh.sync_all()?;
        std::fs::rename(&fresh_path, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.known.store(fresh.metadata()?.len(), Ordering::Relaxed);
        current.file = fresh;
        Ok(())
    }
}

/// Opens the file for reading and appending, with a shared lock: once nobody writes it anew.
fn open_shared(path: &Path) -> io::Result<File> {
    loop {
        let file = private(OpenOptions::new().read(true).append(true).create(true)).open(path)?;
        file.lock_shared()?;
        // It may have been replaced while the lock was waited for.
        if std::fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|mine| mine.ino() == there.ino())) {
            return Ok(file);
        }
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
fn write_all(file: &Mutex<Open>, memory: &Memory, waiting: &mpsc::Receiver<(Vec<u8>, Acknowledge)>) {
    while let Ok((mut text, first)) = waiting.recv() {
        let mut callers = vec![first];
        while let Ok((more, caller)) = waiting.try_recv() {
            text.extend(more);
            callers.push(caller);
        }
        let written = file.lock().append(&text, memory);
        let result = written.map_err(|error| error.to_string());
        for caller in callers {
            let _gone = caller.send(result.clone());
        }
    }
}
