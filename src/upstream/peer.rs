//! Everything about a connection but its address: TLS, timeouts, HTTP version, and the `Host` header that goes with it.
//!
//! Owns the prepared [`Template`] of a target: a peer that a request only clones and gives an address. Key material is parsed
//! and checked here, while a configuration loads: Pingora would panic on what is malformed, in the middle of a request.
//! Must not know balancing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use uuid::Uuid;
use x509_parser::prelude::FromDer;

use super::Options;
use super::balancer::is_ipv6;
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Protocol, Service, Upstream};

/// A peer without its address, and the `Host` header for it.
#[derive(Debug)]
pub(super) struct Template {
    pub peer: HttpPeer,
    /// Sent unless the route preserves the client's.
    pub host_header: HeaderValue,
}

impl Template {
    /// The template of a target of `service`, or of the service's own host.
    pub fn new(service: &Service, material: &Material, options: &Options, host: &str, port: u16) -> Self {
        let mut peer = HttpPeer::new(NOWHERE, service.protocol.is_tls(), server_name(host).into());
        peer.client_cert_key = material.client.clone();
        peer.group_key = material.group_key;
        let to = &mut peer.options;
        to.connection_timeout = Some(Duration::from_millis(service.connect_timeout.into()));
        to.write_timeout = Some(Duration::from_millis(service.write_timeout.into()));
        to.read_timeout = Some(Duration::from_millis(service.read_timeout.into()));
        to.idle_timeout = options.idle_timeout;
        to.verify_cert = material.verify;
        to.verify_hostname = material.verify;
        to.ca = material.ca.clone();
        if service.protocol.is_grpc() {
            to.set_http_version(2, 2);
            to.max_h2_streams = options.max_h2_streams.max(1);
        }
        Self { peer, host_header: host_header(service.protocol, host, port) }
    }
}

