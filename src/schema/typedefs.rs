//! Definitions that several tables share, under the names of Kong's `typedefs`.

use std::net::IpAddr;

use serde_json::Value;

use super::host::{self, HostFault, Kind};
use super::{
    Auto, Check, Cross, Def, Field, array, integer, map, number, path as paths, record_with, set, string, url as urls,
};

/// The largest timeout in milliseconds: 2^31 − 2.
const LONGEST: f64 = 2_147_483_646.0;

/// The protocols of the http family.
pub const HTTP_PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https"];
pub const PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];

/// The primary key.
pub fn id() -> Def {
    uuid().auto(Auto::Uuid)
}

pub fn uuid() -> Def {
    string().check(Check::Uuid)
}

pub fn created_at() -> Def {
    integer().check(Check::Timestamp).auto(Auto::CreatedAt)
}

pub fn updated_at() -> Def {
    integer().check(Check::Timestamp).auto(Auto::UpdatedAt)
}

/// As [`created_at`], with milliseconds as fraction.
pub fn created_at_ms() -> Def {
    number().check(Check::Timestamp).auto(Auto::CreatedAt)
}

/// As [`updated_at`], with milliseconds as fraction.
pub fn updated_at_ms() -> Def {
    number().check(Check::Timestamp).auto(Auto::UpdatedAt)
}

/// The remaining life of an entity in seconds.
pub fn ttl() -> Def {
    integer().between(0.0, 100_000_000.0).fault("must be an integer between 0 and 100000000")
}

/// A unique name of letters, digits, `. - _ ~` and anything that is not ASCII.
pub fn utf8_name() -> Def {
    string().unique().custom(|value| {
        let name = text(value);
        let fine = |c: char| c.is_ascii_alphanumeric() || ".-_~".contains(c) || !c.is_ascii();
        if name.chars().all(fine) {
            return Ok(());
        }
        Err(format!("invalid value '{name}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"))
    })
}

pub fn tags() -> Def {
    set(string().required().custom(|value| {
        let tag = text(value);
        let fine = |c: char| matches!(c, ' '..='~') && c != ',' && c != '/' || !c.is_ascii();
        if tag.chars().all(fine) {
            return Ok(());
        }
        Err(format!("invalid tag '{tag}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"))
    }))
}

pub fn port() -> Def {
    integer().between(0.0, 65535.0)
}

/// Milliseconds, at least one.
pub fn nonzero_timeout() -> Def {
    integer().between(1.0, LONGEST)
}

pub fn protocol() -> Def {
    string().one_of(PROTOCOLS)
}

/// The protocols a plugin of the http family runs for.
pub fn protocols_http() -> Def {
    set(string().one_of(HTTP_PROTOCOLS)).required().default(HTTP_PROTOCOLS.to_vec())
}

/// A host name or address without port.
pub fn host() -> Def {
    string().custom(check_host)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn check_host(value: &Value) -> Result<(), String> {
    match host::parse(text(value)) {
        Ok(address) if address.port.is_none() => Ok(()),
        Ok(_) | Err(HostFault::Port) => Err("must not have a port".to_owned()),
        Err(_) => Err(format!("invalid value: {}", text(value))),
    }
}

fn check_sni(value: &Value) -> Result<(), String> {
    check_server_name(text(value))
}

fn check_server_name(name: &str) -> Result<(), String> {
    match host::parse(name) {
        Ok(address) if address.kind != Kind::Name => Err("must not be an IP".to_owned()),
        Ok(address) if address.port.is_none() => Ok(()),
        Ok(_) | Err(HostFault::Port) => Err("must not have a port".to_owned()),
        Err(_) => Err(format!("invalid value: {name}")),
    }
}

/// A TLS server name.
pub fn sni() -> Def {
    string().custom(check_sni)
}

/// A TLS server name, with at most one `*` at either end.
pub fn wildcard_host() -> Def {
    string().custom(|value| {
        let name = text(value);
        match name.find('*') {
            None => check_server_name(name),
            Some(at) if at != 0 && at + 1 != name.len() => {
                Err("wildcard must be leftmost or rightmost character".to_owned())
            }
            Some(_) if name.matches('*').count() > 1 => Err("only one wildcard must be specified".to_owned()),
            Some(_) => check_server_name(&name.replace('*', "wildcard")),
        }
    })
}

/// A path that is sent to a service.
pub fn path() -> Def {
    string()
        .check(Check::StartsWith("/"))
        .check(Check::Without { part: "//", fault: "must not have empty segments" })
        .custom(paths::check)
}

pub fn url() -> Def {
    string().custom(urls::check)
}

pub fn header_name() -> Def {
    string().custom(check_header_name)
}

fn check_header_name(value: &Value) -> Result<(), String> {
    let name = text(value);
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Ok(());
    }
    Err(format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"))
}

pub fn cookie_name() -> Def {
    string().custom(|value| {
        if text(value).bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/?={}[]".contains(&byte)) {
            return Ok(());
        }
        Err("contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the characters \
             ()<>@,;:\\\"/?={}[] are not allowed."
            .to_owned())
    })
}

pub fn methods() -> Def {
    set(string().check(Check::Match {
        pattern: "^%u+$",
        accepts: |method| method.bytes().all(|byte| byte.is_ascii_uppercase()),
    }))
}

/// Hosts a route matches: `name[:port]`, with at most one `*` as the first or last label.
pub fn hosts() -> Def {
    array(string().custom(|value| {
        let name = text(value);
        if name.matches('*').count() > 1 {
            return Err("invalid wildcard: must have at most one wildcard".to_owned());
        }
        if name.contains('*') && !name.starts_with("*.") && !name.ends_with(".*") {
            return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
        }
        let plain = name.replace('*', "abc");
        host::parse(&plain).map(drop).map_err(|fault| fault.words(&plain))
    }))
}

/// Paths a route matches: `/prefix` or `~/regex`.
pub fn router_paths() -> Def {
    array(
        string()
            .check(Check::Without { part: "//", fault: "must not have empty segments" })
            .check(Check::MatchAny {
                patterns: &["^/", "^~/"],
                accepts: |path| path.starts_with('/') || path.starts_with("~/"),
                fault: "should start with: / (fixed path) or ~/ (regex path)",
            })
            .custom(paths::check_route),
    )
}

/// Header names with the values they may have.
pub fn headers() -> Def {
    map(header_name(), array(string()))
}

/// As [`headers`], for a route: hosts are matched by `hosts`.
pub fn route_headers() -> Def {
    let name = string().custom(|value| {
        if text(value).eq_ignore_ascii_case("host") {
            return Err("cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned());
        }
        check_header_name(value)
    });
    map(name, array(string()))
}

/// `sources` and `destinations` of a route.
pub fn endpoints() -> Def {
    let address = string().custom(|value| {
        let text = text(value);
        if text.parse::<IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok() {
            return Ok(());
        }
        Err(format!("invalid ip or cidr range: '{text}'"))
    });
    set(record_with(
        vec![Field::new("ip", address), Field::new("port", port())],
        vec![Cross::AtLeastOneOf(&["ip", "port"])],
    ))
}
