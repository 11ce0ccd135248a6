//! The table of settings. One entry makes the field, its reading, its line in `conf/portcullis.yaml` and in `docs/settings.md`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Setting;
use super::file::Given;
use super::value::{
    Auto, Database, DnsOrder, Plugins, Secret, Size, SslProtocols, TrustedCertificates, UpstreamHeaders, Value,
};
use crate::diagnostic::Diagnostic;
use crate::gateway::{ErrorType, RealIp, ResponseTokens};
use crate::runtime::listen::Listen;
use crate::telemetry::logging::{Format, Level};
use crate::telemetry::output::Target;

/// Reads one setting; a fault is noted with its place.
fn read<T: Value>(setting: &Setting, given: &HashMap<&'static str, Given>, faults: &mut Vec<Diagnostic>) -> Option<T> {
    let found = given.get(setting.name);
    match T::parse(found.map_or(setting.default, |found| found.text.trim())) {
        Ok(value) => Some(value),
        Err(message) => {
            let fault = Diagnostic::error("settings", setting.name, message);
            faults.push(match found {
                Some(Given { place: Some(place), excerpt, .. }) => {
                    Diagnostic { place: Some(place.clone()), excerpt: excerpt.clone(), ..fault }
                }
                _ => fault.help(format!("from the variable {}", setting.variable())),
            });
            None
        }
    }
}

/// Settings that hold secrets.
const SECRETS: [&str; 3] = ["admin_token", "database", "declarative_config_string"];

fn masked(setting: &Setting, text: &str) -> String {
    if SECRETS.contains(&setting.name) && text != setting.default { "******".into() } else { text.to_owned() }
}

macro_rules! settings {
    ($($section:literal { $($name:ident: $type:ty = $default:literal, $description:literal;)* })*) => {
        /// What a process is told once, at its start. Field by field as in `docs/settings.md`.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[doc = $description] pub $name: $type,)*)*
            /// Every setting as it was given, or its default, in the order of the table; secrets masked.
            pub texts: Vec<(&'static str, String)>,
        }

        impl Settings {
            /// Every setting, in the order of the documentation.
            pub const TABLE: &'static [Setting] = &[$($(Setting {
                name: stringify!($name),
                section: $section,
                kind: <$type as Value>::KIND,
                default: $default,
                description: $description,
            },)*)*];

            /// Types what was given; `None` when anything could not be read.
            pub(super) fn from_given(given: &HashMap<&'static str, Given>, faults: &mut Vec<Diagnostic>) -> Option<Self> {
                let mut table = Self::TABLE.iter();
                // Every field is read before any fault ends the reading, so that all faults are found at once.
                $($(let $name: Option<$type> = table.next().and_then(|setting| read(setting, given, faults));)*)*
                let text = |setting: &Setting| given.get(setting.name).map_or(setting.default, |found| found.text.trim());
                let texts = Self::TABLE.iter().map(|setting| (setting.name, masked(setting, text(setting)))).collect();
                Some(Self { $($($name: $name?,)*)* texts })
            }
        }
    };
}

