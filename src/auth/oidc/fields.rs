//! What becomes of every field of the plugin's table: served, refused when it is asked for, or without effect because what it
//! belongs to is refused.
//!
//! The one list of that: loading refuses by it, and the table in docs/openid-connect.md is made from it.

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Served,
    /// Refused whenever it is set, for want of this.
    Refused(&'static str),
    /// Refused unless it has this value.
    Only(&'static str),
    /// Belongs to something that is not served, or says what is so anyway.
    Idle(&'static str),
}

use Support::{Idle, Only, Refused, Served};

const CODE_FLOW: Support = Idle("browser login");
const SESSION: Support = Idle("sessions");
const LOGOUT: Support = Refused("browser logout");
const MTLS: Support = Refused("client certificates towards the provider");
const FROM_CLIENTS: Support = Refused("headers and arguments passed on from clients to the provider");

/// Every field, in the table's order.
pub const FIELDS: &[(&str, Support)] = &[
    ("issuer", Served),
    ("using_pseudo_issuer", Served),
    ("rediscovery_lifetime", Served),
    ("extra_jwks_uris", Served),
    ("issuers_allowed", Served),
    ("jwks", Served),
    ("protected_resource", Served),
    ("discovery_headers_names", Served),
    ("discovery_headers_values", Served),
    ("http_version", Served),
    ("keepalive", Served),
    ("timeout", Served),
    ("ssl_verify", Served),
    ("http_proxy", Served),
    ("http_proxy_authorization", Served),
    ("https_proxy", Served),
    ("https_proxy_authorization", Served),
    ("no_proxy", Served),
    ("authorization_endpoint", CODE_FLOW),
    ("token_endpoint", Served),
    ("introspection_endpoint", Served),
    ("userinfo_endpoint", Served),
    ("revocation_endpoint", Idle("browser logout")),
    ("end_session_endpoint", Idle("browser logout")),
    ("pushed_authorization_request_endpoint", CODE_FLOW),
    ("token_exchange_endpoint", Refused("token exchange")),
    ("jwks_endpoint", Served),
    ("mtls_token_endpoint", MTLS),
    ("mtls_introspection_endpoint", MTLS),
    ("mtls_revocation_endpoint", MTLS),
    ("token_endpoint_auth_method", Served),
    ("introspection_endpoint_auth_method", Served),
    ("revocation_endpoint_auth_method", Idle("browser logout")),
    ("pushed_authorization_request_endpoint_auth_method", CODE_FLOW),
    ("client_id", Served),
    ("client_secret", Served),
    ("client_auth", Served),
    ("client_alg", Served),
    ("client_jwk", Served),
    ("client_arg", Served),
    ("tls_client_auth_cert_id", MTLS),
    ("tls_client_auth_ssl_verify", Idle("client certificates towards the provider")),
    ("auth_methods", Served),
    ("bearer_token_param_type", Served),
    ("bearer_token_cookie_name", Served),
    ("refresh_token_param_name", Served),
    ("id_token_param_name", Refused("ID tokens of clients")),
    ("scopes", Served),
    ("audience", Served),
    ("hide_credentials", Served),
    ("run_on_preflight", Served),
    ("refresh_tokens", Served),
    ("password_param_type", Served),
    ("client_credentials_param_type", Served),
    ("refresh_token_param_type", Served),
    ("id_token_param_type", Idle("ID tokens of clients")),
    ("token_post_args_names", Served),
    ("token_post_args_values", Served),
    ("token_post_args_client", FROM_CLIENTS),
    ("token_headers_names", Served),
    ("token_headers_values", Served),
    ("token_headers_client", FROM_CLIENTS),
    ("token_headers_replay", Refused("headers of the token endpoint passed on")),
    ("token_headers_prefix", Idle("headers of the token endpoint passed on")),
    ("token_headers_grants", Idle("headers of the token endpoint passed on")),
    ("verify_claims", Served),
    ("verify_signature", Served),
    ("verify_nonce", CODE_FLOW),
    ("verify_parameters", Only("false")),
    ("enable_hs_signatures", Served),
    ("ignore_signature", Served),
    ("leeway", Served),
    ("max_age", Served),
    ("domains", Served),
    ("introspect_jwt_tokens", Served),
    ("introspection_check_active", Served),
    ("introspection_hint", Served),
    ("introspection_token_param_name", Served),
    ("revocation_token_param_name", Idle("browser logout")),
    ("introspection_accept", Served),
    ("userinfo_accept", Served),
    ("introspection_headers_values", Served),
    ("reverify", SESSION),
    ("resolve_distributed_claims", Only("false")),
    ("search_user_info", Only("false")),
    ("proof_of_possession_mtls", Only("off")),
    ("proof_of_possession_dpop", Only("off")),
    ("proof_of_possession_auth_methods_validation", Idle("proof of possession")),
    ("dpop_proof_lifetime", Idle("proof of possession")),
    ("dpop_use_nonce", Idle("proof of possession")),
    ("jwt_session_cookie", Refused("sessions")),
    ("jwt_session_claim", SESSION),
    ("introspection_headers_names", Served),
    ("introspection_headers_client", FROM_CLIENTS),
    ("introspection_post_args_names", Served),
    ("introspection_post_args_values", Served),
    ("introspection_post_args_client", FROM_CLIENTS),
    ("introspection_post_args_client_headers", FROM_CLIENTS),
    ("userinfo_headers_names", Served),
    ("userinfo_headers_values", Served),
    ("userinfo_headers_client", FROM_CLIENTS),
    ("userinfo_query_args_names", Served),
    ("userinfo_query_args_values", Served),
    ("userinfo_query_args_client", FROM_CLIENTS),
    ("audience_claim", Served),
    ("audience_required", Served),
    ("scopes_claim", Served),
    ("scopes_required", Served),
    ("groups_claim", Served),
    ("groups_required", Served),
    ("roles_claim", Served),
    ("roles_required", Served),
    ("claims_forbidden", Served),
    ("consumer_claim", Served),
    ("consumer_by", Served),
    ("by_username_ignore_case", Served),
    ("consumer_optional", Served),
    ("consumer_groups_claim", Refused("consumer groups")),
    ("consumer_groups_optional", Idle("consumer groups")),
    ("credential_claim", Served),
    ("anonymous", Served),
    ("authenticated_groups_claim", Served),
    ("upstream_access_token_header", Served),
    ("downstream_access_token_header", Served),
    ("upstream_access_token_jwk_header", Refused("keys passed on")),
    ("upstream_id_token_header", Refused("ID tokens passed on")),
    ("upstream_id_token_jwk_header", Refused("ID tokens passed on")),
    ("upstream_refresh_token_header", Served),
    ("upstream_user_info_header", Refused("user info passed on")),
    ("upstream_user_info_jwt_header", Refused("user info passed on")),
    ("upstream_introspection_header", Refused("introspection results passed on")),
    ("upstream_introspection_jwt_header", Refused("introspection results passed on")),
    ("upstream_session_id_header", Refused("sessions")),
    ("downstream_access_token_jwk_header", Refused("keys passed on")),
    ("downstream_id_token_header", Refused("ID tokens passed on")),
    ("downstream_id_token_jwk_header", Refused("ID tokens passed on")),
    ("downstream_refresh_token_header", Served),
    ("downstream_user_info_header", Refused("user info passed on")),
    ("downstream_user_info_jwt_header", Refused("user info passed on")),
    ("downstream_introspection_header", Refused("introspection results passed on")),
    ("downstream_introspection_jwt_header", Refused("introspection results passed on")),
    ("downstream_session_id_header", Refused("sessions")),
    ("upstream_headers_claims", Served),
    ("upstream_headers_names", Served),
    ("downstream_headers_claims", Served),
    ("downstream_headers_names", Served),
    ("unauthorized_error_message", Served),
    ("forbidden_error_message", Served),
    ("unauthorized_destroy_session", SESSION),
    ("forbidden_destroy_session", SESSION),
    ("display_errors", Served),
    ("expose_error_code", Served),
    ("unauthorized_redirect_uri", Served),
    ("forbidden_redirect_uri", Served),
    ("unexpected_redirect_uri", Refused("redirects on provider failures")),
    ("cache_ttl", Served),
    ("cache_tokens_salt", Served),
    ("token_cache_key_include_scope", Idle("always so")),
    ("cluster_cache_strategy", Only("off")),
    ("cluster_cache_redis", Idle("caches in Redis")),
    ("cache_ttl_max", Served),
    ("cache_ttl_min", Served),
    ("cache_ttl_neg", Served),
    ("cache_ttl_resurrect", Refused("ended cache entries brought back")),
    ("cache_introspection", Served),
    ("cache_token_exchange", Idle("token exchange")),
    ("cache_tokens", Served),
    ("cache_user_info", Served),
    ("session_secret", SESSION),
    ("session_audience", SESSION),
    ("session_cookie_name", SESSION),
    ("session_cookie_path", SESSION),
    ("session_cookie_domain", SESSION),
    ("session_cookie_same_site", SESSION),
    ("session_cookie_http_only", SESSION),
    ("session_cookie_secure", SESSION),
    ("session_rolling_timeout", SESSION),
    ("session_idling_timeout", SESSION),
    ("session_absolute_timeout", SESSION),
    ("session_remember", SESSION),
    ("session_remember_cookie_name", SESSION),
    ("session_remember_rolling_timeout", SESSION),
    ("session_remember_absolute_timeout", SESSION),
    ("session_storage", Only("cookie")),
    ("session_store_metadata", SESSION),
    ("session_enforce_same_subject", SESSION),
    ("session_hash_subject", SESSION),
    ("session_hash_storage_key", SESSION),
    ("session_request_headers", Refused("sessions")),
    ("session_response_headers", Refused("sessions")),
    ("session_memcached_prefix", SESSION),
    ("session_memcached_socket", SESSION),
    ("session_memcached_host", SESSION),
    ("session_memcached_port", SESSION),
    ("redis", SESSION),
    ("disable_session", Idle("there are none")),
    ("authorization_cookie_name", CODE_FLOW),
    ("authorization_cookie_path", CODE_FLOW),
    ("authorization_cookie_domain", CODE_FLOW),
    ("authorization_cookie_same_site", CODE_FLOW),
    ("authorization_cookie_http_only", CODE_FLOW),
    ("authorization_cookie_secure", CODE_FLOW),
    ("authorization_rolling_timeout", CODE_FLOW),
    ("redirect_uri", CODE_FLOW),
    ("response_type", CODE_FLOW),
    ("response_mode", CODE_FLOW),
    ("login_action", CODE_FLOW),
    ("login_methods", CODE_FLOW),
    ("login_tokens", CODE_FLOW),
    ("login_redirect_uri", Refused("browser login")),
    ("login_redirect_mode", CODE_FLOW),
    ("preserve_query_args", CODE_FLOW),
    ("logout_uri_suffix", LOGOUT),
    ("logout_query_arg", LOGOUT),
    ("logout_post_arg", LOGOUT),
    ("logout_methods", Idle("browser logout")),
    ("logout_redirect_uri", LOGOUT),
    ("logout_revoke", Idle("browser logout")),
    ("logout_revoke_access_token", Idle("browser logout")),
    ("logout_revoke_refresh_token", Idle("browser logout")),
    ("authorization_query_args_names", CODE_FLOW),
    ("authorization_query_args_values", CODE_FLOW),
    ("authorization_query_args_client", CODE_FLOW),
    ("require_pushed_authorization_requests", CODE_FLOW),
    ("require_proof_key_for_code_exchange", CODE_FLOW),
    ("require_signed_request_object", CODE_FLOW),
];

/// What `auth_methods` may name and is served.
const METHODS: [&str; 7] =
    ["bearer", "kong_oauth2", "introspection", "userinfo", "password", "client_credentials", "refresh_token"];
/// How many names there are: a list of all of them is the default.
const ALL_METHODS: usize = 9;
/// Ways of authenticating at the provider that are not served.
const TLS_CLIENT_AUTH: [&str; 2] = ["tls_client_auth", "self_signed_tls_client_auth"];
/// Lists that are paired with the clients, of which the first entry counts for all.
const ONE_ONLY: [&str; 2] = ["unauthorized_redirect_uri", "forbidden_redirect_uri"];

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn names(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
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
    for (name, support) in FIELDS {
        let Some(value) = config.get(*name).filter(|value| !value.is_null()) else { continue };
        match support {
            Served | Idle(_) => {}
            Refused(what) if is_set(value) => refuse(name, format!("{what}: not supported")),
            Refused(_) => {}
            Only(only) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if text != *only {
                    refuse(name, format!("`{text}` is not supported"));
                }
            }
        }
    }
    for name in ["client_auth", "token_endpoint_auth_method", "introspection_endpoint_auth_method"] {
        for method in names(config.get(name)).into_iter().filter(|method| TLS_CLIENT_AUTH.contains(method)) {
            refuse(name, format!("`{method}` is not supported"));
        }
    }
    for name in ONE_ONLY {
        if names(config.get(name)).len() > 1 {
            refuse(name, "one for each client is not supported: name one".to_owned());
        }
    }
    let methods = names(config.get("auth_methods"));
    let others: Vec<&str> = methods.iter().copied().filter(|method| !METHODS.contains(method)).collect();
    match (others.is_empty(), methods.len()) {
        (_, 0) => refuse("auth_methods", "no method is named".to_owned()),
        (true, _) => {}
        (false, ALL_METHODS) => {
            let message = format!("{} are not served: requests authenticate by the other methods", others.join(", "));
            let warning = Diagnostic::warning("unsupported", "auth_methods", message);
            warnings.push(warning.help("auth_methods lists every method unless set; list those that you use"));
        }
        (false, _) => refuse("auth_methods", format!("{}: not supported", others.join(", "))),
    }
    faults
}

/// The table of docs/openid-connect.md.
#[cfg(test)]
fn document() -> String {
    let mut out = String::from("| field | |\n|---|---|\n");
    for (name, support) in FIELDS {
        let told = match support {
            Served => "served".to_owned(),
            Refused(what) => format!("refused when set: {what}"),
            Only(only) => format!("refused unless `{only}`"),
            Idle(what) => format!("no effect: {what}"),
        };
        out.push_str(&format!("| `{name}` | {told} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::auth::oidc::config;
    use crate::auth::oidc::testing::complete;

    fn names_of(wanted: impl Fn(Support) -> bool) -> BTreeSet<String> {
        let some = FIELDS.iter().filter(|(_, support)| wanted(*support));
        some.map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn every_field_of_the_table_is_accounted_for() {
        let whole = complete(serde_json::json!({ "issuer": "https://idp.example" }));
        let all: BTreeSet<String> = whole.keys().cloned().collect();
        assert_eq!(names_of(|_| true), all);
        assert_eq!(FIELDS.len(), all.len(), "one row each");
    }

    #[test]
    fn what_is_served_is_what_is_read() {
        let read: BTreeSet<String> = config::NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names_of(|support| support == Served), read);
    }

    #[test]
    fn the_documentation_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openid-connect.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once("<!-- fields -->\n").unwrap();
        let (there, after) = rest.split_once("<!-- end of fields -->").unwrap();
        if std::env::var_os("BLESS").is_some() {
            let blessed = format!("{before}<!-- fields -->\n{}<!-- end of fields -->{after}", document());
            std::fs::write(path, blessed).unwrap();
            return;
        }
        assert!(there == document(), "run BLESS=1 cargo test --lib oidc::fields");
    }
}
