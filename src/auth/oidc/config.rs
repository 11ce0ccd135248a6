//! The plugin's configuration as it is used.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::diagnostic::Diagnostic;

/// A list or switch that is not given is empty or off.
fn given<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

macro_rules! config {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What of the configuration is used; names and meaning are Kong's.
        #[derive(Debug, Deserialize)]
        pub struct Config {
            $($(#[$doc])* #[serde(default, deserialize_with = "given")] pub $name: $type,)*
        }

        /// The fields above.
        #[cfg(test)]
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

config! {
    issuer: String,
    using_pseudo_issuer: bool,
    /// Seconds.
    rediscovery_lifetime: Option<f64>,
    extra_jwks_uris: Vec<String>,
    issuers_allowed: Vec<String>,
    /// A key set: the issuer's keys, or some of them.
    jwks: Option<Value>,
    protected_resource: Option<super::resource::Config>,
    discovery_headers_names: Vec<String>,
    discovery_headers_values: Vec<String>,
    http_version: Option<f64>,
    keepalive: Option<bool>,
    /// Milliseconds.
    timeout: Option<f64>,
    ssl_verify: Option<bool>,
    http_proxy: Option<String>,
    http_proxy_authorization: Option<String>,
    https_proxy: Option<String>,
    https_proxy_authorization: Option<String>,
    no_proxy: Option<String>,
    token_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    jwks_endpoint: Option<String>,
    token_endpoint_auth_method: Option<String>,
    introspection_endpoint_auth_method: Option<String>,
    client_id: Vec<String>,
    client_secret: Vec<String>,
    client_auth: Vec<String>,
    client_alg: Vec<String>,
    client_jwk: Vec<Value>,
    client_arg: Option<String>,
    auth_methods: Vec<String>,
    bearer_token_param_type: Vec<String>,
    bearer_token_cookie_name: Option<String>,
    password_param_type: Vec<String>,
    client_credentials_param_type: Vec<String>,
    refresh_token_param_type: Vec<String>,
    refresh_token_param_name: Option<String>,
    scopes: Vec<String>,
    audience: Vec<String>,
    token_post_args_names: Vec<String>,
    token_post_args_values: Vec<String>,
    token_headers_names: Vec<String>,
    token_headers_values: Vec<String>,
    hide_credentials: bool,
    run_on_preflight: Option<bool>,
    refresh_tokens: Option<bool>,
    verify_claims: Option<bool>,
    verify_signature: Option<bool>,
    enable_hs_signatures: bool,
    ignore_signature: Vec<String>,
    /// Seconds, as the one below.
    leeway: f64,
    max_age: Option<f64>,
    domains: Vec<String>,
    introspect_jwt_tokens: bool,
    introspection_check_active: Option<bool>,
    introspection_hint: Option<String>,
    introspection_token_param_name: Option<String>,
    introspection_accept: Option<String>,
    userinfo_accept: Option<String>,
    introspection_headers_names: Vec<String>,
    introspection_headers_values: Vec<String>,
    introspection_post_args_names: Vec<String>,
    introspection_post_args_values: Vec<String>,
    userinfo_headers_names: Vec<String>,
    userinfo_headers_values: Vec<String>,
    userinfo_query_args_names: Vec<String>,
    userinfo_query_args_values: Vec<String>,
    audience_claim: Vec<String>,
    audience_required: Vec<String>,
    scopes_claim: Vec<String>,
    scopes_required: Vec<String>,
    groups_claim: Vec<String>,
    groups_required: Vec<String>,
    roles_claim: Vec<String>,
    roles_required: Vec<String>,
    claims_forbidden: Vec<String>,
    consumer_claim: Vec<String>,
    consumer_by: Vec<String>,
    by_username_ignore_case: bool,
    consumer_optional: bool,
    credential_claim: Vec<String>,
    anonymous: Option<String>,
    authenticated_groups_claim: Vec<String>,
    upstream_access_token_header: Option<String>,
    downstream_access_token_header: Option<String>,
    upstream_refresh_token_header: Option<String>,
    downstream_refresh_token_header: Option<String>,
    upstream_headers_claims: Vec<String>,
    upstream_headers_names: Vec<String>,
    downstream_headers_claims: Vec<String>,
    downstream_headers_names: Vec<String>,
    unauthorized_error_message: Option<String>,
    forbidden_error_message: Option<String>,
    unauthorized_redirect_uri: Vec<String>,
    forbidden_redirect_uri: Vec<String>,
    display_errors: bool,
    expose_error_code: Option<bool>,
    /// Seconds, as the ones below.
    cache_ttl: Option<f64>,
    cache_ttl_max: Option<f64>,
    cache_ttl_min: Option<f64>,
    cache_ttl_neg: Option<f64>,
    cache_tokens_salt: Option<String>,
    cache_introspection: Option<bool>,
    cache_tokens: Option<bool>,
    cache_user_info: Option<bool>,
}

/// Lists that belong together by their places, and do not have as many entries.
///
/// # Errors
/// The first pair of them.
pub fn paired(config: &Config) -> Result<(), Vec<Diagnostic>> {
    for (path, names, values) in [
        ("discovery_headers_values", &config.discovery_headers_names, &config.discovery_headers_values),
        ("token_headers_values", &config.token_headers_names, &config.token_headers_values),
        ("token_post_args_values", &config.token_post_args_names, &config.token_post_args_values),
        ("introspection_headers_values", &config.introspection_headers_names, &config.introspection_headers_values),
        (
            "introspection_post_args_values",
            &config.introspection_post_args_names,
            &config.introspection_post_args_values,
        ),
        ("userinfo_headers_values", &config.userinfo_headers_names, &config.userinfo_headers_values),
        ("userinfo_query_args_values", &config.userinfo_query_args_names, &config.userinfo_query_args_values),
    ] {
        if names.len() != values.len() {
            let message = format!("{} values for {} names: they are paired by their place", values.len(), names.len());
            return Err(vec![Diagnostic::error("invalid-value", path, message)]);
        }
    }
    Ok(())
}

/// Warnings of settings that take protection away.
pub fn weak(config: &Config, warnings: &mut Vec<Diagnostic>) {
    let mut warn = |path: &str, message: &str| {
        warnings.push(Diagnostic::warning("weakened", path, message));
    };
    if config.verify_signature == Some(false) {
        warn("verify_signature", "signatures are not verified: anyone can make a token that is accepted");
    }
    if config.verify_claims == Some(false) {
        warn("verify_claims", "issuer and expiry are not verified");
    }
    if config.ssl_verify == Some(false) && config.issuer.starts_with("https:") {
        warn(
            "ssl_verify",
            "the provider's certificate is not verified: whoever is on the way to it can replace its keys",
        );
    }
    if config.audience_required.is_empty() {
        warn("audience_required", "not set: tokens that the issuer made for any other service are accepted");
    }
    let keyless = config.using_pseudo_issuer && config.jwks_endpoint.is_none() && config.extra_jwks_uris.is_empty();
    if keyless && config.jwks.is_none() && config.auth_methods.iter().any(|method| method == "bearer") {
        warn(
            "using_pseudo_issuer",
            "no jwks_endpoint, extra_jwks_uris or jwks: there are no keys to verify a JWT with",
        );
    }
}
