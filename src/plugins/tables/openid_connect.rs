//! `openid-connect`: every field that Kong documents, so that exported configurations load; what this gateway makes of a field is
//! the plugin's affair.

use serde_json::Value;

use crate::schema::typedefs::{host, port, sni, url, uuid};
use crate::schema::{Auto, Check, Def, Field, Table, any, array, boolean, integer, map, number, record, set, string};

const AUTH_METHODS: &[&str] = &[
    "authorization_code",
    "bearer",
    "client_credentials",
    "introspection",
    "kong_oauth2",
    "password",
    "refresh_token",
    "session",
    "userinfo",
];
/// A presented token's possession is proved with the request; these methods have such a token.
const PROVABLE: &[&str] = &["bearer", "introspection", "session"];
const CLIENT_AUTH: &[&str] = &[
    "client_secret_basic",
    "client_secret_jwt",
    "client_secret_post",
    "none",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "tls_client_auth",
];
const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA",
];
const SAME_SITE: &[&str] = &["Strict", "Lax", "None", "Default"];

pub(super) fn table() -> Table {
    let groups = [
        provider(),
        client(),
        accepted(),
        verification(),
        authorisation(),
        passing_on(),
        errors(),
        caching(),
        sessions(),
        code_flow(),
    ];
    let config = record(groups.into_iter().flatten().collect()).renames(FORMER_NAMES).custom(check_proof_of_possession);
    super::authenticating("openid-connect", config, Vec::new())
}

fn field(name: &'static str, def: Def) -> Field {
    Field::new(name, def)
}

