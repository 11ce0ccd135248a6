//! A client's connection as Pingora's HTTP sees it.
//!
//! Two layers, both Pingora `IO`: [`Connection`], the socket with a write buffer (header and body of an answer leave in one
//! packet) and the addresses that the PROXY protocol told; and over it, or over the TLS on it, [`Guarded`], which holds clients to a
//! deadline for a whole request header, in HTTP/1 and HTTP/2 — Pingora's own timeouts are for one read each and never end a client
//! that sends a byte now and then. A header that arrives in one piece costs one search for its end and no timer.

mod header;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use self::header::{EndOfHeader, HeaderBlocks};
use crate::gateway::{Admission, Unread};

/// Enough for the header of an answer and a small body.
const WRITE_BUFFER: usize = 4096;

/// The socket.
#[derive(Debug)]
pub enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Raw {
    fn fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Raw::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Raw::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// A client's socket.
#[derive(Debug)]
pub struct Connection {
    stream: BufWriter<Raw>,
    established: SystemTime,
    socket: Arc<SocketDigest>,
}

impl Connection {
    pub fn new(raw: Raw) -> Self {
        let socket = Arc::new(SocketDigest::from_raw_fd(raw.fd()));
        Self { stream: BufWriter::with_capacity(WRITE_BUFFER, raw), established: SystemTime::now(), socket }
    }

    /// Puts the client's address and the one it connected to in place of the socket's.
    pub fn set_addresses(&mut self, from: std::net::SocketAddr, to: std::net::SocketAddr) {
        use pingora_core::protocols::l4::socket::SocketAddr;
        let digest = SocketDigest::from_raw_fd(self.stream.get_ref().fd());
        // A cell that was made just now is empty: setting it cannot fail.
        let _ = digest.peer_addr.set(Some(SocketAddr::Inet(from)));
        let _ = digest.local_addr.set(Some(SocketAddr::Inet(to)));
        self.socket = Arc::new(digest);
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().fd()
    }
}

impl Ssl for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.established, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for Connection {}

/// Which part of a request a connection is in.
const WAITING: u8 = 0;
const HEADER: u8 = 1;
const UNGUARDED: u8 = 2;

/// Shared between a connection's stream and the loop that serves it.
#[derive(Debug)]
pub struct Phase {
    phase: AtomicU8,
    /// How long a whole header may take.
    limit: Duration,
    /// Called when a client exceeded it.
    exceeded: fn(&Arc<crate::telemetry::Metrics>),
    metrics: Arc<crate::telemetry::Metrics>,
    /// Whether the request that is read, or was read last, is the gateway's by now.
    admission: Arc<Admission>,
}

impl Phase {
    /// A new connection: its first header is awaited from now on.
    pub fn first(limit: Duration, metrics: Arc<crate::telemetry::Metrics>) -> Arc<Self> {
        let exceeded = |metrics: &Arc<crate::telemetry::Metrics>| {
            metrics.shed(crate::telemetry::Shed::HeaderTimeout);
        };
        Arc::new(Self { phase: AtomicU8::new(HEADER), limit, exceeded, metrics, admission: Arc::default() })
    }

    /// The next request may come; its deadline begins with its first byte.
    pub fn next_request(&self) {
        self.admission.reset();
        self.phase.store(WAITING, Relaxed);
    }
}

/// What has been seen of a header, by the protocol it comes in.
#[derive(Debug)]
enum Seen {
    Http1(EndOfHeader),
    /// Headers may come at any time, so the connection is looked at for as long as it lasts.
    Http2(HeaderBlocks),
}

impl Seen {
    fn nothing() -> Self {
        Self::Http1(EndOfHeader::default())
    }
}

/// A connection whose client is held to the deadline for headers.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    phase: Arc<Phase>,
    /// Bytes that were read to tell HTTP/2 from HTTP/1.1, to be read again.
    peeked: Vec<u8>,
    seen: Seen,
    timer: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
    refusals: Option<Refusals>,
}

/// What is written when Pingora answers a request that it could not read.
#[derive(Debug)]
struct Refusals {
    unread: Arc<Unread>,
    client: Option<IpAddr>,
    tls: bool,
    /// Tells the gateway's requests from those.
    digest: Arc<ProxyDigest>,
    /// What is still to be written of the answer, once there is one.
    rest: Option<Vec<u8>>,
}

/// Told to a client that was too slow, when it still listens.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

impl<S: IO> Guarded<S> {
    pub fn new(stream: S, phase: Arc<Phase>) -> Self {
        let deadline = Some(Instant::now() + phase.limit);
        Self { stream, phase, peeked: Vec::new(), seen: Seen::nothing(), timer: None, deadline, refusals: None }
    }

