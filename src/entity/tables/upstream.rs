//! `upstreams` and `targets`.

use serde_json::Value;

use crate::schema::typedefs::{
    cookie_name, created_at, created_at_ms, header_name, headers, id, path, sni, tags, updated_at, updated_at_ms,
};
use crate::schema::{
    Cross, Def, Document, Field, Matcher, Table, Violations, array, boolean, foreign, host, integer, number, record,
    string,
};

const HASH_ON: &[&str] = &["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"];

pub(super) fn upstreams() -> Table {
    Table::new(
        "upstreams",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("name", string().required().unique().custom(check_name)),
            Field::new(
                "algorithm",
                string().default("round-robin").one_of(&[
                    "consistent-hashing",
                    "least-connections",
                    "round-robin",
                    "latency",
                ]),
            ),
            Field::new("hash_on", string().default("none").one_of(HASH_ON)),
            Field::new("hash_fallback", string().default("none").one_of(HASH_ON)),
            Field::new("hash_on_header", header_name()),
            Field::new("hash_fallback_header", header_name()),
            Field::new("hash_on_cookie", cookie_name()),
            Field::new("hash_on_cookie_path", path().default("/")),
            Field::new("hash_on_query_arg", string()),
            Field::new("hash_fallback_query_arg", string()),
            Field::new("hash_on_uri_capture", string()),
            Field::new("hash_fallback_uri_capture", string()),
            Field::new("slots", integer().default(10000).between(10.0, 65536.0)),
            Field::new("healthchecks", healthchecks()),
            Field::new("tags", tags()),
            Field::new("host_header", string().custom(check_host_header)),
            Field::new("client_certificate", foreign("certificates")),
            Field::new("use_srv_name", boolean().default(false)),
        ],
        hashing_checks(),
    )
    .endpoint_key("name")
    .rewrite(algorithm_of_hashing)
}

/// Health checks with the defaults of all their members; a default of 0 switches a check off.
fn healthchecks() -> Def {
    let kind = || string().default("http").one_of(&["tcp", "http", "https", "grpc", "grpcs"]);
    let seconds = |default: u32| number().default(default).between(0.0, 65535.0);
    let count = || integer().default(0).between(0.0, 255.0);
    let statuses = |default: &[u16]| array(integer().between(100.0, 999.0)).default(default.to_vec());
    let group = |fields| record(fields).default_of_fields();

    let active = group(vec![
        Field::new("type", kind()),
        Field::new("timeout", seconds(1)),
        Field::new("concurrency", integer().default(10).between(1.0, 2_147_483_648.0)),
        Field::new("http_path", path().default("/")),
        Field::new("https_sni", sni()),
        Field::new("https_verify_certificate", boolean().default(true)),
        Field::new("headers", headers()),
        Field::new(
            "healthy",
            group(vec![
                Field::new("interval", seconds(0)),
                Field::new("http_statuses", statuses(&[200, 302])),
                Field::new("successes", count()),
            ]),
        ),
        Field::new(
            "unhealthy",
            group(vec![
                Field::new("interval", seconds(0)),
                Field::new("http_statuses", statuses(&[429, 404, 500, 501, 502, 503, 504, 505])),
                Field::new("tcp_failures", count()),
                Field::new("timeouts", count()),
                Field::new("http_failures", count()),
            ]),
        ),
    ]);
    let passive = group(vec![
        Field::new("type", kind()),
        Field::new(
            "healthy",
            group(vec![
                Field::new(
                    "http_statuses",
                    statuses(&[
                        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
                    ]),
                ),
                Field::new("successes", count()),
            ]),
        ),
        Field::new(
            "unhealthy",
            group(vec![
                Field::new("http_statuses", statuses(&[429, 500, 503])),
                Field::new("tcp_failures", count()),
                Field::new("timeouts", count()),
                Field::new("http_failures", count()),
            ]),
        ),
    ]);
    group(vec![
        Field::new("active", active),
        Field::new("passive", passive),
        Field::new("threshold", number().default(0).between(0.0, 100.0)),
    ])
}

