//! TLS as the settings want it: on the listeners, with certificates from the published snapshot or else from the settings; and towards services, what
//! is trusted and what is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::RwLock;
use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::protocols::tls::TlsRef;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, WantsVerifier};

use super::settings::{Settings, SslProtocols};
use crate::gateway::Handshake;
use crate::snapshot::Published;
use crate::tls::{Alternatives, certified_key, choose, self_signed};
use crate::upstream::ClientCertificate;

/// Picks the certificate of a handshake.
pub struct Resolver {
    published: Arc<Published>,
    /// For names that no certificate entity is for.
    defaults: RwLock<Alternatives>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub fn new(published: Arc<Published>, defaults: Alternatives) -> Arc<Self> {
        Arc::new(Self { published, defaults: RwLock::new(defaults) })
    }

    /// Replaces the default certificates; connections keep theirs.
    pub fn set_defaults(&self, defaults: Alternatives) {
        *self.defaults.write() = defaults;
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.published.load();
        let schemes = hello.signature_schemes();
        match snapshot.routing.certificates.find(hello.server_name()) {
            Some(found) => choose(found, schemes),
            None => choose(&self.defaults.read(), schemes),
        }
    }
}

/// What the certificates of services are verified against, as the one PEM file that Pingora takes; `None` = the system's store. Several are
/// put together, in `trusted.pem` under the prefix.
///
/// # Errors
/// Messages that name the files.
pub fn trusted(settings: &Settings) -> Result<Option<PathBuf>, Vec<String>> {
    let trusted = &settings.lua_ssl_trusted_certificate;
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for file in &trusted.files {
        match authorities(file) {
            Ok((found, _)) => all.extend(found),
            Err(reason) => faults.push(format!("lua_ssl_trusted_certificate: {}: {reason}", file.display())),
        }
    }
    match (trusted.system, trusted.files.as_slice()) {
        _ if !faults.is_empty() => return Err(faults),
        (true, []) => return Ok(None),
        (true, _) => all.extend(rustls_native_certs::load_native_certs().certs),
        (false, [file]) => return Ok(Some(file.clone())),
        (false, _) => {}
    }
    let pem = |der: &CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    };
    let (file, new) = (settings.prefix.join("trusted.pem"), settings.prefix.join("trusted.pem.new"));
    // At one stroke: another process with the same prefix may be reading it.
    std::fs::create_dir_all(&settings.prefix)
        .and_then(|()| std::fs::write(&new, all.iter().map(pem).collect::<String>()))
        .and_then(|()| std::fs::rename(&new, &file))
        .map_err(|error| vec![format!("lua_ssl_trusted_certificate: {} cannot be written: {error}", file.display())])?;
    Ok(Some(file))
}

/// The certificates in a PEM file, each of them good to verify others with; and a store of them.
fn authorities(file: &Path) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error: rustls::pki_types::pem::Error| error.to_string())?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    if store.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok((found, store)) }
}

/// Reads `ssl_cert` and `ssl_cert_key`, or makes a certificate where they are not set.
///
/// # Errors
/// Messages that name the files.
pub fn default_certificates(settings: &Settings) -> Result<Alternatives, Vec<String>> {
    if settings.ssl_cert.is_empty() {
        let made = self_signed().map_err(|error| vec![format!("no self-signed certificate could be made: {error}")])?;
        return Ok([made].into());
    }
    let mut faults = Vec::new();
    let mut keys = Vec::new();
    for (cert, key) in settings.ssl_cert.iter().zip(&settings.ssl_cert_key) {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        match (read(cert), read(key)) {
            (Ok(chain), Ok(secret)) => match certified_key(&chain, &secret) {
                Ok(certified) => keys.push(certified),
                Err(error) => faults.push(format!("{} with {}: {error}", cert.display(), key.display())),
            },
            (chain, secret) => faults.extend(chain.err().into_iter().chain(secret.err())),
        }
    }
    if faults.is_empty() { Ok(keys.into()) } else { Err(faults) }
}

/// Reads `client_ssl_cert` and `client_ssl_cert_key`; `None` while `client_ssl` is off.
///
/// # Errors
/// A message that names the files.
pub fn client_certificate(settings: &Settings) -> Result<Option<ClientCertificate>, String> {
    let (true, Some(cert), Some(key)) = (settings.client_ssl, &settings.client_ssl_cert, &settings.client_ssl_cert_key)
    else {
        return Ok(None);
    };
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let made = ClientCertificate::new(&read(cert)?, &read(key)?);
    made.map(Some)
        .map_err(|reason| format!("{} with {} cannot be shown to services: {reason}", cert.display(), key.display()))
}

/// Puts the server name of a handshake where the gateway finds it.
struct Callbacks;

#[async_trait]
impl TlsAccept for Callbacks {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        let server_name = tls.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
        Some(Arc::new(Handshake { server_name }))
    }
}

/// The rustls configuration of a listener.
///
/// # Errors
/// When rustls refuses it.
pub fn server_config(
    protocols: SslProtocols,
    resolver: Arc<Resolver>,
    http2: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = builder(protocols)?.with_no_client_auth().with_cert_resolver(resolver);
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Tickets need no memory for clients that never come back.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The rustls configuration of an Admin API listener: its own certificate where it has one, and client certificates where they
/// let in.
///
/// # Errors
/// Messages that name the files.
pub fn admin_config(settings: &Settings, resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
    let builder = builder(settings.ssl_protocols).map_err(|error| error.to_string())?;
    let builder = match &settings.admin_ssl_client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |why: &dyn std::fmt::Display| format!("{} (admin_ssl_client_ca): {why}", path.display());
            let (_, roots) = authorities(path).map_err(|why| unusable(&why))?;
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            // Whoever has the token needs no certificate.
            let verifier = if settings.admin_token.is_some() { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    let resolver: Arc<dyn ResolvesServerCert> = match (&settings.admin_ssl_cert, &settings.admin_ssl_cert_key) {
        (None, None) => resolver,
        (Some(cert), Some(key)) => {
            let certified = certified_key(&read(cert)?, &read(key)?)
                .map_err(|error| format!("{} with {}: {error}", cert.display(), key.display()))?;
            Arc::new(SingleCertAndKey::from(certified))
        }
        _ => return Err("admin_ssl_cert and admin_ssl_cert_key belong together: set both".into()),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn builder(protocols: SslProtocols) -> Result<rustls::ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    let versions: Vec<_> = [(protocols.tls12, &rustls::version::TLS12), (protocols.tls13, &rustls::version::TLS13)]
        .into_iter()
        .filter_map(|(on, version)| on.then_some(version))
        .collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)
}

/// Pingora's acceptor around a configuration of our own: its builder knows no choice of protocol versions.
///
/// # Errors
/// When Pingora refuses the settings.
pub fn acceptor(config: Arc<ServerConfig>, resolver: Arc<Resolver>) -> pingora_core::Result<Acceptor> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Callbacks))?;
    settings.set_cert_resolver(resolver);
    let mut acceptor = settings.build();
    acceptor.acceptor = tokio_rustls::TlsAcceptor::from(config);
    Ok(acceptor)
}
