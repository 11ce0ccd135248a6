//! `routes`: the fields common to all, and those that depend on the family of the protocols.

use std::sync::LazyLock;

use serde_json::Value;

use crate::schema::typedefs::{
    created_at, endpoints, hosts, id, methods, protocol, route_headers, router_paths, sni, tags, updated_at, utf8_name,
};
use crate::schema::{Check, Cross, Field, Matcher, Subschema, Table, boolean, foreign, integer, set, string};

pub(super) fn routes() -> Table {
    let exclusive: &[&[&str]] = &[&["http", "https"], &["tcp", "tls", "udp"], &["tls_passthrough"], &["grpc", "grpcs"]];
    Table::new(
        "routes",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("name", utf8_name()),
            Field::new(
                "protocols",
                set(protocol())
                    .required()
                    .default(vec!["http", "https"])
                    .length_at_least(1)
                    .check(Check::ExclusiveSubsets(exclusive)),
            ),
            Field::new("methods", methods()),
            Field::new("hosts", hosts()),
            Field::new("paths", router_paths()),
            Field::new("headers", route_headers()),
            Field::new(
                "https_redirect_status_code",
                integer().required().default(426).check(Check::OneOfIntegers(&[426, 301, 302, 307, 308])),
            ),
            Field::new("regex_priority", integer().default(0)),
            Field::new("strip_path", boolean().required().default(true)),
            Field::new("path_handling", string().default("v0").one_of(&["v0", "v1"])),
            Field::new("preserve_host", boolean().required().default(false)),
            Field::new("request_buffering", boolean().required().default(true)),
            Field::new("response_buffering", boolean().required().default(true)),
            Field::new("snis", set(sni())),
            Field::new("sources", endpoints()),
            Field::new("destinations", endpoints()),
            Field::new("tags", tags()),
            Field::new("service", foreign("services")),
        ],
        vec![Cross::Conditional {
            if_field: "protocols",
            if_match: Matcher::EachNotOneOf(&["grpcs", "https", "tls", "tls_passthrough"]),
            then_field: "snis",
            then_match: Matcher::LengthIs(0),
            fault: Some("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"),
        }],
    )
    .endpoint_key("name")
    .subschema(Subschema { key: "protocols", select: family })
}

static HTTP: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "http",
        vec![
            Field::new(
                "sources",
                endpoints().null_only().fault("cannot set 'sources' when 'protocols' is 'http' or 'https'"),
            ),
            Field::new(
                "destinations",
                endpoints().null_only().fault("cannot set 'destinations' when 'protocols' is 'http' or 'https'"),
            ),
        ],
        vec![Cross::ConditionalAtLeastOneOf {
            if_field: "protocols",
            cases: &[
                (
                    Matcher::Contains("https"),
                    &["methods", "hosts", "headers", "paths", "snis"],
                    "must set one of %s when 'protocols' is 'https'",
                ),
                (
                    Matcher::Contains("http"),
                    &["methods", "hosts", "headers", "paths"],
                    "must set one of %s when 'protocols' is 'http'",
                ),
            ],
        }],
    )
});

static STREAM: LazyLock<Table> = LazyLock::new(|| {
    let words = |field: &'static str| match field {
        "methods" => "cannot set 'methods' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
        "hosts" => "cannot set 'hosts' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
        "paths" => "cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
        _ => "cannot set 'headers' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
    };
    Table::new(
        "tcp",
        vec![
            Field::new("methods", methods().null_only().fault(words("methods"))),
            Field::new("hosts", hosts().null_only().fault(words("hosts"))),
            Field::new("paths", router_paths().null_only().fault(words("paths"))),
            Field::new("headers", route_headers().null_only().fault(words("headers"))),
        ],
        vec![Cross::ConditionalAtLeastOneOf {
            if_field: "protocols",
            cases: &[
                (
                    Matcher::EachOneOf(&["tcp", "tls", "udp"]),
                    &["sources", "destinations", "snis"],
                    "must set one of %s when 'protocols' is 'tcp', 'tls' or 'udp'",
                ),
                (
                    Matcher::EachOneOf(&["tls_passthrough"]),
                    &["snis"],
                    "must set snis when 'protocols' is 'tls_passthrough'",
                ),
            ],
        }],
    )
});

static GRPC: LazyLock<Table> = LazyLock::new(|| {
    Table::new(
        "grpc",
        vec![
            Field::new(
                "strip_path",
                boolean()
                    .required()
                    .default(false)
                    .check(Check::NotTrue)
                    .fault("cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"),
            ),
            Field::new(
                "methods",
                methods().null_only().fault("cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'"),
            ),
            Field::new(
                "sources",
                endpoints().null_only().fault("cannot set 'sources' when 'protocols' is 'grpc' or 'grpcs'"),
            ),
            Field::new(
                "destinations",
                endpoints().null_only().fault("cannot set 'destinations' when 'protocols' is 'grpc' or 'grpcs'"),
            ),
        ],
        vec![Cross::ConditionalAtLeastOneOf {
            if_field: "protocols",
            cases: &[
                (
                    Matcher::Contains("grpcs"),
                    &["hosts", "headers", "paths", "snis"],
                    "must set one of %s when 'protocols' is 'grpcs'",
                ),
                (
                    Matcher::Contains("grpc"),
                    &["hosts", "headers", "paths"],
                    "must set one of %s when 'protocols' is 'grpc'",
                ),
            ],
        }],
    )
});

/// The first protocol that belongs to a family decides.
fn family(protocols: &Value) -> Result<&'static Table, String> {
    let list = protocols.as_array().map_or(&[][..], Vec::as_slice);
    let table = |name: &Value| -> Option<&'static Table> {
        match name.as_str()? {
            "http" | "https" => Some(&HTTP),
            "tcp" | "tls" | "udp" | "tls_passthrough" => Some(&STREAM),
            "grpc" | "grpcs" => Some(&GRPC),
            _ => None,
        }
    };
    match (list.iter().find_map(table), protocols) {
        (Some(table), _) => Ok(table),
        (None, Value::Array(list)) if list.is_empty() => Err("length must be at least 1".to_owned()),
        (None, Value::Array(list)) => {
            Err(format!("unknown type: {}", list.first().and_then(Value::as_str).unwrap_or("nil")))
        }
        (None, _) => Err("expected a set".to_owned()),
    }
}
