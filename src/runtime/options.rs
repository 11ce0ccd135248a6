//! What the settings mean to the other rooms.

use std::path::Path;
use std::sync::Arc;

use pingora_core::apps::HttpServerOptions;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::server::configuration::ServerConf;

use super::gate::Gate;
use super::settings::Settings;
use crate::auth::oauth2::TokenStore;
use crate::auth::oidc;
use crate::auth::verified::Verified;
use crate::gateway::{self, Gateway};
use crate::plugins::Registries;
use crate::telemetry::access_log;
use crate::{admin, upstream};

pub fn admin_options(settings: &Settings) -> admin::Options {
    admin::Options {
        token: settings.admin_token.as_ref().map(|token| token.0.clone()),
        hosts: settings.admin_hosts.clone(),
        gui_urls: settings.admin_gui_url.clone(),
        body_limit: usize::try_from(settings.admin_max_body_size.0).unwrap_or(usize::MAX),
        ..admin::Options::default()
    }
}

pub fn gate(settings: &Settings, files: usize) -> Arc<Gate> {
    // A connection of a client needs a descriptor, and one for its service; the rest is for everything else.
    let most = settings.max_connections.or_else(|| (files / 3).max(64));
    let most_per_client = settings.max_connections_per_client.or_else(|| most.div_ceil(2));
    Gate::new(most, most_per_client, settings.trusted_ips.clone())
}

/// `trusted`: a PEM file, as [`super::tls::trusted`] gives it.
pub fn proxy(
    settings: &Settings,
    gateway: Gateway,
    workers: usize,
    trusted: Option<&Path>,
) -> pingora_proxy::HttpProxy<Gateway> {
    let pool = usize::try_from(settings.upstream_keepalive_pool_size).unwrap_or(usize::MAX);
    let conf = ServerConf {
        threads: workers,
        // Pingora multiplies it with the threads.
        upstream_keepalive_pool_size: pool.div_ceil(workers.max(1)),
        // How often a request is tried is the service's `retries`, which the gateway counts.
        max_retries: usize::from(u16::MAX),
        ca_file: trusted.map(|file| file.display().to_string()),
        ..ServerConf::default()
    };
    let mut proxy = pingora_proxy::http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    // Asked for only on connections that began with the preface of HTTP/2.
    options.h2c = true;
    options.h2_idle_timeout = Some(settings.keepalive_timeout);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(u32::try_from(settings.http2_max_concurrent_streams).unwrap_or(u32::MAX));
    h2.max_header_list_size(u32::try_from(settings.max_request_header_size.0).unwrap_or(u32::MAX));
    proxy.h2_options = Some(h2);
    proxy
}

pub fn access_log_options(settings: &Settings) -> access_log::Options {
    access_log::Options {
        target: settings.proxy_access_log.clone(),
        sample: settings.access_log_sample,
        sample_rejects: settings.access_log_sample_rejects,
        queue: usize::try_from(settings.access_log_queue).unwrap_or(usize::MAX),
    }
}

pub fn registries(settings: &Settings, tokens: Arc<dyn TokenStore>) -> Registries {
    Registries {
        verified: Arc::new(Verified::new(usize::try_from(settings.verified_token_cache_size.0).unwrap_or(usize::MAX))),
        token_limit: usize::try_from(settings.max_token_size.0).unwrap_or(usize::MAX),
        oidc: Arc::new(oidc::Registry::new(oidc_options(settings))),
        ..Registries::new(tokens)
    }
}

fn oidc_options(settings: &Settings) -> oidc::Options {
    let trusted = &settings.lua_ssl_trusted_certificate;
    oidc::Options {
        trust: oidc::Trust { system: trusted.system, files: trusted.files.clone() },
        cache_dir: Some(settings.cache_dir.clone().unwrap_or_else(|| settings.prefix.join("cache"))),
        plain_http: settings.idp_plain_http,
    }
}

/// `trusted`: as in [`proxy`].
pub fn upstream_options(settings: &Settings, trusted: Option<&Path>) -> upstream::Options {
    upstream::Options {
        trusted: trusted.map(Path::to_owned),
        idle_timeout: Some(settings.upstream_keepalive_idle_timeout),
        dns_interval: settings.dns_valid_ttl,
        dns_retry: settings.dns_error_ttl,
        dns_stale: settings.dns_stale_ttl,
        dns_order: settings.dns_order.0,
        ..upstream::Options::default()
    }
}

/// What of the settings the gateway works by.
pub fn gateway_options(settings: &Settings) -> gateway::Options {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let limits = gateway::Limits::default();
    let timeouts = gateway::Timeouts::default();
    gateway::Options {
        trusted_ips: settings.trusted_ips.clone(),
        real_ip_header: settings.real_ip_header.clone(),
        real_ip_recursive: settings.real_ip_recursive,
        error_default_type: settings.error_default_type,
        headers: settings.headers,
        request_id_upstream: settings.headers_upstream.request_id,
        preserve_header_case: settings.preserve_header_case,
        allow_debug_header: settings.allow_debug_header,
        port_maps: settings.port_maps.clone(),
        limits: gateway::Limits {
            header_count: size(settings.max_request_headers),
            header_bytes: size(settings.max_request_header_size.0),
            target_bytes: size(settings.max_uri_size.0),
            body_bytes: Some(settings.client_max_body_size.0).filter(|bytes| *bytes > 0),
            body_min_rate: settings.client_body_min_rate.0,
            ..limits
        },
        timeouts: gateway::Timeouts {
            keepalive: settings.keepalive_timeout,
            read: settings.client_body_timeout,
            write: settings.send_timeout,
            ..timeouts
        },
    }
}
