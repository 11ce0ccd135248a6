//! Kong's entities as typed values.
//!
//! Owns one struct per entity, exactly the fields of the entity's schema table (`entity::tables`), which is the only source of
//! names, defaults and checks. A JSON document that passed its table deserialises into its struct without fail, and the struct
//! serialises back into the document the Admin API answers with (every field present, unset ones `null`).
//! Must not know how entities are stored, read from files, or served.

mod dataset;
pub mod tables;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::dataset::{ById, Dataset, Entity, Kind};

/// A reference to another entity: `{"id": "…"}` in Kong's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ref {
    pub id: Uuid,
}

/// Tags of an entity; `None` when never set.
pub type Tags = Option<Box<[Box<str>]>>;

/// `services`: what is proxied to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub name: Option<String>,
    /// Further attempts after a failed connection.
    pub retries: u16,
    pub protocol: Protocol,
    /// Host name, IP address, or the name of an upstream.
    pub host: String,
    pub port: u16,
    pub path: Option<String>,
    /// Milliseconds, as the two below.
    pub connect_timeout: u32,
    pub write_timeout: u32,
    pub read_timeout: u32,
    pub tags: Tags,
    pub client_certificate: Option<Ref>,
    pub tls_verify: Option<bool>,
    pub tls_verify_depth: Option<u8>,
    pub ca_certificates: Option<Vec<Uuid>>,
    /// `false` takes the service's routes out of the router.
    pub enabled: bool,
}

/// Protocols of services, routes and plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Grpc,
    Grpcs,
    Http,
    Https,
    Tcp,
    Tls,
    TlsPassthrough,
    Udp,
    Ws,
    Wss,
}

impl Protocol {
    /// Whether connections of this protocol are TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Grpcs | Self::Https | Self::Tls | Self::TlsPassthrough | Self::Wss)
    }

    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }
}

/// `routes`: which requests go to which service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub name: Option<String>,
    pub protocols: Vec<Protocol>,
    pub methods: Option<Vec<String>>,
    pub hosts: Option<Vec<String>>,
    /// `/prefix`, or `~/regex`.
    pub paths: Option<Vec<String>>,
    pub headers: Option<indexmap::IndexMap<String, Vec<String>>>,
    pub snis: Option<Vec<String>>,
    pub sources: Option<Value>,
    pub destinations: Option<Value>,
    pub https_redirect_status_code: u16,
    pub regex_priority: i64,
    pub strip_path: bool,
    pub path_handling: PathHandling,
    pub preserve_host: bool,
    pub request_buffering: bool,
    pub response_buffering: bool,
    pub service: Option<Ref>,
    pub tags: Tags,
}

/// How service path and request path are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathHandling {
    V0,
    V1,
}