settings! {
    "Process" {
        prefix: PathBuf = ".portcullis",
            "Directory of the process's own files: pid file, upgrade socket; created if it is not there.";
        worker_threads: Auto = "auto",
            "Threads that serve requests; `auto` is one for each core.";
        pid_file: Option<PathBuf> = "",
            "Where the process id is written; `portcullis.pid` under `prefix` unless given.";
        upgrade_sock: Option<PathBuf> = "",
            "The socket over which listening sockets go from an old to a new process; `upgrade.sock` under `prefix` unless given. Both processes need the same.";
        upgrade_timeout: Duration = "60s",
            "How long `run --upgrade` waits for the old process's sockets, and the old process for the new one to serve.";
        grace_period: Duration = "30s",
            "After SIGTERM, how long requests in flight may take to finish. The process ends as soon as none is left.";
    }
    "Configuration" {
        declarative_config: Vec<PathBuf> = "",
            "Declarative files, or folders of them, that are loaded at the start and at each reload; not used where `database` names a database.";
        declarative_config_string: Option<String> = "",
            "A declarative configuration as text, in place of files.";
        plugins: Plugins = "bundled",
            "The plugins that may be configured: `bundled` is every one there is, `off` none; else a list of names, in which `bundled` may stand.";
        ignore_unsupported: bool = "off",
            "Entities and plugins that are not supported are left out with a warning each, instead of refusing the configuration.";
        database: Database = "auto",
            "Where entities live: `off` is in declarative files (DB-less), `sqlite:PATH` and `postgres://USER:PASSWORD@HOST/NAME` in a database that the Admin API writes. `auto` is `off` where declarative files are named, and `sqlite:` with `portcullis.db` under `prefix` elsewhere.";
        oauth2_token_file: Option<PathBuf> = "",
            "Where tokens that the oauth2 plugin issued are kept without a database: `oauth2-tokens.jsonl` under `prefix` unless given; `off` keeps them in memory alone, and a restart ends them.";
    }
    "Listeners" {
        proxy_listen: Vec<Listen> = "0.0.0.0:8000, 0.0.0.0:8443 http2 ssl",
            "Where clients connect. Items are `ADDRESS:PORT` or `unix:PATH` with flags: `ssl`, `http2` (by ALPN with ssl, h2c without), `proxy_protocol`, `reuseport`, `backlog=N`. Port 0 lets the system pick; the log says which.";
        admin_listen: Vec<Listen> = "127.0.0.1:8001",
            "Where the Admin API listens. Whoever reaches it rules the gateway: beyond loopback it needs `admin_token`, or `ssl` and `admin_ssl_client_ca`.";
        admin_gui_listen: Vec<Listen> = "127.0.0.1:8002",
            "Where the console listens: a browser UI, with the Admin API under `/api/`. Beyond loopback it needs `admin_token`, or `ssl` and `admin_ssl_client_ca`. An address that is in use is an error only where it is not the default.";
        status_listen: Vec<Listen> = "127.0.0.1:8007",
            "Where /status, /status/ready, /livez, /readyz and /metrics are served. Probe /readyz: while a database is away and the last configuration is served it stays 200, and Kong's /status/ready is 503.";
        port_maps: Vec<(u16, u16)> = "",
            "Ports as clients see them in front of ports as listened on, for X-Forwarded-Port and routes with ports.";
    }
    "Admin API" {
        admin_token: Option<Secret> = "",
            "What clients of the Admin API send as `Kong-Admin-Token` or bearer token; needed where it listens beyond loopback, unless clients show certificates.";
        admin_ssl_cert: Option<PathBuf> = "",
            "Certificate chain (PEM) of the Admin API where it listens with `ssl`; unless given, it shows what clients of the gateway are shown. Read at the start.";
        admin_ssl_cert_key: Option<PathBuf> = "",
            "The private key (PEM) of `admin_ssl_cert`.";
        admin_ssl_client_ca: Option<PathBuf> = "",
            "Authorities (PEM) whose client certificates let in where the Admin API listens with `ssl`. Without `admin_token` a certificate is demanded; with it, clients may send the token instead. Read at the start.";
        admin_hosts: Vec<String> = "",
            "Host names by which the Admin API is reached, beside addresses and names without a dot; against DNS rebinding.";
        admin_gui_url: Vec<String> = "",
            "Origins of pages (Kong Manager, the console behind a proxy) that may use the Admin API, e.g. `https://manager.example:8445`.";
        admin_max_body_size: Size = "10m",
            "Largest body that the Admin API takes.";
    }
    "TLS" {
        ssl_cert: Vec<PathBuf> = "",
            "Certificate chains (PEM) for names that no certificate entity is for; the first is the default. Without any, a self-signed one is made at each start.";
        ssl_cert_key: Vec<PathBuf> = "",
            "The private keys (PEM) of `ssl_cert`, in the same order.";
        ssl_protocols: SslProtocols = "TLSv1.2 TLSv1.3",
            "TLS versions that clients may use.";
        tls_handshake_timeout: Duration = "10s",
            "How long a TLS handshake may take, a PROXY protocol header before it included.";
        client_ssl: bool = "off",
            "Whether services that ask for a certificate are shown `client_ssl_cert`, unless the service or upstream entity has its own.";
        client_ssl_cert: Option<PathBuf> = "",
            "The certificate (PEM) for `client_ssl`; a reload reads it anew.";
        client_ssl_cert_key: Option<PathBuf> = "",
            "The private key (PEM) of `client_ssl_cert`.";
        lua_ssl_trusted_certificate: TrustedCertificates = "system",
            "What certificates of services, of targets that are probed, and of identity providers are verified against, all that are named together; a service's `ca_certificates` come before. The name is Kong's.";
    }
    "Requests" {
        trusted_ips: Vec<IpNet> = "",
            "Peers (load balancers) whose `X-Forwarded-*` and `real_ip_header` are believed.";
        real_ip_header: RealIp = "X-Real-IP",
            "Where a trusted peer says who the client is: a header's name, or `proxy_protocol`.";
        real_ip_recursive: bool = "off",
            "Whether trusted addresses in `real_ip_header` are skipped, from the right.";
        error_default_type: ErrorType = "text/plain",
            "The form of the gateway's own errors when the client names none: `text/plain`, `application/json`, `application/xml` or `text/html`.";
        headers: ResponseTokens = "server_tokens, latency_tokens, X-Kong-Request-Id",
            "Headers added to responses: `server_tokens` (Server and Via), `latency_tokens`, a single one of them, `X-Kong-Request-Id`, `X-Kong-Upstream-Status`, or `off`.";
        headers_upstream: UpstreamHeaders = "X-Kong-Request-Id",
            "Headers added to requests: `X-Kong-Request-Id`, or `off`.";
        preserve_header_case: bool = "off",
            "Whether names of header fields keep the case they were sent with, for HTTP/1.1 services and clients that take it to matter; it costs about a tenth of a request's CPU time.";
        allow_debug_header: bool = "off",
            "Whether a request with `Kong-Debug: 1` is told its route and service.";
    }
    "Limits" {
        max_connections: Auto = "auto",
            "Connections of clients in all; `auto` is what the limit of open files allows (a third of it), 0 is any number.";
        max_connections_per_client: Auto = "auto",
            "Connections of one client address, an IPv6 /64 counting as one; `auto` is half of `max_connections`, 0 is any number. `trusted_ips` are exempt.";
        max_token_size: Size = "16k",
            "Longest token that jwt and openid-connect look at; a longer one is refused.";
        verified_token_cache_size: Size = "192m",
            "Memory for tokens whose signature was verified (a sixth; 16 bytes each), those that jwt accepted more than once (a third; 32 bytes each), and those that openid-connect did (the rest; 750 to 1,000 bytes each), so that one that comes again is not verified, read and decided about again; 0 turns it off. Times are checked for every request; claims, credential and consumer whenever configuration, consumers, credentials or keys have changed.";
        max_request_headers: u64 = "256",
            "Header fields of a request, of HTTP/1 256 at most; routing and plugins look at the first 100, as Kong's do.";
        max_request_header_size: Size = "64k",
            "Bytes of all header fields of a request.";
        max_uri_size: Size = "32k",
            "Bytes of a request's target.";
        client_max_body_size: Size = "0",
            "Bytes of a request's body; 0 is any number.";
        client_header_timeout: Duration = "10s",
            "How long a whole request header may take to arrive, from its first byte (of a new connection: from its start).";
        client_body_timeout: Duration = "60s",
            "How long one read of a request's body may wait.";
        client_body_min_rate: Size = "256",
            "Bytes a second that a request's body must come in at after its first ten seconds; 0 is any rate.";
        send_timeout: Duration = "60s",
            "How long one write of a response may wait for the client.";
        keepalive_timeout: Duration = "75s",
            "How long a connection may be idle between requests (HTTP/1.1 and HTTP/2).";
        keepalive_requests: u64 = "0",
            "Requests that one HTTP/1.1 connection may carry; 0 is any number.";
        http2_max_concurrent_streams: u64 = "100",
            "Requests that one HTTP/2 connection may have in flight.";
    }
    "Services" {
        upstream_keepalive_pool_size: u64 = "512",
            "Idle connections to services that are kept, in all.";
        upstream_keepalive_idle_timeout: Duration = "60s",
            "How long a connection to a service may be idle before it is closed.";
    }
    "Names" {
        dns_order: DnsOrder = "A, AAAA",
            "Which addresses of a service's name are used: those of the first kind in the list that it has.";
        dns_valid_ttl: Duration = "10s",
            "How long an address of a name is used before the name is resolved again, in the background; the system's resolver does not tell the records' own times.";
        dns_error_ttl: Duration = "1s",
            "How long to wait after a name did not resolve; doubles with each failure, up to `dns_valid_ttl`.";
        dns_stale_ttl: Duration = "1h",
            "How long the last addresses of a name are used while it does not resolve.";
    }
    "Identity providers" {
        cache_dir: Option<PathBuf> = "",
            "Where the last good keys of identity providers are kept for a start while a provider is away; `cache` under `prefix` unless given.";
        idp_plain_http: bool = "off",
            "Whether identity providers beyond this machine may be called without TLS. Whoever is on the way to them can then replace their keys.";
    }
    "Logs and metrics" {
        log_level: Level = "notice",
            "The least severe messages of the process log.";
        log_format: Format = "text",
            "How lines of the process log look.";
        proxy_error_log: Target = "stderr",
            "Where the process log goes. SIGUSR1 and a reload open the file anew.";
        proxy_access_log: Target = "stdout",
            "Where the access log goes, one JSON line a request. SIGUSR1 and a reload open the file anew.";
        access_log_sample: f64 = "1",
            "Share of the requests answered below 400 that are logged.";
        access_log_sample_rejects: f64 = "1",
            "Share of the requests answered 400 and above that are logged.";
        access_log_queue: u64 = "8192",
            "Lines that may wait for the writer; more are dropped and counted.";
        kong_latency_metrics: bool = "on",
            "Whether requests feed Kong's per-route latency histograms beside Portcullis's own.";
    }
}