/// One field for each name, all alike.
fn fields<const N: usize>(names: [&'static str; N], def: impl Fn() -> Def) -> Vec<Field> {
    names.into_iter().map(|name| field(name, def())).collect()
}

fn texts() -> Def {
    array(string())
}

fn secrets() -> Def {
    array(string().referenceable()).encrypted()
}

fn on() -> Def {
    boolean().default(true)
}

fn off() -> Def {
    boolean().default(false)
}

fn client_auth_method() -> Def {
    string().one_of(CLIENT_AUTH)
}

fn provider() -> Vec<Field> {
    let mut list = vec![
        field("issuer", url().required()),
        field("using_pseudo_issuer", off()),
        field("rediscovery_lifetime", number().default(30)),
        field("extra_jwks_uris", array(url())),
        field("issuers_allowed", texts()),
        // Not Kong's: the issuer's keys, written down.
        field("jwks", record(vec![field("keys", array(map(string(), any())).required())])),
        // Not Kong's either: RFC 9728.
        field(
            "protected_resource",
            record(vec![
                field("resource", url().required()),
                field("scopes_supported", texts()),
                field("resource_name", string()),
                field("resource_documentation", url()),
            ]),
        ),
        field("discovery_headers_names", texts()),
        field("discovery_headers_values", texts()),
        field("http_version", number().default(1.1).custom(check_http_version)),
        field("keepalive", on()),
        // Milliseconds.
        field("timeout", number().default(10000)),
        // As from Kong 3.14 on; before, whoever was on the way could replace a provider's keys.
        field("ssl_verify", on()),
        field("http_proxy", url()),
        field("http_proxy_authorization", string().referenceable()),
        field("https_proxy", url()),
        field("https_proxy_authorization", string().referenceable()),
        field("no_proxy", string()),
    ];
    list.extend(fields(
        [
            "authorization_endpoint",
            "token_endpoint",
            "introspection_endpoint",
            "userinfo_endpoint",
            "revocation_endpoint",
            "end_session_endpoint",
            "pushed_authorization_request_endpoint",
            "token_exchange_endpoint",
            "jwks_endpoint",
            "mtls_token_endpoint",
            "mtls_introspection_endpoint",
            "mtls_revocation_endpoint",
        ],
        url,
    ));
    list.extend(fields(
        [
            "token_endpoint_auth_method",
            "introspection_endpoint_auth_method",
            "revocation_endpoint_auth_method",
            "pushed_authorization_request_endpoint_auth_method",
        ],
        client_auth_method,
    ));
    list
}

fn client() -> Vec<Field> {
    vec![
        field("client_id", secrets()),
        field("client_secret", secrets()),
        field("client_auth", array(client_auth_method())),
        field("client_alg", array(string().one_of(ALGORITHMS))),
        field("client_jwk", array(jwk())),
        field("client_arg", string().default("client_id")),
        field("tls_client_auth_cert_id", uuid()),
        field("tls_client_auth_ssl_verify", on()),
    ]
}

/// A private key of RFC 7517.
fn jwk() -> Def {
    let mut members = vec![field("issuer", string())];
    members.extend(fields(["kty", "use", "alg", "kid", "x5u", "x5t", "x5t#S256", "crv", "x", "y", "n", "e"], string));
    members.extend(fields(["key_ops", "x5c"], texts));
    members.extend(fields(["k", "d", "p", "q", "dp", "dq", "qi", "oth", "r", "t"], || {
        string().referenceable().encrypted()
    }));
    record(members)
}

fn accepted() -> Vec<Field> {
    let places = || array(string().one_of(&["body", "header", "query"])).default(vec!["body", "header", "query"]);
    let mut list = vec![
        field("auth_methods", array(string().one_of(AUTH_METHODS)).default(AUTH_METHODS.to_vec())),
        field(
            "bearer_token_param_type",
            array(string().one_of(&["body", "cookie", "header", "query"])).default(vec!["body", "header", "query"]),
        ),
        field("bearer_token_cookie_name", string()),
        field("refresh_token_param_name", string()),
        field("id_token_param_name", string()),
        field("scopes", array(string().referenceable()).default(vec!["openid"])),
        field("audience", texts()),
        field("hide_credentials", off()),
        field("run_on_preflight", on()),
        field("refresh_tokens", on()),
    ];
    list.extend(fields(
        ["password_param_type", "client_credentials_param_type", "refresh_token_param_type", "id_token_param_type"],
        places,
    ));
    list.extend(fields(
        [
            "token_post_args_names",
            "token_post_args_values",
            "token_post_args_client",
            "token_headers_names",
            "token_headers_values",
            "token_headers_client",
            "token_headers_replay",
        ],
        texts,
    ));
    list.push(field("token_headers_prefix", string()));
    list.push(field(
        "token_headers_grants",
        array(string().one_of(&["authorization_code", "client_credentials", "password", "refresh_token"])),
    ));
    list
}

fn verification() -> Vec<Field> {
    let ignorable = &[
        "authorization_code",
        "client_credentials",
        "introspection",
        "password",
        "refresh_token",
        "session",
        "userinfo",
    ];
    let possession = || string().default("off").one_of(&["off", "strict", "optional"]);
    let mut list = vec![
        field("verify_claims", on()),
        field("verify_signature", on()),
        field("verify_nonce", on()),
        field("verify_parameters", off()),
        field("enable_hs_signatures", off()),
        field("ignore_signature", array(string().one_of(ignorable)).default(Vec::<String>::new())),
        // Seconds, as the one below.
        field("leeway", number().default(0)),
        field("max_age", number()),
        field("domains", texts()),
        field("introspect_jwt_tokens", off()),
        field("introspection_check_active", on()),
        field("introspection_hint", string().default("access_token")),
        field("introspection_token_param_name", string().default("token")),
        field("revocation_token_param_name", string().default("token")),
        field(
            "introspection_accept",
            string().default("application/json").one_of(&[
                "application/json",
                "application/token-introspection+jwt",
                "application/jwt",
            ]),
        ),
        field("userinfo_accept", string().default("application/json").one_of(&["application/json", "application/jwt"])),
        field("introspection_headers_values", secrets()),
        field("reverify", off()),
        field("resolve_distributed_claims", off()),
        field("search_user_info", off()),
        field("proof_of_possession_mtls", possession()),
        field("proof_of_possession_dpop", possession()),
        field("proof_of_possession_auth_methods_validation", on()),
        // Seconds.
        field("dpop_proof_lifetime", number().default(300)),
        field("dpop_use_nonce", off()),
        field("jwt_session_cookie", string()),
        field("jwt_session_claim", string().default("sid")),
    ];
    list.extend(fields(
        [
            "introspection_headers_names",
            "introspection_headers_client",
            "introspection_post_args_names",
            "introspection_post_args_values",
            "introspection_post_args_client",
            "introspection_post_args_client_headers",
            "userinfo_headers_names",
            "userinfo_headers_values",
            "userinfo_headers_client",
            "userinfo_query_args_names",
            "userinfo_query_args_values",
            "userinfo_query_args_client",
        ],
        texts,
    ));
    list
}

fn authorisation() -> Vec<Field> {
    // A claim is a path into the token's payload.
    let claim = |name: &str| texts().default(vec![name]);
    vec![
        field("audience_claim", claim("aud")),
        field("audience_required", texts()),
        field("scopes_claim", claim("scope")),
        field("scopes_required", texts()),
        field("groups_claim", claim("groups")),
        field("groups_required", texts()),
        field("roles_claim", claim("roles")),
        field("roles_required", texts()),
        field("claims_forbidden", texts()),
        field("consumer_claim", texts()),
        field(
            "consumer_by",
            array(string().one_of(&["id", "username", "custom_id"])).default(vec!["custom_id", "username"]),
        ),
        field("by_username_ignore_case", off()),
        field("consumer_optional", off()),
        field("consumer_groups_claim", texts()),
        field("consumer_groups_optional", off()),
        field("credential_claim", claim("sub")),
        field("anonymous", string()),
        field("authenticated_groups_claim", texts()),
    ]
}

fn passing_on() -> Vec<Field> {
    let mut list = vec![
        // `header[:scheme]`.
        field("upstream_access_token_header", string().default("authorization:bearer")),
        field("downstream_access_token_header", string()),
    ];
    list.extend(fields(
        [
            "upstream_access_token_jwk_header",
            "upstream_id_token_header",
            "upstream_id_token_jwk_header",
            "upstream_refresh_token_header",
            "upstream_user_info_header",
            "upstream_user_info_jwt_header",
            "upstream_introspection_header",
            "upstream_introspection_jwt_header",
            "upstream_session_id_header",
            "downstream_access_token_jwk_header",
            "downstream_id_token_header",
            "downstream_id_token_jwk_header",
            "downstream_refresh_token_header",
            "downstream_user_info_header",
            "downstream_user_info_jwt_header",
            "downstream_introspection_header",
            "downstream_introspection_jwt_header",
            "downstream_session_id_header",
        ],
        string,
    ));
    list.extend(fields(
        ["upstream_headers_claims", "upstream_headers_names", "downstream_headers_claims", "downstream_headers_names"],
        texts,
    ));
    list
}

fn errors() -> Vec<Field> {
    let mut list = vec![
        field("unauthorized_error_message", string().default("Unauthorized")),
        field("forbidden_error_message", string().default("Forbidden")),
        field("unauthorized_destroy_session", on()),
        field("forbidden_destroy_session", on()),
        field("display_errors", off()),
        field("expose_error_code", on()),
    ];
    list.extend(fields(["unauthorized_redirect_uri", "forbidden_redirect_uri", "unexpected_redirect_uri"], || {
        array(url())
    }));
    list
}

fn caching() -> Vec<Field> {
    let mut list = vec![
        // Seconds, as the limits below.
        field("cache_ttl", number().default(3600)),
        field("cache_tokens_salt", string().auto(Auto::Token)),
        field("token_cache_key_include_scope", off()),
        field("cluster_cache_strategy", string().default("off").one_of(&["off", "redis"])),
        field("cluster_cache_redis", redis(Vec::new())),
    ];
    list.extend(fields(["cache_ttl_max", "cache_ttl_min", "cache_ttl_neg", "cache_ttl_resurrect"], number));
    list.extend(fields(["cache_introspection", "cache_token_exchange", "cache_tokens", "cache_user_info"], on));
    list
}

/// A Redis connection; timeouts in milliseconds.
fn redis(more: Vec<Field>) -> Def {
    let timeout = || integer().default(2000).between(0.0, 2_147_483_646.0);
    let here = || host().default("127.0.0.1");
    let nodes = |address: &'static str| {
        array(record(vec![field(address, here()), field("port", port().default(6379))])).check(Check::LengthAtLeast(1))
    };
    let mut members = vec![
        field("host", here()),
        field("port", port().default(6379)),
        field("connect_timeout", timeout()),
        field("send_timeout", timeout()),
        field("read_timeout", timeout()),
        field("username", string().referenceable()),
        field("password", string().referenceable().encrypted()),
        field("sentinel_username", string().referenceable()),
        field("sentinel_password", string().referenceable().encrypted()),
        field("database", integer().default(0)),
        field("keepalive_pool_size", integer().default(256).between(1.0, 2_147_483_646.0)),
        field("keepalive_backlog", integer().between(0.0, 2_147_483_646.0)),
        field("sentinel_master", string()),
        field("sentinel_role", string().one_of(&["master", "slave", "any"])),
        field("sentinel_nodes", nodes("host")),
        field("cluster_nodes", nodes("ip")),
        field("ssl", off()),
        field("ssl_verify", off()),
        field("server_name", sni()),
        field("cluster_max_redirections", integer().default(5)),
        field("connection_is_proxied", off()),
    ];
    members.extend(more);
    record(members).default_of_fields()
}

