//! The plugin's configuration as it is used, and what of Kong's fields is not served.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

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
    auth_methods: Vec<String>,
    bearer_token_param_type: Vec<String>,
    bearer_token_cookie_name: Option<String>,
    password_param_type: Vec<String>,
    client_credentials_param_type: Vec<String>,
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

/// What `auth_methods` may name and is served.
const SERVED: [&str; 6] = ["bearer", "kong_oauth2", "introspection", "userinfo", "password", "client_credentials"];
/// How many names there are: a list of all of them is the default.
const ALL: usize = 9;

/// Fields that ask for something which is not served, whenever they are set.
const UNSERVED: &[(&str, &str)] = &[
    ("refresh_token_param_name", "refresh tokens of clients"),
    ("id_token_param_name", "ID tokens of clients"),
    ("login_redirect_uri", "browser login"),
    ("logout_uri_suffix", "browser logout"),
    ("logout_query_arg", "browser logout"),
    ("logout_post_arg", "browser logout"),
    ("logout_redirect_uri", "browser logout"),
    ("unexpected_redirect_uri", "redirects on provider failures"),
    ("jwt_session_cookie", "sessions"),
    ("session_request_headers", "sessions"),
    ("session_response_headers", "sessions"),
    ("upstream_session_id_header", "sessions"),
    ("downstream_session_id_header", "sessions"),
    ("tls_client_auth_cert_id", "client certificates towards the provider"),
    ("token_exchange_endpoint", "token exchange"),
    ("token_post_args_client", "arguments passed on from clients"),
    ("token_headers_client", "headers passed on from clients"),
    ("token_headers_replay", "headers of the token endpoint passed on"),
    ("introspection_headers_client", "headers passed on from clients"),
    ("introspection_post_args_client", "arguments passed on from clients"),
    ("introspection_post_args_client_headers", "headers passed on from clients"),
    ("userinfo_headers_client", "headers passed on from clients"),
    ("userinfo_query_args_client", "arguments passed on from clients"),
    ("consumer_groups_claim", "consumer groups"),
    ("upstream_access_token_jwk_header", "keys passed on"),
    ("upstream_id_token_header", "ID tokens passed on"),
    ("upstream_id_token_jwk_header", "ID tokens passed on"),
    ("upstream_refresh_token_header", "refresh tokens passed on"),
    ("upstream_user_info_header", "user info passed on"),
    ("upstream_user_info_jwt_header", "user info passed on"),
    ("upstream_introspection_header", "introspection results passed on"),
    ("upstream_introspection_jwt_header", "introspection results passed on"),
    ("downstream_access_token_jwk_header", "keys passed on"),
    ("downstream_id_token_header", "ID tokens passed on"),
    ("downstream_id_token_jwk_header", "ID tokens passed on"),
    ("downstream_refresh_token_header", "refresh tokens passed on"),
    ("downstream_user_info_header", "user info passed on"),
    ("downstream_user_info_jwt_header", "user info passed on"),
    ("downstream_introspection_header", "introspection results passed on"),
    ("downstream_introspection_jwt_header", "introspection results passed on"),
];

/// Fields that ask for something which is not served when they have another value than these.
const UNSERVED_UNLESS: &[(&str, &[&str])] = &[
    ("proof_of_possession_mtls", &["off"]),
    ("proof_of_possession_dpop", &["off"]),
    ("introspection_accept", &["application/json"]),
    ("userinfo_accept", &["application/json"]),
    ("cluster_cache_strategy", &["off"]),
    ("session_storage", &["cookie"]),
    ("resolve_distributed_claims", &["false"]),
    ("search_user_info", &["false"]),
    ("verify_parameters", &["false"]),
];

/// Ways of authenticating at the provider that are not served.
const TLS_CLIENT_AUTH: [&str; 2] = ["tls_client_auth", "self_signed_tls_client_auth"];

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// What of a configuration is not served: faults, and warnings.
pub fn unserved(config: &Map<String, Value>, warnings: &mut Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut refuse = |path: &str, message: String| {
        faults.push(
            Diagnostic::error("unsupported", path, message).help("docs/openid-connect.md lists what is supported"),
        );
    };
    for (name, what) in UNSERVED {
        if config.get(*name).is_some_and(is_set) {
            refuse(name, format!("{what}: not supported"));
        }
    }
    for (name, defaults) in UNSERVED_UNLESS {
        let Some(value) = config.get(*name).filter(|value| !value.is_null()) else { continue };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !defaults.contains(&text.as_str()) {
            refuse(name, format!("`{text}` is not supported"));
        }
    }
    for name in ["client_auth", "token_endpoint_auth_method", "introspection_endpoint_auth_method"] {
        let named = |method: &str| match config.get(name) {
            Some(Value::String(text)) => text == method,
            Some(Value::Array(items)) => items.iter().any(|item| item == method),
            _ => false,
        };
        for method in TLS_CLIENT_AUTH.iter().filter(|method| named(method)) {
            refuse(name, format!("`{method}` is not supported"));
        }
    }
    let methods: Vec<&str> = match config.get("auth_methods") {
        Some(Value::Array(methods)) => methods.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let others: Vec<&str> = methods.iter().copied().filter(|method| !SERVED.contains(method)).collect();
    if others.len() == methods.len() {
        let listed = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        refuse("auth_methods", format!("{listed}: none of these methods is supported"));
    } else if !others.is_empty() {
        let message = format!("{} are not served: requests authenticate by the other methods only", others.join(", "));
        let warning = Diagnostic::warning("unsupported", "auth_methods", message);
        warnings.push(if methods.len() == ALL {
            warning.help("auth_methods lists every method unless set; list those that you use")
        } else {
            warning.help("remove them from auth_methods")
        });
    }
    faults
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
    if config.client_id.len() > 1 {
        warn("client_id", "of several clients the first is used");
    }
}