/// A placeholder for the address that a pick puts in.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// `host`, with the port unless it is the default one of the scheme, or an upstream's `host_header` brings its own.
pub(super) fn host_header(protocol: Protocol, host: &str, port: u16) -> HeaderValue {
    let default = if protocol.is_tls() { 443 } else { 80 };
    let text = match is_ipv6(host) {
        true if port == default => format!("[{host}]"),
        true => format!("[{host}]:{port}"),
        false if port == default || without_port(host) != host => host.to_owned(),
        false => format!("{host}:{port}"),
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A host as the server name of TLS: without port, brackets and the root's dot.
pub(super) fn server_name(host: &str) -> &str {
    let host = if is_ipv6(host) { host } else { without_port(host) };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

/// The server name in a client's `Host` header; `None` when it cannot be one.
pub(super) fn preserved_server_name(host: &str) -> Option<&str> {
    let name = server_name(host);
    ServerName::try_from(name).ok().map(|_| name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}

/// TLS towards a service.
#[derive(Debug, Default)]
pub(super) struct Material {
    /// Whose certificates are believed; `None` = the system's.
    pub ca: Option<Arc<CaType>>,
    pub client: Option<Arc<CertKey>>,
    pub verify: bool,
    /// Connections are only shared by peers with the same one: Pingora's own key has neither the CA nor the HTTP version, and of
    /// a client certificate only the serial number.
    pub group_key: u64,
}

impl Material {
    /// What the service's fields say, and of its upstream the client certificate where the service has none; `default` where
    /// neither has.
    pub fn new(
        service: &Service,
        upstream: Option<&Upstream>,
        default: Option<ClientCertificate>,
        dataset: &Dataset,
        options: &Options,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        service.protocol.is_grpc().hash(&mut hasher);
        if !service.protocol.is_tls() {
            return Self { group_key: hasher.finish(), ..Self::default() };
        }
        let path = |field: &str| format!("services.{}.{field}", service.name.as_deref().unwrap_or(&service.host));
        let verify = service.tls_verify.unwrap_or(options.verify_default);
        let ids = service.ca_certificates.as_deref().unwrap_or_default();
        if !verify && !ids.is_empty() {
            diagnostics.push(
                Diagnostic::warning(
                    "tls-not-verified",
                    path("ca_certificates"),
                    "the service's certificate is not verified, so ca_certificates has no effect",
                )
                .help("set tls_verify: true"),
            );
        }
        if verify && service.tls_verify_depth.is_some() {
            diagnostics.push(Diagnostic::warning(
                "tls-verify-depth",
                path("tls_verify_depth"),
                "tls_verify_depth is not applied: chains may have as many certificates as the TLS library allows",
            ));
        }
        let ca = verify.then(|| authorities(ids, dataset, &path("ca_certificates"), diagnostics)).flatten();
        let client = client_certificate(service, upstream, default, dataset, diagnostics);
        (verify, &service.tls_verify).hash(&mut hasher);
        if ca.is_some() {
            ids.iter().filter_map(|id| authority_text(*id, dataset)).for_each(|text| text.hash(&mut hasher));
        }
        client.as_ref().map(|client| client.hash).hash(&mut hasher);
        Self { ca, client: client.map(|client| client.key), verify, group_key: hasher.finish() }
    }
}

fn authority_text(id: Uuid, dataset: &Dataset) -> Option<&str> {
    dataset.ca_certificates.iter().find(|authority| authority.id == id).map(|authority| authority.cert.as_str())
}

/// The CA certificates of a service. One that cannot be used is an error: to leave it out could mean to trust the system's.
fn authorities(ids: &[Uuid], dataset: &Dataset, path: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Arc<CaType>> {
    if ids.is_empty() {
        return None;
    }
    let mut list = Vec::with_capacity(ids.len());
    for id in ids {
        let ders = authority_text(*id, dataset).and_then(|text| certificates(text).ok()).unwrap_or_default();
        let usable = !ders.is_empty() && ders.iter().all(|der| RootCertStore::empty().add(der.clone()).is_ok());
        if !usable {
            let message = format!("CA certificate {id} cannot be used to verify a service");
            diagnostics.push(Diagnostic::error("ca-certificate", path, message));
        } else {
            list.extend(ders.into_iter().filter_map(|der| parsed(|| WrappedX509::new(der.to_vec(), parse_x509))));
        }
    }
    Some(list.into())
}

/// A certificate that is shown to services that ask for one.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    pub(super) key: Arc<CertKey>,
    /// Of certificate and key.
    pub(super) hash: u64,
}

impl ClientCertificate {
    /// From PEM.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub fn new(cert: &str, key: &str) -> Result<Self, &'static str> {
        let mut hasher = DefaultHasher::new();
        (cert, key).hash(&mut hasher);
        Ok(Self { key: Arc::new(cert_key(cert, key)?), hash: hasher.finish() })
    }
}

/// The certificate shown to a service: its own, its upstream's, or the default of the settings.
fn client_certificate(
    service: &Service,
    upstream: Option<&Upstream>,
    default: Option<ClientCertificate>,
    dataset: &Dataset,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ClientCertificate> {
    match (service.client_certificate, upstream.and_then(|upstream| upstream.client_certificate)) {
        (Some(own), _) => {
            let path = format!("services.{}.client_certificate", service.name.as_deref().unwrap_or(&service.host));
            load_client_certificate(own.id, dataset, &path, diagnostics)
        }
        (None, Some(of_upstream)) => {
            let path = format!("upstreams.{}.client_certificate", service.host);
            load_client_certificate(of_upstream.id, dataset, &path, diagnostics)
        }
        (None, None) => default,
    }
}

/// What keeps a service's certificates from being used. A certificate that is not in the dataset is not spoken of.
pub fn check_service(service: &Service, dataset: &Dataset, diagnostics: &mut Vec<Diagnostic>) {
    let name = service.name.as_deref().unwrap_or("");
    let authorities_path = format!("services.{name}.ca_certificates");
    authorities(service.ca_certificates.as_deref().unwrap_or_default(), dataset, &authorities_path, diagnostics);
    check_client(service.client_certificate.map(|own| own.id), &format!("services.{name}"), dataset, diagnostics);
}

/// As [`check_service`].
pub fn check_upstream(upstream: &Upstream, dataset: &Dataset, diagnostics: &mut Vec<Diagnostic>) {
    let path = format!("upstreams.{}", upstream.name);
    check_client(upstream.client_certificate.map(|own| own.id), &path, dataset, diagnostics);
}

fn check_client(id: Option<Uuid>, path: &str, dataset: &Dataset, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(id) = id.filter(|id| dataset.certificates.iter().any(|there| there.id == *id)) {
        load_client_certificate(id, dataset, &format!("{path}.client_certificate"), diagnostics);
    }
}

/// A certificate entity as one to show to servers.
pub(super) fn load_client_certificate(
    id: Uuid,
    dataset: &Dataset,
    path: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ClientCertificate> {
    let entity = dataset.certificates.iter().find(|certificate| certificate.id == id);
    match entity.ok_or("it does not exist").and_then(|entity| ClientCertificate::new(&entity.cert, &entity.key)) {
        Ok(client) => Some(client),
        Err(reason) => {
            let message = format!("certificate {id} cannot be shown to a service: {reason}");
            diagnostics.push(Diagnostic::error("client-certificate", path, message));
            None
        }
    }
}

fn cert_key(cert: &str, key: &str) -> Result<CertKey, &'static str> {
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "its key is not a private key in PEM")?;
    // Pingora tells the key's format by its first bytes and takes it for granted that it can.
    PrivateKeyDer::try_from(key.secret_der()).map_err(|_| "its key has a format that is not known")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)
        .map_err(|_| "certificate and key do not belong together, or the key's algorithm is not supported")?;
    parsed(|| CertKey::new(chain.into_iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec()))
        .ok_or("it is not an X.509 certificate")
}

/// Pingora's parser of certificates is another version than ours, and panics on what it refuses. What ours takes it should take;
/// should it not, that is no reason for a reload to die.
fn parsed<T>(parse: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(parse)).ok()
}

/// The certificates in a PEM text, each of them one that Pingora can parse.
fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let list: Vec<_> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| "it is not PEM")?;
    let parses = |der: &CertificateDer<'_>| x509_parser::certificate::X509Certificate::from_der(der).is_ok();
    match list.is_empty() {
        true => Err("it holds no certificate"),
        false if !list.iter().all(parses) => Err("it is not an X.509 certificate"),
        false => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_headers() {
        let header = |protocol, host, port| host_header(protocol, host, port).to_str().unwrap().to_owned();
        assert_eq!(header(Protocol::Http, "127.0.0.1", 19001), "127.0.0.1:19001");
        assert_eq!(header(Protocol::Http, "a.test", 80), "a.test");
        assert_eq!(header(Protocol::Http, "a.test", 443), "a.test:443");
        assert_eq!(header(Protocol::Https, "a.test", 443), "a.test");
        assert_eq!(header(Protocol::Https, "a.test", 80), "a.test:80");
        assert_eq!(header(Protocol::Grpc, "a.test", 80), "a.test");
        assert_eq!(header(Protocol::Grpcs, "::1", 444), "[::1]:444");
        assert_eq!(header(Protocol::Grpcs, "::1", 443), "[::1]");
        assert_eq!(header(Protocol::Http, "a.test:8443", 9000), "a.test:8443");
    }

    #[test]
    fn server_names_from_host() {
        assert_eq!(preserved_server_name("a.test:8443"), Some("a.test"));
        assert_eq!(preserved_server_name("a.test."), Some("a.test"));
        assert_eq!(preserved_server_name("[::1]:8443"), Some("::1"));
        assert_eq!(preserved_server_name("[::1]"), Some("::1"));
        assert_eq!(preserved_server_name("::1"), Some("::1"));
        assert_eq!(preserved_server_name("not a name"), None);
        assert_eq!(preserved_server_name(""), None);
    }
}