/// Every input of the hash is given, and the fallback differs from the first choice.
fn hashing_checks() -> Vec<Cross> {
    let when = |if_field, on, then_field, then_match| Cross::Conditional {
        if_field,
        if_match: Matcher::Is(on),
        then_field,
        then_match,
        fault: None,
    };
    let needs = |if_field, on, then_field| when(if_field, on, then_field, Matcher::Required);
    let fallback = |on, options| when("hash_on", on, "hash_fallback", Matcher::OneOf(options));
    vec![
        needs("hash_on", "header", "hash_on_header"),
        needs("hash_fallback", "header", "hash_fallback_header"),
        needs("hash_on", "cookie", "hash_on_cookie"),
        needs("hash_fallback", "cookie", "hash_on_cookie"),
        fallback("none", &["none"]),
        fallback("cookie", &["none"]),
        fallback("consumer", &["none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"]),
        fallback("ip", &["none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"]),
        fallback("path", &["none", "consumer", "ip", "header", "cookie", "query_arg", "uri_capture"]),
        Cross::Distinct(&["hash_on_header", "hash_fallback_header"]),
        needs("hash_on", "query_arg", "hash_on_query_arg"),
        needs("hash_fallback", "query_arg", "hash_fallback_query_arg"),
        Cross::Distinct(&["hash_on_query_arg", "hash_fallback_query_arg"]),
        needs("hash_on", "uri_capture", "hash_on_uri_capture"),
        needs("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
        Cross::Distinct(&["hash_on_uri_capture", "hash_fallback_uri_capture"]),
    ]
}

/// Choosing what to hash chooses consistent hashing, as before there was an `algorithm`; least connections hash nothing.
#[expect(clippy::unnecessary_wraps, reason = "the signature of all rewrites")]
fn algorithm_of_hashing(input: &mut Document) -> Result<(), Violations> {
    if input.get("algorithm").and_then(Value::as_str) == Some("least-connections") {
        input.insert("hash_on".to_owned(), Value::from("none"));
        return Ok(());
    }
    if input.get("hash_on").and_then(Value::as_str).is_some_and(|on| on != "none") {
        input.insert("algorithm".to_owned(), Value::from("consistent-hashing"));
    }
    Ok(())
}

fn check_name(value: &Value) -> Result<(), String> {
    let name = value.as_str().unwrap_or_default();
    match host::parse(name) {
        Err(_) => Err(format!("Invalid name ('{name}'); must be a valid hostname")),
        Ok(address) if address.kind != host::Kind::Name => {
            Err(format!("Invalid name ('{name}'); no ip addresses allowed"))
        }
        Ok(address) if address.port.is_some() => Err(format!("Invalid name ('{name}'); no port allowed")),
        Ok(_) => Ok(()),
    }
}

fn check_host_header(value: &Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    host::parse(text).map(drop).map_err(|fault| fault.words(text))
}

/// The port of a target that names none.
const DEFAULT_PORT: u16 = 8000;

pub(super) fn targets() -> Table {
    let target = string().required().custom(|value| {
        let text = value.as_str().unwrap_or_default();
        host::parse(text)
            .map(drop)
            .map_err(|_| format!("Invalid target ('{text}'); not a valid hostname or ip address"))
    });
    Table::new(
        "targets",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at_ms()),
            Field::new("updated_at", updated_at_ms()),
            Field::new("upstream", foreign("upstreams").required().on_delete_cascade()),
            Field::new("target", target),
            Field::new("weight", integer().default(100).between(0.0, 65535.0)),
            Field::new("tags", tags()),
        ],
        Vec::new(),
    )
    .endpoint_key("target")
    .cache_key(&["upstream", "target"])
    .rewrite(write_port_out)
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of all rewrites")]
fn write_port_out(input: &mut Document) -> Result<(), Violations> {
    if let Some(Value::String(target)) = input.get_mut("target")
        && let Ok(address) = host::parse(target)
    {
        *target = address.with_port(DEFAULT_PORT);
    }
    Ok(())
}
