//! Calls to identity providers: bounded in size and time, without redirects, over verified TLS.
//!
//! Knows HTTP and nothing of what it carries. No error of it names more of a URL than its host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{NoProxy, Proxy, RequestBuilder, Url};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Largest answer that is read, in bytes.
pub const MOST: usize = 1024 * 1024;

/// Which certificates of providers are believed.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The system's.
    pub system: bool,
    /// PEM files.
    pub files: Vec<PathBuf>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { system: true, files: Vec::new() }
    }
}

/// How a provider is called. Plugins with the same of these share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    pub verify: bool,
    pub keepalive: bool,
    pub http_1_0: bool,
    /// Of a whole call, body included.
    pub timeout: Duration,
    /// URL and `Proxy-Authorization` of the proxy for each scheme.
    pub http_proxy: Option<(String, Option<String>)>,
    pub https_proxy: Option<(String, Option<String>)>,
    pub no_proxy: Option<String>,
}

/// Why there is no answer. For people; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Connection(String),
    #[error("no answer in time")]
    Timeout,
    #[error("an answer of more than {MOST} bytes")]
    TooLarge,
    #[error("a redirect, which is not followed")]
    Redirect,
    #[error("status {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Content(&'static str),
}

impl Fault {
    /// The `result` label of metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::Content(_) => "content",
        }
    }
}

/// An answer with any status but a redirect.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// # Errors
    /// When the status is not 200 to 299.
    pub fn successful(self) -> Result<Self, Fault> {
        if self.status.is_success() { Ok(self) } else { Err(Fault::Status(self.status)) }
    }

    /// # Errors
    /// When it says that it is something else than JSON.
    pub fn json(self) -> Result<Self, Fault> {
        if may_be_json(&self.media_type()) { Ok(self) } else { Err(Fault::Content("not of a type that JSON comes as")) }
    }

    /// In lower case, without parameters; empty where none is said.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        String::from_utf8_lossy(kind).to_ascii_lowercase()
    }
}

/// JSON by its name, or what a plain file server says of a file.
fn may_be_json(kind: &str) -> bool {
    let json = kind.rsplit_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"));
    json || matches!(kind, "" | "text/plain" | "application/octet-stream")
}

/// A client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    version: http::Version,
}

impl Http {
    /// # Errors
    /// What of the way or the trust cannot be used.
    pub fn new(way: &Way, trust: &Trust) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(way.verify, trust)?)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .no_proxy()
            .timeout(way.timeout)
            .connect_timeout(way.timeout.min(Duration::from_secs(5)))
            .pool_max_idle_per_host(if way.keepalive && !way.http_1_0 { 16 } else { 0 })
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let none = || way.no_proxy.as_deref().and_then(NoProxy::from_string);
        for (given, make) in [
            (&way.http_proxy, (|url| Proxy::http(url)) as fn(&str) -> reqwest::Result<Proxy>),
            (&way.https_proxy, |url| Proxy::https(url)),
        ] {
            let Some((url, authorization)) = given else { continue };
            let mut proxy = make(url).map_err(|_| "a proxy's URL cannot be used".to_owned())?.no_proxy(none());
            if let Some(authorization) = authorization {
                let value = authorization.parse().map_err(|_| "a proxy's authorization cannot stand in a header")?;
                proxy = proxy.custom_http_auth(value);
            }
            builder = builder.proxy(proxy);
        }
        let version = if way.http_1_0 { http::Version::HTTP_10 } else { http::Version::HTTP_11 };
        let client = builder.build().map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self { client, version })
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url).version(self.version)
    }

    pub fn post(&self, url: Url) -> RequestBuilder {
        self.client.post(url).version(self.version)
    }
}

/// Sends a request and reads its answer.
///
/// # Errors
/// When there is none, it is too large, or it is a redirect.
pub async fn call(request: RequestBuilder) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(|error| fault(&error))?;
    if response.status().is_redirection() {
        return Err(Fault::Redirect);
    }
    if response.content_length().is_some_and(|length| length > MOST as u64) {
        return Err(Fault::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > MOST {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body: body.freeze() })
}

/// The innermost cause, which says most; the outer ones name the whole URL.
fn fault(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        return Fault::Timeout;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, error) {
        Fault::Connection("the call failed".into())
    } else {
        Fault::Connection(cause.to_string())
    }
}

fn tls(verify: bool, trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if !verify {
        let anyone = Arc::new(Anyone(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    if trust.system {
        let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for file in &trust.files {
        let unreadable = |error: rustls::pki_types::pem::Error| format!("{}: {error}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Believes every certificate: `ssl_verify: false`, asked for by the configuration and warned of.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a URL may be called: TLS, or plain where it goes no further than this machine or is allowed to.
pub fn permitted(url: &Url, plain: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => plain || is_loopback(url),
        _ => false,
    }
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
