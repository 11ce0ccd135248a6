//! The access log: one JSON line a request.
//!
//! A serving thread makes the line; a thread of its own writes. When too many lines wait for that one, a line is dropped and counted,
//! never waited for. A line carries no token, no secret and no query string: the token appears as a
//! fingerprint keyed with random bytes of this process, so that equal tokens can be told to be equal and nothing more.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::line::{Line, member};
use super::output::{Output, Target};
use super::waiting::{Lines, Waiting};

/// One request. Absent parts are left out of the line.
#[derive(Clone, Debug, Default)]
pub struct AccessRecord<'a> {
    /// When the request came in, since the UNIX epoch: RFC 3339, UTC, milliseconds.
    pub time: Duration,
    /// Hexadecimal digits.
    pub request_id: &'a str,
    /// The client's address, after `real_ip_header`.
    pub client: Option<IpAddr>,
    pub scheme: &'static str,
    pub http_version: &'static str,
    pub method: &'a str,
    pub host: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
    pub status: u16,
    /// Whose answer it was: `service` or `gateway`.
    pub source: &'static str,
    pub route: &'a str,
    pub service: &'a str,
    /// Address of the service instance that was asked last.
    pub upstream: Option<SocketAddr>,
    pub upstream_status: Option<u16>,
    /// Connections to the service that were tried.
    pub tries: u32,
    /// The consumer's username, custom id or id.
    pub consumer: Option<&'a str>,
    /// What identifies the credential in `X-Credential-Identifier`.
    pub credential: Option<&'a str>,
    /// `allow`, `anonymous` or `deny`; absent where no plugin authenticates.
    pub auth: Option<&'static str>,
    /// From the catalogue of reasons.
    pub reason: Option<&'static str>,
    pub issuer: Option<&'a str>,
    pub kid: Option<&'a str>,
    pub alg: Option<&'static str>,
    /// [`AccessLog::fingerprint`] of the token.
    pub token_fp: Option<Fingerprint>,
    /// `total_ms`, in milliseconds as the next two.
    pub total: Duration,
    /// `upstream_ms`
    pub upstream_took: Option<Duration>,
    /// `gateway_ms`
    pub gateway: Duration,
    /// `verify_us`: microseconds of the token's verification.
    pub verified: Option<Duration>,
    /// Bytes of the request's and the response's body.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub tls: Option<&'a str>,
    pub sni: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    /// Which configuration the request ran on.
    pub generation: u64,
    /// What went wrong towards the service or the client, by its kind.
    pub error: Option<&'a str>,
}

/// 64 bits of a keyed hash, in hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl AccessRecord<'_> {
    /// As a line of JSON.
    fn write(&self, to: &mut Lines) {
        let mut line = Line::new(&mut to.text, "{\"time\":\"");
        line.date(&mut to.dates, self.time);
        line.raw("\"");
        macro_rules! some {
            ($($kind:ident $field:ident;)*) => { $(
                if let Some(value) = self.$field {
                    member!(line.$kind, stringify!($field), value);
                }
            )* };
        }
        member!(line.word, "request_id", self.request_id);
        some! { address client; }
        member!(line.word, "scheme", self.scheme);
        member!(line.word, "http_version", self.http_version);
        member!(line.string, "method", self.method);
        if !self.host.is_empty() {
            member!(line.string, "host", self.host);
        }
        member!(line.string, "path", self.path);
        member!(line.integer, "status", self.status.into());
        member!(line.word, "source", self.source);
        if !self.route.is_empty() {
            member!(line.string, "route", self.route);
        }
        if !self.service.is_empty() {
            member!(line.string, "service", self.service);
        }
        some! { socket upstream; }
        if let Some(status) = self.upstream_status {
            member!(line.integer, "upstream_status", status.into());
        }
        if self.tries > 0 {
            member!(line.integer, "tries", self.tries.into());
        }
        some! { string consumer; string credential; word auth; word reason; string issuer; string kid; word alg; }
        if let Some(fingerprint) = &self.token_fp {
            member!(line.word, "token_fp", fingerprint.as_str());
        }
        member!(line.milliseconds, "total_ms", self.total);
        if let Some(upstream) = self.upstream_took {
            member!(line.milliseconds, "upstream_ms", upstream);
        }
        member!(line.milliseconds, "gateway_ms", self.gateway);
        if let Some(verified) = self.verified {
            member!(line.microseconds, "verify_us", verified);
        }
        member!(line.integer, "bytes_in", self.bytes_in);
        member!(line.integer, "bytes_out", self.bytes_out);
        some! { string tls; string sni; string user_agent; }
        member!(line.integer, "generation", self.generation);
        some! { string error; }
        line.finish();
    }
}

