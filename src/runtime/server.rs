//! From `accept` to the gateway: the loops that take connections, and what is done to one before its first request.
//!
//! Pingora's own listeners bind late, keep no caps, know no PROXY protocol and leave no say in deadlines; its HTTP sessions and its
//! proxy are used as they are.

use std::cell::OnceCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::tls::TlsStream;
use pingora_core::protocols::{ALPN, IO, Ssl};
use pingora_proxy::HttpProxy;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::timeout;

use super::gate::{Gate, Permit};
use super::huge_pages;
use super::listen::Listen;
use super::proxy_protocol::{self, Source};
use super::sockets::Listener;
use super::stream::{Connection, Guarded, Phase, Raw};
use crate::gateway::{Gateway, Unread};
use crate::telemetry::{Metrics, Shed};

/// RFC 9113 section 3.4.
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait before accepting again when no file descriptor is left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How long clients may take, before the gateway has a request.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// PROXY protocol header and TLS handshake.
    pub handshake: Duration,
    /// A request's header.
    pub header: Duration,
    /// Between requests.
    pub keepalive: Duration,
    /// Requests on one HTTP/1 connection; `None` = any number.
    pub requests: Option<u32>,
}

/// Everything that connections to the proxy share.
pub struct Server {
    pub proxy: Arc<HttpProxy<Gateway>>,
    /// Answers what cannot be read as a request.
    pub unread: Arc<Unread>,
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    pub deadlines: Deadlines,
    /// Becomes true when the process is to end: no connection is accepted any more, none is kept after its request.
    pub drain: watch::Receiver<bool>,
    /// Becomes true a little later: connections without a request are closed.
    pub closing: watch::Receiver<bool>,
}

/// Holds one block of the size of a request's future, as long as the thread lives. Otherwise, when requests are answered without
/// waiting (refusals), each is the only one of its size: the allocator takes a page from the system for it, and gives it back.
fn keep_a_page_for(size: usize) {
    thread_local! {
        static KEPT: OnceCell<Vec<u8>> = const { OnceCell::new() };
    }
    // Never touched: it costs an address, no memory.
    KEPT.with(|kept| {
        kept.get_or_init(|| Vec::with_capacity(size));
    });
}

/// A connection that is ready for requests.
#[allow(clippy::large_enum_variant, reason = "moved once; a box would be one more allocation a connection")]
enum Established {
    Plain(Connection),
    Tls(TlsStream<Connection>),
}

/// What is known of a listener's connections beforehand.
pub struct Endpoint {
    pub listen: Listen,
    pub tls: Option<Arc<Acceptor>>,
}

/// A listening socket in the runtime.
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Raw, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only on a connection that is gone; it is noticed at the first read.
                let _ = stream.set_nodelay(true);
                Ok((Raw::Tcp(stream), Some(peer.ip())))
            }
            Self::Unix(listener) => Ok((Raw::Unix(listener.accept().await?.0), None)),
        }
    }
}