fn sessions() -> Vec<Field> {
    let headers = &["id", "audience", "subject", "timeout", "idling-timeout", "rolling-timeout", "absolute-timeout"];
    vec![
        field("session_secret", string().referenceable().encrypted()),
        field("session_audience", string().default("default")),
        field("session_cookie_name", string().default("session")),
        field("session_cookie_path", string().default("/").check(Check::StartsWith("/"))),
        field("session_cookie_domain", string()),
        field("session_cookie_same_site", string().default("Lax").one_of(SAME_SITE)),
        field("session_cookie_http_only", on()),
        field("session_cookie_secure", boolean()),
        // Seconds, as all session timeouts; 0 switches a limit off.
        field("session_rolling_timeout", number().default(3600)),
        field("session_idling_timeout", number().default(900)),
        field("session_absolute_timeout", number().default(86400)),
        field("session_remember", off()),
        field("session_remember_cookie_name", string().default("remember")),
        field("session_remember_rolling_timeout", number().default(604_800)),
        field("session_remember_absolute_timeout", number().default(2_592_000)),
        field("session_storage", string().default("cookie").one_of(&["cookie", "memcache", "memcached", "redis"])),
        field("session_store_metadata", off()),
        field("session_enforce_same_subject", off()),
        field("session_hash_subject", off()),
        field("session_hash_storage_key", off()),
        field("session_request_headers", set(string().one_of(headers))),
        field("session_response_headers", set(string().one_of(headers))),
        field("session_memcached_prefix", string()),
        field("session_memcached_socket", string()),
        field("session_memcached_host", string().default("127.0.0.1")),
        field("session_memcached_port", port().default(11211)),
        field("redis", redis(vec![field("prefix", string()), field("socket", string())])),
        field("disable_session", array(string().one_of(AUTH_METHODS))),
    ]
}

