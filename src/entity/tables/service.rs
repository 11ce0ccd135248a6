//! `services`.

use serde_json::Value;

use crate::schema::typedefs::{
    created_at, host, id, nonzero_timeout, path, port, protocol, tags, updated_at, utf8_name, uuid,
};
use crate::schema::{Cross, Document, Field, Matcher, Table, Violations, array, boolean, foreign, integer, url};

pub(super) fn services() -> Table {
    let null_unless_tls = |then_field| Cross::Conditional {
        if_field: "protocol",
        if_match: Matcher::NotOneOf(&["https", "tls"]),
        then_field,
        then_match: Matcher::Null,
        fault: None,
    };
    Table::new(
        "services",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("name", utf8_name()),
            Field::new("retries", integer().default(5).between(0.0, 32767.0)),
            Field::new("protocol", protocol().required().default("http")),
            Field::new("host", host().required()),
            Field::new("port", port().required().default(80)),
            Field::new("path", path()),
            Field::new("connect_timeout", nonzero_timeout().default(60000)),
            Field::new("write_timeout", nonzero_timeout().default(60000)),
            Field::new("read_timeout", nonzero_timeout().default(60000)),
            Field::new("tags", tags()),
            Field::new("client_certificate", foreign("certificates")),
            Field::new("tls_verify", boolean()),
            Field::new("tls_verify_depth", integer().between(0.0, 64.0)),
            Field::new("ca_certificates", array(uuid())),
            Field::new("enabled", boolean().required().default(true)),
        ],
        vec![
            Cross::Conditional {
                if_field: "protocol",
                if_match: Matcher::OneOf(&["tcp", "tls", "udp", "grpc", "grpcs"]),
                then_field: "path",
                then_match: Matcher::Null,
                fault: None,
            },
            null_unless_tls("client_certificate"),
            null_unless_tls("tls_verify"),
            null_unless_tls("tls_verify_depth"),
            null_unless_tls("ca_certificates"),
        ],
    )
    .endpoint_key("name")
    .rewrite(spread_url)
}

/// `url` stands for protocol, host, port and path, and wins over them.
fn spread_url(input: &mut Document) -> Result<(), Violations> {
    let text = match input.shift_remove("url") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(text)) if text.is_empty() => return Err(Violations::of("url", "length must be at least 1")),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Violations::of("url", "expected a string")),
    };
    let parts = url::split(&text);
    // What is no number is left for the port's own check to refuse.
    let port = parts.port.map(|port| port.parse::<i64>().map_or_else(|_| Value::from(port), Value::from));
    let guessed = match port.as_ref().and_then(Value::as_i64) {
        Some(443) => "https",
        _ => "http",
    };
    let protocol = parts.scheme.unwrap_or(guessed);
    let usual = if protocol == "https" { 443 } else { 80 };
    input.insert("protocol".to_owned(), Value::from(protocol));
    input.insert("host".to_owned(), parts.host.map_or(Value::Null, Value::from));
    input.insert("port".to_owned(), port.unwrap_or_else(|| Value::from(usual)));
    input.insert("path".to_owned(), parts.path.map_or(Value::Null, Value::from));
    Ok(())
}