    /// Has requests that cannot be read answered by the gateway.
    pub fn answering(mut self, unread: Arc<Unread>, client: Option<IpAddr>, tls: bool) -> Self {
        let mark: Box<dyn std::any::Any + Send + Sync> = Box::new(self.phase.admission.clone());
        // Never fails for this status; the header means nothing here.
        if let Ok(header) = ResponseHeader::build(200, Some(0)) {
            let digest = Arc::new(ProxyDigest::new(Box::new(header), Some(mark)));
            self.refusals = Some(Refusals { unread, client, tls, digest, rest: None });
        }
        self
    }

    /// Writes the gateway's answer in place of Pingora's; `Ready(None)` where there is no reason to.
    fn poll_refusal(&mut self, cx: &mut Context<'_>, answer: &[u8]) -> Poll<Option<io::Result<usize>>> {
        let Some(refusals) = &mut self.refusals else { return Poll::Ready(None) };
        if self.phase.admission.admitted() || matches!(self.seen, Seen::Http2(_)) {
            return Poll::Ready(None);
        }
        let rest = refusals.rest.get_or_insert_with(|| {
            // `HTTP/1.1 400 …`
            let status = answer.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            refusals.unread.answer(status.unwrap_or(400), refusals.client, refusals.tls)
        });
        while !rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(count) => drop(rest.drain(..count.min(rest.len()))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(Some(Ok(answer.len())))
    }

    /// Reads ahead as long as what comes is `preface`, and tells whether all of it came. Nothing is lost: it is read again.
    ///
    /// # Errors
    /// When the connection ends or fails, or the deadline passes.
    pub async fn starts_with(&mut self, preface: &[u8]) -> io::Result<bool> {
        use tokio::io::AsyncReadExt;
        let mut got = Vec::with_capacity(preface.len());
        let result = loop {
            if !preface.starts_with(&got) {
                break Ok(false);
            }
            if got.len() == preface.len() {
                break Ok(true);
            }
            let mut rest = [0; 24];
            let wanted = (preface.len() - got.len()).min(rest.len());
            match self.read(rest.get_mut(..wanted).unwrap_or_default()).await {
                Ok(0) => break Ok(false),
                Ok(count) => got.extend(rest.iter().take(count)),
                Err(error) => break Err(error),
            }
        };
        self.peeked = got;
        self.seen = Seen::nothing();
        result
    }

    /// From its preface on, this connection is one of HTTP/2.
    pub fn speaks_http2(&mut self) {
        self.seen = Seen::Http2(HeaderBlocks::new());
        self.phase.phase.store(HEADER, Relaxed);
        self.timer = None;
        self.deadline = Some(Instant::now() + self.phase.limit);
    }

    /// Looks at what was read: notes where a header begins and where it ends.
    fn note(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.phase.phase.load(Relaxed) == WAITING {
            self.phase.phase.store(HEADER, Relaxed);
            self.deadline = None;
            self.seen = Seen::nothing();
        }
        let (ended, under_way) = match &mut self.seen {
            Seen::Http1(seen) => {
                let ended = seen.found(bytes);
                if ended {
                    self.phase.phase.store(UNGUARDED, Relaxed);
                    *seen = EndOfHeader::default();
                }
                (ended, !ended)
            }
            Seen::Http2(blocks) => (blocks.take(bytes), blocks.under_way()),
        };
        if ended {
            self.timer = None;
            self.deadline = None;
        }
        if under_way && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.phase.limit);
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(cx)
    }
}

impl<S: IO> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if !this.peeked.is_empty() {
            let count = this.peeked.len().min(buf.remaining());
            let rest = this.peeked.split_off(count);
            buf.put_slice(&this.peeked);
            this.peeked = rest;
        } else {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(result) => result?,
                Poll::Pending if this.phase.phase.load(Relaxed) == HEADER => {
                    ready!(this.poll_deadline(cx));
                    (this.phase.exceeded)(&this.phase.metrics);
                    if matches!(this.seen, Seen::Http1(_)) {
                        // As far as it goes without waiting.
                        let _ = Pin::new(&mut this.stream).poll_write(cx, TOO_SLOW).is_ready()
                            && Pin::new(&mut this.stream).poll_flush(cx).is_ready();
                    }
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if this.phase.phase.load(Relaxed) != UNGUARDED {
            this.note(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: IO> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(this.poll_refusal(cx, buf)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        match ready!(this.poll_refusal(cx, first)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl<S: IO> Shutdown for Guarded<S> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut self.stream).await;
    }
}

impl<S: IO> UniqueID for Guarded<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Guarded<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Guarded<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Guarded<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        match &self.refusals {
            Some(refusals) => Some(refusals.digest.clone()),
            None => self.stream.get_proxy_digest(),
        }
    }
}

impl<S: IO> GetSocketDigest for Guarded<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[async_trait]
impl<S: IO> Peek for Guarded<S> {
    /// What [`Guarded::starts_with`] read.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let Some(there) = self.peeked.get(..buf.len()) else { return Ok(false) };
        buf.copy_from_slice(there);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