fn code_flow() -> Vec<Field> {
    let redirects = || array(url().referenceable());
    let mut list = vec![
        field("authorization_cookie_name", string().default("authorization")),
        field("authorization_cookie_path", string().default("/").check(Check::StartsWith("/"))),
        field("authorization_cookie_domain", string()),
        field("authorization_cookie_same_site", string().default("Default").one_of(SAME_SITE)),
        field("authorization_cookie_http_only", on()),
        field("authorization_cookie_secure", boolean()),
        field("authorization_rolling_timeout", number().default(600)),
        field("redirect_uri", array(url())),
        field("response_type", texts().default(vec!["code"])),
        field(
            "response_mode",
            string().default("query").one_of(&[
                "query",
                "form_post",
                "fragment",
                "query.jwt",
                "form_post.jwt",
                "fragment.jwt",
                "jwt",
            ]),
        ),
        field("login_action", string().default("upstream").one_of(&["upstream", "response", "redirect"])),
        field("login_methods", array(string().one_of(AUTH_METHODS)).default(vec!["authorization_code"])),
        field(
            "login_tokens",
            array(string().one_of(&["id_token", "access_token", "refresh_token", "tokens", "introspection"]))
                .default(vec!["id_token"]),
        ),
        field("login_redirect_uri", redirects()),
        field("login_redirect_mode", string().default("fragment").one_of(&["query", "fragment"])),
        field("preserve_query_args", off()),
        field("logout_uri_suffix", string()),
        field("logout_query_arg", string()),
        field("logout_post_arg", string()),
        field("logout_methods", array(string().one_of(&["POST", "GET", "DELETE"])).default(vec!["POST", "DELETE"])),
        field("logout_redirect_uri", redirects()),
        field("logout_revoke", off()),
        field("logout_revoke_access_token", on()),
        field("logout_revoke_refresh_token", on()),
    ];
    list.extend(fields(
        ["authorization_query_args_names", "authorization_query_args_values", "authorization_query_args_client"],
        texts,
    ));
    list.extend(fields(
        [
            "require_pushed_authorization_requests",
            "require_proof_key_for_code_exchange",
            "require_signed_request_object",
        ],
        boolean,
    ));
    list
}