impl Server {
    /// Accepts until the drain begins. What the kernel had completed by then is still served, unless `shared` says that another
    /// process accepts from the same socket.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn accept(
        self: Arc<Self>,
        listener: Listener,
        endpoint: Arc<Endpoint>,
        shared: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let listener = Accepting::new(listener)?;
        let mut drain = self.drain.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = drain.wait_for(|draining| *draining) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((raw, peer)) => self.spawn(raw, peer, &endpoint),
                Err(error) => self.accept_failed(&error).await,
            }
        }
        // A socket that is closed with connections in its queue resets them.
        while !*shared.borrow() {
            let Ok(Ok((raw, peer))) = timeout(Duration::from_millis(1), listener.accept()).await else { break };
            self.spawn(raw, peer, &endpoint);
        }
        Ok(())
    }

    async fn accept_failed(&self, error: &io::Error) {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: accepting again at once would fail again at once.
        if matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12)) {
            self.metrics.shed(Shed::FileDescriptors);
            tracing::debug!(%error, "no connection can be accepted");
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
        }
    }

    fn spawn(self: &Arc<Self>, raw: Raw, peer: Option<IpAddr>, endpoint: &Arc<Endpoint>) {
        huge_pages::let_go();
        self.metrics.connections.accepted();
        let permit = match self.gate.enter() {
            Ok(permit) => permit,
            Err(cause) => return self.metrics.shed(cause),
        };
        let (server, endpoint) = (self.clone(), endpoint.clone());
        tokio::spawn(async move {
            let _open = server.metrics.connections.handled();
            if let Err(cause) = server.serve(raw, peer, &endpoint, permit).await {
                server.metrics.shed(cause);
            }
        });
    }

    async fn serve(&self, raw: Raw, peer: Option<IpAddr>, endpoint: &Endpoint, mut permit: Permit) -> Result<(), Shed> {
        let mut closing = self.closing.clone();
        let established = tokio::select! {
            biased;
            established = self.establish(raw, peer, endpoint, &mut permit) => established?,
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        };
        match established {
            (Established::Plain(stream), peer) => {
                self.http(self.guarded(stream, peer, false), false, endpoint.listen.http2).await;
            }
            (Established::Tls(stream), peer) => {
                let http2 = stream.selected_alpn_proto() == Some(ALPN::H2);
                self.http(self.guarded(stream, peer, true), http2, false).await;
            }
        }
        Ok(())
    }

    /// What comes before the first request: PROXY protocol, caps, TLS. With the client's address.
    async fn establish(
        &self,
        raw: Raw,
        mut peer: Option<IpAddr>,
        endpoint: &Endpoint,
        permit: &mut Permit,
    ) -> Result<(Established, Option<IpAddr>), Shed> {
        let mut connection = Connection::new(raw);
        let limit = self.deadlines.handshake;
        if endpoint.listen.proxy_protocol {
            let read = timeout(limit, proxy_protocol::read(&mut connection)).await;
            match read.ok().and_then(Result::ok).ok_or(Shed::ProxyProtocol)? {
                Source::Client { from, to } => {
                    peer = Some(from.ip());
                    connection.set_addresses(from, to);
                }
                Source::Local => {}
            }
        }
        if let Some(peer) = peer {
            permit.of_client(peer)?;
        }
        let Some(acceptor) = &endpoint.tls else {
            return Ok((Established::Plain(connection), peer));
        };
        let handshake = timeout(limit, acceptor.tls_handshake(connection)).await;
        let stream = handshake.map_err(|_| Shed::HandshakeTimeout)?.map_err(|error| {
            tracing::debug!(%error, "TLS handshake failed");
            Shed::Handshake
        })?;
        Ok((Established::Tls(stream), peer))
    }

    /// A connection that is held to the deadline for headers; `peer`: who is at its other end, as far as that is known.
    fn guarded<S: IO>(&self, stream: S, peer: Option<IpAddr>, tls: bool) -> (Guarded<S>, Arc<Phase>) {
        let phase = Phase::first(self.deadlines.header, self.metrics.clone());
        (Guarded::new(stream, phase.clone()).answering(self.unread.clone(), peer, tls), phase)
    }

    /// Serves requests until the connection ends. `may_be_http2`: a plain connection may begin with the preface of HTTP/2.
    async fn http<S: IO + 'static>(&self, guarded: (Guarded<S>, Arc<Phase>), http2: bool, may_be_http2: bool) {
        let (mut stream, phase) = guarded;
        let mut closing = self.closing.clone();
        let http2 = if may_be_http2 {
            let prior_knowledge = tokio::select! {
                biased;
                told = stream.starts_with(H2_PREFACE) => told,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            let Ok(prior_knowledge) = prior_knowledge else { return };
            prior_knowledge
        } else {
            http2
        };
        if http2 {
            stream.speaks_http2();
            self.proxy.process_new(Box::new(stream), &self.drain).await;
            return;
        }
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.set_keepalive(Some(self.deadlines.keepalive.as_secs().max(1)));
        session.set_keepalive_reuses_remaining(self.deadlines.requests);
        // As Pingora's `ServerApp` for HTTP applications does it, but for the phases.
        let request = self.proxy.process_new_http(session, &self.drain);
        keep_a_page_for(size_of_val(&*request));
        let mut result = request.await;
        while let Some((stream, settings)) = result.map(pingora_core::apps::ReusedHttpStream::consume) {
            phase.next_request();
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                HttpPersistentSettings::apply_to_session(settings, &mut session);
            }
            result = self.proxy.process_new_http(session, &self.drain).await;
        }
    }
}