/// `upstreams`: a virtual host name with targets behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub name: String,
    pub algorithm: BalancerAlgorithm,
    pub slots: u32,
    pub hash_on: HashOn,
    pub hash_fallback: HashOn,
    pub hash_on_header: Option<String>,
    pub hash_fallback_header: Option<String>,
    pub hash_on_cookie: Option<String>,
    pub hash_on_cookie_path: Option<String>,
    pub hash_on_query_arg: Option<String>,
    pub hash_fallback_query_arg: Option<String>,
    pub hash_on_uri_capture: Option<String>,
    pub hash_fallback_uri_capture: Option<String>,
    pub healthchecks: Healthchecks,
    /// Replaces `Host` towards the targets.
    pub host_header: Option<String>,
    pub client_certificate: Option<Ref>,
    pub use_srv_name: bool,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalancerAlgorithm {
    ConsistentHashing,
    LeastConnections,
    RoundRobin,
    Latency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    None,
    Consumer,
    Ip,
    Header,
    Cookie,
    Path,
    QueryArg,
    UriCapture,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthchecks {
    pub active: ActiveCheck,
    pub passive: PassiveCheck,
    /// Percent of healthy weight below which the whole upstream counts as unhealthy.
    #[serde(serialize_with = "text::number")]
    pub threshold: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveCheck {
    #[serde(rename = "type")]
    pub kind: CheckKind,
    /// Seconds.
    #[serde(serialize_with = "text::number")]
    pub timeout: f64,
    pub concurrency: u32,
    pub http_path: String,
    pub https_sni: Option<String>,
    pub https_verify_certificate: bool,
    pub headers: Option<indexmap::IndexMap<String, Vec<String>>>,
    pub healthy: ActiveHealthy,
    pub unhealthy: ActiveUnhealthy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveHealthy {
    /// Seconds between probes of healthy targets; 0 = off.
    #[serde(serialize_with = "text::number")]
    pub interval: f64,
    pub http_statuses: Vec<u16>,
    pub successes: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveUnhealthy {
    /// Seconds between probes of unhealthy targets; 0 = off.
    #[serde(serialize_with = "text::number")]
    pub interval: f64,
    pub http_statuses: Vec<u16>,
    pub tcp_failures: u16,
    pub timeouts: u16,
    pub http_failures: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassiveCheck {
    #[serde(rename = "type")]
    pub kind: CheckKind,
    pub healthy: PassiveHealthy,
    pub unhealthy: PassiveUnhealthy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassiveHealthy {
    pub http_statuses: Vec<u16>,
    pub successes: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassiveUnhealthy {
    pub http_statuses: Vec<u16>,
    pub tcp_failures: u16,
    pub timeouts: u16,
    pub http_failures: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    Tcp,
    Http,
    Https,
    Grpc,
    Grpcs,
}

/// `targets`: one address of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub id: Uuid,
    /// Seconds with a fraction (Kong keeps milliseconds here).
    #[serde(serialize_with = "text::number")]
    pub created_at: f64,
    #[serde(serialize_with = "text::number")]
    pub updated_at: f64,
    pub upstream: Ref,
    /// `host:port`; the port is always written out.
    pub target: String,
    pub weight: u16,
    pub tags: Tags,
}

/// `consumers`: who calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consumer {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub username: Option<Box<str>>,
    pub custom_id: Option<Box<str>>,
    pub tags: Tags,
}

/// `jwt_secrets`: a consumer's JWT credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JwtSecret {
    pub id: Uuid,
    pub created_at: i64,
    pub consumer: Ref,
    /// Empty for null: the credential is in no index and authenticates nobody.
    #[serde(with = "text::or_null")]
    pub key: Box<str>,
    /// Empty for null: nothing may be verified with it.
    #[serde(with = "text::or_null")]
    pub secret: Box<str>,
    pub algorithm: crate::jose::Algorithm,
    pub rsa_public_key: Option<Box<str>>,
    pub tags: Tags,
}

/// `keyauth_credentials`: a consumer's API key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyAuthCredential {
    pub id: Uuid,
    pub created_at: i64,
    pub consumer: Ref,
    /// Empty for null: the credential is in no index and authenticates nobody.
    #[serde(with = "text::or_null")]
    pub key: Box<str>,
    /// Seconds after creation at which the key ends; `None` = never.
    pub ttl: Option<i64>,
    pub tags: Tags,
}

/// `oauth2_credentials`: an application of a consumer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oauth2Credential {
    pub id: Uuid,
    pub created_at: i64,
    pub consumer: Ref,
    pub name: Box<str>,
    /// Empty for null: the credential is in no index and authenticates nobody.
    #[serde(with = "text::or_null")]
    pub client_id: Box<str>,
    /// Plain, or a PHC string when `hash_secret`. Empty for null: no secret equals it.
    #[serde(with = "text::or_null")]
    pub client_secret: Box<str>,
    pub hash_secret: bool,
    pub redirect_uris: Option<Vec<String>>,
    pub client_type: Oauth2ClientType,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Oauth2ClientType {
    Confidential,
    Public,
}

/// `oauth2_tokens`: an access token that a configuration declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oauth2Token {
    pub id: Uuid,
    pub created_at: i64,
    /// The service it is good for; `None`: any, where global tokens are taken.
    pub service: Option<Ref>,
    pub credential: Ref,
    /// `bearer`.
    pub token_type: Box<str>,
    /// Seconds the access token lives after its creation; 0 and less: for ever.
    pub expires_in: i64,
    /// Empty for null: nobody has it.
    #[serde(with = "text::or_null")]
    pub access_token: Box<str>,
    pub refresh_token: Option<Box<str>>,
    pub authenticated_userid: Option<Box<str>>,
    pub scope: Option<Box<str>>,
    /// Seconds after creation at which it goes altogether; `None` and 0: never.
    pub ttl: Option<i64>,
}

/// `plugins`: a plugin instance and where it applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub name: String,
    pub instance_name: Option<String>,
    pub route: Option<Ref>,
    pub service: Option<Ref>,
    pub consumer: Option<Ref>,
    /// Complete, with every default filled in by the plugin's table.
    pub config: Map<String, Value>,
    pub protocols: Vec<Protocol>,
    pub enabled: bool,
    pub tags: Tags,
}

/// `certificates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub cert: String,
    pub key: String,
    pub cert_alt: Option<String>,
    pub key_alt: Option<String>,
    pub tags: Tags,
}

/// `snis`: the server names a certificate is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sni {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub name: String,
    pub certificate: Ref,
    pub tags: Tags,
}

/// `ca_certificates`: what services' certificates are verified against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaCertificate {
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub cert: String,
    pub cert_digest: String,
    pub tags: Tags,
}