/// Names of earlier versions, as exported files still carry them; what has no successor is let go.
const FORMER_NAMES: &[(&str, Option<&str>)] = &[
    ("authorization_cookie_lifetime", Some("authorization_rolling_timeout")),
    ("authorization_cookie_samesite", Some("authorization_cookie_same_site")),
    ("authorization_cookie_httponly", Some("authorization_cookie_http_only")),
    ("session_cookie_lifetime", Some("session_rolling_timeout")),
    ("session_cookie_idletime", Some("session_idling_timeout")),
    ("session_cookie_samesite", Some("session_cookie_same_site")),
    ("session_cookie_httponly", Some("session_cookie_http_only")),
    ("session_cookie_renew", None),
    ("session_cookie_maxsize", None),
    ("session_strategy", None),
    ("session_compressor", None),
    ("session_memcache_prefix", Some("session_memcached_prefix")),
    ("session_memcache_socket", Some("session_memcached_socket")),
    ("session_memcache_host", Some("session_memcached_host")),
    ("session_memcache_port", Some("session_memcached_port")),
    ("session_redis_prefix", Some("redis.prefix")),
    ("session_redis_socket", Some("redis.socket")),
    ("session_redis_host", Some("redis.host")),
    ("session_redis_port", Some("redis.port")),
    ("session_redis_auth", Some("redis.password")),
    ("session_redis_username", Some("redis.username")),
    ("session_redis_password", Some("redis.password")),
    ("session_redis_connect_timeout", Some("redis.connect_timeout")),
    ("session_redis_read_timeout", Some("redis.read_timeout")),
    ("session_redis_send_timeout", Some("redis.send_timeout")),
    ("session_redis_ssl", Some("redis.ssl")),
    ("session_redis_ssl_verify", Some("redis.ssl_verify")),
    ("session_redis_server_name", Some("redis.server_name")),
    ("session_redis_cluster_nodes", Some("redis.cluster_nodes")),
    ("session_redis_cluster_max_redirections", Some("redis.cluster_max_redirections")),
    ("session_redis_cluster_maxredirections", Some("redis.cluster_max_redirections")),
];

fn check_http_version(value: &Value) -> Result<(), String> {
    // Exact: the two are compared as they are written.
    if value.as_f64() == Some(1.0) || value.as_f64() == Some(1.1) {
        Ok(())
    } else {
        Err("must be 1.0 or 1.1".to_owned())
    }
}

/// Possession can be demanded only of tokens that come with the request, unless the other methods shall go without.
fn check_proof_of_possession(config: &Value) -> Result<(), String> {
    let given = |name: &str| config.get(name).and_then(Value::as_str).is_some_and(|value| value != "off");
    let demanded = given("proof_of_possession_mtls") || given("proof_of_possession_dpop");
    if !demanded || config.get("proof_of_possession_auth_methods_validation") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    let methods = config.get("auth_methods").and_then(Value::as_array);
    let provable = |method: &Value| method.as_str().is_some_and(|method| PROVABLE.contains(&method));
    if methods.is_some_and(|methods| methods.iter().all(provable)) {
        return Ok(());
    }
    Err(format!("proof of possession is supported only with these auth_methods: {}", PROVABLE.join(", ")))
}