/// What the writer thread is told.
enum Order {
    Reopen,
    /// Answer when everything is written that has been recorded until now.
    Flush(SyncSender<()>),
    End,
}

/// What serving threads and the writer share.
struct Shared {
    waiting: Waiting,
    orders: Mutex<Vec<Order>>,
}

impl Shared {
    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        self.waiting.wake();
    }
}

/// How the log is written; from the settings.
#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    /// Share of the requests answered below 400 that are logged, 0 to 1.
    pub sample: f64,
    /// Share of the requests answered 400 and above that are logged, 0 to 1.
    pub sample_rejects: f64,
    /// Lines that may wait for the writer.
    pub queue: usize,
}

/// The access log.
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
    /// SipHash under a random key: a tenth of an HMAC's time for a token, and what it is of cannot be found out by trying.
    key: RandomState,
    /// Of 2^32.
    sample: u64,
    sample_rejects: u64,
    dropped: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessLog({})", if self.enabled() { "on" } else { "off" })
    }
}

const ALL: u64 = 1 << 32;

impl AccessLog {
    /// Opens the log and starts its thread. `dropped` counts the lines that were given up.
    ///
    /// # Errors
    /// When the file cannot be opened, or no thread can be started.
    pub fn start(options: &Options, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let mut log = Self::off();
        log.dropped = dropped;
        let share = |share: f64| (share.clamp(0.0, 1.0) * ALL as f64) as u64;
        (log.sample, log.sample_rejects) = (share(options.sample), share(options.sample_rejects));
        if options.target == Target::Off {
            return Ok(log);
        }
        let output = Output::open(&options.target)?;
        let shared = Arc::new(Shared { waiting: Waiting::new(options.queue), orders: Mutex::default() });
        let (lent, dropped) = (shared.clone(), log.dropped.clone());
        let writer =
            std::thread::Builder::new().name("access-log".into()).spawn(move || write(output, &lent, &dropped))?;
        shared.waiting.written_by(writer.thread().clone());
        log.shared = Some(shared);
        log.writer = Mutex::new(Some(writer));
        Ok(log)
    }

    /// A log that writes nothing.
    pub fn off() -> Self {
        Self {
            shared: None,
            key: RandomState::new(),
            sample: 0,
            sample_rejects: 0,
            dropped: Arc::default(),
            writer: Mutex::new(None),
        }
    }

    /// Whether anything is ever written.
    pub fn enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether a request answered with this status is to be logged; asked before a record is put together.
    pub fn wants(&self, status: u16) -> bool {
        if self.shared.is_none() {
            return false;
        }
        let share = if status >= 400 { self.sample_rejects } else { self.sample };
        share >= ALL || (share > 0 && u64::from(random()) < share)
    }

    /// The fingerprint of a token under this process's random key.
    pub fn fingerprint(&self, token: &[u8]) -> Fingerprint {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let tag = self.key.hash_one(token).to_be_bytes();
        let mut out = [b'0'; 16];
        for (pair, byte) in out.chunks_exact_mut(2).zip(tag) {
            if let ([high, low], Some(h), Some(l)) =
                (pair, HEX.get(usize::from(byte >> 4)), HEX.get(usize::from(byte & 15)))
            {
                (*high, *low) = (*h, *l);
            }
        }
        Fingerprint(out)
    }

    /// Hands a line to the writer; drops it, counted, when too many wait.
    pub fn record(&self, record: &AccessRecord<'_>) {
        let Some(shared) = &self.shared else { return };
        if !shared.waiting.add(|lines| record.write(lines)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Opens the file anew, after what has been recorded until now is written.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.order(Order::Reopen);
        }
    }

