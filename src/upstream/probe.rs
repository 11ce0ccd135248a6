//! Active health checks: what a probe of an endpoint looks like.
//!
//! Owns the ways of asking (TCP, HTTP, gRPC; the last two with and without TLS) and what an answer counts as. Every probe makes
//! a new connection: a kept one hides that none can be made. Must not know when probes are due, or what follows from them.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{self, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use tokio::net::TcpStream;

use super::balancer::split_port;
use super::health::{Endpoint, Event, Group};
use super::peer::{host_header, server_name};
use crate::entity::{ActiveCheck, CheckKind, Protocol};

/// What probes share.
pub(super) struct Prober {
    /// With the system's trust store it is made with the first probe that needs it, as that takes a while to load.
    connector: OnceLock<Connector>,
}

impl Prober {
    /// `trusted`: in PEM, read at once, as Pingora would panic on a file that has gone since the start.
    pub fn new(trusted: Option<&Path>) -> Self {
        let connector = trusted.map(|file| {
            let mut options = ConnectorOptions::new(1);
            options.ca_file = Some(file.display().to_string());
            Connector::new(Some(options)).into()
        });
        Self { connector: connector.unwrap_or_default() }
    }

    /// Probes a group's endpoints, those that are up or those that are down or both, `concurrency` at a time.
    pub async fn round(&self, group: &Group, up: bool, down: bool) {
        let due = group.endpoints().into_iter().filter(|endpoint| if endpoint.is_up() { up } else { down });
        let concurrency = group.rules.checks.active.concurrency.max(1) as usize;
        futures::stream::iter(due)
            .for_each_concurrent(concurrency, |endpoint| async move {
                let event = self.probe(group, &endpoint).await;
                tracing::debug!(upstream = %group.upstream, address = %endpoint.address, ?event, "probed");
                endpoint.active(event);
            })
            .await;
    }

    async fn probe(&self, group: &Group, endpoint: &Endpoint) -> Event {
        let check = &group.rules.checks.active;
        let timeout = Duration::try_from_secs_f64(check.timeout).unwrap_or_default().max(Duration::from_millis(1));
        if check.kind == CheckKind::Tcp {
            return match tokio::time::timeout(timeout, TcpStream::connect(endpoint.address)).await {
                Ok(Ok(_)) => Event::Connected,
                Ok(Err(_)) => Event::TcpFailure,
                Err(_) => Event::Timeout,
            };
        }
        // Kong's timeout is for each of connecting, sending and waiting.
        let probe = Probe::new(group, check, endpoint, timeout);
        match tokio::time::timeout(timeout * 3, probe.ask(self.connector.get_or_init(|| Connector::new(None)))).await {
            Ok(Ok(status)) => Event::Status(status),
            Ok(Err(error)) => failure(&error),
            Err(_) => Event::Timeout,
        }
    }
}

/// One probe by HTTP or gRPC.
struct Probe<'a> {
    check: &'a ActiveCheck,
    peer: HttpPeer,
    host: HeaderValue,
}

impl<'a> Probe<'a> {
    fn new(group: &Group, check: &'a ActiveCheck, endpoint: &Endpoint, timeout: Duration) -> Self {
        let protocol = match check.kind {
            CheckKind::Http | CheckKind::Tcp => Protocol::Http,
            CheckKind::Https => Protocol::Https,
            CheckKind::Grpc => Protocol::Grpc,
            CheckKind::Grpcs => Protocol::Grpcs,
        };
        let (target, port) = split_port(&endpoint.target);
        let host = group.rules.host_header.as_deref().unwrap_or(target);
        let name = check.https_sni.as_deref().unwrap_or_else(|| server_name(host));
        let mut peer = HttpPeer::new(endpoint.address, protocol.is_tls(), name.into());
        peer.client_cert_key = group.client.clone();
        let options = &mut peer.options;
        options.connection_timeout = Some(timeout);
        options.read_timeout = Some(timeout);
        options.write_timeout = Some(timeout);
        options.verify_cert = check.https_verify_certificate;
        options.verify_hostname = check.https_verify_certificate;
        if protocol.is_grpc() {
            options.set_http_version(2, 2);
        }
        Self { check, peer, host: host_header(protocol, host, port) }
    }

    /// The status that was answered; of gRPC its state of health as an HTTP status.
    async fn ask(&self, connector: &Connector) -> Result<u16, Box<Error>> {
        let (mut session, _) = connector.get_http_session(&self.peer).await?;
        session.set_read_timeout(self.peer.options.read_timeout);
        session.set_write_timeout(self.peer.options.write_timeout);
        match self.check.kind {
            CheckKind::Grpc | CheckKind::Grpcs => self.ask_grpc(&mut session).await,
            CheckKind::Http | CheckKind::Https | CheckKind::Tcp => self.ask_http(&mut session).await,
        }
    }

    async fn ask_http(&self, session: &mut HttpSession) -> Result<u16, Box<Error>> {
        let mut request = RequestHeader::build("GET", self.check.http_path.as_bytes(), None)?;
        request.insert_header(header::HOST, self.host.clone())?;
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        for (name, values) in self.check.headers.iter().flatten() {
            let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
            request.remove_header(&name);
            for value in values.iter().filter_map(|value| HeaderValue::try_from(value.as_str()).ok()) {
                request.append_header(name.clone(), value)?;
            }
        }
        request.insert_header(header::CONNECTION, "close")?;
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        Ok(session.response_header().map_or(0, |response| response.status.as_u16()))
    }

    /// The standard health protocol, for the server as a whole. A server that does not have it is alive all the same.
    async fn ask_grpc(&self, session: &mut HttpSession) -> Result<u16, Box<Error>> {
        const UNIMPLEMENTED: &[u8] = b"12";
        /// `HealthCheckResponse { status: SERVING }`: field 1, varint 1.
        const SERVING: &[u8] = &[0x08, 0x01];
        let mut request = RequestHeader::build("POST", b"/grpc.health.v1.Health/Check", None)?;
        request.set_version(http::Version::HTTP_2);
        request.insert_header(header::HOST, self.host.clone())?;
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        request.insert_header(header::CONTENT_TYPE, "application/grpc")?;
        request.insert_header(header::TE, "trailers")?;
        session.write_request_header(Box::new(request)).await?;
        // An empty `HealthCheckRequest`: not compressed, no bytes.
        session.write_request_body(Bytes::from_static(&[0; 5]), true).await?;
        session.read_response_header().await?;
        let Some(response) = session.response_header() else { return Ok(0) };
        if response.status != 200 {
            return Ok(response.status.as_u16());
        }
        if let Some(status) = response.headers.get("grpc-status") {
            return Ok(if status.as_bytes() == UNIMPLEMENTED { 200 } else { 503 });
        }
        let mut message = Vec::new();
        while let Some(chunk) = session.read_response_body().await? {
            message.extend_from_slice(&chunk);
            if message.len() > 1024 {
                break;
            }
        }
        let serving = message.get(5..).is_some_and(|message| message.starts_with(SERVING));
        Ok(if serving { 200 } else { 503 })
    }
}

const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"), " (health check)");

fn failure(error: &Error) -> Event {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => Event::Timeout,
        _ => Event::TcpFailure,
    }
}
