//! Connections: HTTP/1.1 over TCP, Unix sockets and TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::guard::Client;

/// Connections at once; more wait.
const CONNECTIONS: usize = 1024;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the head of a request may take, the wait for it on a kept connection included. Tools pause between requests, and
/// one that writes to a connection just closed does not know whether it was heard.
const HEAD: Duration = Duration::from_secs(75);

/// A bound socket to serve on.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    /// With TLS; a client certificate that the configuration verified lets its owner in without a token.
    Tls(TcpListener, Arc<rustls::ServerConfig>),
    Unix(UnixListener),
}

impl Listener {
    /// Whether only processes of this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => {
                listener.local_addr().is_ok_and(|address: SocketAddr| address.ip().is_loopback())
            }
            Self::Unix(_) => true,
        }
    }
}

/// Serves a router until told to stop; then no more connections are taken and those open may finish their request.
///
/// # Errors
/// When a listener fails for good.
pub async fn serve(listeners: Vec<Listener>, router: Router, stop: watch::Receiver<bool>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let loops = listeners.into_iter().map(|listener| accept(listener, router.clone(), stop.clone(), room.clone()));
    futures::future::try_join_all(loops).await.map(drop)
}

async fn accept(
    listener: Listener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    room: Arc<Semaphore>,
) -> io::Result<()> {
    while !*stop.borrow() {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = next(&listener) => accepted,
            _ = stop.changed() => continue,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                // Out of descriptors, or a client that is gone already: not the end of the listener.
                tracing::warn!(%fault, "Admin API: accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), stop.clone());
        let tls = match &listener {
            Listener::Tls(_, config) => Some(TlsAcceptor::from(config.clone())),
            _ => None,
        };
        tokio::spawn(async move {
            let _permit = permit;
            let mut client = Client { address, certificate: None };
            match (stream, tls) {
                (Stream::Tcp(stream), Some(acceptor)) => {
                    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                    client.certificate =
                        stream.get_ref().1.peer_certificates().and_then(|chain| subject(chain.first()?));
                    connection(stream, router, client, stop).await;
                }
                (Stream::Tcp(stream), None) => connection(stream, router, client, stop).await,
                (Stream::Unix(stream), _) => connection(stream, router, client, stop).await,
            }
        });
    }
    Ok(())
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn next(listener: &Listener) -> io::Result<(Stream, Option<IpAddr>)> {
    match listener {
        Listener::Tcp(listener) | Listener::Tls(listener, _) => {
            let (stream, address) = listener.accept().await?;
            // Small answers are not held back for more.
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), Some(address.ip())))
        }
        Listener::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
    }
}

/// The name a client certificate is for.
fn subject(certificate: &rustls::pki_types::CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.subject().to_string())
}

async fn connection<S>(stream: S, router: Router, client: Client, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(client.clone());
        request.map(axum::body::Body::new)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(fault) = ended {
        tracing::debug!(%fault, "Admin API: connection");
    }
}