    /// Waits until everything recorded until now is written, for a bounded time; the end of the process.
    pub fn flush(&self) {
        let Some(shared) = &self.shared else { return };
        let (done, wait) = mpsc::sync_channel(1);
        shared.order(Order::Flush(done));
        let _ = wait.recv_timeout(Duration::from_secs(2));
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.order(Order::End);
        }
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

/// Cheap pseudo-random numbers for sampling: splitmix64 over a per-thread counter.
fn random() -> u32 {
    use std::cell::Cell;
    thread_local!(static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8)));
    STATE
        .try_with(|state| {
            let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            state.set(next);
            let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed >> 32) as u32
        })
        .unwrap_or(0)
}

/// How long lines are gathered before they are written.
const GATHERING: Duration = Duration::from_millis(10);

/// The writer thread. A failing disk costs lines, never requests; it is reported once until writing works again.
fn write(mut output: Output, shared: &Shared, dropped: &AtomicU64) {
    let mut spare = Vec::new();
    let mut failing = false;
    loop {
        // Before the lines: what was recorded before an order is written before it is followed.
        let orders = std::mem::take(&mut *shared.orders.lock());
        let mut wrote = false;
        shared.waiting.take(&mut spare, |lines, count| {
            wrote = true;
            match output.write_all(lines).and_then(|()| output.flush()) {
                Ok(()) => failing = false,
                Err(error) => {
                    // Given up: they would otherwise be more and more for as long as the disk is full.
                    dropped.fetch_add(count as u64, Relaxed);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "the access log cannot be written");
                    }
                }
            }
        });
        let idle = orders.is_empty() && !wrote;
        for order in orders {
            match order {
                Order::Reopen => {
                    if let Err(error) = output.reopen() {
                        tracing::error!(%error, "the access log could not be opened anew; the old file stays in use");
                    }
                }
                Order::Flush(done) => drop(done.send(())),
                Order::End => return,
            }
        }
        if idle {
            shared.waiting.sleep(|| shared.orders.lock().is_empty());
        } else {
            // While this thread gathers, who adds a line need not wake it, which would cost a request as much as the line itself.
            std::thread::park_timeout(GATHERING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &std::path::Path) -> Options {
        Options { target: Target::File(path.into()), sample: 1.0, sample_rejects: 1.0, queue: 100 }
    }

    #[test]
    fn hostile_values_stay_on_one_line_of_json() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("access.log");
        let log = AccessLog::start(&to(&path), Arc::default())?;
        let hostile = "/a\r\n{\"forged\":true}\u{1b}[31m\u{0}\"\\\u{2028}";
        log.record(&AccessRecord { path: hostile, status: 200, ..AccessRecord::default() });
        log.flush();
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.trim_end().bytes().any(|byte| byte < 0x20), "raw control byte in {text:?}");
        let line: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(line["path"], hostile);
        Ok(())
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let mut log = AccessLog::off();
        log.shared = Some(Arc::new(Shared { waiting: Waiting::new(1), orders: Mutex::default() }));
        // A line for each processor, and one.
        let room = std::thread::available_parallelism().unwrap().get() as u64 + 1;
        for _ in 0..room + 2 {
            log.record(&AccessRecord::default());
        }
        assert_eq!(log.dropped.load(Relaxed), 2);
    }

    #[test]
    fn sampling_keeps_its_share_and_rejects_have_their_own() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let options = Options { sample: 0.25, ..to(&directory.path().join("log")) };
        let log = AccessLog::start(&options, Arc::default())?;
        let taken = (0..100_000).filter(|_| log.wants(200)).count();
        assert!((23_000..27_000).contains(&taken), "{taken} of 100000");
        assert!((0..1000).all(|_| log.wants(401)));
        assert!(!AccessLog::off().wants(500));
        Ok(())
    }

    #[test]
    fn equal_tokens_have_equal_fingerprints_in_one_process_only() {
        let (one, two) = (AccessLog::off(), AccessLog::off());
        assert_eq!(one.fingerprint(b"t"), one.fingerprint(b"t"));
        assert_ne!(one.fingerprint(b"t"), one.fingerprint(b"u"));
        assert_ne!(one.fingerprint(b"t"), two.fingerprint(b"t"));
        assert_eq!(one.fingerprint(b"t").as_str().len(), 16);
    }
}
